"""The paper's claims as tests: each a measure, a choice of clips, a side; each answered by a verdict from the numbers.

Source: the claims of Mänttäri, Broomé et al., ACCV 2020; the measures are those of `measure` and `measure_maps`, the
tests those of `measure_statistics`. All tests on one set of results are one family for Holm's correction. No axes:
one number a clip.

    >>> rows = published_claims.judge(published.results())
    >>> rows[0].claim.words, rows[0].verdict.word
    ("On Something-Something, I3D's masks are shorter", 'supported')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from interp import measure, measure_maps, measure_statistics, published
from interp.published import Result


@dataclass(frozen=True)
class Measure:
    """A number for each result. of: the function, nan where the clip gives none; source: what made it; scored:
    whether it needs the scores; why: the reason written beside a clip that gives none, though it has them."""

    name: str
    unit: str
    of: Callable[[Result], float]
    source: str
    why: str = ""
    digits: int = 2
    scored: bool = False


@dataclass(frozen=True)
class Claim:
    """words: what is claimed. side: 1 where I3D's number should be the larger, -1 the smaller. turns: only turns of
    the camera (True), none of them (False), or all clips. paper: False where the paper does not claim it."""

    words: str
    dataset: str
    measure: Measure
    side: int
    turns: bool | None = None
    paper: bool = True


@dataclass(frozen=True)
class Row:
    """A claim, its numbers, its corrected p, its verdict, and the clips left out as (id, reason)."""

    claim: Claim
    result: measure_statistics.Paired
    p: float
    verdict: measure_statistics.Verdict
    left_out: tuple[tuple[str, str], ...]


def _score(function: Callable, *names: str) -> Callable[[Result], float]:
    def of(result: Result) -> float:
        values = [getattr(result, name) for name in names]
        if None in values:
            return float("nan")
        return float(function(*(torch.tensor([value], dtype=torch.float64) for value in values)))

    return of


def _blobs(name: str) -> Callable[[Result], float]:
    def of(result: Result) -> float:
        if result.map is None:
            return float("nan")
        values = getattr(measure_maps.blobs(result.map), name)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return of


def _length(result: Result) -> float:
    return float(measure.length(torch.from_numpy(np.array(result.mask))[None]))


def _ratio(RS, FS):
    return measure.order_ratio(RS, FS, published.RESOLUTION).log10()


NO_SCORES, NO_MAP = "no scores were published", "no blob in any frame"
LENGTH = Measure("mask length", "frames", _length, "measure.length")
COUNT = Measure("blobs a frame", "blobs", _blobs("count"), "measure_maps.blobs", NO_MAP)
SIZE = Measure("size of a blob", "of the picture", _blobs("size"), "measure_maps.blobs", NO_MAP)
DISTANCE = Measure("blobs' distance to the centre", "of centre to corner", _blobs("distance"),
                   "measure_maps.blobs", NO_MAP)  # fmt: skip
RATIO = Measure("RS/FS", "powers of ten", _score(_ratio, "RS", "FS"), "measure.order_ratio",
                "RS and FS of one model are both printed as 0.000", scored=True)  # fmt: skip
FREEZE_DROP = Measure("drop OS − FS", "", _score(measure.drop, "OS", "FS"), "measure.drop", digits=3, scored=True)
REVERSE_DROP = Measure("drop OS − RS", "", _score(measure.drop, "OS", "RS"), "measure.drop", digits=3, scored=True)

SOMETHING, KTH = "On Something-Something, ", "On KTH, "
CLAIMS = (
    Claim(SOMETHING + "I3D's masks are shorter", "something", LENGTH, -1),
    Claim(SOMETHING + "I3D's masks are shorter where the camera does not turn", "something", LENGTH, -1, False),
    Claim(SOMETHING + "I3D's masks are the longer ones where the camera turns", "something", LENGTH, 1, True),
    Claim(KTH + "I3D's masks are shorter", "kth", LENGTH, -1),
    Claim(SOMETHING + "I3D attends to fewer blobs", "something", COUNT, -1),
    Claim(SOMETHING + "I3D attends to larger blobs", "something", SIZE, 1),
    Claim(SOMETHING + "I3D attends to more central blobs", "something", DISTANCE, -1),
    Claim(KTH + "I3D attends to fewer blobs", "kth", COUNT, -1),
    Claim(KTH + "I3D attends to larger blobs", "kth", SIZE, 1),
    Claim(KTH + "I3D attends to more central blobs", "kth", DISTANCE, -1),
    Claim(SOMETHING + "RS/FS is higher for I3D", "something", RATIO, 1),
    Claim(SOMETHING + "freezing takes more of I3D's score", "something", FREEZE_DROP, 1, paper=False),
    Claim(SOMETHING + "reversing takes more of I3D's score", "something", REVERSE_DROP, 1, paper=False),
)  # fmt: skip


def pairs(results: Sequence[Result], claim: Claim):
    """The claim's numbers: I3D's (N,), C-LSTM's (N,), classes (N,), ids (N,), and the clips left out with the reason.

    A clip is left out of both models where either gives no number. ValueError where a clip has only one model.
    """
    chosen = [one for one in results if one.dataset == claim.dataset and claim.turns in (None, one.turn)]
    i3d, clstm = ({one.id: one for one in chosen if one.model == model} for model in published.MODELS)
    if i3d.keys() != clstm.keys():
        alone = sorted(i3d.keys() ^ clstm.keys())
        raise ValueError(f"clips under only one model: {', '.join(alone[:5])}; a paired test needs both")
    numbers = {key: (claim.measure.of(i3d[key]), claim.measure.of(clstm[key])) for key in i3d}
    kept = [key for key, both in numbers.items() if np.isfinite(both).all()]
    left_out = tuple((key, NO_SCORES if claim.measure.scored and i3d[key].OS is None else claim.measure.why)
                     for key in numbers if key not in kept)  # fmt: skip
    first, second = (np.array([numbers[key][side] for key in kept]) for side in (0, 1))
    return first, second, [i3d[key].class_name for key in kept], kept, left_out


def judge(results: Sequence[Result], claims: Sequence[Claim] = CLAIMS, *, resamples: int = 9999) -> list[Row]:
    """Test every claim on the results and judge it; Holm's correction is over these claims."""
    found = []
    for claim in claims:
        first, second, classes, _, left_out = pairs(results, claim)
        found.append((claim, measure_statistics.paired(first, second, classes, resamples=resamples), left_out))
    corrected = measure_statistics.holm([result.p for _, result, _ in found])
    return [
        Row(claim, result, p, measure_statistics.verdict(result, claim.side, p, unit=claim.measure.unit,
                                                         digits=claim.measure.digits, tests=len(found)), left_out)
        for (claim, result, left_out), p in zip(found, corrected, strict=True)
    ]  # fmt: skip


def exception(results: Sequence[Result], dataset: str = "something") -> measure_statistics.Verdict:
    """The other reading of "except for camera turns": that I3D's masks are shorter by less there than elsewhere.

    Classes, not clips, are compared, by the rank test of Mann and Whitney on their mean differences in length
    (I3D - C-LSTM); one test, uncorrected. ValueError where there are no turns, or nothing else.
    """
    first, second, classes, _, _ = pairs(results, Claim("", dataset, LENGTH, -1))
    means = {name: float(np.mean([d for d, one in zip(first - second, classes, strict=True) if one == name]))
             for name in dict.fromkeys(classes)}  # fmt: skip
    turns, others = ([mean for name, mean in means.items() if name.startswith(published.CAMERA_TURNS) is turn]
                     for turn in (True, False))  # fmt: skip
    return measure_statistics.verdict_of_groups(turns, others, 1, names=("camera turns", "other classes"),
                                                unit="frames")


def summary(rows: Sequence[Row]) -> str:
    """How many of the paper's claims its figures support, contradict, or leave open, in one sentence."""
    words = [row.verdict.word for row in rows if row.claim.paper]
    number = {word: words.count(word) for word in ("supported", "contradicted", "not decided")}
    return (f"{len(words)} tests of the paper's claims: {number['supported']} supported, "
            f"{number['contradicted']} contradicted, {number['not decided']} not decided.")  # fmt: skip
