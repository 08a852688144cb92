"""Claims as tests: each a measure, a choice of clips and a side, judged by the numbers of a table.

CLAIMS are those of Mänttäri, Broomé et al., ACCV 2020, TRUTH our own about the known truth. A table has one row a clip,
network and training seed (`record.read().table`, `published.table()`). A difference has to be larger than the measure's
`least`, which was chosen before the record was made.
"""

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.study import import_extra, measures, statistics

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

    measure = property(lambda self: measures.MEASURES[self.key])
    embedded = property(lambda self: self.words.replace(STARTS[self.dataset], EMBEDDED[self.dataset]),
                        doc="The words of the claim about the embedded flavour of its data.")
    names = property(lambda self: (NAMES[self.models[0]], "frame difference" if self.chance == "change_agreement" else
                                   "chance" if self.chance else NAMES[self.models[1]]),
                     doc="The names of the two numbers.")


# The numbers of a claim, of the clips that have both: those of each seed (S,N) and their means (N,), the clips' classes
# and ids, and (id, what it lacks) of the other clips.
Pairs = namedtuple("Pairs", "first_seeds second_seeds first second classes ids left_out")
Row = namedtuple("Row", "claim result verdict left_out")  # a judged claim, with its statistics.Paired


CLAIMS = (
    Claim(SOMETHING + "I3D's masks are shorter", "something", "length", -1),
    Claim(SOMETHING + "I3D's masks are shorter where the camera does not turn", "something", "length", -1, False),
    Claim(SOMETHING + "I3D's masks are the longer ones where the camera turns", "something", "length", 1, True),
    Claim(KTH + "I3D's masks are shorter", "kth", "length", -1),
    *(Claim(start + "I3D's score falls with fewer frames frozen", dataset, "needed", -1, paper=False)
      for dataset, start in STARTS.items()),
    *(Claim(start + words, dataset, key, side, paper=not key.startswith(("drop", "off")))
      for dataset, start in STARTS.items() for words, key, side in (
          ("I3D attends to fewer blobs", "blobs", -1), ("I3D attends to larger blobs", "blob_size", 1),
          ("I3D attends to more central blobs", "blob_distance", -1),
          ("I3D attends to more central blobs than their size makes them", "off_centre", -1),
          ("RS/FS is higher for I3D", "ratio", 1),
          ("freezing takes more of I3D's score", "drop_freeze", 1),
          ("reversing takes more of I3D's score", "drop_reverse", 1))),
)
_OVER_CHANCE = (
    ("masks agree with the known interval more than chance does", "agreement", "chance_agreement"),
    ("masks agree with it more than frames round the largest change do", "agreement", "change_agreement"),
    ("masks are highest in the known interval more often than by chance", "pointing_in_time", "known_share"),
    ("maps lie on what moves more than an even map does", "in_boxes", "boxes_share"),
    ("maps are highest on what moves more often than by chance", "pointing_in_space", "boxes_share"),
)
_OVER_C_LSTM = (("I3D's masks agree with the known interval more than the C-LSTM's", "agreement"),
                ("I3D's maps lie on what moves more than the C-LSTM's", "in_boxes"))
TRUTH = tuple(claim for dataset, start in STARTS.items() for claim in (
    *(Claim(f"{start}{name}'s {words}", dataset, key, 1, None, False, (model, model), chance)
      for words, key, chance in _OVER_CHANCE for model, name in (("i3d", "I3D"), ("clstm", "the C-LSTM"))),
    *(Claim(start + words, dataset, key, 1, paper=False) for words, key in _OVER_C_LSTM)))


def pairs(table: Any, claim: Claim, *, only_right: bool = False) -> Pairs:
    """The claim's numbers on the same clips; ValueError where a clip or a seed is missing under a network.

    A clip is left out, with what it lacks, where no seed has both numbers, and with `only_right` where a prediction is
    wrong.
    """
    table = table[(table["flavour"] == claim.dataset) & table["model"].isin(claim.models)]
    if claim.turns is not None:
        table = table[table["label_name"].str.startswith(CAMERA_TURNS) == claim.turns]
    sides = [[rows.set_index("id") for _, rows in table[table["model"] == model].groupby("seed")]
             for model in claim.models]
    if not all(sides):
        raise ValueError(f"expected {' and '.join(claim.names)} in the table, got {sorted(table['model'].unique())}")
    runs = sum(sides, [])
    ids = list(runs[0].index)
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"expected as many seeds of both networks, got {len(sides[0])} and {len(sides[1])}")
    if unpaired := sorted(set().union(*(rows.index.symmetric_difference(ids) for rows in runs))):
        raise ValueError(f"expected the same clips under both, got {unpaired[:5]} under only one model or seed")
    left_out, numbers = {}, []
    for side, key in zip(sides, (claim.key, claim.chance or claim.key), strict=True):
        numbers.append(np.stack([measures.column(rows.loc[ids], key) for rows in side]))  # (S,N)
        for place in np.flatnonzero(~np.isfinite(sum(numbers)).any(axis=0)):
            left_out.setdefault(ids[place], measures.MEASURES[key].why)
    for rows in runs if only_right else ():
        left_out = dict.fromkeys(rows.index[rows["P"] != rows["label_name"]], "a right guess") | left_out
    kept = [place for place, name in enumerate(ids) if name not in left_out]
    first, second = (seeds[:, kept] for seeds in numbers)
    return Pairs(first, second, np.nanmean(first, axis=0), np.nanmean(second, axis=0),
                 runs[0].loc[ids, "label_name"].iloc[kept].tolist(), [ids[place] for place in kept],
                 tuple((name, left_out[name]) for name in ids if name in left_out))


def judge(table: Any, claims: Sequence[Claim] = CLAIMS, *, only_right: bool = False,
          resamples: int = statistics.RESAMPLES) -> list[Row]:
    """Judge the claims that `untested` does not name."""
    without, rows = untested(table, claims, only_right=only_right), []
    for claim in (claim for claim in claims if claim.words not in without):
        numbers = pairs(table, claim, only_right=only_right)
        result = statistics.paired(numbers.first_seeds, numbers.second_seeds, numbers.classes, resamples=resamples)
        rows.append(Row(claim, result, statistics.verdict(result, claim.side, claim.measure.least), numbers.left_out))
    return rows


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
            words = "; ".join(sorted({lack for _, lack in numbers.left_out})) or "more clips"
            reasons[claim.words] = f"fewer than two classes have clips with a number (others lack {words})"
    return reasons


def table(rows: Sequence[Row], embedded: bool = False) -> Any:
    """A DataFrame of texts with a line for each judged claim; embedded: the words name the embedded data."""
    lines = []
    for row in rows:
        result, digits = row.result, row.claim.measure.digits
        first, second = (f"{name} {text(mean, digits)}" for name, mean in zip(row.claim.names, result[:2], strict=True))
        difference, low, high = (text(value, digits, "+") for value in result[2:5])
        lines.append({"claim": row.claim.embedded if embedded else row.claim.words, "clips": result.clips,
                      "means": f"{first}, {second}", "difference (95 % interval)": f"{difference} ({low} to {high})",
                      "each seed": ", ".join(text(value, digits, "+") for value in result.seeds),
                      "matters from": f"{row.claim.measure.least:g}",
                      "p": "< 0.001" if result.p < 0.001 else f"{result.p:.3f}", "verdict": row.verdict})
    return import_extra("pandas").DataFrame(lines)


def text(value: float, digits: int, sign: str = "") -> str:
    """A number with a true minus sign."""
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
