"""The paper's own scores, masks and maps, with the typing errors of its tables.

From Mänttäri, Broomé et al., ACCV 2020 (arXiv 2002.00367): scores of two tables, masks read off the bars and maps off
the overlays of every figure: 31 clips of Something-Something and 8 of KTH, each under both models.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from interp.study import import_extra
from interp.study.measures import blob_means

DATA = Path(__file__).parent / "published_data"
DATASETS, MODELS = ("something", "kth"), ("i3d", "clstm")


@dataclass(frozen=True, eq=False)
class Result:
    """One clip under one model; None where nothing was published."""

    dataset: str
    class_name: str
    id: str  # the video's name
    model: str
    mask: np.ndarray  # bool (T), True = perturbed
    map: np.ndarray  # (t,h,w) in [0,1] on the layer's grid; one map of I3D stands for T/t frames
    part: str  # "main" for clips that the paper shows, "appendix" for those drawn at random
    OS: float | None = None
    FS: float | None = None
    RS: float | None = None
    CS: float | None = None
    P: str | None = None


def results(dataset: str | None = None, model: str | None = None) -> list[Result]:
    """All published figures, or those of one dataset or model; both models' clips are in the same order."""
    if dataset not in (None, *DATASETS) or model not in (None, *MODELS):
        raise ValueError(f"expected one of {DATASETS} and of {MODELS}, or None for all, got {dataset!r} and {model!r}")
    return [result for result in _all() if dataset in (None, result.dataset) and model in (None, result.model)]


def typing_errors() -> list[dict[str, str]]:
    """What is wrong in the printed tables: class_id, video_id, model (empty: both), kind, detail."""
    return _rows("typing_errors.csv")


def table():
    """All published figures as a DataFrame with the record's columns, as far as they are known; seed is 0."""
    return import_extra("pandas").DataFrame([
        {"flavour": result.dataset, "model": result.model, "seed": 0, "id": result.id, "label_name": result.class_name,
         **{name: getattr(result, name) for name in ("P", "OS", "FS", "RS", "CS")}, "mask": result.mask.astype(float),
         "part": result.part, **blob_means(result.map), "cells": result.map[0].size} for result in _all()])


@cache
def _all() -> tuple[Result, ...]:
    scores = {(row["video_id"], row["model"]): row for row in _rows("scores.csv")}
    names = {row["class_id"]: row["class_name"] for row in scores.values()}
    figures, maps = [], np.load(DATA / "maps.npz", allow_pickle=False)
    for row in _rows("masks.csv"):
        dataset, name, video, model = (row[key] for key in ("dataset", "class_id", "video_id", "model"))
        heat_map = maps[f"{dataset.replace('something', 'smth')}_{name}_{video}_{model}"].astype(np.float32)
        printed = {key: text for key, text in scores.get((video, model), {}).items() if text}
        numbers = {key: float(printed[key]) for key in ("OS", "FS", "RS", "CS") if key in printed}
        figures.append(Result(dataset, names.get(name, name), video, model, np.array(list(row["mask"])) == "1",
                              heat_map, row["part"], P=printed.get("P"), **numbers))  # fmt: skip
    return tuple(sorted(figures, key=lambda one: (DATASETS.index(one.dataset), one.class_name, one.id, one.model)))


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines()))
