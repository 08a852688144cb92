"""Claims as tests: each a measure, a choice of clips, a side; each answered by a verdict from the numbers of a table.

Source: the claims of Mänttäri, Broomé et al., ACCV 2020, and this project's own about the known truth; the measures are
those of `measure_table`, the tests those of `measure_statistics`. A table has one row a clip, network and training
seed (`record.read().table`, `published.table()`); where there are several seeds, a clip's number is their mean. All
claims judged together are one family for Holm's correction. No axes: one number a clip.

    >>> rows = judge(published.table())  # doctest: +SKIP
    >>> rows[0].claim.words, rows[0].verdict.word  # doctest: +SKIP
    ("On Something-Something, I3D's masks are shorter", 'supported')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp import claims_seeds, measure_statistics, measure_table, published
from interp.measure_table import MEASURES, Measure

NAMES = {"i3d": "I3D", "clstm": "C-LSTM"}
SOMETHING, KTH = "On Something-Something, ", "On KTH, "
STARTS = {"something": SOMETHING, "kth": KTH}
EMBEDDED = {"something": "On motion, ", "kth": "On motion's KTH flavour, "}


@dataclass(frozen=True)
class Claim:
    """words: what is claimed of the data of `dataset` or, for our networks, of its embedded flavour. side: 1 where
    the first number should be the larger, -1 the smaller. turns: only turns of the camera (True), none of them
    (False), or all clips. paper: whether the paper claims it. models: whose numbers; chance: the measure that the
    second number is, where the claim is about one network and chance."""

    words: str
    dataset: str
    key: str
    side: int
    turns: bool | None = None
    paper: bool = True
    models: tuple[str, str] = ("i3d", "clstm")
    chance: str | None = None

    @property
    def measure(self) -> Measure:
        return MEASURES[self.key]

    @property
    def embedded(self) -> str:
        """The words of the claim about the embedded flavour of its data."""
        return self.words.replace(STARTS[self.dataset], EMBEDDED[self.dataset])

    @property
    def names(self) -> tuple[str, str]:
        """What the two numbers are called."""
        return NAMES[self.models[0]], "chance" if self.chance else NAMES[self.models[1]]


@dataclass(frozen=True)
class Pairs:
    """The numbers of a claim: of each seed (S,N), their means (N,), the clips' classes and ids, and the clips left
    out as (id, reason)."""

    first_seeds: np.ndarray
    second_seeds: np.ndarray
    first: np.ndarray
    second: np.ndarray
    classes: list[str]
    ids: list[str]
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """A claim, its numbers, its corrected p, its verdict, the clips left out as (id, reason), and what a change of
    seed makes (None for a claim about chance)."""

    claim: Claim
    result: measure_statistics.Paired
    p: float
    verdict: measure_statistics.Verdict
    left_out: tuple[tuple[str, str], ...]
    seeds: claims_seeds.Seeds | None


def _of_the_paper(dataset: str) -> tuple[Claim, ...]:
    on = STARTS[dataset]
    return (
        Claim(on + "I3D attends to fewer blobs", dataset, "blobs", -1),
        Claim(on + "I3D attends to larger blobs", dataset, "blob_size", 1),
        Claim(on + "I3D attends to more central blobs", dataset, "blob_distance", -1),
        Claim(on + "RS/FS is higher for I3D", dataset, "ratio", 1),
        Claim(on + "freezing takes more of I3D's score", dataset, "drop_freeze", 1, paper=False),
        Claim(on + "reversing takes more of I3D's score", dataset, "drop_reverse", 1, paper=False),
    )


def _of_the_truth(dataset: str) -> tuple[Claim, ...]:
    on, found = STARTS[dataset], []
    above = (("agreement", "chance_agreement", "masks agree with the known interval more than chance does"),
             ("pointing_in_time", "known_share", "masks are highest in the known interval more often than by chance"),
             ("in_boxes", "boxes_share", "maps lie on what acts more than an even map does"),
             ("pointing_in_space", "boxes_share", "maps are highest on what acts more often than by chance"))
    for key, chance, words in above:
        found += [Claim(f"{on}{name}'s {words}", dataset, key, 1, paper=False, models=(model, model), chance=chance)
                  for model, name in (("i3d", "I3D"), ("clstm", "the C-LSTM"))]
    found.append(Claim(on + "I3D's masks agree with the known interval more than the C-LSTM's", dataset, "agreement", 1,
                       paper=False))
    found.append(Claim(on + "I3D's maps lie on what acts more than the C-LSTM's", dataset, "in_boxes", 1, paper=False))
    return tuple(found)  # fmt: skip


CLAIMS = (
    Claim(SOMETHING + "I3D's masks are shorter", "something", "length", -1),
    Claim(SOMETHING + "I3D's masks are shorter where the camera does not turn", "something", "length", -1, False),
    Claim(SOMETHING + "I3D's masks are the longer ones where the camera turns", "something", "length", 1, True),
    Claim(KTH + "I3D's masks are shorter", "kth", "length", -1),
    *_of_the_paper("something"), *_of_the_paper("kth"),
)  # fmt: skip
TRUTH = (*_of_the_truth("something"), *_of_the_truth("kth"))


def pairs(table: Any, claim: Claim, *, only_right: bool = False) -> Pairs:
    """The claim's numbers on the same clips for both networks (or for a network and chance).

    A clip's number under a network is the mean over the seeds that give one; a clip is left out of both where
    either has none. only_right: leave out clips that any of these networks guesses wrong. ValueError where the table
    has a clip under only one of the networks or seeds.
    """
    own = table[(table["flavour"] == claim.dataset) & table["model"].isin(claim.models)]
    if claim.turns is not None:
        own = own[own["label_name"].str.startswith(published.CAMERA_TURNS) == claim.turns]
    sides = []
    for model, key in zip(claim.models, (claim.key, claim.chance or claim.key), strict=True):
        rows = own[own["model"] == model]
        parts = [part.set_index("id") for _, part in rows.groupby("seed")]
        sides.append((parts, key))
    every = [part for parts, _ in sides for part in parts]
    if not all(parts for parts, _ in sides):
        raise ValueError(f"the table has no {' and '.join(claim.names)} for the claim {claim.words!r}")
    ids = list(every[0].index)
    if alone := sorted(set().union(*(set(part.index) ^ set(ids) for part in every))):
        raise ValueError(f"clips under only one model or seed: {', '.join(alone[:5])}; a paired test needs both")
    out: dict[str, str] = {}
    numbers = []
    for parts, key in sides:
        seeds = np.stack([measure_table.column(part.loc[ids], key) for part in parts])  # (S, N)
        numbers.append(seeds)
        for place in np.flatnonzero(~np.isfinite(seeds).any(axis=0)):
            row = parts[0].loc[[ids[place]]]
            out.setdefault(ids[place], measure_table.reasons(row, key)[0])
    if only_right:
        for part in every:
            wrong = part.index[part["P"] != part["label_name"]]
            out = {**dict.fromkeys(wrong, "guessed wrong"), **out}
    kept = [place for place, name in enumerate(ids) if name not in out]
    first, second = (seeds[:, kept] for seeds in numbers)
    labels = every[0].loc[ids, "label_name"].tolist()
    return Pairs(first, second, claims_seeds.mean(first), claims_seeds.mean(second), [labels[place] for place in kept],
                 [ids[place] for place in kept], tuple((name, out[name]) for name in ids if name in out))


def judge(table: Any, claims: Sequence[Claim] = CLAIMS, *, only_right: bool = False,
          resamples: int = measure_statistics.RESAMPLES) -> list[Row]:
    """Test the claims on a table and judge them; Holm's correction is over those that `untested` does not name."""
    without = untested(table, claims, only_right=only_right)
    found = []
    for claim in claims:
        if claim.words not in without:
            one = pairs(table, claim, only_right=only_right)
            found.append((claim, one, measure_statistics.paired(one.first, one.second, one.classes,
                                                                resamples=resamples)))
    corrected = measure_statistics.holm([result.p for *_, result in found])
    return [
        Row(claim, result, p,
            measure_statistics.verdict(result, claim.side, p, unit=claim.measure.unit, names=claim.names,
                                       digits=claim.measure.digits, tests=len(found)),
            one.left_out, None if claim.chance else claims_seeds.of(one.first_seeds, one.second_seeds, claim.names))
        for (claim, one, result), p in zip(found, corrected, strict=True)
    ]  # fmt: skip


def untested(table: Any, claims: Sequence[Claim] = CLAIMS, *, only_right: bool = False) -> dict[str, str]:
    """The words of the claims that the table cannot be asked about, each with the reason."""
    told = {}
    for claim in claims:
        own = table[table["flavour"] == claim.dataset]
        missing = [NAMES[model] for model in dict.fromkeys(claim.models) if not (own["model"] == model).any()]
        if missing:
            told[claim.words] = f"nothing of {' and '.join(missing)} is there"
            continue
        one = pairs(table, claim, only_right=only_right)
        if len(set(one.classes)) < 2:
            words = sorted({why for _, why in one.left_out})
            told[claim.words] = f"fewer than two classes have clips with a number ({'; '.join(words) or 'few clips'})"
    return told


def exception(table: Any, dataset: str = "something") -> measure_statistics.Verdict:
    """The other reading of "except for camera turns": that I3D's masks are shorter by less there than elsewhere.

    Classes, not clips, are compared, by the rank test of Mann and Whitney on their mean differences in length
    (I3D - C-LSTM); one test, uncorrected. ValueError where there are no turns, or nothing else.
    """
    one = pairs(table, Claim("", dataset, "length", -1))
    difference, classes = one.first - one.second, np.array(one.classes)
    means = {name: float(difference[classes == name].mean()) for name in dict.fromkeys(one.classes)}
    turns, others = ([mean for name, mean in means.items() if name.startswith(published.CAMERA_TURNS) is turn]
                     for turn in (True, False))  # fmt: skip
    return measure_statistics.verdict_of_groups(turns, others, 1, names=("camera turns", "other classes"),
                                                unit="frames")


def summary(rows: Sequence[Row]) -> str:
    """How many of the paper's claims these numbers support, contradict, or leave open, in one sentence."""
    words = [row.verdict.word for row in rows if row.claim.paper]
    number = {word: words.count(word) for word in ("supported", "contradicted", "not decided")}
    return (f"{len(words)} tests of the paper's claims: {number['supported']} supported, "
            f"{number['contradicted']} contradicted, {number['not decided']} not decided.")  # fmt: skip
