"""Scores against hand-made answers, independence of neighbours, the sentence, and the command on files."""

import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interp
from interp import perturb, recipes
from interp.explain import Explanation, clip_shape, describe, explain, frame_runs
from interp.models import I3D, weights

SHORT = recipes.MaskRecipe("short", lambda1=0.01, lambda2=0.02, iterations=12)


class Movement(nn.Module):
    """Two classes by one number: how much changes over the frames; the convolution is Grad-CAM's layer."""

    gradcam_layer = "layer"
    classes = ["still", "moves"]
    config = {"model": "toy"}

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv3d(1, 1, 1, bias=False)
        self.dropout = nn.Dropout(0.5)
        nn.init.ones_(self.layer.weight)

    def forward(self, clips):
        kept = self.dropout(self.layer(clips))
        moved = (kept[:, :, 1:] - kept[:, :, :-1]).square().mean((1, 3, 4)).sum(1)  # (B,)
        return torch.stack([torch.ones_like(moved), 20 * moved], dim=1)


def ramps(*moving, num_frames=8):
    """Clips (B,1,T,4,4) that grow by 0.5 on entering each of the given frames."""
    clips = torch.zeros(len(moving), 1, num_frames, 4, 4)
    for clip, frames in zip(clips, moving, strict=True):
        for frame in frames:
            clip[:, frame:] += 0.5
    return clips


def test_scores_are_the_models_own():
    model, clips = Movement(), ramps((3, 4), (), (2,))
    records = explain(model.train(), clips, [1, 1, -1], SHORT, ids=["a", "b", "c"])
    assert model.training and model.dropout.training
    model.eval()
    for i, record in enumerate(records):
        soft = record.mask[None]
        for score, shown in (
            (record.OS, clips[i : i + 1]),
            (record.FS, perturb.freeze(clips[i : i + 1], soft)),
            (record.RS, perturb.reverse(clips[i : i + 1], soft)),
        ):
            assert score == pytest.approx(float(model(shown).softmax(1)[0, record.guess].detach()), abs=1e-6)
    assert [r.P for r in records] == ["moves", "still", "moves"]
    assert [r.target for r in records] == [1, 1, None]
    one_over = float(torch.tensor([1.0, 0.0]).softmax(0)[1])  # class 1 has logit 0 on a still clip
    assert records[1].CS == pytest.approx(one_over, abs=1e-6)
    assert records[0].CS is None and records[2].CS is None
    assert records[0].OS == pytest.approx(float(torch.tensor([1.0, 10.0]).softmax(0)[1]), abs=1e-6)
    assert all(record.map.shape == (8, 4, 4) and float(record.map.max()) in (0.0, 1.0) for record in records)


def test_a_frozen_flash_is_gone_and_a_reversed_one_is_not():
    clips = torch.zeros(1, 1, 8, 4, 4)
    clips[:, :, 3:5] = 0.5
    record = explain(Movement(), clips)[0]
    assert record.steps == 300 and record.snapped[3] and 1 <= int(record.snapped.sum()) <= 4
    assert record.OS > 0.999 and record.FS < 0.35 and record.RS > 0.9  # a still clip scores 0.27
    assert torch.equal(record.map[:3], torch.zeros(3, 4, 4)) and record.map[3:5].sum() >= 0


def test_a_clip_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    model = I3D(5, width=0.125).eval()
    clips = torch.rand(3, 3, 8, 32, 32)
    together = explain(model, clips, recipe=SHORT)
    alone = [explain(model, clips[i : i + 1], recipe=SHORT)[0] for i in range(3)]
    chunked = explain(model, clips, recipe=SHORT, chunk=2)
    for other in (alone, chunked):
        for one, two in zip(together, other, strict=True):
            assert torch.allclose(one.mask, two.mask, atol=1e-4)
            assert torch.allclose(one.map, two.map, atol=1e-3)
            assert one.guess == two.guess and one.FS == pytest.approx(two.FS, abs=1e-4)


def test_the_target_can_be_explained_instead():
    model, clips = Movement(), ramps((3, 4))
    record = explain(model, clips, 0, SHORT, about="target")[0]
    assert (record.guess, record.explained, record.target) == (1, 0, 0)
    assert record.OS == record.CS == pytest.approx(float(torch.tensor([1.0, 10.0]).softmax(0)[0]), abs=1e-6)
    assert "guesses 'moves' and gives 'still' 0.00" in describe(record)


def test_public_name_stays_callable_whatever_is_imported():
    assert importlib.import_module("interp.explain").describe is describe
    assert interp.explain(Movement(), ramps((2,)), recipe=SHORT)[0].P == "moves"


def test_to_dict_is_json_and_short():
    record = explain(Movement(), ramps((2, 3)), [0], SHORT, ids=["clip"])[0]
    told = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert told["P"] == "moves" and told["target_name"] == "still" and told["recipe"]["name"] == "short"
    assert told["steps"] == 12 and told["last_loss"] < told["first_loss"] + 1e-6
    assert told["snapped"] == [int(value > 0.5) for value in told["mask"]]
    assert [one["class"] for one in told["top"]] == ["moves", "still"]
    assert len(json.dumps(told)) < 3000
    assert describe(told) == describe(record)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clips": torch.zeros(1, 8, 4, 4)}, "clip\\[None\\]"),
        ({"clips": torch.zeros(1, 1, 8, 4, 4, dtype=torch.uint8)}, "to_clip"),
        ({"targets": 2}, "classes 0..1"),
        ({"targets": [0, 1]}, "1 class indices"),
        ({"ids": ["a", "b"]}, "ids"),
        ({"about": "both"}, "'guess' or 'target'"),
        ({"perturbation": "melt"}, "melt"),
    ],
)
def test_mistakes_are_told(change, words):
    given = {"model": Movement(), "clips": ramps((2,)), "recipe": SHORT} | change
    with pytest.raises(ValueError, match=words):
        explain(**given)


def test_frame_runs_and_sentence():
    assert frame_runs([0, 1, 1, 0, 1]) == [(2, 3), (5, 5)]
    assert frame_runs([0, 0]) == [] and frame_runs([1, 1]) == [(1, 2)]
    told = {"model": "clstm", "P": "left", "guess": 3, "explained": 3, "OS": 0.93, "FS": 0.021, "RS": 0.406,
            "CS": None, "snapped": [0, 1, 1, 0, 1, 0, 1, 1]}  # fmt: skip
    assert describe(told) == (
        "C-LSTM guesses 'left' with score 0.93; with frames 2-3, 5 and 7-8 of 8 frozen it gives 0.02, "
        "with the same frames reversed 0.41."
    )
    told |= {"snapped": [0, 1], "CS": 0.05, "target_name": "right"}
    assert "though it is 'right' (score 0.05); with frame 2 of 2 frozen" in describe(told)
    assert "on in none of 2 frames" in describe(told | {"snapped": [0, 0]})


def test_clip_shape_comes_from_config_then_record():
    model = nn.Identity()
    assert clip_shape(model) == (16, 64, 64)
    model.record = {"recipe": {"num_frames": 32, "size": [120, 160]}}
    assert clip_shape(model) == (32, 120, 160)
    model.config = {"num_frames": 8, "size": (24, 32)}
    assert clip_shape(model) == (8, 24, 32)


# The command, on videos written here with a network that has not been trained.


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
    from interp.__main__ import main

    return main(["explain", *map(str, arguments)])


def test_command_writes_figure_scores_and_mask(tmp_path, checkpoint, capsys):
    video = write_video(tmp_path / "mein Vidéo <1>.avi")
    out = tmp_path / "new" / "out"
    common = ("--model", checkpoint, "--out", out, "--iterations", 5)
    assert run(video, *common, "--target", "Größer <b>") == 0
    told = json.loads((out / "mein Vidéo <1>.json").read_text(encoding="utf-8"))
    assert told["recipe"]["iterations"] == 5 and told["frames"] == 20 and "torch" in told["versions"]
    assert told["search"] == {"start": "central", "stop": False, "precision": "fp32"}
    one = told["models"]["small"]
    assert one["clip"] == [8, 32, 32] and len(one["mask"]) == 8 and one["steps"] == 5
    assert one["target"] == 2 and len(one["weights_sha256"]) == 64 and one["trained_with"]["name"] == "none"
    with Image.open(out / one["figure"]) as figure:
        assert figure.n_frames > 1 and figure.size == (576, 144)  # 64x48 made 192 wide, three times
    printed = capsys.readouterr().out
    assert one["P"] in printed and f"{one['OS']:.3f}" in printed
    assert "".join(".#"[on] for on in one["snapped"]) in printed
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


def test_explanation_is_frozen():
    record = explain(Movement(), ramps((2,)), recipe=SHORT)[0]
    assert isinstance(record, Explanation)
    with pytest.raises(AttributeError):
        record.OS = 1.0
