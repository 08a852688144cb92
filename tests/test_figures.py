"""Known pixels of the bar, the frozen panel and the overlay; films that loop."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from interp import recipes
from interp.core.explanation import Explanation
from interp.show import figure


def explanation(num_frames=8, on=(3, 4, 5), size=(16, 16), **changes):
    """A hand-made Explanation: frame t has the grey level 20 t, the map one bright cell."""
    levels = torch.arange(num_frames) * 20 / 255
    clip = levels[None, :, None, None].expand(3, num_frames, *size).clone()
    mask = torch.full((num_frames,), 0.2)
    mask[list(on)] = 0.9
    heat = torch.zeros(num_frames, *size)
    heat[:, : size[0] // 2, : size[1] // 2] = 1
    made = Explanation(
        id="7", model="i3d", clip=clip, classes=("Moving <b>left</b>", "right & up"), target=1, guess=0,
        explained=0, OS=0.9, FS=0.05, RS=0.4, CS=0.08, probabilities=torch.tensor([0.9, 0.1]), mask=mask,
        map=heat, losses=torch.tensor([1.0, 0.5]), steps=2, perturbation="freeze",
        recipe=recipes.SOMETHING_MASK, weights="clip", seconds=1.0)  # fmt: skip
    return dataclasses.replace(made, **changes)


def test_bar_is_on_above_the_threshold_and_bright_where_it_is_current():
    bar = figure.mask_bar(torch.tensor([0.0, 0.6, 0.5, 1.0]), 1, 40)
    assert bar.shape == (10, 40, 3)
    dim = [[round(value * 150 / 255) for value in colour] for colour in (figure.ON, figure.OFF)]
    assert bar[2, [2, 12, 22, 32]].tolist() == [dim[1], list(figure.ON), dim[1], dim[0]]  # 0.5 is not above 0.5


def test_bar_reads_without_colour():
    bar = figure.mask_bar(torch.tensor([0.0, 1.0]), 1, 40)
    grey = bar.mean(axis=2)
    assert grey[10, 30] == 255 and grey[10, 10] < 120  # the dot of the on-square, none on the off-square
    assert (bar[0, 20:] == 255).all() and not (bar[0, :20] == 255).all()  # the current one is framed


@pytest.mark.parametrize("num_frames", [7, 64])
def test_bar_fills_the_width(num_frames):
    bar = figure.mask_bar(torch.ones(num_frames), 0, 192)
    starts = np.round(np.arange(num_frames) * 192 / num_frames).astype(int)
    assert bar.shape[1] == 192 and bar[1, starts + 1].any(axis=1).all()


def test_three_panel_shows_frame_map_and_frozen_frame():
    frames = figure.three_panel(explanation())
    assert frames.shape == (8, 192, 576, 3) and frames.dtype == np.uint8
    assert frames[:, 100, 50, 0].tolist() == [20 * t for t in range(8)]
    assert frames[:, 100, 400, 0].tolist() == [0, 20, 40, 40, 40, 40, 120, 140]  # frames 3, 4, 5 show frame 2
    assert len(set(frames[0, -2, 576 - 20 : 576 - 4].flatten().tolist())) == 1  # the bar lies on the panel's bottom
    reversed_frames = figure.three_panel(explanation(perturbation="reverse"))[:, 100, 400, 0]
    assert reversed_frames.tolist() == [0, 20, 40, 100, 80, 60, 120, 140]


def test_three_panel_takes_frames_of_a_higher_resolution():
    display = np.zeros((8, 224, 300, 3), np.uint8)
    display[:, :, :, 1] = np.arange(8)[:, None, None]
    frames = figure.three_panel(explanation(), display)
    assert frames.shape == (8, 224, 900, 3)
    assert frames[:, 50, 700, 1].tolist() == [0, 1, 2, 2, 2, 2, 6, 7]
    with pytest.raises(ValueError, match="7 frames and a mask of 8"):
        figure.three_panel(explanation(), display[:7])
    with pytest.raises(ValueError, match="uint8"):
        figure.three_panel(explanation(), display / 255)


def test_overlay_of_a_zero_map_is_the_frame_in_grey_and_the_peak_is_hot():
    frames = np.full((1, 40, 40, 3), 100, np.uint8)
    assert (figure.overlay(frames, np.zeros((1, 4, 4))) == 80).all()
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, :2, :2] = 1
    peak = figure.overlay(frames, maps)[0, 5, 5]
    assert abs(peak - np.array([192, 194, 135])).max() <= 2  # 0.65 of (252, 255, 164), 0.35 of 80
    outline = (figure.overlay(frames, maps)[0] == 255).all(axis=2)
    assert outline.any() and not outline[:10, :10].any()


def test_what_cannot_be_drawn_is_refused():
    assert figure.clip_frames(torch.full((1, 2, 3, 3), 0.5)).tolist() == np.full((2, 3, 3, 3), 128).tolist()
    with pytest.raises(ValueError, match="1 or 3 channels"):
        figure.clip_frames(torch.rand(2, 4, 8, 8))
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    for wrong, options, words in ((frames[:0], {}, "no axis of length 0"), (frames / 2, {}, "float64"),
                                  (frames, {"kind": "avi"}, "gif, webp or mp4"), (frames, {"fps": 0}, "above 0")):
        with pytest.raises(ValueError, match=words):
            figure.encode(wrong, **options)


def test_description():
    assert figure.describe(explanation()) == (
        "I3D guesses 'Moving <b>left</b>' with score 0.90, although it is 'right & up' (score 0.08); with frames 4-6 "
        "of 8 frozen the score is 0.05, with the same frames reversed 0.40.")
    assert "with frames 1, 3-4 and 7 of 8" in figure.describe(explanation(on=(0, 2, 3, 6)))
    assert "none of the 8 frames is on" in figure.describe(explanation(on=()))
    assert "and gives 'right & up' the score 0.90" in figure.describe(explanation(explained=1, CS=None))


def test_gif_loops_and_keeps_the_bars_colours(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 96, 192, 3), np.uint8)
    path = figure.write(tmp_path / "a b ü.gif", figure.three_panel(explanation(), noise), fps=5)
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["loop"], film.info["duration"]) == (8, (576, 96), 0, 200)
        film.seek(4)
        frame = np.asarray(film.convert("RGB"))
    assert frame[-3, 576 - 12].tolist() == pytest.approx([round(value * 150 / 255) for value in figure.OFF], abs=4)
    assert frame[-3, 384 + 4 * 24 + 4].tolist() == list(figure.ON)
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written is left


def test_other_formats(tmp_path):
    frames = figure.three_panel(explanation(size=(15, 17)))  # an odd height once enlarged
    height, width = frames.shape[1:3]
    with Image.open(figure.write(tmp_path / "a.webp", frames)) as film:
        assert film.n_frames == 8 and abs(np.asarray(film.convert("RGB")).astype(int) - frames[0]).mean() < 6
    av = pytest.importorskip("av")
    with av.open(str(figure.write(tmp_path / "a.mp4", frames))) as film:
        first = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert first.shape == (height + height % 2, width + width % 2, 3)
    assert abs(first[:height, :width].astype(int) - frames[0]).mean() < 6
