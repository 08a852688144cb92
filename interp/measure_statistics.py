"""Is a difference between two models more than luck: intervals, tests, effect sizes, and a verdict in words.

Source: the bootstrap over clusters after Davison and Hinkley, 1997, section 3.8, and the signed rank test after
Wilcoxon, 1945, both from scipy; the correction after Holm, 1979; the rank-biserial correlation after Kerby, 2014.
Axes: one value a clip, (N,), the same clips under both models; clusters (N,): the clip's class, since clips of one
class are alike and count for less than as many independent ones. Needs the extra `results` (scipy).

    >>> result = measure_statistics.paired(lengths_i3d, lengths_clstm, classes)
    >>> result.difference, result.low, result.high, result.p
    >>> measure_statistics.verdict(result, side=-1, p=result.p).sentence
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05  # of the tests; the intervals hold 1 - LEVEL
RESAMPLES = 9999


@dataclass(frozen=True)
class Paired:
    """A comparison over the same clips: both means, their difference (first - second) with its interval, the
    two-sided p of the signed rank test, the effect, and how many clips and classes it rests on.

    effect: the matched-pairs rank-biserial correlation, -1 where every difference is negative, 1 where every
    one is positive, 0 where the ranks balance.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    effect: float
    clips: int
    clusters: int


@dataclass(frozen=True)
class Verdict:
    """word: "supported", "contradicted" or "not decided"; sentence: why, in numbers."""

    word: str
    sentence: str


def paired(first, second, clusters: Sequence, *, resamples: int = RESAMPLES, seed: int = 0) -> Paired:
    """Compare two models on the same clips. ValueError where lengths differ, a value is not a number (leave such
    clips out of both, and list them), or the clips are of fewer than two classes."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"got values of shapes {first.shape} and {second.shape}; expected one a clip, the same clips")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a value is not finite: leave its clip out of both models, and list it with the reason")
    difference = first - second
    low, high = interval(difference, clusters, resamples=resamples, seed=seed)
    p, effect = signed_rank(difference)
    return Paired(float(first.mean()), float(second.mean()), float(difference.mean()), low, high, p, effect,
                  len(first), len(set(clusters)))  # fmt: skip


def interval(values, clusters: Sequence, statistic: Callable | None = None, *, level: float = LEVEL,
             resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The bootstrap interval of a mean, or of a statistic of several means, with whole classes drawn again.

    values: (N,), or (M,N) for M columns over the same clips. statistic: takes M arrays of means and returns one,
    elementwise; the mean itself by default. With few classes such an interval is rather too narrow: it is to be
    read beside a test. ValueError where the clips are of fewer than two classes.
    """
    columns = np.atleast_2d(np.asarray(values, dtype=np.float64))
    names, places = np.unique(np.asarray(list(clusters)), return_inverse=True)
    if len(places) != columns.shape[1]:
        raise ValueError(f"clusters: got {len(places)} for {columns.shape[1]} clips; give each clip its class")
    if len(names) < 2:
        raise ValueError("the clips are of one class; an interval over classes needs two or more")
    sums = [np.bincount(places, weights=column) for column in columns]

    def of_sums(*drawn, axis=-1):
        *parts, counts = (part.sum(axis=axis) for part in drawn)
        means = [part / counts for part in parts]
        return statistic(*means) if statistic else means[0]

    found = _stats().bootstrap(
        (*sums, np.bincount(places).astype(float)), of_sums, n_resamples=resamples, paired=True, vectorized=True,
        confidence_level=1 - level, method="percentile", random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def signed_rank(difference) -> tuple[float, float]:
    """The two-sided p of Wilcoxon's signed rank test and the rank-biserial correlation; (1, 0) where no clip
    differs. Clips without a difference are left out, as Wilcoxon did. The test takes clips as independent."""
    difference = np.asarray(difference, dtype=np.float64)
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0, 0.0
    placed = ranks(np.abs(difference))
    p = float(_stats().wilcoxon(difference).pvalue)
    return p, float((placed * np.sign(difference)).sum() / placed.sum())


def ranks(values) -> np.ndarray:
    """The ranks (...,N) along the last axis, from 1; equal values share the mean of theirs."""
    return _stats().rankdata(values, axis=-1)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected over all tests of one family: the smallest times n, the next times n-1, and so on,
    none below the one before it, none above 1. ValueError where one is outside 0-1."""
    ps = np.asarray(ps, dtype=np.float64)
    if not ((ps >= 0) & (ps <= 1)).all():
        raise ValueError(f"got p values {ps.tolist()}; expected each from 0 to 1")
    order = np.argsort(ps, kind="stable")
    raised = np.maximum.accumulate(ps[order] * np.arange(len(ps), 0, -1))
    corrected = np.empty_like(ps)
    corrected[order] = np.minimum(raised, 1)
    return corrected.tolist()


def verdict(result: Paired, side: int, p: float, *, unit: str = "", names: tuple[str, str] = ("I3D", "C-LSTM"),
            digits: int = 2, tests: int = 1, level: float = LEVEL) -> Verdict:
    """Judge the claim that the first model's values are larger (side 1) or smaller (side -1).

    p: corrected where it is one of several `tests`, which the sentence then says. Supported or contradicted only
    where the interval leaves 0 out and p is below `level`; else not decided, and the sentence says on which side
    the difference is. ValueError for another side.
    """
    if side not in (1, -1):
        raise ValueError(f"side: got {side}; expected 1 for larger or -1 for smaller")
    clear = p < level and (result.low > 0 or result.high < 0)
    along = result.difference * side
    word = ("supported" if along > 0 else "contradicted") if clear else "not decided"
    where = "as claimed" if along > 0 else "the other way" if along < 0 else "nowhere"
    tail = f", and the difference points {where}." if not clear else "."
    corrected = f" after correction for {tests} tests" if tests > 1 else ""
    unit = f" {unit}" if unit else ""
    means = f"{_number(result.first, digits)} ({names[0]}) and {_number(result.second, digits)} ({names[1]}){unit}"
    ends = f"{_number(result.low, digits, '+')} to {_number(result.high, digits, '+')}"
    return Verdict(word, (
        f"{word.capitalize()}: over {result.clips} clips of {result.clusters} classes the means are {means}, a "
        f"difference of {_number(result.difference, digits, '+')} ({1 - level:.0%} interval {ends}), effect "
        f"{_number(result.effect, 2, '+')}, p {p_words(p)}{corrected}{tail}"
    ))  # fmt: skip


def verdict_of_groups(first: Sequence[float], second: Sequence[float], side: int, *, names: tuple[str, str],
                      unit: str = "", digits: int = 2, level: float = LEVEL) -> Verdict:
    """Judge whether one group of classes has the larger values (side 1) or the smaller (side -1), by the rank test
    of Mann and Whitney, 1947, from scipy. Values: one a class. ValueError where a group is empty."""
    if not len(first) or not len(second):
        raise ValueError(f"got {len(first)} and {len(second)} classes; expected at least one in each group")
    difference = float(np.mean(first) - np.mean(second))
    p = float(_stats().mannwhitneyu(first, second).pvalue)
    along = difference * side
    word = ("supported" if along > 0 else "contradicted") if p < level and along else "not decided"
    unit = f" {unit}" if unit else ""
    return Verdict(word, (
        f"{word.capitalize()}: the means are {_number(np.mean(first), digits)}{unit} ({names[0]}, {len(first)} "
        f"classes) and {_number(np.mean(second), digits)} ({names[1]}, {len(second)} classes), a difference of "
        f"{_number(difference, digits, '+')}, p {p_words(p)}."
    ))  # fmt: skip


def p_words(p: float) -> str:
    """A p value as it stands in a sentence: "= 0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def _number(value: float, digits: int, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _stats():
    try:
        from scipy import stats
    except ImportError as error:
        raise ValueError(f"statistics need scipy ({error}): pip install 'interp[results]'") from error
    return stats
