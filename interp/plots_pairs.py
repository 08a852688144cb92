"""One point a clip: what a measure gives under one model against what it gives under the other.

Source: this project's own. Colours and marks as in plots.py. Axes: one value a clip, (N,), for each model.

    from interp import plots_pairs
    plots_pairs.against({"mask length": {"all clips": (lengths_i3d, lengths_clstm)}})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interp.plots import CYCLE, WIDTH, _styled

MARKS = ("o", "s", "^", "D")


def against(
    panels: Mapping[str, Mapping[str, tuple]], names: Sequence[str] = ("I3D", "C-LSTM"), *, log: bool = False
):
    """Draw a panel for each title, in it a mark for each series of clips; returns the matplotlib Figure.

    A series is (first, second), values (N,) of the first model (across) and the second (up). On the dotted line
    both are equal; a point above it has the larger value under the second model. Clips that fall on the same
    point make a larger one. log: both scales logarithmic; values must be above 0. ValueError where a series has
    no clips or unequal numbers.
    """
    with _styled() as plt:
        shape = {"figsize": (WIDTH, WIDTH / max(2, len(panels)) + 0.7), "squeeze": False}
        figure, row = plt.subplots(1, len(panels), **shape)
        series = list(dict.fromkeys(name for panel in panels.values() for name in panel))
        drawn = {}
        for axes, (title, panel) in zip(row[0], panels.items(), strict=True):
            every = []
            for name, (first, second) in panel.items():
                points = np.column_stack(_checked(title, name, first, second))
                every.append(points)
                places, counts = np.unique(points.round(6), axis=0, return_counts=True)
                place = series.index(name)
                drawn[name] = axes.scatter(*places.T, s=28 * counts, marker=MARKS[place % len(MARKS)],
                                           color=CYCLE[place % len(CYCLE)], alpha=0.75, label=name, zorder=3)
            low, high = (float(pick(np.concatenate(every))) for pick in (np.min, np.max))
            if log:
                ends = low / 1.5, high * 1.5
                axes.set(xscale="log", yscale="log")
            else:
                edge = 0.08 * (high - low) or 1
                ends = low - edge, high + edge
            axes.plot(ends, ends, color="#555555", linewidth=1, linestyle=":")
            axes.set(xlim=ends, ylim=ends, xlabel=names[0], ylabel=names[1], aspect="equal")
            axes.set_title(title, fontsize=10)
        if len(series) > 1:
            figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=len(series))
    return figure


def _checked(title: str, name: str, first, second) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"{title}, {name}: got values of shapes {first.shape} and {second.shape}; expected one "
                         "a clip for both models, the same clips")
    return first, second
