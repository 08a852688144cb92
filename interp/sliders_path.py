"""A search as one picture: the mask of every step, the loss under it, and the mask that is found.

The search is that of Mänttäri, Broomé et al., ACCV 2020 (`masks`). Axes: path (S,T), the mask in [0,1] at S moments;
losses (N,), of N steps. Masks are kept in 256 levels, the loss in a hundredth of the plot's height.

    from interp import sliders_path
    html = sliders_path.search_view(path, losses, "the mask stays where it was", highest=1.2)
"""

from __future__ import annotations

import io
from html import escape

import numpy as np
from PIL import Image

from interp.tables import data_address

WIDTH, LEFT, RIGHT = 360, 36, 4  # in units of the drawing
TOP, TALL, LOW, BAR = 14, 112, 92, 24  # above the map, the map, the plot of the loss, the final mask
GAP = 36
COLUMNS = 150  # moments that are kept of a long path


def search_view(path, losses, words: str, *, highest: float, snap: float = 0.5) -> str:
    """Return a search as an SVG that follows the page's colours: path (S,T), losses (N,), S = N+1 or fewer.

    words: what it says, for who does not see it. highest: the loss at the top of the plot, the same for all pictures
    that are to be compared.
    """
    path, losses = (np.asarray(one, dtype=np.float64) for one in (path, losses))
    if path.ndim != 2 or losses.ndim != 1 or not len(losses):
        raise ValueError(f"got a path {path.shape} and losses {losses.shape}; expected (S,T) and (N,)")
    num_frames, steps = path.shape[1], len(losses)
    right, bottom = WIDTH - RIGHT, TOP + TALL
    width = right - LEFT
    loss_top = bottom + GAP
    loss_bottom = loss_top + LOW
    bar_top = loss_bottom + GAP + 6
    step_x = [f"{LEFT + width * number / max(steps - 1, 1):.1f}" for number in range(steps)]
    heights = loss_bottom - LOW * np.clip(losses / highest, 0, 1)
    points = " ".join(f"{x},{y:.1f}" for x, y in zip(step_x, heights, strict=True))
    parts = [
        _words(LEFT, TOP - 4, "mask (light: on), frame by step"),
        f'<image href="{map_address(path)}" x="{LEFT}" y="{TOP}" width="{width}" height="{TALL}" '
        'preserveAspectRatio="none" style="image-rendering:pixelated"/>',
        _words(LEFT - 5, TOP + 10, "1", "end"), _words(LEFT - 5, bottom, str(num_frames), "end"),
        _words(LEFT, loss_top - 6, "loss"), _words(LEFT - 5, loss_top + 9, f"{highest:.2g}", "end"),
        _words(LEFT - 5, loss_bottom, "0", "end"),
        f'<path d="M{LEFT} {loss_top}V{loss_bottom}H{right}" fill="none" stroke="currentColor" opacity=".6"/>',
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="2"/>',
        _words(LEFT, loss_bottom + 14, "step 1"), _words(right, loss_bottom + 14, f"step {steps}", "end"),
        _words(LEFT, bar_top - 5, "the mask at the end"), _bar(path[-1] > snap, bar_top, width),
    ]  # fmt: skip
    height = bar_top + BAR + 2
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(words)}" '
            f'font-size="13" fill="currentColor">{"".join(parts)}</svg>')  # fmt: skip


def levels(path) -> np.ndarray:
    """A path (S,T) as the picture's 256 levels, uint8 (T, moments), frames down, at most `COLUMNS` moments across."""
    path = np.asarray(path)
    kept = np.unique(np.linspace(0, len(path) - 1, min(len(path), COLUMNS)).round().astype(int))
    return (path[kept].T.clip(0, 1) * 255).round().astype(np.uint8)


def map_address(path) -> str:
    """The heat map of a path as the address of a PNG with a palette: a pixel's number is its level."""
    from matplotlib import colormaps

    picture = Image.fromarray(levels(path), "P")
    picture.putpalette((colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return data_address("image/png", target.getvalue())


def _bar(on: np.ndarray, top: int, width: int) -> str:
    """Squares as in the moving figures: orange with a dot is on, blue is off."""
    side = width / len(on)
    squares = []
    for frame, one in enumerate(on):
        x = LEFT + frame * side
        squares.append(f'<rect x="{x:.1f}" y="{top}" width="{side - 1:.1f}" height="{BAR}" '
                       f'fill="{"#e66e14" if one else "#0072b2"}"/>')  # fmt: skip
        if one:
            middle = f'cx="{x + side / 2 - 0.5:.1f}" cy="{top + BAR / 2}"'
            squares.append(f'<circle {middle} r="{side / 5:.1f}" fill="#fff"/>')
    return "".join(squares)


def _words(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
