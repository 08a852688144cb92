"""Plots of networks and of their answers: the stages as a picture, map cells over a frame, F1, confusions.

Colours as in plots.py. Axes: maps (F,T',H',W'); a confusion matrix is (K,K), rows the true class.

    from interp.models.anatomy import anatomy
    stages({"small": anatomy(model.config, (3, 16, 64, 64))})
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from interp.plots import CYCLE, WIDTH, _styled

KINDS = {"convolution": CYCLE[0], "ConvLSTM": CYCLE[0], "max pooling": CYCLE[5], "Inception": CYCLE[2],
         "pooling, normalisation": CYCLE[5], "classifier": CYCLE[3]}  # fmt: skip
HATCHES = {"max pooling": "////", "pooling, normalisation": "////", "classifier": "...."}


def stages(networks: Mapping[str, Sequence]):
    """Draw each network as a row of stages, every time step a sheet as tall as its maps; returns the Figure.

    networks: name -> `models.anatomy.anatomy(...)`. A sheet's height grows with the square root of the map's
    rows; below a stage stand its name and its maps as channels @ steps × rows × columns.
    """
    from matplotlib.patches import Patch, Rectangle

    with _styled() as plt:
        figure, rows = plt.subplots(len(networks), 1, figsize=(WIDTH, 3.0 * len(networks)), squeeze=False)
        for axes, (name, parts) in zip(rows[:, 0], networks.items(), strict=True):
            tallest = max(np.sqrt(part.after[2]) for part in parts if len(part.after) == 4)
            gap = 0.62 / max(part.after[1] for part in parts if len(part.after) == 4)
            for x, part in enumerate(parts):
                steps, side = part.after[1:3] if len(part.after) == 4 else (1, 1)
                height = max(np.sqrt(side) / tallest, 0.08)
                look = {"facecolor": KINDS[part.kind], "edgecolor": "white", "linewidth": 0.5}
                for step in range(steps - 1, -1, -1):
                    hatch = HATCHES.get(part.kind) if step == 0 else None
                    corner = x - 0.36 + step * gap, -height / 2 + step * gap * 0.35
                    axes.add_patch(Rectangle(corner, 0.12, height, hatch=hatch, **look))
                sizes = (
                    f"{part.after[0]:,} @ " + "×".join(map(str, part.after[1:]))
                    if steps > 1
                    else f"{part.after[0]}"
                )
                axes.text(
                    x - 0.1, -0.66, f"{part.name}\n{sizes}", rotation=90, ha="center", va="top", fontsize=7.5
                )
            axes.set(xlim=(-0.6, len(parts) - 0.3), ylim=(-1.95, 0.82), title=name, aspect="auto")
            axes.set_axis_off()
        used = {part.kind: None for parts in networks.values() for part in parts}
        handles = [
            Patch(facecolor=KINDS[kind], edgecolor="white", hatch=HATCHES.get(kind), label=kind)
            for kind in used
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def cells(frame, grids: Mapping[str, tuple[int, int]]):
    """Draw a frame (H, W, 3) once for each (rows, columns) of map cells, with borders; returns the Figure."""
    with _styled() as plt:
        height, width = frame.shape[:2]
        figure, row = plt.subplots(
            1, len(grids), figsize=(WIDTH, WIDTH / len(grids) * height / width + 0.3), squeeze=False
        )
        for axes, (name, (down, across)) in zip(row[0], grids.items(), strict=True):
            axes.imshow(frame, extent=(0, across, down, 0), interpolation="nearest", aspect="auto")
            axes.set(xticks=range(across + 1), yticks=range(down + 1), title=name)
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
            axes.set_axisbelow(False)
            axes.grid(True, color="white", linewidth=1.4)
            axes.title.set_fontsize(10)
    return figure


def f1_bars(forwards: Sequence[float], backwards: Sequence[float], classes: Sequence[str]):
    """Draw the F1 (K,) of every class as two bars, clips played forwards and reversed; returns the Figure."""
    with _styled() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 0.42 * len(classes) + 1))
        places = np.arange(len(classes))
        axes.barh(places - 0.2, forwards, 0.38, color=CYCLE[0], label="as filmed")
        axes.barh(
            places + 0.2,
            backwards,
            0.38,
            color="white",
            edgecolor=CYCLE[1],
            hatch="////",
            label="reversed in time",
        )
        names = [textwrap.fill(name, 36) for name in classes]
        axes.set(yticks=places, yticklabels=names, xlim=(0, 1), xlabel="F1", ylim=(len(classes) - 0.5, -0.5))
        axes.tick_params(axis="y", labelsize=8.5, length=0)
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]):
    """Draw a confusion matrix (K,K), rows the true class, with the counts inside; returns the Figure."""
    with _styled() as plt:
        counts = np.asarray(counts)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        figure, axes = plt.subplots(figsize=(WIDTH, 0.4 * len(classes) + 0.7))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(
                j,
                i,
                counts[i, j],
                ha="center",
                va="center",
                fontsize=9,
                color="white" if shares[i, j] > 0.5 else "black",
            )
        numbers = range(len(classes))
        names = [f"{textwrap.fill(name, 36)}  {k + 1}" for k, name in enumerate(classes)]
        axes.set(
            xticks=numbers,
            xticklabels=[k + 1 for k in numbers],
            yticks=numbers,
            yticklabels=names,
            xlabel="guess, by number",
            ylabel="true class",
        )
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelsize=8.5)
        axes.grid(False)
    return figure


def stage_table(parts: Sequence) -> str:
    """The stages of `models.anatomy.anatomy` as an HTML table: kernel, stride, maps, parameters and sum."""
    heads = ("stage", "kind", "kernel", "stride", "channels", "steps × rows × columns", "parameters")
    rows = []
    for part in parts:
        sizes = [
            "×".join(map(str, size)) if size else "" for size in (part.kernel, part.stride, part.after[1:])
        ]
        cells = (
            part.kind,
            *sizes[:2],
            f"{part.after[0]:,}",
            sizes[2],
            f"{part.parameters:,}" if part.parameters else "–",
        )
        rows.append(
            f'<tr><th scope="row">{part.name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    total = f"{sum(part.parameters for part in parts):,}"
    rows.append(
        f'<tr><th scope="row">all</th><td></td><td></td><td></td><td></td><td></td><td>{total}</td></tr>'
    )
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
