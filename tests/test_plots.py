"""Plots draw the numbers that they are given, opaque, in colours told apart by eyes that lack a kind of cone."""

import io
import json
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from interp.show import plots
from interp.show.architecture import Stage

# What remains of linear red, green and blue to a person without one kind of cone (Machado et al., 2009, severity 1).
CONES = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def test_curves_draw_logs_from_a_file_and_as_lines(tmp_path):
    epochs = [{"epoch": 0, "val_loss": 2.0, "val_top1": 0.1, "train_loss": 2.5},
              {"epoch": 1, "val_loss": 1.0, "val_top1": 0.5}]  # fmt: skip
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"header": {}}, *epochs])))
    drawing = plots.curves(path)
    drawn = {line.get_label(): line.get_xydata().tolist() for axes in drawing.axes for line in axes.lines}
    assert drawn["validation"] == [[0, 0.1], [1, 0.5]]  # of the last axes, top-1
    assert drawing.axes[0].lines[0].get_xydata().tolist() == [[0, 2.0], [1, 1.0]]
    assert len(plots.curves({"I3D": path, "C-LSTM": epochs}).axes[1].lines) == 2
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.curves([])


def test_mask_bars_mark_on_frames_and_the_truth():
    (axes,) = plots.mask_bars([("a", torch.tensor([0.1, 0.9, 0.4, 0.6]))], (1, 3.5)).axes
    bars = [patch for patch in axes.patches if round(patch.get_width(), 2) == 0.86]
    assert [round(bar.get_height(), 1) for bar in bars] == [0.1, 0.9, 0.4, 0.6]
    assert [bar.get_facecolor()[:3] == (1, 1, 1) for bar in bars] == [True, False, True, False]
    band = next(patch for patch in axes.patches if patch.get_hatch())
    assert (band.get_x(), band.get_x() + band.get_width()) == (1.5, 4.0)  # frames 2 to the middle of 4
    two = plots.mask_bars([("a", torch.rand(4))] * 2, (0, 2))
    assert len(two.axes) == 2 and len(two.legends[0].get_texts()) == 3


def test_style_leaves_the_callers_settings_alone():
    import matplotlib.pyplot as plt

    with mpl.rc_context({"axes.facecolor": "black"}):
        plots.mask_bars([("a", torch.rand(4))])
        assert mpl.rcParams["axes.facecolor"] == "black" and plt.get_fignums() == []
        plots.style()
        assert mpl.rcParams["axes.facecolor"] == "white" and mpl.rcParams["savefig.transparent"] is False


def test_stages_cells_and_scores_of_classes():
    stages = [Stage("Mixed_5c", "Inception", (256, 8, 2, 2), 9, None, None),
              Stage("Logits", "classifier", (12,), 9, None, None)]
    texts = [text.get_text() for text in plots.stages({"small": stages}).axes[0].texts]
    assert texts == ["Mixed_5c\n256 @ 8×2×2", "Logits\n12"]
    bars = plots.f1_bars([0.5, 1], [0, 0.25], ["up", "down"]).axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.5, 1, 0, 0.25]
    counts = plots.confusion([[8, 2, 0], [5, 5, 0], [0, 1, 9]], ["up", "down", "pass"]).axes[0].texts
    assert [text.get_text() for text in counts] == ["8", "2", "5", "5", "1", "9"]
    assert list(plots.cells(np.zeros((64, 64, 3), np.uint8), {"a": (2, 2)}).axes[0].get_xticks()) == [0, 1, 2]


def test_claims_and_pairs_of_models():
    pytest.importorskip("pandas")
    pytest.importorskip("scipy")
    from interp.study import claims, published

    rows = claims.judge(published.table(), resamples=199)
    axes = plots.effects(rows).axes[0]
    marks = [line for line in axes.lines if line.get_marker() in "oX"]
    assert [line.get_xdata()[0] for line in marks] == [
        row.result.difference * row.claim.side / row.claim.measure.least for row in rows]
    axes = plots.against({"length": {"a": ([1, 1, 3], [2, 2, 5]), "b": ([4], [4])}}).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[1, 2], [3, 5]]
    assert axes.collections[0].get_sizes().tolist() == [56, 28]  # two clips on one point
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("I3D", "C-LSTM")


def lab(colour: str, cones) -> np.ndarray:
    """CIELAB of a colour '#RRGGBB' as someone with these cones sees it; 2.3 is a difference that is just seen."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    relative = XYZ @ np.clip(np.asarray(cones) @ linear, 0, 1) / XYZ.sum(1)
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, cones) -> float:
    return min(float(np.linalg.norm(lab(a, cones) - lab(b, cones))) for a, b in combinations(colours, 2))


@pytest.mark.parametrize("cones", CONES)
def test_colours_are_told_apart(cones):
    assert nearest(plots.CYCLE, CONES[cones]) > 10
    assert nearest(plots.COLOURS.values(), CONES[cones]) > 15  # the networks, the truth, on and off


def test_a_red_and_a_green_of_one_lightness_would_fail():
    pair = ["#C05A4A", "#7A8C3C"]
    assert nearest(pair, CONES["all"]) > 50
    assert nearest(pair, CONES["no green"]) < 10


def test_lines_differ_in_form_too_and_figures_are_opaque():
    with mpl.rc_context():
        plots.style()
        forms = [str(line["linestyle"]) for line in mpl.rcParams["axes.prop_cycle"]]
        assert len(set(forms)) == len(forms) == 5
        content = io.BytesIO()
        plots.curves([{"epoch": k, "val_loss": 1 / k, "val_top1": 0.5} for k in (1, 2)]).savefig(content)
    assert np.asarray(Image.open(content).convert("RGBA"))[..., 3].min() == 255
