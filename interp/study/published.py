"""The paper's own scores, masks and maps (Mänttäri, Broomé et al., ACCV 2020, arXiv 2002.00367).

Scores are those of its two tables, masks and maps are read off every figure: 31 clips of Something-Something and 8 of
KTH, each under both models.
"""

import csv
from collections import namedtuple
from functools import cache
from pathlib import Path

import numpy as np

from interp.study import import_extra
from interp.study.measures import map_means

DATA = Path(__file__).parent / "published_data"
DATASETS, MODELS = ("something", "kth"), ("i3d", "clstm")
SCORES = ("OS", "FS", "RS", "CS")

# One clip (id: its video) under one model; a score or P is None where nothing was published. mask: bool (T), True =
# perturbed; map: (t,h,w) in [0,1] on the layer's grid, where one map of I3D stands for T/t frames; part: "main" for
# clips that the paper shows, "appendix" for those drawn at random.
Result = namedtuple("Result", ["dataset", "class_name", "id", "model", "mask", "map", "part", *SCORES, "P"])


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
         **{name: getattr(result, name) for name in ("P", *SCORES)}, "mask": result.mask.astype(float),
         "part": result.part, **map_means(result.map), "cells": result.map[0].size} for result in _all()])


@cache
def _all() -> tuple[Result, ...]:
    scores = {(row["video_id"], row["model"]): row for row in _rows("scores.csv")}
    names = {row["class_id"]: row["class_name"] for row in scores.values()}
    figures, maps = [], np.load(DATA / "maps.npz", allow_pickle=False)
    for row in _rows("masks.csv"):
        dataset, name, video, model = (row[key] for key in ("dataset", "class_id", "video_id", "model"))
        heat_map = maps[f"{dataset.replace('something', 'smth')}_{name}_{video}_{model}"].astype(np.float32)
        printed = scores.get((video, model), {})
        numbers = [float(printed[key]) if printed.get(key) else None for key in SCORES]
        figures.append(Result(dataset, names.get(name, name), video, model, np.array(list(row["mask"])) == "1",
                              heat_map, row["part"], *numbers, printed.get("P") or None))
    return tuple(sorted(figures, key=lambda one: (DATASETS.index(one.dataset), one.class_name, one.id, one.model)))


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines()))
