"""What a training run survives: kills at any moment, losses that are not finite, full disks, unreadable
clips."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy import RECIPE, Net, Toy, net

from interp import checkpoint, recipes, train, train_log
from interp.data.video import VideoError

torch.set_num_threads(1)
TOY = Path(__file__).with_name("toy.py")
SETTINGS = {"device": "cpu", "precision": "fp32", "progress": False, "cache": "none", "checkpoint_every": 2}


def fit(out, recipe=RECIPE, train_set=None, model=None, **options):
    """The run that ``toy.py`` makes."""
    sets = train_set or Toy(), Toy(10, seed=1)
    return train.train(recipe, *sets, out, model=model or net(), **SETTINGS | options)


def state(out):
    """All tensors of the last checkpoint, and the log without its times."""
    times = ("seconds", "clips_per_second", "waiting")
    log = [{k: v for k, v in line.items() if k not in times} for line in train_log.read(out / "log.jsonl")]
    return load_file(out / "last.safetensors"), log, checkpoint.peek(out / "last.safetensors")


def assert_same(first, second):
    assert first[0].keys() == second[0].keys()
    assert [name for name in first[0] if not torch.equal(first[0][name], second[0][name])] == []
    assert first[1:] == second[1:]


def toy(out, *options, launcher=(), **keywords):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(TOY), str(out), *options]
    return subprocess.Popen(command, env=environment, **keywords)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_anywhere_and_resumed_ends_with_the_same_bits(tmp_path, monkeypatch):
    """Stops at every step, before and after every file that is written, one place after the other."""
    recipe = recipes.change(RECIPE, epochs=2)
    fit(tmp_path / "whole", recipe)
    expected, best = state(tmp_path / "whole"), (tmp_path / "whole" / "best.safetensors").read_bytes()
    events = {"left": 0}

    def counted(function):
        def wrapper(*args, **kwargs):
            for moment in ("before", "after"):
                events["left"] -= 1
                if events["left"] == 0:
                    raise Killed
                result = function(*args, **kwargs) if moment == "before" else result  # noqa: F821
            return result

        return wrapper

    monkeypatch.setattr(train._Run, "_update", counted(train._Run._update))
    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(train_log.Log, "add", counted(train_log.Log.add))
    places = 0
    while True:
        places += 1
        out = tmp_path / str(places)
        events["left"] = places
        try:
            fit(out, recipe)
            break  # there was no such place any more
        except Killed:
            fit(out, recipe, resume=True)
        assert_same(state(out), expected)
        assert (out / "best.safetensors").read_bytes() == best
    assert places > 40


def test_sigkill_twice_and_resumed_ends_with_the_same_bits(tmp_path):
    fit(tmp_path / "whole")
    out = tmp_path / "killed"
    for wanted in ((0, 2), (1, 4)):  # (epoch, step) that the checkpoint has reached
        process = toy(out, "--resume", "--sleep", "0.01")
        limit = time.monotonic() + 300
        while time.monotonic() < limit and process.poll() is None:
            last = out / "last.safetensors"
            if last.exists():
                reached = checkpoint.peek(last)
                if (reached["epoch"], reached["step"]) >= wanted:
                    break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert toy(out, "--resume").wait(600) == 0
    assert_same(state(out), state(tmp_path / "whole"))


def test_two_processes_one_killed_end_where_one_process_does(tmp_path):
    """Rank 1 kills itself in the second epoch; torchrun starts both again; they resume and end."""
    fit(tmp_path / "one", micro_batch=4, model=net(norm=False))
    out = tmp_path / "two"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=1"]
    options = ("--micro-batch", "4", "--kill-at", "1", "--no-norm")
    process = toy(out, *options, launcher=launcher, stderr=subprocess.PIPE, text=True)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert (out / "killed").exists(), "no worker was killed; the test tests nothing"
    (two, two_log, two_state), (one, one_log, one_state) = state(out), state(tmp_path / "one")
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-5), name
    assert [line["epoch"] for line in two_log] == [0, 1, 2]
    assert [line["train_accuracy"] for line in two_log] == [line["train_accuracy"] for line in one_log]
    assert two_state["best"]["count"] == one_state["best"]["count"] == 10  # each clip once
    assert two_log[-1]["val_loss"] == pytest.approx(one_log[-1]["val_loss"], rel=1e-3)


class Marked(Toy):
    """Clip 7 has a white first pixel, which no other has."""

    def __getitem__(self, index):
        frames, label, index = super().__getitem__(index)
        frames[0, 0, 0] = 255 if index == 7 else 0
        return frames, label, index


class Brittle(Net):
    """Gives NaN for a white first pixel, from the second epoch on."""

    steps = 0

    def forward(self, clips):
        self.steps += self.training
        logits = super().forward(clips)
        bad = (clips[:, 0, 0, 0, 0] == 1) & (self.steps > 5)
        return logits * torch.where(bad, torch.nan, 1.0)[:, None]


def test_a_loss_that_is_not_finite_names_the_clip_and_keeps_the_checkpoint(tmp_path):
    recipe = recipes.change(RECIPE, augment=False)
    torch.manual_seed(0)
    with pytest.raises(train.TrainingError, match=r"epoch 2, .*clips: clip-7\.") as error:
        fit(tmp_path, recipe, Marked(), Brittle(), checkpoint_every=1)
    assert "last.safetensors" in str(error.value)
    tensors, log, reached = state(tmp_path)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert reached["epoch"] == 1 and len(log) == 1
    fit(tmp_path, recipe, Marked(), net(), resume=True)  # as if the cause were mended
    assert len(state(tmp_path)[1]) == 3


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(train.TrainingError, match="not finite"):
        fit(tmp_path, recipes.change(RECIPE, learning_rate=3e38, optimizer="sgd"))
    last = tmp_path / "last.safetensors"
    assert not last.exists() or all(torch.isfinite(value).all() for value in load_file(last).values())


@pytest.mark.parametrize("writes", range(1, 6))
def test_a_full_disk_is_one_error_and_keeps_the_checkpoint(tmp_path, monkeypatch, writes):
    recipe = recipes.change(RECIPE, epochs=2)
    fit(tmp_path / "whole", recipe)
    out, real, left = tmp_path / "run", os.fsync, [writes]
    before = {}

    def full(descriptor):
        left[0] -= 1
        if left[0] == 0:
            before.update({p.name: p.read_bytes() for p in out.glob("*.safetensors")})
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(train.TrainingError, match="No space left on device") as error:
        fit(out, recipe)
    assert "--resume" in str(error.value)
    assert {p.name: p.read_bytes() for p in out.glob("*.safetensors")} == before
    assert not list(out.glob(".*"))
    monkeypatch.setattr(os, "fsync", real)
    fit(out, recipe, resume=True)
    assert_same(state(out), state(tmp_path / "whole"))


class Damaged(Toy):
    """Clips 0 and 3 cannot be read."""

    def __getitem__(self, index):
        if index in (0, 3):
            raise VideoError(f"/videos/{index}.webm", "truncated")
        return super().__getitem__(index)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_unreadable_clips_are_listed_and_left_out(tmp_path, cache, capsys):
    assert fit(tmp_path / "run", train_set=Damaged(), cache=cache)["top1"] == 1.0
    lines = (tmp_path / "run" / "unreadable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["clip-0", "clip-3"]
    assert capsys.readouterr().err.count("2 of 54 clips are left out (2 cannot be read): ") == 1
    with pytest.raises(VideoError):
        fit(tmp_path / "strict", train_set=Damaged(), cache=cache, strict=True)


def test_a_mistake_in_a_dataset_is_no_unreadable_clip(tmp_path):
    class Wrong(Toy):
        def __getitem__(self, index):
            return {}["missing"]

    with pytest.raises(KeyError, match="missing"):
        fit(tmp_path, train_set=Wrong())
