"""Intervals, tests and verdicts: against values worked out by hand, and verdicts in every direction."""

import itertools

import numpy as np
import pytest

from interp.study import statistics

pytest.importorskip("scipy")
CLASSES = list("aabbccddee")
SMALLER = np.arange(10) / 10
LARGER = SMALLER + np.linspace(1, 2, 10)


def result(difference=1.0, low=0.5, high=1.5, p=0.001):
    return statistics.Paired(2 + difference, 2.0, difference, low, high, p, 0.9, 10, 5)


def test_means_difference_and_counts():
    found = statistics.paired(LARGER, SMALLER, CLASSES)
    assert (found.first, found.second, found.difference) == pytest.approx((1.95, 0.45, 1.5))
    assert (found.clips, found.clusters, found.effect) == (10, 5, 1)
    assert found.p == pytest.approx(2 / 2**10)  # of 1024 choices of signs, the two most extreme
    assert found.low < 1.5 < found.high
    turned = statistics.paired(SMALLER, LARGER, CLASSES)
    assert (turned.difference, turned.effect, turned.p) == pytest.approx((-1.5, -1, found.p))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=0.02)


def test_signed_rank_by_hand():
    # Ranks of 1, 2, 4 (left out: 0) are 1, 2, 3; the sum above zero is 1 + 3, below it 2. Eight choices of signs give
    # sums 0 1 2 3 3 4 5 6, six of them as far from the middle as 4 or 2.
    assert statistics.signed_rank([1, -2, 0, 4]) == pytest.approx((6 / 8, (1 - 2 + 3) / 6))
    assert statistics.signed_rank([0, 0]) == (1, 0)


def test_the_interval_draws_whole_classes():
    # Two classes of constant clips: drawing two gives means 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    values, classes = [0.0] * 5 + [1.0] * 5, ["a"] * 5 + ["b"] * 5
    assert statistics.interval(values, classes) == (0, 1)
    assert statistics.interval(values, classes, level=0.4) == (0, 1)
    low, high = statistics.interval(values, range(10), level=0.4)  # ten clips that are nothing to each other
    assert 0 < low < high < 1


def test_the_interval_is_exact_where_all_draws_can_be_listed():
    sums, counts = np.array([3.0, 1.0, 8.0]), np.array([1, 2, 1])
    values, classes = [3.0, 0.5, 0.5, 8.0], list("abbc")
    draws = [sums[list(d)].sum() / counts[list(d)].sum() for d in itertools.product(range(3), repeat=3)]
    low, high = statistics.interval(values, classes, level=0.2)
    assert low == pytest.approx(np.quantile(draws, 0.1), abs=0.01)
    assert high == pytest.approx(np.quantile(draws, 0.9), abs=0.01)


def test_the_interval_of_a_ratio_of_means():
    low, high = statistics.interval([[2, 4, 6.0], [1, 2, 3]], "abc", lambda top, bottom: top / bottom)
    assert (low, high) == pytest.approx((2, 2))


def test_the_interval_covers_about_as_often_as_it_says():
    generator, covered = np.random.default_rng(0), 0
    for _ in range(100):
        classes = np.repeat(np.arange(20), 3)
        values = generator.normal(size=20)[classes] + generator.normal(size=60)
        low, high = statistics.interval(values, classes, resamples=500)
        covered += low < 0 < high
    assert 85 <= covered <= 99


def test_holm_by_hand():
    # 0.01 x 4; 0.02 x 3; 0.03 x 2 = 0.06; 0.4 x 1, in the order given.
    assert statistics.holm([0.4, 0.01, 0.03, 0.02]) == pytest.approx([0.4, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.6]) == [1, 1]


@pytest.mark.parametrize(
    ("side", "numbers", "word"),
    [
        (1, result(), "supported"),
        (-1, result(), "contradicted"),
        (-1, result(-1.0, -1.5, -0.5), "supported"),
        (1, result(-1.0, -1.5, -0.5), "contradicted"),
        (1, result(p=0.2), "not decided"),
        (-1, result(p=0.2), "not decided"),
        (1, result(low=-0.1), "not decided"),
        (1, result(0.0, -1, 1, 1.0), "not decided"),
    ],
)
def test_a_verdict_in_every_direction(side, numbers, word):
    assert statistics.verdict(numbers, side, numbers.p) == word


def test_seeds_that_disagree_in_sign_decide_nothing():
    still = np.array([[0.0, 0], [0, 0]])
    assert statistics.compare_seeds(np.array([[3.0, 3], [-3, -3]]), still) == "does not exceed"
    assert statistics.compare_seeds(np.ones((1, 3)), np.zeros((3, 3))) == "not known"
    half = np.array([[3.0, np.nan], [3.5, 9]])  # a pair of seeds counts the clips with a number under both
    assert statistics.compare_seeds(half, np.array([[0.0, 1], [0, 1]])) == "exceeds"
    assert statistics.compare_seeds(np.array([[3.0, np.nan], [9, 9]]), np.array([[0.0, 1]] * 2)) == "does not exceed"


@pytest.mark.parametrize(("call", "arguments", "words"), [
    (statistics.paired, ([1, 2], [1, 2, 3], "ab"), "the same clips"),
    (statistics.paired, ([1, np.nan], [1, 2], "ab"), "1 finite ones of 2"),
    (statistics.paired, ([1, 2], [1, 3], "aa"), "two or more, of 2 clips, got 1"),
    (statistics.interval, ([1, 2], "abc"), "of 2 clips, got 3 of 3"),
])  # fmt: skip
def test_mistakes_are_errors(call, arguments, words):
    with pytest.raises(ValueError, match=words):
        call(*arguments)
