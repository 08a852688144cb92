"""The command line: explain on files, options made from recipes, exit codes, one line of text for each mistake."""

import argparse
import dataclasses
import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from interp import recipes
from interp.cli import COMMANDS, main, model_options
from interp.models import I3D, weights

av = pytest.importorskip("av")


def write_video(path, num_frames=20, size=(48, 64)):
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=12)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index in range(num_frames):
            frame = np.full((*size, 3), 30, np.uint8)
            frame[10:30, 2 * index : 2 * index + 12] = 220
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    return path


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    model = I3D(3, width=0.125).eval()
    record = {"recipe": {"name": "none", "num_frames": 8, "size": [32, 32]}}
    weights.save(path, model, ["left", "right", "Größer <b>"], record)
    return path


def run(*arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # a mistake that argparse reports
        return stop.code


MINE = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
"""


def test_a_model_of_ones_own_along_a_video(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "names.txt").write_text("left\nright\n")
    model = ("--model", f"{tmp_path / 'mine.py'}:build", "--classes", tmp_path / "names.txt", "--frames", 4)
    video, out = write_video(tmp_path / "a.avi", 48), tmp_path / "out"  # 4 s at 12 frames a second
    assert run("explain", video, *model, "--fps", 6, "--every", 1, "--method", "windows", "--out", out) == 0
    text = capsys.readouterr().out
    assert text.count(" FS ") == 4 and text.count("left\n") == text.count("right\n") == 4 and "kept" in text
    report = json.loads((out / "a.json").read_text())["models"]
    assert [row["start"] for row in report.values()] == [0, 1, 2, 3] and "build_0002.0s" in report
    assert next(iter(report.values()))["sample"]["fps"] == 6 and next(iter(report.values()))["clip"] == [4, 64, 64]
    with Image.open(out / "a_build.png") as drawing:
        assert drawing.width > 500
    assert run("inspect", *model) == 0
    text = capsys.readouterr().out
    assert "4 frames (spread) of 64x64" in text and "left; right" in text and "->" in text
    assert "windows" in text and "(10 forward passes)" in text
    assert run("explain", video, *model, "--every", 1, "--out", out) == 2
    assert "give fps or stride" in capsys.readouterr().err
    assert run("explain", video, "--model", "i3d", "--classes", tmp_path / "names.txt") == 2
    assert run("explain", video, "--model", "clstm", "--frames", 8, "--out", out) == 2
    assert "expected float clips (B,3,16,64,64)" in capsys.readouterr().err


@pytest.mark.parametrize("crop, resize, size", [("center", (128, 171), (112, 112)), ("none", (128, 171), None),
                                                ("resize", (112, 112), None)])
def test_the_crop_of_a_model_by_name(crop, resize, size):
    args = argparse.Namespace(model="torchvision:r3d_18", pretrained="none", classes=None, layer=None, frames=8,
                              fps=None, stride=3.0, crop=crop, device="cpu")
    (model,) = model_options.load_models(args).values()
    assert (model.sample.resize, model.sample.crop) == (resize, size)
    assert (model.sample.num_frames, model.sample.fps, model.sample.stride) == (8, None, 3)


@pytest.mark.parametrize("method", ["gradient", "exact"])
def test_a_video_gives_a_figure_and_a_record(method, tmp_path, checkpoint, capsys):
    video = write_video(tmp_path / "mein Vidéo <1>.avi")
    out = tmp_path / "new" / "out"
    options = ("--method", method, "--iterations", 5, "--budget", 40, "--target", "Größer <b>", "--lambda1", 0.03)
    assert run("explain", video, "--model", checkpoint, "--out", out, *options) == 0
    report = json.loads((out / "mein Vidéo <1>.json").read_text(encoding="utf-8"))
    assert report["recipe"] == recipes.asdict(dataclasses.replace(recipes.SOMETHING_MASK, iterations=5, lambda1=0.03))
    assert report["frames"] == 20 and report["size"] == [48, 64] and "torch" in report["versions"]
    assert report["search"]["method"] == method
    record = report["models"]["small"]
    assert record["clip"] == [8, 32, 32] and len(record["mask"]) == 8
    assert (record["steps"] == 5 and record["proven"] is None) if method == "gradient" else record["steps"] <= 40
    assert record["target"] == 2 and len(record["weights_sha256"]) == 64 and record["trained_with"]["name"] == "none"
    with Image.open(out / record["figure"]) as figure:
        assert figure.n_frames > 1 and figure.size == (576, 144)  # 64x48 made 192 wide, three times
    printed = capsys.readouterr().out
    assert record["description"] in printed and "".join(".#"[on] for on in record["binary_mask"]) in printed
    if method == "exact":
        assert ("proven" if record["proven"] else f"gap {record['gap']:.3f}") in printed
    assert sorted(path.name for path in out.iterdir()) == ["mein Vidéo <1>.json", "mein Vidéo <1>_small.gif"]


def test_figures_have_the_shape_of_the_video_not_of_its_pixels(tmp_path, checkpoint):
    video = tmp_path / "wide.mkv"
    with av.open(str(write_video(tmp_path / "plain.avi"))) as source, av.open(str(video), "w") as film:
        stream = film.add_stream("mpeg4", rate=12)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)  # 64x48 pixels are shown as 96x48
        for frame in source.decode(video=0):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")))
        film.mux(stream.encode())
    options = ("--model", checkpoint, "--out", tmp_path, "--method", "gradient", "--iterations", 1)
    assert run("explain", video, *options) == 0
    with Image.open(tmp_path / "wide_small.gif") as figure:
        assert figure.size == (576, 96)  # three panels of 192x96
    assert json.loads((tmp_path / "wide.json").read_text())["pixel_aspect"] == 1.5


def test_explain_goes_on_after_files_that_cannot_be_read(tmp_path, checkpoint, capsys):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    good = write_video(tmp_path / "good.avi", num_frames=4)
    bad = [tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "missing.mp4", tmp_path]
    options = ("--model", checkpoint, "--out", tmp_path / "out", "--method", "gradient", "--iterations", 2)
    assert run("explain", *bad, good, *options) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    for path in bad:
        assert sum(line.startswith(f"{path}: ") for line in errors) == 1
    assert "frames are repeated" in errors[-1] and len(errors) == 5  # 4 frames where 8 are needed
    assert (tmp_path / "out" / "good.json").exists()


def test_files_of_one_name_are_kept_apart(tmp_path, checkpoint):
    (tmp_path / "other").mkdir()
    videos = [write_video(tmp_path / "a.avi"), write_video(tmp_path / "other" / "A.avi")]
    options = ("--model", checkpoint, "--out", tmp_path / "out", "--method", "gradient", "--iterations", 1)
    assert run("explain", *videos, *options, "--format", "webp") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.json", "a_small.webp", "A-2.json", "A-2_small.webp"}  # fmt: skip


TRAIN = ["train", "--model", "i3d", "--data", "motion", "--root", "gone", "--out", "o"]


@pytest.mark.parametrize("arguments, words", [
    (["explain"], "expected video files, or --data with --root"),
    (["explain", "a.mp4", "--model", "resnet"], "expected a model torchvision:NAME"),
    (["explain", "a.mp4", "--model", "gone.safetensors"], "there is no file gone.safetensors"),
    (["explain", "a.mp4", "--model", "i3d", "--iterations", "0"], "iterations: expected a number above 0"),
    (["explain", "a.mp4", "--model", "i3d", "--border", "thick"], "border: expected one of paper, even"),
    (["explain", "a.mp4", "--model", "i3d", "--target", "up"], "Moving something down"),
    (["explain", "a.mp4", "--model", "i3d", "--device", "tpu"], "expected auto, cpu, cuda or cuda:N"),
    (["explain", "--data", "motion", "--root", "gone"], "one --model"),
    (["explain", "--data", "motion", "--root", "gone", "--model", "i3d"], "there is no such folder"),
    (["explain", "--data", "kth", "--root", "gone", "--model", "i3d", "--split-pattern", "a"], "is for --data folder"),
    (["explain", "a.mp4", "--colour", "red"], "unrecognized arguments"),
    (TRAIN[:-2], "--out"),
    (TRAIN, "there is no such folder"),
    ([*TRAIN, "--epochs", "0"], "epochs: expected"),
    ([*TRAIN, "--recipe", "kth"], "no recipe 'kth'"),
    ([*TRAIN, "--recipe", "clstm_kth"], "is for clstm"),
    ([*TRAIN, "--model-args", "[1]"], "--model-args"),
    (["data", "motion", "out", "--subjects", "3"], "unrecognized arguments"),
    (["data", "kth", "out", "--subjects", "0"], "1 to 25"),
    (["check", "gone"], "gone"),
    (["record", "gone", "--out", "o.parquet"], "there is no such file"),
    (["paint"], "invalid choice"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("\n") == 1 and not printed.out
    assert not list(tmp_path.iterdir())


def test_a_recipe_s_fields_are_options(monkeypatch, tmp_path):
    from interp.cli import options

    trained = {}
    monkeypatch.setattr(options, "open_split", lambda args, split, num_frames, size: split)
    def train(recipe, *sets, **settings):
        trained.update(recipe=recipe, sets=sets, settings=settings)
        return {"epoch": 0, "top1": 1, "top5": 1, "macro_f1": 1, "reversed": {"top1": 0}}
    monkeypatch.setattr("interp.training.train", train)
    given = ("--epochs 2 --size 48 64 --no-augment --learning-rate 0.5 --optimizer sgd --schedule plateau "
             "--clip-norm 3 --keep none --micro-batch 4 --seed 3 --resume").split()
    common = ("train", "--model", "i3d", "--data", "folder", "--root", "r", "--out", "o")
    assert run(*common, *given, "--model-args", '{"width": 0.5, "spatial_strides": [2, 2, 2, 2, 1]}') == 0
    assert trained["recipe"] == recipes.change(
        recipes.I3D_MOTION, data="folder", epochs=2, size=(48, 64), augment=False, learning_rate=0.5, optimizer="sgd",
        schedule="plateau", clip_norm=3.0, model_args={"width": 0.5, "spatial_strides": (2, 2, 2, 2, 1)})  # fmt: skip
    expected = {"keep": "none", "micro_batch": 4, "seed": 3, "resume": True, "device": "auto", "on_error": "skip"}
    assert trained["sets"] == ("train", "validation", "o") and expected.items() <= trained["settings"].items()
    assert run(*common[:4], "kth", *common[5:]) == 0
    assert trained["recipe"] == recipes.I3D_KTH  # the paper's row is the default for the paper's data


def test_what_stops_a_run_has_exit_code_1_and_a_bug_a_traceback(monkeypatch, capsys):
    from interp.cli import data
    from interp.training import TrainingError

    def stop(error):
        monkeypatch.setattr(data, "run", lambda args: (_ for _ in ()).throw(error))
        return run("data", "motion", "out")

    assert stop(TrainingError("the loss is\nnot finite")) == 1 and stop(OSError(28, "No space left")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "interp data: the loss is not finite", "interp data: [Errno 28] No space left"]  # fmt: skip
    assert stop(KeyboardInterrupt()) == 130
    with pytest.raises(RuntimeError, match="a bug"):
        stop(RuntimeError("a bug"))


def test_every_command_has_help_and_a_name_that_no_terminal_can_show_is_printed():
    for command in ([], *([name] for name in COMMANDS)):
        shown = subprocess.run([sys.executable, "-m", "interp", *command, "--help"], capture_output=True, text=True)
        assert shown.returncode == 0 and "usage: python -m interp" in shown.stdout
    shown = subprocess.run([sys.executable, "-m", "interp", "explain", "Größe\udcff.avi", "--model", "i3d"],
                           capture_output=True, text=True, env={"PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert shown.returncode == 2 and shown.stderr.startswith("Gr??e?.avi: ")
