"""Is a difference between two networks larger than what another training seed makes of one network?

Source: this project's own; that seeds must be asked is the point of Bouthillier et al., "Accounting for variance in
machine learning benchmarks", MLSys 2021. Axes: one number a seed and clip, (S,N), nan where a clip gives none.

    >>> found = of(lengths_i3d, lengths_clstm, ("I3D", "C-LSTM"))  # doctest: +SKIP
    >>> found.between.shape, found.word
    ((3, 3), 'exceeds')
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """between (S,R): the mean difference of every pair of seeds, first network - second; first (S(S-1)/2,) and
    second (R(R-1)/2,): that of every two seeds of one network. word: "exceeds", "does not exceed" or "not known"."""

    between: np.ndarray
    first: np.ndarray
    second: np.ndarray
    word: str
    names: tuple[str, str]

    def sentence(self, digits: int = 2, unit: str = "") -> str:
        """What these numbers say, in words."""
        if self.word == "not known":
            there = " and ".join(f"{number} seed{'s' * (number != 1)} of {name}"
                                 for number, name in zip(self.between.shape, self.names, strict=True))
            return (f"How much of this a change of seed makes is not known: it takes two seeds of each network, and "
                    f"there is {there}.")
        low, high = (f"{value:+.{digits}f}" for value in (self.between.min(), self.between.max()))
        widest = np.abs(np.concatenate([self.first, self.second])).max()
        unit = f" {unit}" if unit else ""
        return (f"The difference between the networks {self.word} what a change of seed makes: over the "
                f"{self.between.size} pairs of seeds it is {low} to {high}{unit}; two seeds of one network differ by "
                f"{widest:.{digits}f} at most.").replace("-", "\N{MINUS SIGN}")  # fmt: skip


def of(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> Seeds:
    """Compare the seeds of two networks, (S,N) and (R,N), each pair over the clips for which both have a number.

    The difference between the networks exceeds what a seed makes where it has the same sign for every pair of seeds
    and even the smallest is larger than the largest between two seeds of one network.
    """
    between = np.array([[_difference(a, b) for b in second] for a in first])
    own = [np.array([_difference(a, b) for a, b in combinations(one, 2)]) for one in (first, second)]
    if min(len(first), len(second)) < 2:
        word = "not known"
    else:
        same = (between > 0).all() or (between < 0).all()
        word = "exceeds" if same and np.abs(between).min() > np.abs(np.concatenate(own)).max() else "does not exceed"
    return Seeds(between, *own, word, names)


def mean(seeds: np.ndarray) -> np.ndarray:
    """A clip's mean (N,) over the seeds (S,N) that give a number; nan where none does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(seeds, axis=0)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    return float((one[both] - other[both]).mean()) if both.any() else float("nan")
