"""Training on real video: the Weizmann actions, three actors left out, from the command line, in a short form."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp.training import log

ROOT = Path(__file__).parents[1]
WEIZMANN = ROOT.parent / "shared" / "real" / "weizmann"
LEFT_OUT = "(lyova|moshe|shahar)_"
SHORT = {  # seconds, not minutes, on one core
    "i3d": ["--size", "48", "48", "--model-args", '{"width": 0.125}'],
    "clstm": ["--size", "32", "32", "--model-args", '{"filters": [8,8], "strides": [1,1], "pools": [2,4]}'],
}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not WEIZMANN.is_dir(), reason="the Weizmann videos of ../shared are not here")
@pytest.mark.parametrize("model", SHORT)
def test_both_networks_learn_from_sixty_real_videos(model, tmp_path):
    command = [sys.executable, "-m", "interp", "train", "--model", model, "--data", "folder", "--root", str(WEIZMANN),
               "--split-pattern", LEFT_OUT, "--recipe", f"{model}_motion", "--out", str(tmp_path),
               "--precision", "fp32", "--epochs", "12", "--batch-size", "10", "--num-frames", "8",
               "--learning-rate", "0.003", *SHORT[model]]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, capture_output=True,
                           timeout=600)
    assert ended.returncode == 0, ended.stderr[-2000:]
    header, epochs = log.header(tmp_path / "log.jsonl"), log.read(tmp_path / "log.jsonl")
    assert header["data"]["train"]["clips"] == 60 and header["data"]["validation"]["clips"] == 30
    assert header["data"]["train"]["classes"] == 10 and len(epochs) == 12
    assert epochs[-1]["train_loss"] < 0.85 * epochs[0]["train_loss"]
    assert max(line["val_top1"] for line in epochs) >= 0.25  # chance: 0.1
    assert json.loads(ended.stdout.splitlines()[-1])["top1"] >= 0.25


@pytest.mark.parametrize("model", ["i3d", "clstm"])
def test_the_long_run_is_kept(model):
    path = log.shipped_log(model, "weizmann")
    header, facts = log.header(path), log.facts(path)
    assert LEFT_OUT in header["command"] and f"--model {model}" in header["command"]
    assert facts["training clips"] == 60 and facts["validation clips"] == 30
    done, planned = facts["epochs"].split(" of ")
    assert done == planned
