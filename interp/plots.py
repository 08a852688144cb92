"""Plots made with matplotlib, in one style: training curves, film strips, masks beside the truth, a search.

Colours after Okabe and Ito, "Color Universal Design", 2008; each difference in colour is one in form too.
A mask is float in [0, 1], axis (T); masks (N, T); a clip (C, T, H, W) in [0, 1]. Labels count frames from 1.

    from interp import figures
    figures.style()
    figures.curves({"I3D": "runs/i3d/log.jsonl", "C-LSTM": "runs/clstm/log.jsonl"})
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from interp import train_log

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
COLOURS = {"on": "#D55E00", "off": "#0072B2", "i3d": "#0072B2", "clstm": "#D55E00", "truth": "#009E73"}
WIDTH = 7.2  # inches; a book page's column


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


def curves(log, *, title: str | None = None):
    """Draw loss and top-1 over the epochs from a training log; returns the matplotlib Figure.

    log: path of a log.jsonl, a list of its lines as dicts, or a mapping from a name to either, for two models
    in one figure. Validation is drawn full, training dashed, validation with the input reversed dotted. A
    line cut short by an interruption is left out; a repeated epoch counts as its last line. ValueError where
    nothing is left.
    """
    logs = {name: _epochs(one) for name, one in (log if isinstance(log, Mapping) else {"": log}).items()}
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
                    marker = "o" if len(points) == 1 else None
                    axes.plot(*zip(*points, strict=True), color=colour, linestyle=dashes, marker=marker,
                              label=f"{name} {words}".strip())
        losses.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
        scores.set(xlabel="epoch", ylabel="share of clips", title="Top-1", ylim=(0, 1.02))
        for axes in (losses, scores):
            axes.xaxis.get_major_locator().set_params(integer=True)
        losses.set_ylim(bottom=0)
        handles, labels = scores.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(logs) == 1 else 2)
        if title:
            figure.suptitle(title)
    return figure


def _epochs(log) -> list[dict]:
    """A log's lines in the order of the epochs; see `curves`."""
    lines = train_log.read(log) if isinstance(log, str | Path) else list(log)
    epochs = {line["epoch"]: line for line in lines if isinstance(line, Mapping) and "epoch" in line}
    if not epochs:
        where = f" {log}" if isinstance(log, str | Path) else ""
        raise ValueError(f"no epoch in the training log{where}; expected lines of JSON with an 'epoch' each")
    return [epochs[epoch] for epoch in sorted(epochs)]


def mask_bars(masks, truth=None, names: Sequence[str] | None = None, *, snap: float = 0.5):
    """Draw masks over time, one row a clip, with the interval in which something happens; returns a Figure.

    masks: (N, T) or (T,) in [0, 1], or a mapping from a name to (T,). truth: one (first, end) a row, or None
    where unknown, in frames: first included, end excluded, fractions allowed. A bar's height is the mask's
    value; it is filled above `snap` and hollow below; the known interval is a hatched band.
    """
    if isinstance(masks, Mapping):
        names, masks = list(masks), np.stack([_array(mask) for mask in masks.values()])
    masks = np.atleast_2d(_array(masks))
    num_clips, num_frames = masks.shape
    if truth is not None:
        truth = [truth] * num_clips if len(truth) == 2 and np.ndim(truth[0]) == 0 else list(truth)
        if len(truth) != num_clips:
            raise ValueError(f"got {len(truth)} known intervals for {num_clips} masks; give one each")
    with _styled() as plt:
        size = (WIDTH, 0.7 + 0.55 * num_clips)
        figure, rows = plt.subplots(num_clips, 1, figsize=size, sharex=True, squeeze=False)
        for row, (axes, mask) in enumerate(zip(rows[:, 0], masks, strict=True)):
            on = mask > snap
            axes.bar(np.arange(1, num_frames + 1), mask, width=0.86, edgecolor=COLOURS["on"], linewidth=1.1,
                     color=[COLOURS["on"] if one else "white" for one in on])
            if truth is not None and truth[row] is not None:
                band = truth[row][0] + 0.5, truth[row][1] + 0.5
                axes.axvspan(*band, facecolor="none", edgecolor=COLOURS["truth"], hatch="////", zorder=3)
                axes.axvspan(*band, facecolor=COLOURS["truth"], alpha=0.15, zorder=0)
            axes.axhline(snap, color="#555555", linewidth=0.8, linestyle=":")
            axes.set(ylim=(0, 1.05), xlim=(0.4, num_frames + 0.6), yticks=[0, 1])
            axes.grid(False)
            if names is not None:
                axes.set_ylabel(names[row], rotation=0, ha="right", va="center")
        step = max(1, num_frames // 16)
        axes.set(xlabel="frame", xticks=range(1, num_frames + 1, step))
        _legend(figure, plt, truth is not None)
    return figure


def _legend(figure, plt, truth: bool) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=COLOURS["on"], edgecolor=COLOURS["on"], label="on"),
               Patch(facecolor="white", edgecolor=COLOURS["on"], label="off")]
    if truth:
        known = {"facecolor": "#D9F0E9", "edgecolor": COLOURS["truth"], "hatch": "////"}
        handles.append(Patch(**known, label="something happens"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))


def mask_path(masks, losses=None, *, snap: float = 0.5):
    """Draw a search: the mask (dark 0, light 1) at every step, and below it the loss; returns a Figure.

    masks: (steps, T), the mask before each step; or a MaskResult of one clip, whose `path` is drawn where it
    was kept; or an Explanation. Where there is no path the last mask is drawn. losses: (steps,), or
    (N, steps) for several clips; by default the result's own.
    """
    if hasattr(masks, "losses"):
        losses = masks.losses if losses is None else losses
        kept = getattr(masks, "path", None)  # (B, steps+1, T)
        final = masks.masks if hasattr(masks, "masks") else masks.mask[None]  # (B, T)
        masks = None if len(final) > 1 else final if kept is None else kept[0]
    path = None if masks is None else np.atleast_2d(_array(masks))
    losses = None if losses is None else np.atleast_2d(_array(losses))
    if path is None and losses is None:
        raise ValueError("nothing to draw: give the masks of the steps, (steps, T), or the losses, (steps,)")
    with _styled() as plt:
        parts = [part for part in (path, losses) if part is not None]
        heights = [3 if part is path and len(path) > 1 else 1 if part is path else 2.4 for part in parts]
        shape = {"figsize": (WIDTH, 0.8 + 0.75 * sum(heights)), "gridspec_kw": {"height_ratios": heights}}
        swept = path is not None and len(path) > 1
        figure, rows = plt.subplots(len(parts), 1, squeeze=False, sharex=swept, **shape)
        for axes, part in zip(rows[:, 0], parts, strict=True):
            if part is path:
                steps, num_frames = path.shape
                extent = (0, steps, num_frames + 0.5, 0.5) if swept else (0.5, num_frames + 0.5, 1, 0)
                image = axes.imshow(path.T if swept else path, aspect="auto", vmin=0, vmax=1,
                                    interpolation="nearest", extent=extent)
                if swept and path.min() < snap < path.max():  # else there is no line to draw
                    middles = np.arange(steps) + 0.5, np.arange(num_frames) + 1
                    axes.contour(*middles, path.T, [snap], colors="#56B4E9", linewidths=1.2)
                axes.set(**({"ylabel": "frame"} if swept else {"xlabel": "frame", "yticks": []}))
                axes.grid(False)
                figure.colorbar(image, ax=axes, label="mask", ticks=[0, snap, 1], pad=0.01)
            else:
                for clip in losses:
                    axes.plot(np.arange(len(clip)), clip, color=COLOURS["i3d"], linestyle="-",
                              linewidth=2 if len(losses) == 1 else 1, alpha=max(0.25, 1 / len(losses)))
                axes.set(xlabel="step", ylabel="loss")
                axes.set_ylim(bottom=0)
    return figure


def filmstrip(clip, mask=None, *, columns: int = 8, snap: float = 0.5):
    """Draw the frames of a clip (C, T, H, W), `columns` a row; an edge and a dot where the mask is on.

    Returns the matplotlib Figure. `clip` may also be uint8 frames (T, H, W, 3).
    """
    from interp.figures import clip_frames

    frames = _array(clip)
    frames = frames if frames.dtype == np.uint8 else clip_frames(clip)
    on = np.zeros(len(frames), bool) if mask is None else _array(mask) > snap
    if len(on) != len(frames):
        raise ValueError(f"got {len(frames)} frames and a mask of {len(on)}; expected the same number")
    rows = -(-len(frames) // columns)
    height = WIDTH / columns * frames.shape[1] / frames.shape[2] + 0.25
    with _styled() as plt:
        figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, rows * height), squeeze=False)
        for index, axes in enumerate(grid.flat):
            axes.set_axis_off()
            if index >= len(frames):
                continue
            axes.imshow(frames[index], interpolation="nearest")
            words = {"color": COLOURS["on"], "fontweight": "bold"} if on[index] else {}
            label = f"{index + 1} ●" if on[index] else f"{index + 1}"
            axes.set_title(label, fontsize=9, pad=2, loc="center", **words)
            if on[index]:
                axes.set_axis_on()
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
                for spine in axes.spines.values():
                    spine.set(visible=True, color=COLOURS["on"], linewidth=3)
    return figure


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


@contextlib.contextmanager
def _styled():
    """Give pyplot under the book's style, whatever the caller's settings are; figures made inside are closed
    for pyplot, so that a notebook shows them once, as the cell's value."""
    import matplotlib.pyplot as plt

    before = set(plt.get_fignums())
    with plt.rc_context():
        style()
        try:
            yield plt
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
