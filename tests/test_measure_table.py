"""Measures by name over hand-made rows, each with its known answer; every one names the function that made it."""

import importlib

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from interp import measure_table, record  # noqa: E402
from interp.measure_table import MEASURES, column, reasons  # noqa: E402

ROW = {"mask": [0.1, 0.6, 0.9, 0.2], "known": [0, 0, 1, 1], "OS": 0.9, "FS": 0.1, "RS": 0.5, "frozen": 0.4,
       "regret": -0.02, "blobs": 1.5, "blob_size": 0.1, "blob_distance": 0.3, "in_boxes": 0.6, "pointing": 0.75,
       "boxes_share": 0.2, "error": None}  # fmt: skip
KNOWN = {
    "length": 2, "runs": 1, "first": 1, "last": 2, "drop_freeze": 0.8, "drop_reverse": 0.4, "share_freeze": 1.6,
    "share_reverse": 0.8, "ratio": np.log10(5), "regret": -0.02, "blobs": 1.5, "blob_size": 0.1, "blob_distance": 0.3,
    "in_boxes": 0.6, "pointing_in_space": 0.75, "boxes_share": 0.2, "agreement": 1 / 3,
    "chance_agreement": (0 + 1 / 3 + 1) / 3, "pointing_in_time": 1, "known_share": 0.5,
}  # fmt: skip


def test_every_measure_has_its_known_answer():
    table = pd.DataFrame([ROW])
    assert set(KNOWN) == set(MEASURES)
    for key, value in KNOWN.items():
        assert column(table, key).tolist() == pytest.approx([value]), key
        assert reasons(table, key) == [""]


def test_every_measure_can_be_followed_to_its_function():
    for key, one in MEASURES.items():
        *room, name = one.source.split(".")
        assert callable(getattr(importlib.import_module(".".join(["interp", *room])), name)), key
        assert one.definition.endswith(".") and one.definition.count(".") <= 3 and set(one.needs) <= {*record.COLUMNS}


def test_what_gives_no_number_says_why():
    small, still, off, bad = dict(ROW), dict(ROW), dict(ROW), dict.fromkeys(ROW)
    small |= {"frozen": 0.85}
    still |= {"RS": 0.0002, "FS": 0.0001, "blob_size": None, "in_boxes": None}
    off |= {"mask": [0.1] * 4, "FS": None}
    bad |= {"error": "damaged"}
    table = pd.DataFrame([ROW, small, still, off, bad])
    assert np.isnan(column(table, "share_freeze")).tolist() == [False, True, False, True, True]
    small, none = measure_table.SMALL, "no number for OS and FS and frozen"
    assert reasons(table, "share_freeze")[1:] == [small, "", none, "damaged"]
    assert reasons(table, "ratio")[2:4] == [MEASURES["ratio"].why, "no number for RS and FS"]
    assert reasons(table, "first")[3] == "no frame is on" and reasons(table, "blob_size")[2] == "no blob in any frame"
    assert reasons(table, "in_boxes")[2] == measure_table.NO_BOX
    assert column(table, "length")[:4].tolist() == [2, 2, 2, 0]


def test_masks_of_other_lengths_stand_in_one_table():
    table = pd.DataFrame([ROW, {**ROW, "mask": [0.0] * 5 + [1.0] * 3, "known": [0] * 6 + [1] * 2}])
    assert column(table, "length").tolist() == [2, 3] and column(table, "agreement")[1] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="expected one of length"):
        column(table, "lenght")
    assert np.isnan(column(table.drop(columns="regret"), "regret")).all()
