"""A picture for each sanity check, of one network or of several side by side.

Source: this project's own. Colours and marks as in `plots`. Axes: values one a clip, (B,), taken from the records that
`checks.run` writes, so that a chapter draws what was shipped.

    figure = draw("random", {"I3D": record_i3d, "C-LSTM": record_clstm})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from interp.plots import COLOURS, CYCLE, WIDTH, _styled

CHANCE = {"color": "black", "linestyle": ":", "linewidth": 1.5}  # a stroke where chance would be
MARKS = ("o", "s", "^", "D", "v")
RIVALS = {"found": "found mask", "window": "best window", "central": "central start",
          "difference": "frame difference", "chance": "chance"}  # fmt: skip


def draw(check: str, records: Mapping[str, Mapping[str, Any]]):
    """The matplotlib Figure of a check, one panel or one colour a network; without a record it says so. ValueError
    for a check without a picture."""
    drawing = {"layers": _layers, "labels": _labels, "random": _random, "rivals": _rivals, "starts": _starts,
               "lambdas": _lambdas, "perturbations": _perturbations, "soft": _soft}  # fmt: skip
    if check not in drawing:
        raise ValueError(f"got the check {check!r}; expected one of {', '.join(drawing)}")
    with _styled() as plt:
        if not records:
            figure, axes = plt.subplots(figsize=(WIDTH, 1))
            axes.set_axis_off()
            axes.text(0.5, 0.5, "not recorded yet", ha="center", va="center", transform=axes.transAxes)
            return figure
        return drawing[check](plt, records)


def _layers(plt, records):
    figure, row = plt.subplots(1, len(records), figsize=(WIDTH, 4.1), sharey=True, squeeze=False)
    for axes, (name, record) in zip(row[0], records.items(), strict=True):
        numbers, clips = record["numbers"], record["clips"]
        stages = np.arange(1, len(numbers["stages"]) + 1)
        for kind, colour, mark in (("maps", CYCLE[1], "s"), ("masks", CYCLE[0], "o")):
            middle = numbers["median"][kind]
            there = [place for place, one in enumerate(middle) if one is not None]
            quarters = np.nanpercentile(np.array(clips[kind], dtype=float), (25, 75), axis=0)
            axes.fill_between(stages[there], *quarters, color=colour, alpha=0.15, linewidth=0)
            axes.plot(stages[there], [middle[i] for i in there], mark, color=colour, linestyle="-", label=kind)
            if numbers["chance"][kind] is not None:
                axes.axhline(numbers["chance"][kind], color=colour, linewidth=1, linestyle=":",
                             label=f"{kind} of different clips")  # fmt: skip
        axes.set(xticks=stages, xlabel="random from here up to the classifier", title=name, ylim=(-1.05, 1.05))
        axes.set_xticklabels(numbers["stages"], rotation=90, fontsize=7.5)
    row[0][0].set_ylabel("rank correlation")
    figure.legend(*row[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _labels(plt, records):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), gridspec_kw={"width_ratios": (1.1, 1)})
    ticks, known = [], {}
    for k, (name, record) in enumerate(records.items()):
        for j, kind in enumerate(("masks", "maps")):
            _cloud(left, 2 * k + j, record["clips"][kind], CYCLE[j], MARKS[j])
            chance = record["numbers"]["chance"][kind]
            if chance is not None:
                left.plot([2 * k + j - 0.35, 2 * k + j + 0.35], [chance] * 2, **CHANCE)
            ticks.append(f"{name}\n{kind}")
        if "true_agreement" in record["numbers"]:
            known[name] = record["numbers"]
    left.set(xticks=range(len(ticks)), ylim=(-1.05, 1.05), title="rank correlation", xlim=(-0.6, len(ticks) - 0.4))
    left.set_xticklabels(ticks)
    if not known:
        right.set_axis_off()
        right.text(0.5, 0.5, "no known interval", ha="center", va="center", transform=right.transAxes)
    for k, numbers in enumerate(known.values()):
        for j, which in enumerate(("true", "permuted")):
            place, colour = k + 0.24 * (j - 0.5), CYCLE[3 * j]
            _error(right, place, numbers[f"{which}_agreement"], colour, MARKS[j], f"{which} labels" if k == 0 else None)
            right.plot([place - 0.1, place + 0.1], [numbers[f"{which}_chance"]["mean"]] * 2, **CHANCE,
                       label="chance" if k == 0 and j == 1 else None)
    if known:
        right.set(xticks=range(len(known)), ylim=(0, 1), xlim=(-0.6, len(known) - 0.4))
        right.set_title("agreement with the interval")
        right.set_xticklabels(list(known))
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _random(plt, records):
    figure, row = plt.subplots(1, len(records), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    for axes, (name, record) in zip(row[0], records.items(), strict=True):
        clips = record["clips"]
        order = np.argsort([np.inf if one is None else one for one in clips["found"]])
        for kind, colour, mark in (("scattered", CYCLE[4], "^"), ("runs", CYCLE[2], "s")):
            values = np.array(clips[f"score_{kind}"], dtype=float)[order]
            axes.plot(np.arange(len(order)) + 1, values, mark, color=colour, linestyle="", markersize=5,
                      label={"scattered": "scattered, mean", "runs": "single runs, mean"}[kind])
        axes.plot(np.arange(len(order)) + 1, np.array(clips["found"], dtype=float)[order], "o", color=COLOURS["on"],
                  linestyle="", markersize=6, label="found mask")
        beaten = record["numbers"]["beaten"]
        axes.set(xlabel="clip, by the found mask's score", title=name, ylim=(-0.02, 1.02))
        axes.xaxis.get_major_locator().set_params(integer=True)
        words = f"beats {_share(beaten['scattered'])} of scattered,\n{_share(beaten['runs'])} of runs (median)"
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(0.02, 0.98, words, transform=axes.transAxes, va="top", fontsize=9, bbox=paper)
    row[0][0].set_ylabel("score when frozen")
    figure.legend(*row[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _rivals(plt, records):
    keys = [("score", "score when frozen"), ("loss", "loss"), ("agreement", "agreement")]
    if not any("found_agreement" in record["numbers"] for record in records.values()):
        keys = keys[:2]
    figure, panes = plt.subplots(1, len(keys), figsize=(WIDTH, 3.2), sharey=True)
    for axes, (key, title) in zip(panes, keys, strict=True):
        for k, (name, record) in enumerate(records.items()):
            label = name
            for place, rival in enumerate(RIVALS):
                number = record["numbers"].get(f"{rival}_{key}")
                if number is not None and number["mean"] is not None:
                    height = place + 0.24 * (k - (len(records) - 1) / 2)
                    _error(axes, height, number, CYCLE[k], MARKS[k], label, across=True)
                    label = None
        axes.set(title=title, yticks=range(len(RIVALS)), xlim=(0, None))
        axes.set_yticklabels(list(RIVALS.values()))
    panes[0].invert_yaxis()
    figure.legend(*panes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(records))
    return figure


def _starts(plt, records):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for k, (name, record) in enumerate(records.items()):
        clips, numbers = record["clips"], record["numbers"]
        _cloud(left, k, clips["overlap"], CYCLE[k], MARKS[k])
        chance = numbers["chance"]["mean"]
        left.plot([k - 0.35, k + 0.35], [chance] * 2, **CHANCE)
        for which, words, fill in (("central", "central start", "white"), ("window", "best window", CYCLE[k])):
            right.scatter(clips["least"], clips[f"{which}_loss"], s=26, marker=MARKS[k], facecolor=fill,
                          edgecolor=CYCLE[k], label=f"{name}, {words}", zorder=3)  # fmt: skip
    left.set(xticks=range(len(records)), ylim=(0, 1.03), xlim=(-0.6, len(records) - 0.4))
    left.set_title("overlap of random starts")
    left.set_xticklabels(list(records))
    ends = (0, 1.05 * max(*right.get_xlim(), *right.get_ylim()))
    right.plot(ends, ends, color="#555555", linewidth=1, linestyle=":")
    right.set(xlim=ends, ylim=ends, xlabel="best of the random starts", ylabel="from a rule", title="loss reached")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _lambdas(plt, records):
    names = [name for name in next(iter(records.values()))["numbers"] if name != "length"]
    titles = {"change": "change of length, frames", "overlap": "overlap with the mask unchanged"}
    return _by_variant(plt, records, names, titles, {"overlap": (0, 1.02)})


def _perturbations(plt, records):
    names = [name for name in next(iter(records.values()))["numbers"]]
    titles = {"overlap": "overlap with freezing", "drop": "drop of the score", "agreement": "agreement"}
    if not any("agreement" in record["numbers"][names[0]] for record in records.values()):
        del titles["agreement"]
    chance = {"overlap": "strangers", "agreement": "chance"}
    return _by_variant(plt, records, names, titles, {key: (0, 1.02) for key in titles}, chance)


def _soft(plt, records):
    figure, row = plt.subplots(1, len(records), figsize=(WIDTH, WIDTH / max(2, len(records)) + 0.4), squeeze=False)
    for k, (axes, (name, record)) in enumerate(zip(row[0], records.items(), strict=True)):
        clips = record["clips"]
        kept = np.array(clips["kept"], dtype=float) >= 0.9
        for good, words, fill in ((True, "keeps 0.9 of the drop", CYCLE[k]), (False, "keeps less", "white")):
            chosen = np.flatnonzero(kept == good)
            axes.scatter(np.array(clips["soft"])[chosen], np.array(clips["snapped"])[chosen], s=34, marker=MARKS[k],
                         facecolor=fill, edgecolor=CYCLE[k], label=words, zorder=3)
        axes.plot([0, 1], [0, 1], color="#555555", linewidth=1, linestyle=":")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=name, xlabel="score under the soft mask", aspect="equal")
        axes.legend(loc="upper right", fontsize=8.5)
    row[0][0].set_ylabel("score under the snapped mask")
    return figure


def _by_variant(plt, records, names, titles, limits, chance=None):
    """One panel a number, one line a variant, one mark a network; a dotted stroke where chance is known."""
    figure, panes = plt.subplots(1, len(titles), figsize=(WIDTH, 0.42 * len(names) + 1.5), sharey=True)
    for axes, (key, title) in zip(panes, titles.items(), strict=True):
        for k, (name, record) in enumerate(records.items()):
            label = name
            for place, variant in enumerate(names):
                own, height = record["numbers"][variant], place + 0.26 * (k - (len(records) - 1) / 2)
                if own.get(key) is None or own[key]["mean"] is None:
                    continue
                _error(axes, height, own[key], CYCLE[k], MARKS[k], label, across=True)
                label = None
                if chance and key in chance and not (key == "overlap" and place == 0):
                    stroke = [own[chance[key]]["mean"]] * 2
                    axes.plot(stroke, [height - 0.12, height + 0.12], **CHANCE)
        axes.set(yticks=range(len(names)), xlim=limits.get(key))
        axes.set_title(title, fontsize=10)
        axes.set_yticklabels([name.replace("lambda1", "λ₁").replace("lambda2", "λ₂") for name in names])
    if "change" in titles:
        panes[0].axvline(0, color="black", linewidth=0.8, linestyle="-")
    panes[0].invert_yaxis()
    figure.legend(*panes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(records))
    return figure


def _cloud(axes, place: float, values, colour: str, mark: str) -> None:
    """The clips' values around `place`, side by side, and their median as a stroke."""
    values = np.array([one for one in values if one is not None], dtype=float)
    values = values[np.isfinite(values)]
    aside = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.5
    axes.plot(place + aside, values, mark, color=colour, linestyle="", markersize=5, alpha=0.65)
    if len(values):
        axes.plot([place - 0.35, place + 0.35], [np.median(values)] * 2, color=colour, linestyle="-", linewidth=2.5)


def _error(axes, place: float, number, colour: str, mark: str, label: str | None, across: bool = False) -> None:
    """A mean with its interval, along y, or `across` along x."""
    if number["low"] is not None:
        line = [place, place], [number["low"], number["high"]]
        axes.plot(*(line[::-1] if across else line), color=colour, linestyle="-", linewidth=1.6)
    point = (number["mean"], place) if across else (place, number["mean"])
    axes.plot(*point, mark, color=colour, linestyle="", markersize=7, label=label)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"
