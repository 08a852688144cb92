"""The book's one style of plots: told apart without colour, and by eyes that lack a kind of cone; opaque."""

import io
from itertools import combinations

import numpy as np
import pytest

from interp import plots

pytest.importorskip("matplotlib")
# What remains of linear red, green and blue to a person without one kind of cone (Machado et al., 2009, severity 1).
CONES = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


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
    assert nearest({plots.COLOURS["on"], plots.COLOURS["off"], plots.COLOURS["truth"]}, CONES[cones]) > 15


def test_a_red_and_a_green_of_one_lightness_would_fail():
    pair = ["#C05A4A", "#7A8C3C"]
    assert nearest(pair, CONES["all"]) > 50
    assert nearest(pair, CONES["no green"]) < 10


def test_lines_differ_in_form_too_and_figures_are_opaque():
    import matplotlib as mpl
    from PIL import Image

    with mpl.rc_context():
        plots.style()
        forms = [str(one["linestyle"]) for one in mpl.rcParams["axes.prop_cycle"]]
        assert len(set(forms)) == len(forms) == 6
    figure = plots.curves([{"epoch": k, "val_loss": 1 / k, "val_top1": 0.5} for k in (1, 2)])
    content = io.BytesIO()
    with mpl.rc_context():
        plots.style()
        figure.savefig(content)
    assert np.asarray(Image.open(content).convert("RGBA"))[..., 3].min() == 255
