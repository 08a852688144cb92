"""The command line: explain on files, options, exit codes, and one line of text for each mistake."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from interp.cli import main
from interp.models import I3D, weights


def write_video(path, num_frames=20, size=(48, 64)):
    av = pytest.importorskip("av")
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
    return main(["explain", *map(str, arguments)])


def test_command_writes_figure_scores_and_mask(tmp_path, checkpoint, capsys):
    video = write_video(tmp_path / "mein Vidéo <1>.avi")
    out = tmp_path / "new" / "out"
    common = ("--model", checkpoint, "--out", out, "--method", "gradient", "--iterations", 5)
    assert run(video, *common, "--target", "Größer <b>") == 0
    told = json.loads((out / "mein Vidéo <1>.json").read_text(encoding="utf-8"))
    assert told["recipe"]["iterations"] == 5 and told["frames"] == 20 and "torch" in told["versions"]
    assert told["search"] == {"method": "gradient"}
    one = told["models"]["small"]
    assert one["clip"] == [8, 32, 32] and len(one["mask"]) == 8 and one["steps"] == 5
    assert one["target"] == 2 and len(one["weights_sha256"]) == 64 and one["trained_with"]["name"] == "none"
    with Image.open(out / one["figure"]) as figure:
        assert figure.n_frames > 1 and figure.size == (576, 144)  # 64x48 made 192 wide, three times
    printed = capsys.readouterr().out
    assert one["P"] in printed and f"{one['OS']:.3f}" in printed
    assert "".join(".#"[on] for on in one["binary_mask"]) in printed
    assert sorted(path.name for path in out.iterdir()) == ["mein Vidéo <1>.json", "mein Vidéo <1>_small.gif"]


def test_command_goes_on_after_files_it_cannot_read(tmp_path, checkpoint, capsys):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    good = write_video(tmp_path / "good.avi", num_frames=4)
    missing = tmp_path / "missing.mp4"
    bad = [tmp_path / "empty.mp4", tmp_path / "text.mp4", missing]
    assert run(*bad, good, tmp_path, "--model", checkpoint, "--out", tmp_path / "out", "--iterations", 2) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    for path in (*bad, tmp_path):
        assert sum(line.startswith(f"{path}: ") for line in errors) == 1
    assert sum("frames are repeated" in line for line in errors) == 1  # 4 frames where 8 are asked for
    assert "4 of 5 videos" in errors[-1] and len(errors) == 6
    assert (tmp_path / "out" / "good.json").exists()


def test_command_keeps_files_of_one_name_apart(tmp_path, checkpoint):
    (tmp_path / "other").mkdir()
    videos = [write_video(tmp_path / "a.avi"), write_video(tmp_path / "other" / "A.avi")]
    common = ("--model", checkpoint, "--out", tmp_path / "out", "--iterations", 1)
    assert run(*videos, *common, "--format", "webp") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.json", "a_small.webp", "A-2.json", "A-2_small.webp"}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "resnet"), "expected i3d, clstm, both"),
        (("--model", "gone.safetensors"), "there is no file gone.safetensors"),
        (("--iterations", "0"), "at least 1"),
        (("--target", "up"), "left; right"),
        (("--fps", "0"), "above 0"),
    ],
)
def test_command_tells_wrong_options_in_one_line(tmp_path, checkpoint, capsys, options, words):
    options = options if "--model" in options else ("--model", str(checkpoint), *options)
    assert run(tmp_path / "a.mp4", "--out", tmp_path / "out", *options) == 2
    told = capsys.readouterr()
    assert words in told.err and told.err.count("\n") == 1 and not told.out
    assert not (tmp_path / "out").exists()
