"""Pictures of claims: the effect of every test, and the means of every training seed.

Source: this project's own. Colours and marks as in `plots`. Axes: one number a claim, or one a seed (S,).

    from interp import claims, plots_claims, record
    plots_claims.effects(claims.judge(record.read().table))
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from interp.claims import Row
from interp.plots import COLOURS, WIDTH, _styled

STYLES = {"supported": ("o", "#0072B2"), "contradicted": ("X", "#D55E00"), "not decided": ("o", "#555555")}


def effects(rows: Sequence[Row], embedded: bool = False):
    """Draw the effect of every claim, to the right where it goes with the claim; returns the matplotlib Figure.

    embedded: whether the rows are about the embedded data, which the claims are then said of.
    """
    with _styled() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 0.4 * len(rows) + 1))
        seen = set()
        for place, row in enumerate(rows):
            word = row.verdict.word
            mark, colour = STYLES[word]
            along = row.result.effect * row.claim.side
            axes.plot([0, along], [place, place], color=colour, linestyle="-", linewidth=1, zorder=1)
            axes.plot(along, place, mark, color=colour, markerfacecolor="white" if word == "not decided" else colour,
                      markersize=8, label=None if word in seen else word)
            seen.add(word)
        words = [row.claim.embedded if embedded else row.claim.words for row in rows]
        words = [one.replace("Something-Something", "Something").removeprefix("On ") for one in words]
        labels = [textwrap.fill(one, 48) for one in words]
        axes.set(yticks=range(len(rows)), yticklabels=labels, xlim=(-1.08, 1.08))
        axes.set_xlabel("against the claim   ←   effect   →   as claimed")
        axes.tick_params(axis="y", labelsize=8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.invert_yaxis()
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def seeds(panels: Mapping[str, Mapping[str, Sequence[float]]]):
    """Draw each training seed's mean as a mark, the networks beside each other; returns the matplotlib Figure.

    panels: for each title {"i3d": means (S,), "clstm": means (S,)}, a panel each, three to a row.
    """
    with _styled() as plt:
        columns = min(3, len(panels))
        lines = -(-len(panels) // columns)
        figure, grid = plt.subplots(lines, columns, figsize=(WIDTH, 2.1 * lines + 0.3), squeeze=False)
        for axes, (title, means) in zip(grid.flat, panels.items(), strict=False):
            for place, (model, values) in enumerate(means.items()):
                spread = place + 0.12 * (np.arange(len(values)) - (len(values) - 1) / 2)
                axes.plot(spread, values, "os"[place % 2], color=COLOURS[model], markersize=7)
                axes.plot([place - 0.3, place + 0.3], [np.mean(values)] * 2, color=COLOURS[model], linestyle="-")
            names = {"i3d": "I3D", "clstm": "C-LSTM"}
            axes.set(xticks=range(len(means)), xticklabels=[names[model] for model in means],
                     xlim=(-0.6, len(means) - 0.4))
            axes.set_title(title, fontsize=9)
            axes.tick_params(labelsize=9)
        for axes in list(grid.flat)[len(panels):]:
            axes.set_visible(False)
    return figure
