"""Is a difference between two models more than chance, and more than another training seed makes?

Axes: a value a clip (N,); clusters (N,), the clips' classes, as clips of one class are not independent; seeds (S,N).
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from interp.study import import_extra

LEVEL = 0.05  # of the tests; the intervals hold 1 - LEVEL
RESAMPLES = 9999

# A comparison over the same clips: both means, first - second and its interval, two-sided p of the signed rank test,
# the rank-biserial correlation (-1 where every difference is negative, 1 where every one is positive), and the counts.
Paired = namedtuple("Paired", "first second difference low high p effect clips clusters")


def paired(first, second, clusters: Sequence, *, resamples: int = RESAMPLES) -> Paired:
    """Compare two models on the same clips; leave out clips without a number under either."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if first.shape != second.shape or not np.isfinite([first, second]).all():
        raise ValueError(f"expected finite values of the same clips, got {np.isfinite(first).sum()} finite ones of "
                         f"{len(first)} and {np.isfinite(second).sum()} of {len(second)}; leave out the other clips")
    difference = first - second
    return Paired(first.mean(), second.mean(), difference.mean(), *interval(difference, clusters, resamples=resamples),
                  *signed_rank(difference), len(first), len(set(clusters)))


def interval(values, clusters: Sequence, statistic: Callable | None = None, *, level: float = LEVEL,
             resamples: int = RESAMPLES) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean, or of `statistic(*means)`, with whole clusters drawn.

    values: (N,), or (M,N) for M columns. statistic: elementwise, from M arrays of means to one. With few clusters the
    interval is too narrow (Davison and Hinkley 1997, section 3.8).
    """
    columns = np.atleast_2d(np.asarray(values, dtype=np.float64))
    names, places = np.unique(np.asarray(list(clusters)), return_inverse=True)
    if len(places) != columns.shape[1] or len(names) < 2:
        raise ValueError(f"clusters: expected the classes, two or more, of {columns.shape[1]} clips, got {len(names)} "
                         f"of {len(places)} clips")
    sums = [np.bincount(places, weights=column) for column in (*columns, np.ones(len(places)))]

    def of_sums(*drawn, axis=-1):
        *parts, counts = (part.sum(axis=axis) for part in drawn)
        means = [part / counts for part in parts]
        return statistic(*means) if statistic else means[0]

    drawn = import_extra("scipy.stats").bootstrap(
        sums, of_sums, n_resamples=resamples, paired=True, vectorized=True, confidence_level=1 - level,
        method="percentile", random_state=np.random.default_rng(0))
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def signed_rank(difference) -> tuple[float, float]:
    """Wilcoxon's two-sided p and the rank-biserial correlation (Kerby 2014) without zeros; (1, 0) where all are."""
    stats, difference = import_extra("scipy.stats"), np.asarray(difference, dtype=np.float64)
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(difference))
    return float(stats.wilcoxon(difference).pvalue), float((ranks * np.sign(difference)).sum() / ranks.sum())


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of one family of tests, corrected after Holm 1979."""
    ps = np.asarray(ps, dtype=np.float64)
    order, corrected = np.argsort(ps, kind="stable"), np.empty_like(ps)
    corrected[order] = np.maximum.accumulate(ps[order] * np.arange(len(ps), 0, -1)).clip(max=1)
    return corrected.tolist()


def verdict(result: Paired, side: int, p: float) -> str:
    """Of a claim that the first values are larger (side 1) or smaller (-1); p: corrected for all tests."""
    if p < LEVEL and (result.low > 0 or result.high < 0):
        return "supported" if result.difference * side > 0 else "contradicted"
    return "not decided"


def compare_seeds(first: np.ndarray, second: np.ndarray) -> str:
    """Whether the difference between two networks "exceeds" that between their seeds, (S,N) and (R,N).

    It does where it has one sign for all pairs of seeds, each over the clips for which both have a number, and even the
    smallest is larger than the largest between two seeds of one network (see Bouthillier et al., MLSys 2021). Else it
    "does not exceed" it, or is "not known" with a single seed.
    """
    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return (a - b)[np.isfinite(a - b)].mean() if np.isfinite(a - b).any() else np.nan

    if min(len(first), len(second)) < 2:
        return "not known"
    between = np.array([mean(a, b) for a in first for b in second])
    within = [mean(a, b) for seeds in (first, second) for a, b in combinations(seeds, 2)]
    same_sign = (between > 0).all() or (between < 0).all()
    return "exceeds" if same_sign and np.abs(between).min() > np.abs(within).max() else "does not exceed"
