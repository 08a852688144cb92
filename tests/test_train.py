"""The training loop: what a run leaves, exact resumption, schedules by formula, and what it does when things fail."""

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from toy import RECIPE, Net, Toy, net

from interp import recipes
from interp.core.inference import predict, tf32
from interp.data.video import VideoError
from interp.models import build
from interp.models.weights import read
from interp.training import TrainingError, distributed, log, loop, train
from interp.training.evaluate import evaluate

torch.set_num_threads(1)
SETTINGS = {"device": "cpu", "precision": "fp32", "progress": False}


def fit(out, recipe=RECIPE, train_set=None, model=None, **options):
    """A run of the toy network."""
    return train(recipe, train_set or Toy(), Toy(10, seed=1), out, model=model or net(), **SETTINGS | options)


def state(out):
    """All tensors of the last checkpoint, and the log without its times."""
    times = ("seconds", "clips_per_second", "waiting")
    epochs = [{k: v for k, v in line.items() if k not in times} for line in log.read(out / "log.jsonl")]
    return load_file(out / "last.safetensors"), epochs


def assert_same(first, second):
    assert first[0].keys() == second[0].keys() and first[1] == second[1]
    assert [name for name in first[0] if not torch.equal(first[0][name], second[0][name])] == []


def test_a_run_learns_and_leaves_its_files(tmp_path, capsys):
    metrics = fit(tmp_path / "run", command="as typed", progress=None)
    assert metrics["top1"] == 1.0 and metrics["parameters"] == sum(p.numel() for p in net().parameters())
    epochs = log.read(tmp_path / "run" / "log.jsonl")
    assert [line["epoch"] for line in epochs] == [0, 1, 2]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert {"lr", "seconds", "clips_per_second", "waiting", "val_top1_reversed"} <= epochs[0].keys()
    header = log.header(tmp_path / "run" / "log.jsonl")
    assert recipes.from_dict(header["recipe"]) == RECIPE and header["command"] == "as typed"
    with safe_open(tmp_path / "run" / "best.safetensors", "pt") as file:
        record = json.loads(file.metadata()["record"])
    assert record["metrics"]["top1"] == metrics["top1"] and record["versions"]["torch"] == torch.__version__
    assert record["data"]["train"] == {"name": "toy", "clips": 44, "classes": 2}
    assert not [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]
    assert "minutes of training" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_weights_whatever_loads_the_clips(tmp_path):
    torch.manual_seed(5)
    fit(tmp_path / "memory", keep="memory")
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))  # the caller's random numbers are as they were
    fit(tmp_path / "workers", keep="none", workers=1)
    fit(tmp_path / "other", seed=1)
    assert_same(state(tmp_path / "memory"), state(tmp_path / "workers"))
    assert state(tmp_path / "memory")[1] != state(tmp_path / "other")[1]


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "momentum": 0.2, "learning_rate": 0.1},
                                     {"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": 1.5}], ids=str)
@pytest.mark.parametrize("writes", [4, 5, 7, 9, 10])
def test_killed_and_resumed_ends_with_the_same_bits(tmp_path, monkeypatch, options, writes):
    """The run stops before one of its files is written: an epoch writes best weights (if better), log, checkpoint."""
    recipe, real, left = recipes.change(RECIPE, epochs=4, **options), os.replace, [writes]
    fit(tmp_path / "whole", recipe)

    class Killed(BaseException):
        pass

    def killed(source, target):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Killed):
        fit(tmp_path / "run", recipe)
        raise Killed  # fewer files were written
    monkeypatch.setattr(os, "replace", real)
    best = fit(tmp_path / "run", recipe, resume=True)
    assert_same(state(tmp_path / "run"), state(tmp_path / "whole"))
    weights = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("run", "whole")]
    assert weights[0] == weights[1]
    assert fit(tmp_path / "run", recipe, resume=True) == best  # it is done


def test_a_run_is_continued_only_as_it_was(tmp_path):
    fit(tmp_path)
    with pytest.raises(ValueError, match="--resume"):
        fit(tmp_path)
    with pytest.raises(ValueError, match="epochs was 3, is 4"):
        fit(tmp_path, recipes.change(RECIPE, epochs=4), resume=True)
    with pytest.raises(ValueError, match="seed was 0, is 3"):
        fit(tmp_path, resume=True, seed=3)
    with pytest.raises(ValueError, match="micro-batches of 3"):
        fit(tmp_path / "new", micro_batch=3)
    (tmp_path / "last.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not a whole"):
        fit(tmp_path, resume=True)


def still_net():
    """Without what depends on how a batch is divided: batch statistics and dropout."""
    model = net(norm=False)
    model.dropout.p = 0.0
    return model


def test_micro_batches_and_two_processes_take_the_same_steps(tmp_path):
    fit(tmp_path / "whole", model=still_net())
    fit(tmp_path / "parts", model=still_net(), micro_batch=2)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
               str(Path(__file__).with_name("toy.py")), str(tmp_path / "two")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    tensors, epochs = state(tmp_path / "whole")
    for name in ("parts", "two"):
        others, lines = state(tmp_path / name)
        assert all(torch.allclose(tensors[k], others[k], rtol=1e-3, atol=1e-5) for k in tensors)
        assert [line["train_accuracy"] for line in lines] == [line["train_accuracy"] for line in epochs]
        assert lines[-1]["val_loss"] == pytest.approx(epochs[-1]["val_loss"], rel=1e-3)  # each clip once


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("warmup", [0, 0.2, 2, 3])
def test_the_rate_of_every_step_by_formula(schedule, warmup):
    steps, scores = 5, (0.5, 0.6, 0.6, 0.7, 0.1, 0.2, 0.3, 0.4, 0.8, 0.9)
    recipe = recipes.change(RECIPE, schedule=schedule, epochs=10, warmup_epochs=warmup, learning_rate=0.3)
    optimizer = loop.make_optimizer(recipe, nn.Linear(2, 1))
    by_step, by_epoch = loop.make_schedulers(recipe, optimizer, steps)
    halvings, first = [0, 0, 0, 0, 0, 0, 1, 1, 2, 2], round(warmup * steps)
    for step in range(50):
        expected = 0.3 * min(1, (step + 1) / max(first, 1))
        if schedule == "cosine" and step >= first:
            expected = 0.3 * 0.5 * (1 + math.cos(math.pi * (step - first) / (50 - first)))
        expected *= 0.5 ** halvings[step // steps] if schedule == "plateau" else 1
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-12, abs=1e-16)
        optimizer.step()
        by_step.step()
        if by_epoch and step % steps == steps - 1:
            by_epoch.step(scores[step // steps])


def test_bf16_and_sgd_train_too(tmp_path):
    recipe = recipes.change(RECIPE, optimizer="sgd", momentum=0.2, learning_rate=0.1, clip_norm=1.0)
    assert fit(tmp_path, recipe, precision="bf16")["top1"] >= 0.9


def test_float32_is_whole_in_every_evaluation_and_rounded_only_where_asked(tmp_path):
    switches = torch.backends.cudnn, torch.backends.cuda.matmul
    seen = []

    class Watching(nn.Module):
        def forward(self, clips):
            seen.append((self.training, *(switch.allow_tf32 for switch in switches)))
            return clips.flatten(1)[:, :2]

    before = [switch.allow_tf32 for switch in switches]
    predict(Watching(), torch.rand(1, 3, 2, 4, 4))
    assert seen == [(False, False, False)] and [switch.allow_tf32 for switch in switches] == before
    with tf32(True):
        assert all(switch.allow_tf32 for switch in switches)
    assert [switch.allow_tf32 for switch in switches] == before
    with pytest.raises(ValueError, match="tf32 is of NVIDIA's GPUs, but the device is cpu"):
        fit(tmp_path, precision="tf32")


@pytest.mark.parametrize("name", ["i3d_motion", "clstm_motion"])
def test_a_network_is_one_graph_for_the_compiler(name):
    recipe = recipes.change(recipes.RECIPES[name], num_frames=3, size=(32, 32))
    found = torch._dynamo.explain(build(recipe.config(2)))(torch.rand(1, 3, 3, 32, 32))
    assert (found.graph_count, found.graph_break_count) == (1, 0)


@pytest.mark.parametrize("name", ["i3d_motion", "clstm_motion"])
def test_the_real_networks_train_and_come_back(tmp_path, name):
    recipe = recipes.change(
        recipes.RECIPES[name], num_frames=4, size=(16, 16), epochs=1, batch_size=4, warmup_epochs=0,
        model_args={"width": 0.125} if name == "i3d_motion" else {"filters": (4, 4, 4), "pools": (2, 2, 1)},
    )  # fmt: skip

    class Wide(Toy):
        def __getitem__(self, i):
            frames, label, i = super().__getitem__(i)
            return frames.repeat(2, 1).repeat(2, 2), label, i

    metrics = train(recipe, Wide(8), Wide(6, seed=1), tmp_path, **SETTINGS)
    model = read(tmp_path / "best.safetensors")
    assert evaluate(model, Wide(6, seed=1))["loss"] == pytest.approx(metrics["loss"], rel=1e-4)
    assert model.classes == Toy.classes and model.record["recipe"]["name"] == name


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
        bad = (clips[:, 0, 0, 0, 0] == 1) & (self.steps > 5)
        return super().forward(clips) * torch.where(bad, torch.nan, 1.0)[:, None]


def test_a_loss_that_is_not_finite_names_the_clip_and_keeps_the_checkpoint(tmp_path):
    recipe = recipes.change(RECIPE, augment=False)
    with pytest.raises(TrainingError, match=r"epoch 2, step \d, clips: clip-7\. last.safetensors"):
        fit(tmp_path, recipe, Marked(), Brittle())
    tensors, epochs = state(tmp_path)
    assert all(torch.isfinite(value).all() for value in tensors.values()) and len(epochs) == 1
    fit(tmp_path, recipe, Marked(), net(), resume=True)  # as if the cause were mended
    assert len(state(tmp_path)[1]) == 3
    with pytest.raises(TrainingError, match="not finite"):
        fit(tmp_path / "weights", recipes.change(RECIPE, learning_rate=3e38, optimizer="sgd"))
    assert not (tmp_path / "weights" / "last.safetensors").exists()


def test_a_full_disk_is_one_error_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    real, left = os.fsync, [4]

    def full(descriptor):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left on device.*--resume"):
        fit(tmp_path)
    assert not list(tmp_path.glob(".*"))
    assert fit(tmp_path, resume=True)["top1"] == 1.0


class Damaged(Toy):
    """Clips 0 and 3 cannot be read."""

    def __getitem__(self, index):
        if index in (0, 3):
            raise VideoError(f"/videos/{index}.webm", "truncated")
        return super().__getitem__(index)


@pytest.mark.parametrize("keep", ["memory", "none"])
def test_unreadable_clips_are_listed_and_left_out(tmp_path, keep, capsys):
    assert fit(tmp_path / "run", train_set=Damaged(), keep=keep)["top1"] == 1.0
    lines = (tmp_path / "run" / "unreadable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["clip-0", "clip-3"]
    assert capsys.readouterr().err.count("2 of 54 clips are left out (2 cannot be read, 0 have no file): ") == 1
    with pytest.raises(VideoError):
        fit(tmp_path / "raise", train_set=Damaged(), keep=keep, on_error="raise")


def test_facts_take_the_best_epoch_and_add_up_the_minutes(tmp_path):
    path = tmp_path / "log.jsonl"
    header = {"command": "as typed", "recipe": {"epochs": 3}, "machine": log.machine()}
    log.write(path, header, [])
    with pytest.raises(ValueError, match="no epoch"):
        log.facts(path)
    log.write(path, header, [{"epoch": epoch, "val_top1": top1, "val_loss": 1, "val_top5": 1, "val_top1_reversed": 0,
                              "seconds": 60} for epoch, top1 in enumerate((0.2, 0.6, 0.4))])  # fmt: skip
    facts = log.facts(path)
    assert (facts["best epoch, from 0"], facts["top-1"], facts["minutes of training"]) == (1, 0.6, 3.0)
    assert facts["command"] == "as typed" and "cores" in facts["machine"]
    with pytest.raises(ValueError, match=r"no \.jsonl file ships"):
        log.shipped_log("i3d", "nothing")


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="expected auto, cpu"):
        distributed.pick("tpu9")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no GPU"):
            distributed.pick("cuda")
