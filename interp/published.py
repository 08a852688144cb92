"""The paper's own scores, masks and maps, as it published them, with its tables' typing errors noted.

Source: the results tables and moving figures of Mänttäri, Broomé et al., ACCV 2020 (arXiv 2002.00367). The scores are
those of its two tables for Something-Something; the masks were read off the bars and the maps off the overlays of
every published figure: 31 clips of Something-Something and 8 of KTH, each under both models. Axes: mask (T), bool, on
is True; map (t,h,w) in [0,1] on the layer's own grid, where one map of I3D stands for T/t frames. What the figures
support: claims.

    >>> i3d = published.results("something", "i3d")
    >>> len(i3d), np.mean([result.mask.sum() for result in i3d])
    (31, 6.35)
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from interp import record_truth
from interp.runs_table import libraries

DATA = Path(__file__).parent / "published_data"
DATASETS, MODELS = ("something", "kth"), ("i3d", "clstm")
RESOLUTION = 0.001  # the scores are printed with three decimals
CAMERA_TURNS = "Turning the camera"  # how the names of those classes begin


@dataclass(frozen=True, eq=False)
class Result:
    """One clip under one model. OS, FS, RS, CS, P as in the glossary; None where nothing was published.

    id: the video's name. mask: bool (T). map: float (t,h,w) in [0,1], or None. part: "main" for the clips that the
    paper shows, "appendix" for those drawn at random.
    """

    dataset: str
    class_name: str
    id: str
    model: str
    mask: np.ndarray
    OS: float | None = None
    FS: float | None = None
    RS: float | None = None
    CS: float | None = None
    P: str | None = None
    map: np.ndarray | None = None
    part: str = ""

    @property
    def turn(self) -> bool:
        """Whether the clip is a turn of the camera."""
        return self.class_name.startswith(CAMERA_TURNS)


def results(dataset: str | None = None, model: str | None = None) -> list[Result]:
    """Every published figure with its scores, or those of one dataset ("something", "kth") or one model ("i3d",
    "clstm"); the clips of both models come in the same order. ValueError for another name."""
    for name, known in ((dataset, DATASETS), (model, MODELS)):
        if name is not None and name not in known:
            raise ValueError(f"got {name!r}; expected one of {', '.join(known)}, or None for all")
    return [one for one in _all() if dataset in (None, one.dataset) and model in (None, one.model)]


def typing_errors() -> list[dict[str, str]]:
    """What is wrong in the printed tables: class_id, video_id, model (empty: both), kind, detail."""
    return _rows("typing_errors.csv")


@cache
def table() -> Any:
    """All published figures in the form of the record (`record.COLUMNS`, as far as there is something to put in), so
    that they and our own networks meet the same measures: a pandas.DataFrame, to be left as it is.

    The seed of each network is 0, its only one. ValueError where pandas is not installed.
    """
    pandas, *_ = libraries()
    rows = [{"flavour": one.dataset, "model": one.model, "seed": 0, "id": one.id, "label_name": one.class_name,
             **{name: getattr(one, name) for name in ("P", "OS", "FS", "RS", "CS")}, "mask": one.mask.astype(float),
             "part": one.part, **record_truth.blob_means(one.map), "cells": one.map[0].size} for one in _all()]
    return pandas.DataFrame(rows)


@cache
def _all() -> tuple[Result, ...]:
    scores = {(row["video_id"], row["model"]): row for row in _rows("scores.csv")}
    names = {row["class_id"]: row["class_name"] for row in scores.values()}
    found = []
    with np.load(DATA / "maps.npz", allow_pickle=False) as maps:
        for row in _rows("masks.csv"):
            prefix = {"something": "smth"}.get(row["dataset"], row["dataset"])
            here = maps["_".join((prefix, row["class_id"], row["video_id"], row["model"]))].astype(np.float32)
            mask = np.array([digit == "1" for digit in row["mask"]])
            mask.flags.writeable = here.flags.writeable = False  # all callers share them
            printed = scores.get((row["video_id"], row["model"]), {})
            numbers = {key: float(printed[key]) if printed.get(key) else None for key in ("OS", "FS", "RS", "CS")}
            name = names.get(row["class_id"], row["class_id"])
            found.append(Result(row["dataset"], name, row["video_id"], row["model"], mask, **numbers,
                                P=printed.get("P") or None, map=here, part=row["part"]))  # fmt: skip
    return tuple(sorted(found, key=lambda one: (DATASETS.index(one.dataset), one.class_name, one.id, one.model)))


def _rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
