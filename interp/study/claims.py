"""Claims as tests: each a measure, a choice of clips and a side, judged by the numbers of a table.

CLAIMS are those of Mänttäri, Broomé et al., ACCV 2020, TRUTH our own about the known truth. A table has one row a clip,
network and training seed (`record.read().table`, `published.table()`); a clip's number is its mean over the seeds. All
claims judged together are one family for Holm's correction.

    >>> rows = judge(published.table())
    >>> rows[0].claim.words, rows[0].verdict.word
    ("On Something-Something, I3D's masks are shorter", 'supported')
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.study import measures, statistics

NAMES = {"i3d": "I3D", "clstm": "C-LSTM"}
SOMETHING, KTH = "On Something-Something, ", "On KTH, "
STARTS = {"something": SOMETHING, "kth": KTH}
EMBEDDED = {"something": "On motion, ", "kth": "On motion's KTH flavour, "}
CAMERA_TURNS = "Turning the camera"  # the first words of those classes' names


@dataclass(frozen=True)
class Claim:
    """What is claimed of two numbers of a clip: of both networks, or of one network and chance."""

    words: str  # about the data of `dataset`
    dataset: str  # "something" or "kth", or for our networks its embedded flavour
    key: str  # of the measure
    side: int  # 1 where the first number should be larger, -1 where smaller
    turns: bool | None = None  # only turns of the camera, none of them, or all clips
    paper: bool = True  # whether the paper claims it
    models: tuple[str, str] = ("i3d", "clstm")
    chance: str | None = None  # the measure that gives the second number, for a claim about chance

    @property
    def measure(self) -> measures.Measure:
        return measures.MEASURES[self.key]

    @property
    def embedded(self) -> str:
        """The words of the claim about the embedded flavour of its data."""
        return self.words.replace(STARTS[self.dataset], EMBEDDED[self.dataset])

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two numbers."""
        return NAMES[self.models[0]], "chance" if self.chance else NAMES[self.models[1]]


@dataclass(frozen=True)
class Pairs:
    """The numbers of a claim, of the clips that have both."""

    first_seeds: np.ndarray  # (S,N)
    second_seeds: np.ndarray
    first: np.ndarray  # (N,) means over the seeds
    second: np.ndarray
    classes: list[str]  # of the clips
    ids: list[str]
    left_out: tuple[tuple[str, str], ...]  # (id, reason) of the other clips


@dataclass(frozen=True)
class Row:
    """A judged claim."""

    claim: Claim
    result: statistics.Paired
    p: float  # corrected
    verdict: statistics.Verdict
    left_out: tuple[tuple[str, str], ...]
    seeds: statistics.Seeds | None  # None for a claim about chance


def _of_the_paper(dataset: str) -> tuple[Claim, ...]:
    rows = (("I3D attends to fewer blobs", "blobs", -1, True), ("I3D attends to larger blobs", "blob_size", 1, True),
            ("I3D attends to more central blobs", "blob_distance", -1, True),
            ("RS/FS is higher for I3D", "ratio", 1, True),
            ("freezing takes more of I3D's score", "drop_freeze", 1, False),
            ("reversing takes more of I3D's score", "drop_reverse", 1, False))  # fmt: skip
    return tuple(Claim(STARTS[dataset] + words, dataset, key, side, paper=paper) for words, key, side, paper in rows)


def _of_the_truth(dataset: str) -> tuple[Claim, ...]:
    on = STARTS[dataset]
    above = (("agreement", "chance_agreement", "masks agree with the known interval more than chance does"),
             ("pointing_in_time", "known_share", "masks are highest in the known interval more often than by chance"),
             ("in_boxes", "boxes_share", "maps lie on what acts more than an even map does"),
             ("pointing_in_space", "boxes_share", "maps are highest on what acts more often than by chance"))
    return (
        *(Claim(f"{on}{name}'s {words}", dataset, key, 1, paper=False, models=(model, model), chance=chance)
          for key, chance, words in above for model, name in (("i3d", "I3D"), ("clstm", "the C-LSTM"))),
        Claim(f"{on}I3D's masks agree with the known interval more than the C-LSTM's", dataset, "agreement", 1,
              paper=False),
        Claim(f"{on}I3D's maps lie on what acts more than the C-LSTM's", dataset, "in_boxes", 1, paper=False),
    )  # fmt: skip


CLAIMS = (
    Claim(SOMETHING + "I3D's masks are shorter", "something", "length", -1),
    Claim(SOMETHING + "I3D's masks are shorter where the camera does not turn", "something", "length", -1, False),
    Claim(SOMETHING + "I3D's masks are the longer ones where the camera turns", "something", "length", 1, True),
    Claim(KTH + "I3D's masks are shorter", "kth", "length", -1),
    *_of_the_paper("something"), *_of_the_paper("kth"),
)  # fmt: skip
TRUTH = (*_of_the_truth("something"), *_of_the_truth("kth"))


def pairs(table: Any, claim: Claim, *, only_right: bool = False) -> Pairs:
    """The claim's numbers on the same clips.

    A clip is left out where either side has no number for any seed, and with `only_right` where any network's
    prediction is wrong. ValueError where a network is missing, or a clip stands under only one network or seed.
    """
    table = table[(table["flavour"] == claim.dataset) & table["model"].isin(claim.models)]
    if claim.turns is not None:
        table = table[table["label_name"].str.startswith(CAMERA_TURNS) == claim.turns]
    sides = [[rows.set_index("id") for _, rows in table[table["model"] == model].groupby("seed")]
             for model in claim.models]
    if not all(sides):
        raise ValueError(f"expected {' and '.join(claim.names)} in the table for the claim {claim.words!r}, got "
                         f"{sorted(table['model'].unique())}")
    runs = [rows for side in sides for rows in side]
    ids = list(runs[0].index)
    if unpaired := sorted(set().union(*(set(rows.index) ^ set(ids) for rows in runs))):
        raise ValueError(f"expected the same clips under both, got {', '.join(unpaired[:5])} under only one model or "
                         "seed")  # fmt: skip
    reasons: dict[str, str] = {}
    numbers = []
    for side, key in zip(sides, (claim.key, claim.chance or claim.key), strict=True):
        seeds = np.stack([measures.column(rows.loc[ids], key) for rows in side])  # (S,N)
        numbers.append(seeds)
        for place in np.flatnonzero(~np.isfinite(seeds).any(axis=0)):
            reasons.setdefault(ids[place], measures.reasons(side[0].loc[[ids[place]]], key)[0])
    if only_right:
        wrong = {name: "guessed wrong" for rows in runs for name in rows.index[rows["P"] != rows["label_name"]]}
        reasons = wrong | reasons
    kept = [place for place, name in enumerate(ids) if name not in reasons]
    first, second = (seeds[:, kept] for seeds in numbers)
    labels = runs[0].loc[ids, "label_name"].tolist()
    return Pairs(first, second, statistics.mean_of_seeds(first), statistics.mean_of_seeds(second),
                 [labels[place] for place in kept], [ids[place] for place in kept],
                 tuple((name, reasons[name]) for name in ids if name in reasons))  # fmt: skip


def judge(table: Any, claims: Sequence[Claim] = CLAIMS, *, only_right: bool = False,
          resamples: int = statistics.RESAMPLES) -> list[Row]:
    """Test and judge the claims that `untested` does not name."""
    without = untested(table, claims, only_right=only_right)
    tested = {claim: pairs(table, claim, only_right=only_right) for claim in claims if claim.words not in without}
    results = [statistics.paired(numbers.first, numbers.second, numbers.classes, resamples=resamples)
               for numbers in tested.values()]
    corrected = statistics.holm([result.p for result in results])
    return [Row(claim, result, p, statistics.verdict(result, claim.side, p, tests=len(tested)), numbers.left_out,
                None if claim.chance else statistics.compare_seeds(numbers.first_seeds, numbers.second_seeds))
            for (claim, numbers), result, p in zip(tested.items(), results, corrected, strict=True)]  # fmt: skip


def untested(table: Any, claims: Sequence[Claim] = CLAIMS, *, only_right: bool = False) -> dict[str, str]:
    """The words of the claims that the table cannot test, each with the reason."""
    reasons = {}
    for claim in claims:
        models = set(table["model"][table["flavour"] == claim.dataset])
        if missing := [NAMES[model] for model in dict.fromkeys(claim.models) if model not in models]:
            reasons[claim.words] = f"nothing of {' and '.join(missing)} is there"
            continue
        numbers = pairs(table, claim, only_right=only_right)
        if len(set(numbers.classes)) < 2:
            words = "; ".join(sorted({reason for _, reason in numbers.left_out})) or "few clips"
            reasons[claim.words] = f"fewer than two classes have clips with a number ({words})"
    return reasons


def exception(table: Any, dataset: str = "something") -> statistics.Groups:
    """Whether I3D's masks are shorter by less in classes that turn the camera than elsewhere.

    Compares the classes' mean differences in length (I3D - C-LSTM): turns first, other classes second; uncorrected.
    """
    numbers = pairs(table, Claim("", dataset, "length", -1))
    difference, classes = numbers.first - numbers.second, np.array(numbers.classes)
    means = {name: float(difference[classes == name].mean()) for name in dict.fromkeys(numbers.classes)}
    turns, others = ([mean for name, mean in means.items() if name.startswith(CAMERA_TURNS) is turn]
                     for turn in (True, False))  # fmt: skip
    return statistics.compare_groups(turns, others, 1)


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """How many of the paper's claims are "supported", "contradicted" and "not decided"."""
    words = Counter(row.verdict.word for row in rows if row.claim.paper)
    return {word: words[word] for word in ("supported", "contradicted", "not decided")}
