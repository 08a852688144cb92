"""Is a difference between two models more than chance, and larger than what matters?

Axes: values (S,N) of N clips under S training seeds, NaN where there is none; classes (N,), as clips of one class are
alike. The unit that varies by chance is the class within a seed, not the clip.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

LEVEL = 0.05  # the intervals hold 1 - LEVEL
RESAMPLES = 4999
MOST_CLASSES = 16  # for which all choices of signs are listed; of more, RESAMPLES are drawn

# A comparison over the same clips: the means, first - second, its interval, p of `sign_flip`, the difference under each
# seed (S,), and how many clips and classes there are.
Paired = namedtuple("Paired", "first second difference low high p seeds clips classes")


def paired(first, second, classes: Sequence, *, resamples: int = RESAMPLES) -> Paired:
    """Compare two models on the same clips; first, second: (S,N) or (N,). A clip counts where both have a number."""
    first, second = (np.atleast_2d(np.asarray(values, dtype=np.float64)) for values in (first, second))
    if first.shape != second.shape or not np.isfinite(first - second).any(axis=0).all():
        raise ValueError(f"expected numbers of the same seeds and clips, got {first.shape} and {second.shape} with "
                         f"{np.isfinite(first).sum()} and {np.isfinite(second).sum()} finite; leave out other clips")
    difference = first - second
    first, second = (values[np.isfinite(difference)].mean() for values in (first, second))
    of_classes = [np.nanmean(cell) for (cell,) in _by_class(difference[None], classes)]
    return Paired(first, second, first - second, *interval(difference, classes, resamples=resamples),
                  sign_flip(of_classes), np.nanmean(difference, axis=1), difference.shape[1], len(of_classes))


def interval(values, classes: Sequence, statistic: Callable | None = None, *, level: float = LEVEL,
             resamples: int = RESAMPLES) -> tuple[float, float]:
    """The percentile interval of a mean by a hierarchical bootstrap: seeds, classes, and clips of a class are drawn.

    All seeds saw the same clips, so the classes and clips drawn are the same for each. With few seeds or classes the
    interval is too narrow (Davison and Hinkley 1997, section 3.8).

    Args:
        values: (S,N) or (N,); with a statistic, M of these. statistic: elementwise, from M arrays of means to one.
    """
    columns = np.stack([np.atleast_2d(np.asarray(column, dtype=np.float64))
                        for column in (values if statistic else [values])])  # (M, S, N)
    cells, generator, (number, seeds) = _by_class(columns, classes), np.random.default_rng(0), columns.shape[:2]
    drawn_seeds = generator.integers(seeds, size=(resamples, seeds))
    sums, counts = np.zeros((2, number, resamples))
    for _ in cells:
        drawn = generator.integers(len(cells), size=resamples)  # a class for each resample
        for place, cell in enumerate(cells):
            rows, clips = np.flatnonzero(drawn == place), cell.shape[2]
            chosen = generator.integers(clips, size=(len(rows), 1, clips))
            units = cell[:, drawn_seeds[rows][:, :, None], chosen]  # (M, rows, S, clips)
            sums[:, rows] += np.nansum(units, axis=(2, 3))
            counts[:, rows] += np.isfinite(units).sum(axis=(2, 3))
    means = sums / np.where(counts > 0, counts, np.nan)
    low, high = np.nanquantile(statistic(*means) if statistic else means[0], (level / 2, 1 - level / 2))
    return float(low), float(high)


def sign_flip(means) -> float:
    """Two-sided p of the classes' mean differences (K,): how often chosen signs give a sum as far from 0 (Fisher)."""
    means = np.asarray(means, dtype=np.float64)
    if len(means) <= MOST_CLASSES:
        signs = np.array(list(product((1, -1), repeat=len(means))))
    else:
        signs = np.random.default_rng(0).choice((1, -1), (RESAMPLES, len(means)))
        signs[0] = 1  # the one that was observed
    return float((np.abs(signs @ means) >= abs(means.sum()) - 1e-9).mean())


def verdict(result: Paired, side: int, least: float) -> str:
    """Of a claim that the first values are larger (side 1) or smaller (-1) by more than `least`, under every seed."""
    clear = result.low > least or result.high < -least
    if clear and (result.seeds * result.difference > 0).all():
        return "supported" if result.difference * side > 0 else "contradicted"
    return "not decided"


def _by_class(columns: np.ndarray, classes: Sequence) -> list[np.ndarray]:
    """The values (M,S,N) of each class; ValueError where there are fewer than two."""
    names, places = np.unique(np.asarray(list(classes)), return_inverse=True)
    if len(places) != columns.shape[2] or len(names) < 2:
        raise ValueError(f"classes: expected those, two or more, of {columns.shape[2]} clips, got {len(names)} "
                         f"of {len(places)} clips")
    return [columns[:, :, places == place] for place in range(len(names))]
