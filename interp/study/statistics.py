"""Is a difference between two models more than chance, and more than another training seed makes?

Bootstrap over clusters after Davison and Hinkley 1997, section 3.8; signed rank test after Wilcoxon 1945; correction
after Holm 1979; rank-biserial correlation after Kerby 2014. Axes: one value a clip (N,), under both models; clusters
(N,): the clips' classes, since clips of one class are not independent; seeds (S,N).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from interp.study import import_extra

LEVEL = 0.05  # of the tests; the intervals hold 1 - LEVEL
RESAMPLES = 9999


@dataclass(frozen=True)
class Paired:
    """A comparison over the same clips."""

    first: float  # mean
    second: float
    difference: float  # first - second
    low: float  # of its interval
    high: float
    p: float  # two-sided, of the signed rank test
    effect: float  # rank-biserial correlation: -1 where every difference is negative, 1 where every one is positive
    clips: int
    clusters: int


@dataclass(frozen=True)
class Verdict:
    """The judgement of a claim about which of two means is larger."""

    word: str  # "supported", "contradicted" or "not decided"
    along: float  # the difference: positive where it points as claimed
    p: float  # corrected for the other tests
    tests: int


@dataclass(frozen=True)
class Groups:
    """A comparison of two groups of values by the rank test of Mann and Whitney, 1947."""

    word: str  # as in Verdict
    first: float  # mean
    second: float
    difference: float
    p: float
    sizes: tuple[int, int]


@dataclass(frozen=True)
class Seeds:
    """Differences between two networks beside those between the training seeds of each."""

    between: np.ndarray  # (S,R) mean difference of each pair of seeds, first network - second
    first: np.ndarray  # (S(S-1)/2,) of each two seeds of the first network
    second: np.ndarray  # (R(R-1)/2,)
    word: str  # "exceeds", "does not exceed" or "not known"


def paired(first, second, clusters: Sequence, *, resamples: int = RESAMPLES, seed: int = 0) -> Paired:
    """Compare two models on the same clips; leave out clips without a number under either."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"expected one value a clip for the same clips, got {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("expected finite values, got one that is not finite; leave its clip out of both models")
    difference = first - second
    low, high = interval(difference, clusters, resamples=resamples, seed=seed)
    p, effect = signed_rank(difference)
    return Paired(float(first.mean()), float(second.mean()), float(difference.mean()), low, high, p, effect,
                  len(first), len(set(clusters)))  # fmt: skip


def interval(values, clusters: Sequence, statistic: Callable | None = None, *, level: float = LEVEL,
             resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean, or of `statistic(*means)`, with whole clusters drawn.

    values: (N,), or (M,N) for M columns. statistic: elementwise, from M arrays of means to one. With few clusters the
    interval is too narrow.
    """
    columns = np.atleast_2d(np.asarray(values, dtype=np.float64))
    names, places = np.unique(np.asarray(list(clusters)), return_inverse=True)
    if len(places) != columns.shape[1]:
        raise ValueError(f"clusters: expected one for each of {columns.shape[1]} clips, got {len(places)}")
    if len(names) < 2:
        raise ValueError("clusters: expected two or more classes, got one class")
    sums = [np.bincount(places, weights=column) for column in columns]

    def of_sums(*drawn, axis=-1):
        *parts, counts = (part.sum(axis=axis) for part in drawn)
        means = [part / counts for part in parts]
        return statistic(*means) if statistic else means[0]

    ends = import_extra("scipy.stats").bootstrap(
        (*sums, np.bincount(places).astype(float)), of_sums, n_resamples=resamples, paired=True, vectorized=True,
        confidence_level=1 - level, method="percentile", random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(ends.low), float(ends.high)


def signed_rank(difference) -> tuple[float, float]:
    """Two-sided p and rank-biserial correlation without the zeros; (1, 0) where all are zero."""
    stats, difference = import_extra("scipy.stats"), np.asarray(difference, dtype=np.float64)
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(difference))
    return float(stats.wilcoxon(difference).pvalue), float((ranks * np.sign(difference)).sum() / ranks.sum())


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of one family of tests, corrected."""
    ps = np.asarray(ps, dtype=np.float64)
    if not ((ps >= 0) & (ps <= 1)).all():
        raise ValueError(f"expected p values from 0 to 1, got {ps.tolist()}")
    order = np.argsort(ps, kind="stable")
    corrected = np.empty_like(ps)
    corrected[order] = np.maximum.accumulate(ps[order] * np.arange(len(ps), 0, -1)).clip(max=1)
    return corrected.tolist()


def verdict(result: Paired, side: int, p: float, *, tests: int = 1, level: float = LEVEL) -> Verdict:
    """Judge the claim that the first values are larger (side 1) or smaller (-1).

    It is decided where the interval leaves 0 out and p, corrected where it is one of several `tests`, is below `level`.
    """
    if side not in (1, -1):
        raise ValueError(f"side: expected 1 for larger or -1 for smaller, got {side}")
    along = result.difference * side
    return Verdict(_word(p < level and (result.low > 0 or result.high < 0), along), along, p, tests)


def compare_groups(first: Sequence[float], second: Sequence[float], side: int, *, level: float = LEVEL) -> Groups:
    """Judge the claim that one group of values is larger (side 1) or smaller (-1) than another."""
    if not len(first) or not len(second):
        raise ValueError(f"expected at least one value in each group, got {len(first)} and {len(second)}")
    means = float(np.mean(first)), float(np.mean(second))
    p = float(import_extra("scipy.stats").mannwhitneyu(first, second).pvalue)
    difference = means[0] - means[1]
    word = _word(p < level and difference != 0, difference * side)
    return Groups(word, *means, difference, p, (len(first), len(second)))


def compare_seeds(first: np.ndarray, second: np.ndarray) -> Seeds:
    """Compare the seeds of two networks, (S,N) and (R,N); each pair over the clips for which both have a number.

    The difference between networks exceeds that between seeds where it has one sign for all pairs and even its
    smallest is larger than the largest between two seeds of one network (see Bouthillier et al., MLSys 2021).
    """
    between = np.array([[_difference(a, b) for b in second] for a in first])
    within = [np.array([_difference(a, b) for a, b in combinations(seeds, 2)]) for seeds in (first, second)]
    if min(len(first), len(second)) < 2:
        return Seeds(between, *within, "not known")
    same_sign = (between > 0).all() or (between < 0).all()
    exceeds = same_sign and np.abs(between).min() > np.abs(np.concatenate(within)).max()
    return Seeds(between, *within, "exceeds" if exceeds else "does not exceed")


def mean_of_seeds(seeds: np.ndarray) -> np.ndarray:
    """A clip's mean (N,) over the seeds (S,N) that give a number; nan where none does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(seeds, axis=0)


def _word(decided: bool, along: float) -> str:
    return ("supported" if along > 0 else "contradicted") if decided else "not decided"


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    return float((first[both] - second[both]).mean()) if both.any() else float("nan")
