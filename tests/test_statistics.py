"""Intervals, tests and verdicts: against values worked out by hand, and verdicts in every direction."""

import itertools

import numpy as np
import pytest

from interp.study import statistics

CLASSES = list("aabbccddee")
SMALLER = np.arange(10) / 10
LARGER = SMALLER + np.linspace(1, 2, 10)


def result(difference=1.0, low=0.5, high=1.5, seeds=(0.9, 1.1)):
    seeds = np.sign(difference) * np.array(seeds)
    return statistics.Paired(2 + difference, 2.0, difference, low, high, 0.01, seeds, 10, 5)


def test_means_difference_and_counts():
    found = statistics.paired(LARGER, SMALLER, CLASSES)
    assert (found.first, found.second, found.difference) == pytest.approx((1.95, 0.45, 1.5))
    assert (found.clips, found.classes, found.seeds.tolist()) == (10, 5, pytest.approx([1.5]))
    assert found.p == pytest.approx(2 / 2**5)  # of 32 choices of signs, the two most extreme
    assert found.low < 1.5 < found.high
    turned = statistics.paired(SMALLER, LARGER, CLASSES)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-1.5, -found.high, -found.low), abs=0.02)


def test_a_clip_counts_under_each_seed_where_both_have_a_number():
    nan = np.nan
    first, second = [[1, 2, 3, nan], [5, 5, 9, 7]], [[0, nan, 1, 1], [4, 3, 1, 0]]
    found = statistics.paired(first, second, "aabb")
    # differences: 1, -, 2, - under the first seed, 1, 2, 8, 7 under the second
    assert found.seeds.tolist() == [1.5, 4.5] and found.difference == 3.5 and found.clips == 4
    assert (found.first, found.second) == ((1 + 3 + 5 + 5 + 9 + 7) / 6, (0 + 1 + 4 + 3 + 1 + 0) / 6)
    assert found.p == 0.5  # the classes' means 4/3 and 17/3: two of four choices of signs


def test_sign_flips_by_hand():
    assert statistics.sign_flip([1, 2, 3]) == 2 / 8
    assert statistics.sign_flip([1, -2, 4]) == 6 / 8  # sums 7, 5, 3, 1 and their opposites, against 3
    assert statistics.sign_flip([0, 0]) == 1
    assert statistics.sign_flip(np.ones(40)) == pytest.approx(1 / statistics.RESAMPLES)  # of those drawn, the first


def test_the_interval_draws_whole_classes_and_whole_seeds():
    # Two classes of constant clips: drawing two gives means 0, 1/2, 1 with chances 1/4, 1/2, 1/4. So with two seeds.
    values, classes = [0.0] * 5 + [1.0] * 5, ["a"] * 5 + ["b"] * 5
    seeds = np.repeat([[0.0], [1.0]], 10, axis=1)
    for same in (values, seeds):
        assert statistics.interval(same, classes) == statistics.interval(same, classes, level=0.4) == (0, 1)
    low, high = statistics.interval(values, range(10), level=0.4)  # ten clips that are nothing to each other
    assert 0 < low < high < 1


def test_the_interval_is_exact_where_all_draws_can_be_listed():
    of_class = {"a": [3.0], "b": [np.mean(pair) for pair in itertools.product((0.0, 1.0), repeat=2)]}
    draws = [np.average(means, weights=[1 + (name == "b") for name in drawn])
             for drawn in itertools.product("ab", repeat=2)
             for means in itertools.product(*(of_class[name] * (4 // len(of_class[name])) for name in drawn))]
    for level in (0.1, 0.4, 0.6):
        found = statistics.interval([3.0, 0.0, 1.0], "abb", level=level)
        assert found == pytest.approx(np.quantile(draws, (level / 2, 1 - level / 2)), abs=0.01)


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


@pytest.mark.parametrize(
    ("side", "numbers", "word"),
    [
        (1, result(), "supported"),
        (-1, result(), "contradicted"),
        (-1, result(-1.0, -1.5, -0.5), "supported"),
        (1, result(-1.0, -1.5, -0.5), "contradicted"),
        (1, result(low=0.3), "not decided"),  # above zero, but not clear of the smallest effect
        (-1, result(-1.0, -1.5, -0.3), "not decided"),
        (1, result(seeds=(2.5, -0.5)), "not decided"),
        (1, result(0.0, -1, 1), "not decided"),
    ],
)
def test_a_verdict_in_every_direction(side, numbers, word):
    assert statistics.verdict(numbers, side, 0.4) == word


@pytest.mark.parametrize(("call", "arguments", "words"), [
    (statistics.paired, ([1, 2], [1, 2, 3], "ab"), "the same seeds and clips"),
    (statistics.paired, ([1, np.nan], [1, 2], "ab"), "1 and 2 finite"),
    (statistics.paired, ([1, 2], [1, 3], "aa"), "two or more, of 2 clips, got 1"),
    (statistics.interval, ([1, 2], "abc"), "of 2 clips, got 3 of 3"),
])  # fmt: skip
def test_mistakes_are_errors(call, arguments, words):
    with pytest.raises(ValueError, match=words):
        call(*arguments)
