"""What a training run can say of itself: the log that ships beside the weights, and what the confusions are.

Source: this project's own. Axes: a confusion matrix is K lists of K counts, rows the true class, columns the
guess, as `evaluate` gives it.

>>> from interp import train_report
>>> train_report.confusions([[8, 2], [0, 10]], ["up", "down"])
[Confusion(true='up', guess='down', clips=2, share=0.2)]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interp import train_log
from interp.models import weights
from interp.recipes import MaskRecipe, TrainRecipe


class Confusion(NamedTuple):
    """So many clips of one class were taken for another; share: of the true class's clips."""

    true: str
    guess: str
    clips: int
    share: float


def shipped_log(name: str, data: str = "motion", seed: int = 0) -> Path:
    """The log of the run that made the shipped weights of "i3d" or "clstm"; ValueError if there is none."""
    path = weights.SHIPPED / f"{name}_{data}{f'_seed{seed}' if seed else ''}.jsonl"
    if not path.is_file():
        there = ", ".join(sorted(log.stem for log in weights.SHIPPED.glob("*.jsonl"))) or "none"
        raise ValueError(f"no training log ships for {name!r} on {data!r}, seed {seed} (there are: {there})")
    return path


def facts(log: str | Path) -> dict[str, Any]:
    """A run in one dict: command, clips, epochs, minutes, machine, versions and the scores of its best epoch.

    minutes: of training, without validation. Of equal epochs the one with the smaller loss is the best, as in
    `train`. ValueError where the log has no epoch yet.
    """
    header, epochs = train_log.header(log), train_log.read(log)
    if not epochs:
        raise ValueError(f"{log} has no epoch yet; train for at least one")
    best = max(epochs, key=lambda line: (line["val_top1"], -line["val_loss"]))
    versions = header.get("versions", {})
    return {
        "command": header.get("command") or "(called from Python)",
        "training clips": header.get("data", {}).get("train", {}).get("clips"),
        "validation clips": header.get("data", {}).get("validation", {}).get("clips"),
        "parameters": header.get("parameters"),
        "epochs": f"{len(epochs)} of {header.get('recipe', {}).get('epochs')}",
        "minutes of training": round(sum(line["seconds"] for line in epochs) / 60, 1),
        "machine": header.get("machine") or "not recorded",
        "precision": header.get("precision"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "best epoch, from 0": best["epoch"],
        "top-1": round(best["val_top1"], 3),
        "top-5": round(best["val_top5"], 3),
        "top-1, input reversed": round(best["val_top1_reversed"], 3),
    }


def recipe_rows(chosen: Sequence[TrainRecipe]) -> list[dict[str, str]]:
    """Rows for a table, one a training recipe; a star marks what the paper does not publish."""
    heads = {"optimizer": "optimizer", "learning_rate": "learning rate", "momentum": "momentum",
             "weight_decay": "weight decay", "dropout": "dropout", "batch_size": "batch", "epochs": "epochs",
             "schedule": "schedule"}  # fmt: skip
    rows = []
    for recipe in chosen:
        row = {"recipe": recipe.name, "clip": f"{recipe.num_frames}×{recipe.size[0]}×{recipe.size[1]}"}
        for field, head in heads.items():
            value = getattr(recipe, field)
            text = "–" if field == "momentum" and recipe.optimizer != "sgd" else (
                f"{value:g}" if isinstance(value, int | float) else str(value))
            row[head] = text + " *" * (field in recipe.chosen and text != "–")
        rows.append(row)
    return rows


def mask_rows(chosen: Sequence[MaskRecipe]) -> list[dict[str, str]]:
    """Rows for a table, one a mask recipe."""
    heads = {"lambda1": "λ₁", "lambda2": "λ₂", "beta": "β", "iterations": "steps", "learning_rate": "learning rate"}
    return [{"recipe": recipe.name} | {head: f"{getattr(recipe, field):g}" for field, head in heads.items()}
            for recipe in chosen]


def confusions(confusion: Sequence[Sequence[int]], classes: Sequence[str], most: int = 5) -> list[Confusion]:
    """The `most` frequent mistakes, most clips first; none where no clip was mistaken."""
    found = [
        Confusion(classes[i], classes[j], int(count), count / sum(row))
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(found, key=lambda one: -one.clips)[:most]


def taken_for(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], other: Mapping[str, str]
) -> tuple[int, int]:
    """(clips taken for `other` of their class, all clips of the classes that have one there)."""
    number = {name: index for index, name in enumerate(classes)}
    pairs = [(number[a], number[b]) for a, b in other.items() if a in number and b in number]
    return sum(int(confusion[i][j]) for i, j in pairs), sum(int(sum(confusion[i])) for i, _ in pairs)


def score_rows(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows for a table: each named result of `evaluate` with its top-1, top-5 and mean F1, three digits."""
    keys = {"top-1": "top1", "top-5": "top5", "mean F1": "macro_f1"}
    return [
        {"clips": name} | {head: f"{one[key]:.3f}" for head, key in keys.items()}
        for name, one in scores.items()
    ]


def accuracy_in_words(forwards: Mapping[str, Any], backwards: Mapping[str, Any]) -> str:
    """Markdown: the share of right guesses with its standard error, and the share with the input reversed."""
    count, top1 = forwards["count"], forwards["top1"]
    error = (top1 * (1 - top1) / count) ** 0.5
    return (
        f"On {count} clips the network's first guess is right in **{top1:.1%}** (give or take {error:.1%}, "
        "one standard error). Played backwards, the same clips still get the name of their own class in "
        f"{backwards['top1']:.1%}."
    )


def mistakes_in_words(
    forwards: Mapping[str, Any],
    backwards: Mapping[str, Any],
    classes: Sequence[str],
    other: Mapping[str, str],
) -> str:
    """Markdown: the three most frequent mistakes, and how many clips were taken for the `other` class."""
    lines = [
        f"* *{one.true}* was taken for *{one.guess}* in {one.clips} of its clips ({one.share:.0%})."
        for one in confusions(forwards["confusion"], classes, most=3)
    ]
    lines = ["The most frequent mistakes, as filmed:", "", *lines] if lines else ["There was no mistake."]
    swapped, count = taken_for(forwards["confusion"], classes, other)
    turned, _ = taken_for(backwards["confusion"], classes, other)
    return "\n".join([
        *lines, "",
        f"Of {count} clips of a class that has an opposite (left and right, up and down, closer and away), "
        f"{swapped} were taken for the opposite. Played backwards, **{turned} of {count}** are.",
    ])  # fmt: skip
