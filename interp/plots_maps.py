"""Pictures of Grad-CAM maps: rows of frames to compare, boxes of the truth drawn in, a value for every frame.

Colours as in plots.py. Axes: frames uint8 (T,H,W,3); maps (T,H,W) in [0, 1]; boxes (x0, y0, x1, y1) in 0..1.

    from interp import figures, plots_maps
    frames = figures.clip_frames(clip)
    plots_maps.strips({"the clip": frames, "I3D": figures.overlay(frames, maps)}, chosen=range(0, 16, 2))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from interp.plots import COLOURS, WIDTH, _styled

GREEN = (0, 158, 115)  # COLOURS["truth"]


def strips(
    rows: Mapping[str, np.ndarray], chosen: Iterable[int] | None = None, marks: Mapping | None = None
):
    """Draw frames uint8 (T,H,W,3) of each named row side by side, equal moments below each other; a Figure.

    chosen: indices of the frames shown, all by default. marks: name -> index of a frame that this row names,
    which gets an edge and a dot.
    """
    length = len(next(iter(rows.values())))
    chosen = list(range(length) if chosen is None else chosen)
    height, width = next(iter(rows.values())).shape[1:3]
    with _styled() as plt:
        tall = (WIDTH / len(chosen) * height / width + 0.03) * len(rows) + 0.3 * len(rows)
        figure, grid = plt.subplots(len(rows), len(chosen), figsize=(WIDTH, tall), squeeze=False)
        for line, (name, frames) in zip(grid, rows.items(), strict=True):
            named = (marks or {}).get(name)
            for axes, index in zip(line, chosen, strict=True):
                axes.imshow(frames[index], interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
                axes.spines[:].set_visible(index == named)
                axes.spines[:].set(color=COLOURS["on"], linewidth=3)
                words = {"color": COLOURS["on"], "fontweight": "bold"} if index == named else {}
                label = f"{index + 1} ●" if index == named else f"{index + 1}"
                axes.set_xlabel(label, fontsize=8, labelpad=2, **words)
            line[0].set_title(name, fontsize=10).set_in_layout(False)  # else it widens its column
    return figure


def outlined(frames: np.ndarray, boxes: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """Frames uint8 (T,H,W,3) with the boxes of every frame drawn in, green with a black line round them."""
    drawn = frames.copy()
    height, width = frames.shape[1:3]
    thick = max(1, round(width / 96))
    for frame, here in zip(drawn, boxes, strict=True):
        for x0, y0, x1, y1 in here:
            left, right = round(x0 * (width - 1)), round(x1 * (width - 1))
            top, bottom = round(y0 * (height - 1)), round(y1 * (height - 1))
            for grow, colour in ((thick, (0, 0, 0)), (0, GREEN)):
                x = max(left - grow, 0), min(right + grow, width - 1) + 1
                y = max(top - grow, 0), min(bottom + grow, height - 1) + 1
                frame[y[0] : y[0] + thick, x[0] : x[1]] = frame[y[1] - thick : y[1], x[0] : x[1]] = colour
                frame[y[0] : y[1], x[0] : x[0] + thick] = frame[y[0] : y[1], x[1] - thick : x[1]] = colour
    return drawn


def frame_values(rows: Mapping[str, Mapping[str, Sequence[float]]], interval: tuple[int, int] | None = None):
    """Draw a value for every frame, one plot for each outer name, one line for each inner one; a Figure.

    interval: (first, end) frames, end excluded, in which something happens: a hatched band.
    """
    with _styled() as plt:
        figure, grid = plt.subplots(1, len(rows), figsize=(WIDTH, 2.9), squeeze=False, sharex=True)
        for axes, (name, lines) in zip(grid[0], rows.items(), strict=True):
            if interval is not None:
                band = {"facecolor": "#D9F0E9", "edgecolor": COLOURS["truth"], "hatch": "////", "zorder": 0}
                axes.axvspan(interval[0] + 0.5, interval[1] + 0.5, label="something happens", **band)
            for label, values in lines.items():
                axes.plot(range(1, len(values) + 1), values, label=label, marker="o", markersize=3)
            axes.set(xlabel="frame", title=name)
            axes.set_ylim(bottom=0)
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def pictures(named: Mapping[str, np.ndarray]):
    """Draw pictures uint8 (H,W,3) beside each other, each under its name; returns the Figure."""
    with _styled() as plt:
        figure, row = plt.subplots(1, len(named), figsize=(WIDTH, WIDTH / len(named) + 0.3), squeeze=False)
        for axes, (name, picture) in zip(row[0], named.items(), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(name, fontsize=10)
            axes.set_axis_off()
    return figure
