"""Plots with matplotlib in one style: training curves, masks, networks, F1, confusions, claims, pairs of models.

Colours after Okabe and Ito, "Color Universal Design", 2008; each difference in colour is one in form too. Labels count
frames from 1. Every function returns the matplotlib Figure.

    plots.style()
    plots.curves({"I3D": "runs/i3d/log.jsonl", "C-LSTM": "runs/clstm/log.jsonl"})
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from interp.training import log as training_log

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
COLOURS = {"on": "#D55E00", "off": "#0072B2", "i3d": "#0072B2", "clstm": "#D55E00", "truth": "#009E73"}
WIDTH = 7.2  # inches; a book page's column
MARKS = ("o", "s", "^", "D")
STAGES = {"convolution": (CYCLE[0], None), "ConvLSTM": (CYCLE[0], None), "max pooling": (CYCLE[5], "////"),
          "Inception": (CYCLE[2], None), "pooling, normalisation": (CYCLE[5], "////"),
          "classifier": (CYCLE[3], "....")}  # kind of stage: colour, hatch
VERDICTS = {"supported": ("o", "#0072B2"), "contradicted": ("X", "#D55E00"), "not decided": ("o", "#555555")}


def style() -> None:
    """Set matplotlib's defaults for the whole book: opaque white, readable, colour-blind-safe."""
    import matplotlib as mpl
    from cycler import cycler

    lines = cycler(color=CYCLE[:6]) + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))])
    mpl.rcParams.update({
        "figure.figsize": (WIDTH, 3.2), "figure.dpi": 110, "figure.facecolor": "white",
        "figure.edgecolor": "white", "figure.constrained_layout.use": True,
        "savefig.facecolor": "white", "savefig.transparent": False, "savefig.dpi": 150,
        "savefig.bbox": "tight", "axes.facecolor": "white", "axes.prop_cycle": lines,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "axes.titlesize": 12, "axes.titlelocation": "left", "axes.labelsize": 11, "axes.labelcolor": "black",
        "grid.color": "#DDDDDD", "grid.linewidth": 0.7, "font.size": 11, "text.color": "black",
        "xtick.labelsize": 10, "ytick.labelsize": 10, "xtick.color": "black", "ytick.color": "black",
        "legend.fontsize": 10, "legend.frameon": False, "lines.linewidth": 2, "hatch.linewidth": 0.8,
        "image.cmap": "inferno",
    })  # fmt: skip


def curves(log):
    """Draw loss and top-1 over the epochs: validation solid, training dashed, reversed validation dotted.

    log: the path of a log.jsonl, its lines as dicts, or a mapping from names to either, to compare models. A repeated
    epoch counts as its last line. ValueError for a log without an epoch.
    """
    logs = {name: _epochs(lines) for name, lines in (log if isinstance(log, Mapping) else {"": log}).items()}
    with _styled() as plt:
        figure, (losses, scores) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
        parts = (
            (losses, "val_loss", "validation", "-"), (losses, "train_loss", "training", "--"),
            (scores, "val_top1", "validation", "-"), (scores, "train_accuracy", "training", "--"),
            (scores, "val_top1_reversed", "validation, input reversed", ":"),
        )  # fmt: skip
        for (name, lines), colour in zip(logs.items(), CYCLE * len(logs), strict=False):
            for axes, key, words, dashes in parts:
                points = [(line["epoch"], line[key]) for line in lines if line.get(key) is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), color=colour, linestyle=dashes,
                              marker="o" if len(points) == 1 else None, label=f"{name} {words}".strip())
        losses.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
        losses.set_ylim(bottom=0)
        scores.set(xlabel="epoch", ylabel="share of clips", title="Top-1", ylim=(0, 1.02))
        for axes in (losses, scores):
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*scores.get_legend_handles_labels(), loc="outside lower center", ncols=3 if len(logs) == 1 else 2)
    return figure


def mask_bars(masks, truth=None, names: Sequence[str] | None = None, *, snap: float = 0.5):
    """Draw masks over time, one row a clip; bars are filled above `snap` and hollow below.

    Args:
        masks: (N,T) or (T) in [0,1], or a mapping from names of the rows to (T).
        truth: the interval in which something happens, (first, end) in frames, end excluded, fractions allowed: one
            for all rows, or one for each, None where unknown.
        names: of the rows.
        snap: a frame is on above this.
    """
    from matplotlib.patches import Patch

    if isinstance(masks, Mapping):
        names, masks = list(masks), np.stack([_array(mask) for mask in masks.values()])
    masks = np.atleast_2d(_array(masks))
    num_clips, num_frames = masks.shape
    if truth is None or (len(truth) == 2 and np.ndim(truth[0]) == 0):
        truth = [truth] * num_clips
    if len(truth) != num_clips:
        raise ValueError(f"truth: expected one interval for each of {num_clips} masks, got {len(truth)}")
    with _styled() as plt:
        figure, rows = plt.subplots(num_clips, 1, figsize=(WIDTH, 0.7 + 0.55 * num_clips), sharex=True, squeeze=False)
        for row, (axes, mask, interval) in enumerate(zip(rows[:, 0], masks, truth, strict=True)):
            axes.bar(np.arange(1, num_frames + 1), mask, width=0.86, edgecolor=COLOURS["on"], linewidth=1.1,
                     color=[COLOURS["on"] if value > snap else "white" for value in mask])
            if interval is not None:
                band = interval[0] + 0.5, interval[1] + 0.5
                axes.axvspan(*band, facecolor="none", edgecolor=COLOURS["truth"], hatch="////", zorder=3)
                axes.axvspan(*band, facecolor=COLOURS["truth"], alpha=0.15, zorder=0)
            axes.axhline(snap, color="#555555", linewidth=0.8, linestyle=":")
            axes.set(ylim=(0, 1.05), xlim=(0.4, num_frames + 0.6), yticks=[0, 1])
            axes.grid(False)
            if names is not None:
                axes.set_ylabel(names[row], rotation=0, ha="right", va="center")
        axes.set(xlabel="frame", xticks=range(1, num_frames + 1, max(1, num_frames // 16)))
        handles = [Patch(facecolor=COLOURS["on"], edgecolor=COLOURS["on"], label="on"),
                   Patch(facecolor="white", edgecolor=COLOURS["on"], label="off")]
        if any(interval is not None for interval in truth):
            handles.append(Patch(facecolor="#D9F0E9", edgecolor=COLOURS["truth"], hatch="////",
                                 label="something happens"))
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def stages(networks: Mapping[str, Sequence]):
    """Draw each network as a row of stages, every time step a sheet as tall as the square root of its maps' rows.

    networks: name -> `architecture.layer_summary(...)`. Below a stage stand its name and its maps, as
    channels @ steps × rows × columns.
    """
    from matplotlib.patches import Patch, Rectangle

    with _styled() as plt:
        figure, rows = plt.subplots(len(networks), 1, figsize=(WIDTH, 3.0 * len(networks)), squeeze=False)
        for axes, (name, parts) in zip(rows[:, 0], networks.items(), strict=True):
            maps = [part.after for part in parts if len(part.after) == 4]
            tallest, gap = max(np.sqrt(size[2]) for size in maps), 0.62 / max(size[1] for size in maps)
            for x, part in enumerate(parts):
                channels, steps, side = part.after[:3] if len(part.after) == 4 else (part.after[0], 1, 1)
                height, (colour, hatch) = max(np.sqrt(side) / tallest, 0.08), STAGES[part.kind]
                for step in range(steps - 1, -1, -1):
                    corner = x - 0.36 + step * gap, -height / 2 + step * gap * 0.35
                    axes.add_patch(Rectangle(corner, 0.12, height, hatch=hatch if step == 0 else None,
                                             facecolor=colour, edgecolor="white", linewidth=0.5))
                sizes = f"{channels:,} @ " + "×".join(map(str, part.after[1:])) if steps > 1 else f"{channels}"
                axes.text(x - 0.1, -0.66, f"{part.name}\n{sizes}", rotation=90, ha="center", va="top", fontsize=7.5)
            axes.set(xlim=(-0.6, len(parts) - 0.3), ylim=(-1.95, 0.82), title=name, aspect="auto")
            axes.set_axis_off()
        kinds = dict.fromkeys(part.kind for parts in networks.values() for part in parts)
        handles = [Patch(facecolor=STAGES[kind][0], edgecolor="white", hatch=STAGES[kind][1], label=kind)
                   for kind in kinds]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def cells(frame: np.ndarray, grids: Mapping[str, tuple[int, int]]):
    """Draw a frame (H,W,3) once for each (rows, columns) of map cells, with the cells' borders."""
    with _styled() as plt:
        size = WIDTH, WIDTH / len(grids) * frame.shape[0] / frame.shape[1] + 0.3
        figure, row = plt.subplots(1, len(grids), figsize=size, squeeze=False)
        for axes, (name, (down, across)) in zip(row[0], grids.items(), strict=True):
            axes.imshow(frame, extent=(0, across, down, 0), interpolation="nearest", aspect="auto")
            axes.set(xticks=range(across + 1), yticks=range(down + 1), title=name)
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
            axes.set_axisbelow(False)
            axes.grid(True, color="white", linewidth=1.4)
    return figure


def f1_bars(forwards: Sequence[float], backwards: Sequence[float], classes: Sequence[str]):
    """Draw the F1 (K) of every class as two bars: clips played forwards, and reversed."""
    with _styled() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 0.42 * len(classes) + 1))
        places = np.arange(len(classes))
        axes.barh(places - 0.2, forwards, 0.38, color=CYCLE[0], label="as filmed")
        axes.barh(places + 0.2, backwards, 0.38, color="white", edgecolor=CYCLE[1], hatch="////",
                  label="reversed in time")
        axes.set(yticks=places, yticklabels=[textwrap.fill(name, 36) for name in classes], xlim=(0, 1), xlabel="F1",
                 ylim=(len(classes) - 0.5, -0.5))
        axes.tick_params(axis="y", labelsize=8.5, length=0)
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]):
    """Draw a confusion matrix (K,K), rows the true class, with the counts inside."""
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with _styled() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 0.4 * len(classes) + 0.7))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=9,
                      color="white" if shares[i, j] > 0.5 else "black")
        numbers = range(len(classes))
        names = [f"{textwrap.fill(name, 36)}  {k + 1}" for k, name in enumerate(classes)]
        axes.set(xticks=numbers, xticklabels=[k + 1 for k in numbers], yticks=numbers, yticklabels=names,
                 xlabel="guess, by number", ylabel="true class")
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelsize=8.5)
        axes.grid(False)
    return figure


def effects(rows: Sequence, embedded: bool = False):
    """Draw the effect of every `claims.Row`, to the right where it agrees with the claim.

    embedded: the rows are about the embedded data, which the labels then name.
    """
    with _styled() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 0.4 * len(rows) + 1))
        for place, row in enumerate(rows):
            mark, colour = VERDICTS[row.verdict.word]
            along = row.result.effect * row.claim.side
            axes.plot([0, along], [place, place], color=colour, linestyle="-", linewidth=1, zorder=1)
            axes.plot(along, place, mark, color=colour, markersize=8, label=row.verdict.word,
                      markerfacecolor="white" if row.verdict.word == "not decided" else colour)
        words = [row.claim.embedded if embedded else row.claim.words for row in rows]
        words = [text.replace("Something-Something", "Something").removeprefix("On ") for text in words]
        axes.set(yticks=range(len(rows)), yticklabels=[textwrap.fill(text, 48) for text in words], xlim=(-1.08, 1.08))
        axes.set_xlabel("against the claim   ←   effect   →   as claimed")
        axes.tick_params(axis="y", labelsize=8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.invert_yaxis()
        handles, labels = axes.get_legend_handles_labels()
        kept = dict(zip(labels, handles, strict=True))
        figure.legend(kept.values(), kept, loc="outside lower center", ncols=3)
    return figure


def against(panels: Mapping[str, Mapping[str, tuple]], names: Sequence[str] = ("I3D", "C-LSTM"), *,
            log: bool = False):
    """Draw one mark a clip: a number under the first model (across) against that under the second (up).

    Both are equal on the dotted line. Clips that fall on the same point make a larger mark.

    Args:
        panels: title -> {name of a series of clips: (values (N) of the first model, values (N) of the second)}.
        names: of the two models.
        log: both scales logarithmic; values must be above 0.
    """
    series = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    drawn = {}
    with _styled() as plt:
        figure, row = plt.subplots(1, len(panels), figsize=(WIDTH, WIDTH / max(2, len(panels)) + 0.7), squeeze=False)
        for axes, (title, panel) in zip(row[0], panels.items(), strict=True):
            pairs = []
            for name, (first, second) in panel.items():
                first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
                if first.shape != second.shape or first.ndim != 1 or not len(first):
                    raise ValueError(f"{title}, {name}: expected one value a clip for both models, the same clips, got "
                                     f"shapes {first.shape} and {second.shape}")
                pairs.append(np.column_stack([first, second]))
                points, counts = np.unique(pairs[-1].round(6), axis=0, return_counts=True)
                k = series.index(name)
                drawn[name] = axes.scatter(*points.T, s=28 * counts, marker=MARKS[k % len(MARKS)],
                                           color=CYCLE[k % len(CYCLE)], alpha=0.75, label=name, zorder=3)
            low, high = np.concatenate(pairs).min(), np.concatenate(pairs).max()
            edge = 0.08 * (high - low) or 1
            ends = (low / 1.5, high * 1.5) if log else (low - edge, high + edge)
            if log:
                axes.set(xscale="log", yscale="log")
            axes.plot(ends, ends, color="#555555", linewidth=1, linestyle=":")
            axes.set(xlim=ends, ylim=ends, xlabel=names[0], ylabel=names[1], aspect="equal")
            axes.set_title(title, fontsize=10)
        if len(series) > 1:
            figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=len(series))
    return figure


def _epochs(log) -> list[dict]:
    """A log's lines in the order of the epochs."""
    lines = training_log.read(log) if isinstance(log, str | Path) else list(log)
    epochs = {line["epoch"]: line for line in lines if isinstance(line, Mapping) and "epoch" in line}
    if not epochs:
        where = f" {log}" if isinstance(log, str | Path) else ""
        raise ValueError(f"no epoch in the training log{where}; expected lines of JSON with an 'epoch' each")
    return [epochs[epoch] for epoch in sorted(epochs)]


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


@contextlib.contextmanager
def _styled():
    """Yield pyplot with the book's style; close the figures made inside, so that a notebook shows them once."""
    import matplotlib.pyplot as plt

    before = set(plt.get_fignums())
    with plt.rc_context():
        style()
        try:
            yield plt
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
