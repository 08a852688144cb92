"""Clips of the record computed once more, so that what a reader sees is not taken on trust.

Source: this project's own. A clip is explained as its run was (recipe, search, start; its neighbours may be others) and
held against its row. What takes no search must agree to EXACT; a search carries the last digits of another processor
or batch along, so its loss must agree to LOSS, its scores to SEARCHED, and every frame of its mask to MASK. Axes:
masks (T).

    >>> told = again(record.read(), interp.load("i3d"), dataset, ["1000001"])  # doctest: +SKIP
    >>> told["OS"].recorded, told["OS"].largest
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from interp import recipes, record, record_truth
from interp.masks import Stop
from interp.runs import weights_hash
from interp.runs_job import Job, class_numbers

EXACT, LOSS, SEARCHED, MASK = 0.002, 0.01, 0.05, 0.25
TOLERANCES = {
    **dict.fromkeys(("OS", "frozen", "window_loss"), EXACT),
    **dict.fromkeys(("blobs", "blob_size", "blob_distance", "in_boxes", "pointing"), EXACT),
    **dict.fromkeys(("loss", "regret"), LOSS),
    **dict.fromkeys(("FS", "RS"), SEARCHED),
    "mask": MASK,  # where the least loss comes some steps sooner or later; a step moves a frame by up to 0.05
}


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the clips asked for: the recorded and the new values, the largest difference, and its limit."""

    recorded: list
    computed: list
    largest: float
    tolerance: float


def again(found: record.Record, model: nn.Module, dataset: Any, ids: Sequence[str], *, flavour: str = "something",
          chunk: int | None = None) -> dict[str, Column]:
    """Explain the clips `ids` of a VideoDataset again and compare with the record; {column: Column}.

    The model's own record says which network and seed it is. ValueError where the record has no run of these very
    weights, where a clip is not in it, and, naming clip and column, where anything does not agree.
    """
    digest = weights_hash(model)
    run = next((one for one in found.about["runs"] if one["weights"]["weights"] == digest
                and one["flavour"] == flavour), None)  # fmt: skip
    if run is None:
        raise ValueError(f"the record has no run of these weights ({digest[:12]}) on {flavour}: they have changed "
                         "since it was made, so make it anew with `python -m interp record`")  # fmt: skip
    rows = record.of(found.table, flavour, run["model"], run["seed"]).set_index("id")
    if missing := [name for name in ids if name not in rows.index or name not in dataset.ids]:
        raise ValueError(f"clip {missing[0]} is not in both the record and the dataset")
    search = run["search"]
    stop = Stop(**search["stop"]) if search["stop"] else None
    job = Job(model, dataset, recipes.MaskRecipe(**run["recipe"]), search, stop, run["data"]["seed"],
              chunk or len(ids), workers=1, strict=True, numbers=class_numbers(model, dataset), progress=False)
    indices = [dataset.ids.index(name) for name in ids]
    fresh, maps = job.make(indices)
    for row, index, one in zip(fresh, indices, maps, strict=True):
        truth = dataset.samples[index].meta["truth"]
        row |= record_truth.against_truth(one, truth, run["data"]["num_frames"])
        if row["P"] != rows.loc[row["id"], "P"]:
            raise ValueError(f"clip {row['id']}: the guess was {rows.loc[row['id'], 'P']!r}, is {row['P']!r}")
    return {name: _compare(name, limit, rows, fresh) for name, limit in TOLERANCES.items()}


def _compare(name: str, limit: float, rows: Any, fresh: Sequence[dict]) -> Column:
    recorded = [rows.loc[row["id"], name] for row in fresh]
    computed = [row[name] for row in fresh]
    largest = 0.0
    for row, old, new in zip(fresh, recorded, computed, strict=True):
        old, new = (np.asarray(np.nan if value is None else value, dtype=np.float64) for value in (old, new))
        same = old.shape == new.shape and np.isnan(old).tolist() == np.isnan(new).tolist()
        far = float(np.nanmax(np.abs(old - new))) if same and np.isfinite(old).any() else 0.0 if same else np.inf
        if far > limit:
            raise ValueError(f"clip {row['id']}, {name}: the record says {old}, now it is {new}; they differ by "
                             f"{far:.4f}, more than {limit:g}")  # fmt: skip
        largest = max(largest, far)
    return Column(recorded, computed, largest, limit)
