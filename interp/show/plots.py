"""Plots with matplotlib in one style: training curves, masks, networks, F1, confusions, claims, pairs of models.

Colours after Okabe and Ito, "Color Universal Design", 2008; each difference in colour is one in form too. Labels count
frames from 1. Every function returns the matplotlib Figure.
"""

import contextlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from interp.training import log as training_log

CYCLE = ("#000000", "#56B4E9", "#CC79A7", "#E69F00", "#7F7F7F")  # of all that COLOURS does not name
COLOURS = {"i3d": "#0072B2", "clstm": "#D55E00", "truth": "#009E73", "on": "#5B1A8B", "off": "#555555"}
WIDTH = 7.2  # inches; a book page's column
MARKS = ("o", "s", "^", "D")
_STAGES = {"convolution": (CYCLE[1], None), "ConvLSTM": (CYCLE[1], None), "max pooling": (CYCLE[3], "////"),
           "Inception": (CYCLE[2], None), "pooling, normalisation": (CYCLE[3], "////"),
           "classifier": (CYCLE[4], "....")}  # kind of stage: colour, hatch
_VERDICTS = {"supported": ("o", CYCLE[0], CYCLE[0]), "contradicted": ("X", CYCLE[2], CYCLE[2]),
             "not decided": ("o", CYCLE[4], "white")}  # verdict: mark, colour, filling
_STYLE = Path(__file__).parent / "static" / "book.mplstyle"


def style() -> None:
    """Set matplotlib's defaults for the whole book, as static/book.mplstyle lists them."""
    import matplotlib.style

    matplotlib.style.use(_STYLE)


def curves(log):
    """Draw loss and top-1 over the epochs of a log (a path or its epochs), or of several, {name: log}."""
    logs = {name: training_log.read(epochs) if isinstance(epochs, str | Path) else epochs
            for name, epochs in (log if isinstance(log, Mapping) else {"": log}).items()}
    if not all(logs.values()):
        raise ValueError("expected logs of at least one epoch, got one without; train for longer")
    with _drawing((WIDTH, 3.2), columns=2) as (figure, ((losses, scores),)):
        parts = ((losses, "val_loss", "validation", "-"), (losses, "train_loss", "training", "--"),
                 (scores, "val_top1", "validation", "-"), (scores, "train_accuracy", "training", "--"),
                 (scores, "val_top1_reversed", "validation, input reversed", ":"))
        for name, lines in logs.items():
            colour = COLOURS.get({"I3D": "i3d", "C-LSTM": "clstm"}.get(name), CYCLE[0])
            for axes, key, words, dashes in parts:
                points = [(line["epoch"], line[key]) for line in lines if line.get(key) is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), color=colour, linestyle=dashes,
                              marker="o" if len(points) == 1 else None, label=f"{name} {words}".strip())
        losses.set(xlabel="epoch", ylabel="cross-entropy", title="Loss", ylim=(0, None))
        scores.set(xlabel="epoch", ylabel="share of clips", title="Top-1", ylim=(0, 1.02))
        for axes in (losses, scores):
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*scores.get_legend_handles_labels(), loc="outside lower center", ncols=3 if len(logs) == 1 else 2)
    return figure


def mask_bars(masks: Iterable[tuple[str, torch.Tensor]], truth=None):
    """Draw (name, mask (T) in [0,1]) as rows over time; bars are filled where a frame is on, above 0.5, else hollow.

    truth: (first, end) of what happens, in frames, end excluded; for all rows, or a list with one for each, or None.
    """
    from matplotlib.patches import Patch

    names, masks = zip(*masks, strict=True)
    num_clips, num_frames = len(masks), len(masks[0])
    intervals = truth if isinstance(truth, list) else [truth] * num_clips
    with _drawing((WIDTH, 0.7 + 0.55 * num_clips), rows=num_clips, sharex=True) as (figure, rows):
        for axes, mask, name, interval in zip(rows[:, 0], masks, names, intervals, strict=True):
            axes.bar(np.arange(1, num_frames + 1), mask.cpu(), width=0.86, edgecolor=COLOURS["on"], linewidth=1.1,
                     color=[COLOURS["on"] if value > 0.5 else "white" for value in mask])
            if interval is not None:
                band = interval[0] + 0.5, interval[1] + 0.5
                axes.axvspan(*band, facecolor="none", edgecolor=COLOURS["truth"], hatch="////", zorder=3)
                axes.axvspan(*band, facecolor=COLOURS["truth"], alpha=0.15, zorder=0)
            axes.axhline(0.5, color="#555555", linewidth=0.8, linestyle=":")
            axes.set(ylim=(0, 1.05), xlim=(0.4, num_frames + 0.6), yticks=[0, 1])
            axes.grid(False)
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set(xlabel="frame", xticks=range(1, num_frames + 1, max(1, num_frames // 16)))
        handles = [Patch(facecolor=face, edgecolor=COLOURS["on"], label=label)
                   for label, face in (("on", COLOURS["on"]), ("off", "white"))]
        if any(intervals):
            handles += [Patch(facecolor="#D9F0E9", edgecolor=COLOURS["truth"], hatch="////", label="something happens")]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def stages(networks: Mapping[str, Sequence]):
    """Draw each network as a row of stages, every time step a sheet as tall as the square root of its maps' rows.

    networks: name -> `architecture.layer_summary(...)`. Below a stage: its name and channels @ steps × rows × columns.
    """
    from matplotlib.patches import Patch, Rectangle

    with _drawing((WIDTH, 3.0 * len(networks)), rows=len(networks)) as (figure, rows):
        for axes, (name, parts) in zip(rows[:, 0], networks.items(), strict=True):
            maps = [part.after for part in parts if len(part.after) == 4]
            tallest, gap = max(np.sqrt(size[2]) for size in maps), 0.62 / max(size[1] for size in maps)
            for x, part in enumerate(parts):
                channels, steps, side = part.after[:3] if len(part.after) == 4 else (part.after[0], 1, 1)
                height, (colour, hatch) = max(np.sqrt(side) / tallest, 0.08), _STAGES[part.kind]
                for step in range(steps - 1, -1, -1):
                    corner = x - 0.36 + step * gap, -height / 2 + step * gap * 0.35
                    axes.add_patch(Rectangle(corner, 0.12, height, hatch=hatch if step == 0 else None,
                                             facecolor=colour, edgecolor="white", linewidth=0.5))
                sizes = f"{channels:,} @ " + "×".join(map(str, part.after[1:])) if steps > 1 else f"{channels}"
                axes.text(x - 0.1, -0.66, f"{part.name}\n{sizes}", rotation=90, ha="center", va="top", fontsize=7.5)
            axes.set(xlim=(-0.6, len(parts) - 0.3), ylim=(-1.95, 0.82), title=name, aspect="auto")
            axes.set_axis_off()
        handles = [Patch(facecolor=_STAGES[kind][0], edgecolor="white", hatch=_STAGES[kind][1], label=kind)
                   for kind in dict.fromkeys(part.kind for parts in networks.values() for part in parts)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def cells(frame: np.ndarray, grids: Mapping[str, tuple[int, int]]):
    """Draw a frame (H,W,3) once for each (rows, columns) of map cells, with the cells' borders."""
    size = WIDTH, WIDTH / len(grids) * frame.shape[0] / frame.shape[1] + 0.3
    with _drawing(size, columns=len(grids)) as (figure, (row,)):
        for axes, (name, (down, across)) in zip(row, grids.items(), strict=True):
            axes.imshow(frame, extent=(0, across, down, 0), interpolation="nearest", aspect="auto")
            axes.set(xticks=range(across + 1), yticks=range(down + 1), title=name)
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
            axes.set_axisbelow(False)
            axes.grid(True, color="white", linewidth=1.4)
    return figure


def f1_bars(forwards: Sequence[float], backwards: Sequence[float], classes: Sequence[str]):
    """Draw the F1 (K) of every class as two bars: clips played forwards, and reversed."""
    with _drawing((WIDTH, 0.42 * len(classes) + 1)) as (figure, ((axes,),)):
        places, hollow = np.arange(len(classes)), {"color": "white", "edgecolor": CYCLE[4], "hatch": "////"}
        axes.barh(places - 0.2, forwards, 0.38, color=CYCLE[4], label="as filmed")
        axes.barh(places + 0.2, backwards, 0.38, label="reversed in time", **hollow)
        axes.set(yticks=places, yticklabels=[textwrap.fill(name, 36) for name in classes], xlim=(0, 1), xlabel="F1",
                 ylim=(len(classes) - 0.5, -0.5))
        axes.tick_params(axis="y", labelsize=8.5, length=0)
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]):
    """Draw a confusion matrix (K,K), rows the true class, with the counts inside."""
    counts, numbers = np.asarray(counts), range(len(classes))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with _drawing((WIDTH, 0.4 * len(classes) + 0.7)) as (figure, ((axes,),)):
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=9,
                      color="white" if shares[i, j] > 0.5 else "black")
        names = [f"{textwrap.fill(name, 36)}  {k + 1}" for k, name in enumerate(classes)]
        axes.set(xticks=numbers, xticklabels=[k + 1 for k in numbers], yticks=numbers, yticklabels=names,
                 xlabel="guess, by number", ylabel="true class")
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelsize=8.5)
        axes.grid(False)
    return figure


def effects(rows: Sequence, embedded: bool = False):
    """Draw each `claims.Row`'s difference in units of the smallest that matters, to the right as claimed.

    embedded: the labels name the embedded data.
    """
    drawn = {}
    with _drawing((WIDTH, 0.4 * len(rows) + 1)) as (figure, ((axes,),)):
        for place, row in enumerate(rows):
            mark, colour, filling = _VERDICTS[row.verdict]
            middle, *ends = (value * row.claim.side / row.claim.measure.least for value in row.result[2:5])
            axes.plot(ends, [place, place], color=colour, linestyle="-", linewidth=1.5, zorder=1)
            point = axes.plot(middle, place, mark, color=colour, markersize=8, markerfacecolor=filling)
            drawn[row.verdict] = point[0]
        words = [row.claim.embedded if embedded else row.claim.words for row in rows]
        words = [text.replace("Something-Something", "Something").removeprefix("On ") for text in words]
        axes.set(yticks=range(len(rows)), yticklabels=[textwrap.fill(text, 48) for text in words],
                 xlabel="against the claim   ←   difference in units of the smallest that matters   →   as claimed")
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(ticks := (-10, -3, -1, 0, 1, 3, 10), [f"{n}".replace("-", "\N{MINUS SIGN}") for n in ticks])
        axes.axvspan(-1, 1, color="#eeeeee", zorder=0)
        axes.tick_params(axis="y", labelsize=8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.invert_yaxis()
        figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=3)
    return figure


def against(panels: Mapping[str, Mapping[str, tuple]], names: Sequence[str] = ("I3D", "C-LSTM"), log: bool = False):
    """Draw a mark a clip, larger where several coincide: a number under the first model (across) and the second (up).

    panels: title -> {name of a series of clips: (values (N) of the first model, values (N) of the second)}.
    """
    drawn = {}
    with _drawing((WIDTH, WIDTH / max(2, len(panels)) + 0.7), columns=len(panels)) as (figure, (row,)):
        for axes, (title, panel) in zip(row, panels.items(), strict=True):
            pairs = {name: np.column_stack(values).astype(float) for name, values in panel.items()}  # (N, 2)
            for name, values in pairs.items():
                points, counts = np.unique(values.round(6), axis=0, return_counts=True)
                k = list(drawn).index(name) if name in drawn else len(drawn)
                drawn[name] = axes.scatter(*points.T, s=28 * counts, marker=MARKS[k % len(MARKS)],
                                           color=CYCLE[k % len(CYCLE)], alpha=0.75, label=name, zorder=3)
            values, scale = np.concatenate(list(pairs.values())), "log" if log else "linear"
            edge = 0.08 * np.ptp(values) or 1
            ends = (values.min() / 1.5, values.max() * 1.5) if log else (values.min() - edge, values.max() + edge)
            axes.plot(ends, ends, color="#555555", linewidth=1, linestyle=":")
            axes.set(xscale=scale, yscale=scale, xlim=ends, ylim=ends, xlabel=names[0], ylabel=names[1], aspect="equal")
            axes.set_title(title, fontsize=10)
        if len(drawn) > 1:
            figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=len(drawn))
    return figure


@contextlib.contextmanager
def _drawing(size: tuple[float, float], rows: int = 1, columns: int = 1, **options) -> Iterator[tuple]:
    """A figure in the book's style and its axes (rows, columns); closed, so that a notebook shows it once."""
    import matplotlib.pyplot as plt

    with plt.style.context(_STYLE):
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
        plt.close(figure)
        yield figure, grid
