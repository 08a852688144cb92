"""Every measure of the book by name, as a function from a table to a column: for our networks and the paper's alike.

Source: this project's own; the functions are those of `measure`, `measure_maps` and `windows`, named with each measure.
Axes: a table has one row a clip and network, with the columns of `record.COLUMNS`; a column is float64 (N,), nan where
the row gives no number. Needs the extra `results` (pandas).

    >>> column(record.read().table, "length")  # doctest: +SKIP
    >>> MEASURES["ratio"].definition, MEASURES["ratio"].source
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import measure, published

LEAST_DROP = 0.1  # what freezing the whole clip must take, for a share of it to say something


@dataclass(frozen=True)
class Measure:
    """A number for each clip. definition: one sentence; source: the function that made it; of: takes the columns
    that it `needs`, each (N,) or (N,T), and gives (N,); why: the reason where all is there and yet no number."""

    name: str
    unit: str
    definition: str
    source: str
    of: Callable[..., Tensor]
    needs: tuple[str, ...]
    digits: int = 2
    why: str = ""


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _ratio(reversed_score: Tensor, frozen_score: Tensor) -> Tensor:
    return measure.order_ratio(reversed_score, frozen_score, published.RESOLUTION).log10()


def _share(original: Tensor, perturbed: Tensor, frozen: Tensor) -> Tensor:
    share = measure.drop(original, perturbed, frozen)
    return torch.where(original - frozen >= LEAST_DROP, share, torch.nan)


def _known_share(known: Tensor) -> Tensor:
    return known.mean(dim=1)


NO_FRAME, NO_BLOB = "no frame is on", "no blob in any frame"
NO_BOX = "no box in any frame where the map is not empty"
SMALL = f"freezing the whole clip takes less than {LEAST_DROP:g} of the score"
_WHOLE = f"what freezing the whole clip takes, where that is {LEAST_DROP:g} or more."
_BOX = " in the frames with a box of what acts"

MEASURES = {
    "length": Measure("mask length", "frames", "How many frames of the mask are on, above 0.5.",
                      "measure.length", measure.length, ("mask",)),
    "runs": Measure("runs", "", "How many runs of neighbouring frames are on.",
                    "measure.runs", measure.runs, ("mask",)),
    "first": Measure("first frame", "frames", "The first frame that is on, counted from 0.",
                     "measure.first_frame", measure.first_frame, ("mask",), why=NO_FRAME),
    "last": Measure("last frame", "frames", "The last frame that is on, counted from 0.",
                    "measure.last_frame", measure.last_frame, ("mask",), why=NO_FRAME),
    "drop_freeze": Measure("drop OS − FS", "of the score", "What freezing under the mask takes from the score.",
                           "measure.drop", measure.drop, ("OS", "FS"), 3),
    "drop_reverse": Measure("drop OS − RS", "of the score", "What reversing under the mask takes from the score.",
                            "measure.drop", measure.drop, ("OS", "RS"), 3),
    "share_freeze": Measure("share of the drop, frozen", "of the whole clip's drop",
                            f"OS − FS, divided by {_WHOLE}",
                            "measure.drop", _share, ("OS", "FS", "frozen"), why=SMALL),
    "share_reverse": Measure("share of the drop, reversed", "of the whole clip's drop",
                             f"OS − RS, divided by {_WHOLE}",
                             "measure.drop", _share, ("OS", "RS", "frozen"), why=SMALL),
    "ratio": Measure("RS/FS", "powers of ten",
                     "The score reversed over the score frozen, as a power of ten; a score below "
                     f"{published.RESOLUTION / 2:g} counts as that, as in the paper's printed tables.",
                     "measure.order_ratio", _ratio, ("RS", "FS"), why="RS and FS of one model are both below 0.0005"),
    "regret": Measure("regret", "of the loss", "The mask's loss minus that of the best of all windows of frames.",
                      "windows.regret", _as_it_is, ("regret",), 3),
    "blobs": Measure("blobs a frame", "blobs",
                     "Connected regions of a frame's map above one half, on the map's scale from 0 to 1.",
                     "measure_maps.blobs", _as_it_is, ("blobs",)),
    "blob_size": Measure("size of a blob", "of the picture", "The share of the picture that a blob covers.",
                         "measure_maps.blobs", _as_it_is, ("blob_size",), why=NO_BLOB),
    "blob_distance": Measure("blobs' distance to the centre", "of centre to corner",
                             "How far blobs lie from the middle of the picture, 0 there and 1 in a corner.",
                             "measure_maps.blobs", _as_it_is, ("blob_distance",), why=NO_BLOB),
    "in_boxes": Measure("share of the map in the boxes", "of the map", f"The share of the map inside the boxes{_BOX}.",
                        "measure_maps.share_in_boxes", _as_it_is, ("in_boxes",), why=NO_BOX),
    "pointing_in_space": Measure("pointing game in space", "of the frames",
                                 f"How often the map's highest point lies in a box{_BOX}.",
                                 "measure_maps.pointing_in_space", _as_it_is, ("pointing",), why=NO_BOX),
    "boxes_share": Measure("the boxes' share of the picture", "of the picture",
                           "What chance gives for the two measures before: the picture's share inside the boxes.",
                           "measure_maps.share_in_boxes", _as_it_is, ("boxes_share",), why=NO_BOX),
    "agreement": Measure("agreement with the known interval", "",
                         "Frames that are both on and known, over frames that are either (intersection over union).",
                         "measure.agreement", measure.agreement, ("mask", "known")),
    "chance_agreement": Measure("agreement by chance", "",
                                "The mean agreement of a run as long as the mask, over every place it can have.",
                                "measure.chance_agreement", measure.chance_agreement, ("mask", "known")),
    "pointing_in_time": Measure("pointing game in time", "", "1 where the mask's highest frame is a known one, else 0.",
                                "measure.pointing_in_time", measure.pointing_in_time, ("mask", "known")),
    "known_share": Measure("known share of the frames", "",
                           "What chance gives for the pointing game in time: the share of the frames that are known.",
                           "data.truth.interval_mask", _known_share, ("known",)),
}  # fmt: skip


def column(table: Any, key: str) -> np.ndarray:
    """The measure of that name for every row, float64 (N,), nan where there is none. ValueError for another name.

    Rows whose masks have other numbers of frames may stand in one table.
    """
    one = _measure(key)
    values, whole = np.full(len(table), np.nan), _complete(table, one)
    if not whole.any():
        return values
    rows = np.flatnonzero(whole)
    frames = [len(np.atleast_1d(value)) for value in table[one.needs[0]].iloc[rows]]
    for number in sorted(set(frames)):
        here = rows[np.array(frames) == number]
        parts = [torch.from_numpy(np.stack([np.asarray(value, dtype=np.float64) for value in table[name].iloc[here]]))
                 for name in one.needs]  # fmt: skip
        values[here] = one.of(*parts).double().numpy()
    return values


def reasons(table: Any, key: str) -> list[str]:
    """For every row why it gives no number, "" where it does."""
    one, values = _measure(key), column(table, key)
    errors = table["error"] if "error" in table else [None] * len(table)
    told = []
    for value, whole, error in zip(values, _complete(table, one), errors, strict=True):
        missing = f"no number for {' and '.join(one.needs)}"
        told.append("" if np.isfinite(value) else error if isinstance(error, str) else
                    one.why if whole or one.why and one.of is _as_it_is else missing)
    return told


def _measure(key: str) -> Measure:
    if key not in MEASURES:
        raise ValueError(f"there is no measure {key!r}; expected one of {', '.join(MEASURES)}")
    return MEASURES[key]


def _complete(table: Any, one: Measure) -> np.ndarray:
    there = np.ones(len(table), bool)
    for name in one.needs:
        there &= table[name].notna().to_numpy() if name in table else False
    return there
