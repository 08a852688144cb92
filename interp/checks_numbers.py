"""The numbers of the sanity checks: rank correlation, overlap, means with intervals, and verdicts by a stated rule.

Source: rank correlation after Spearman, 1904 (ranks by scipy); randomised weights and labels after Adebayo et al.,
NeurIPS 2018. Axes: masks (B,T), 1 = perturbed; values one a clip, (B,).

    >>> rank_correlation(np.array([[1, 2, 3]]), np.array([[0.1, 0.2, 0.9]])).tolist()
    [1.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import measure, measure_statistics

FINEST = 2  # decimals of a mask or map that count as a difference: less cannot be seen, and has no order
# A rank correlation of one half leaves three quarters of the ranks' variance unexplained: above it two explanations
# tell much the same story.
SIMILAR = 0.5
ALIKE = 0.7  # intersection over union; two masks of six frames that lie one frame apart have 5/7 = 0.71
PASSED, FAILED, OPEN = "passed", "failed", "not decided"


@dataclass(frozen=True)
class Outcome:
    """What a check found: numbers over all clips, values of each clip (lists of B), and a verdict for "masks", and
    for "maps" where it is about them: {"word": passed | failed | not decided, "sentence": why, with the rule}."""

    numbers: dict[str, Any]
    clips: dict[str, list]
    verdicts: dict[str, dict[str, str]]


def rank_correlation(first, second) -> np.ndarray:
    """Spearman's rank correlation (B,) of the rows of two arrays (B,N), equal values sharing a rank.

    Values are rounded to FINEST decimals first. nan where the first row is constant: there is nothing to compare
    with. 0 where only the second one is: it puts no frame before another. ValueError where the shapes differ.
    """
    first, second = (np.round(np.asarray(one, dtype=np.float64), FINEST) for one in (first, second))
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"got {first.shape} and {second.shape}; expected two arrays (B,N) of one shape")
    ranks = [measure_statistics.ranks(one) for one in (first, second)]
    one, two = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    sizes = np.sqrt((one**2).sum(axis=1)), np.sqrt((two**2).sum(axis=1))
    product = np.divide((one * two).sum(axis=1), sizes[0] * sizes[1], out=np.zeros(len(one)),
                        where=(sizes[0] > 0) & (sizes[1] > 0))  # fmt: skip
    return np.where(sizes[0] > 0, product, np.nan)


def among_strangers(values) -> float:
    """The median rank correlation of the explanations (B,N) of different clips: what two have in common anyway."""
    values = np.asarray(values, dtype=np.float64)
    found = [rank_correlation(values, np.roll(values, shift, axis=0)) for shift in range(1, len(values))]
    return median(np.concatenate(found)) if found else float("nan")


def overlap(first: Tensor, second: Tensor, snap: float = 0.5) -> Tensor:
    """Intersection over union (B,) of the frames that are on; two masks without any are the same one: 1."""
    empty = (measure.length(first, snap) == 0) & (measure.length(second, snap) == 0)
    return torch.where(empty, 1.0, measure.agreement(first, second > snap, snap))


def chance_overlap(first: Tensor, second: Tensor, snap: float = 0.5) -> Tensor:
    """What `overlap` (B,) would be if the first mask lay anywhere, as one run of its length."""
    return measure.chance_agreement(first, second > snap, snap)


def median(values) -> float:
    """The median of the values that are numbers; nan where none is."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def mean(values, classes: Sequence[str]) -> dict[str, Any]:
    """{"mean", "low", "high", "clips"}: the mean of the values that are numbers, and its bootstrap interval with
    whole classes drawn again; low and high are nan where the clips are of one class."""
    values, classes = np.asarray(values, dtype=np.float64), np.asarray(classes)
    good = np.isfinite(values)
    values, classes, ends = values[good], classes[good], (float("nan"), float("nan"))
    if len(set(classes.tolist())) > 1:
        ends = measure_statistics.interval(values, classes)
    middle = float(values.mean()) if len(values) else float("nan")
    return {"mean": middle, "low": ends[0], "high": ends[1], "clips": int(good.sum())}


def said(number: Mapping[str, Any], digits: int = 2, sign: str = "") -> str:
    """A `mean` in words: "0.71 (0.65 to 0.77)"."""
    ends = [figure(number[key], digits, sign) for key in ("low", "high")]
    known = all(number[key] is not None and np.isfinite(number[key]) for key in ("low", "high"))
    return figure(number["mean"], digits, sign) + (f" ({ends[0]} to {ends[1]})" if known else "")


def figure(value: float | None, digits: int = 2, sign: str = "") -> str:
    """A number as it stands in a sentence; "none" where there is none."""
    if value is None or not np.isfinite(value):
        return "none"
    return f"{value + 0.0:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def verdict(word: str, sentence: str) -> dict[str, str]:
    """A verdict; the sentence gets its word in front."""
    return {"word": word, "sentence": f"{word.capitalize()}: {sentence}"}


def judged(good: bool | None) -> str:
    """passed, failed, or, for None, not decided."""
    return OPEN if good is None else PASSED if good else FAILED
