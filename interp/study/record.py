"""The record: finished results folders of two networks and several seeds as one table, which ships with the book.

A row is a clip under one network of one seed; masks and the known interval are lists of T numbers. Maps do not ship:
what needs them is computed when the record is written. What made each run stands in the table's metadata.

    >>> write(["runs/i3d", "runs/clstm"], "record.parquet")
    >>> record = read()
    >>> record.table[["flavour", "model", "seed", "id", "OS", "FS", "regret"]], record.about["runs"][0]["recipe"]
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from interp import recipes
from interp.data import open_dataset
from interp.data.truth import frame_boxes, interval_mask
from interp.io import atomic_write
from interp.models.weights import weights_hash
from interp.study import import_extra, measures, results
from interp.training.log import versions

PATH = Path(__file__).parent / "record_data" / "record.parquet"
MOST_BYTES = 3_000_000
MODELS = ("i3d", "clstm")
FLAVOURS = {"motion": "something", "kth": "kth"}  # kind of data -> the paper's dataset that it imitates
KEPT = ("id", "label_name", "P", "OS", "FS", "RS", "CS", "frozen", "mask", "steps", "first_loss", "last_loss", "loss",
        "window_first", "window_last", "window_loss", "regret", "error")  # of a results folder
TRUTH = {  # against the known truth; means over the frames that have a number
    "known": "1 in the frames in which something happens",
    "blobs": "connected regions of the map above one half, a frame",
    "blob_size": "mean share of the picture that one covers",
    "blob_distance": "of the blobs' centres from the middle of the picture, 0 there and 1 in a corner",
    "in_boxes": "share of the map inside the boxes of what acts, in frames with a box",
    "pointing": "share of frames whose highest point lies in a box, in frames with a box",
    "boxes_share": "share of the picture that the boxes cover in these frames: what chance gives for both",
}
COLUMNS = ("flavour", "model", "seed", *KEPT, *TRUTH)
OPTIONAL = tuple(results.EXACT_COLUMNS)  # where a run has exact masks
KINDS = {**dict.fromkeys(("flavour", "model", "id", "label_name", "P", "error"), "string"), "mask": "mask",
         **dict.fromkeys(("seed", "steps", "window_first", "window_last"), "int32"), "known": "frames",
         **results.EXACT_COLUMNS}  # others: float64  # fmt: skip
KEY = b"interp"  # of the metadata
EXACT, LOSS, SEARCHED, MASK = 0.002, 0.01, 0.05, 0.25
TOLERANCES = {  # for a clip that is computed again; a search carries another processor's last digits along
    **dict.fromkeys(("OS", "frozen", "window_loss", "blobs", "blob_size", "blob_distance", "in_boxes", "pointing"),
                    EXACT),
    **dict.fromkeys(("loss", "regret"), LOSS), **dict.fromkeys(("FS", "RS"), SEARCHED), "mask": MASK,
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The table (a pandas.DataFrame) and what made it: {"runs": [...], "versions": ..., ...}."""

    table: Any
    about: dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of clips that were computed again."""

    recorded: list
    computed: list
    largest: float  # difference
    tolerance: float


def write(folders: Iterable[str | Path], out: str | Path, roots: Mapping[str, str | Path] | None = None,
          onto: Record | None = None) -> Record:
    """Write one table of finished results folders, each one network of one training seed on one flavour, and read it.

    folders: all of one flavour must have the same clips, recipe and search. out: the file, of at most MOST_BYTES.
    roots: {"motion": folder, "kth": folder} of the data, where run.json's are no longer right. onto: a record whose
    runs are kept; its clips must be the same. ValueError for runs that do not fit together.
    """
    runs = [_describe_run(folder) for folder in folders]
    if not runs:
        raise ValueError("folders: expected results folders that `interp explain --data` wrote, got none")
    order = [(flavour, model) for flavour in FLAVOURS.values() for model in MODELS]
    runs = sorted([*(onto.about["runs"] if onto else ()), *runs],
                  key=lambda run: (order.index((run["flavour"], run["model"])), run["seed"]))
    _check_alike(runs)
    rows = [row for run in runs for row in (
        _rows(run, (roots or {}).get(run["data"]["kind"])) if "folder" in run
        else _plain(of(onto.table, run["flavour"], run["model"], run["seed"])))]  # fmt: skip
    _check_same_clips(rows)
    about = {"runs": [{key: value for key, value in run.items() if key != "folder"} for run in runs],
             "versions": versions(), "columns": TRUTH,
             "maps": {"threshold": measures.THRESHOLD, "grid": measures.GRID}}  # fmt: skip
    if onto and onto.about["maps"] != about["maps"]:
        raise ValueError(f"onto: expected maps measured with {about['maps']}, got {onto.about['maps']}; record all "
                         "runs again")  # fmt: skip
    arrow, parquet = import_extra("pyarrow"), import_extra("pyarrow.parquet")
    types = {"mask": arrow.list_(arrow.float32()), "frames": arrow.list_(arrow.int8())}
    names = COLUMNS + tuple(name for name in OPTIONAL if any(row.get(name) is not None for row in rows))
    kinds = ((name, KINDS.get(name, "float64")) for name in names)
    schema = arrow.schema([(name, types.get(kind) or getattr(arrow, kind)()) for name, kind in kinds],
                          metadata={KEY: json.dumps(about, sort_keys=True).encode()})  # fmt: skip
    buffer = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    if buffer.tell() > MOST_BYTES:
        raise ValueError(f"the table: expected at most {MOST_BYTES} bytes, got {buffer.tell()}; record fewer clips")
    atomic_write(out, buffer.getvalue())
    return read(out)


def read(path: str | Path | None = None) -> Record:
    """Read the shipped record, or another one."""
    path = Path(path or PATH)
    if not path.is_file():
        raise ValueError(f"there is no record {path}; `python -m interp record FOLDER... --out FILE` writes one")
    return _read(path, path.stat().st_mtime_ns)


def of(table: Any, flavour: str, model: str, seed: int | None = None) -> Any:
    """The rows of one flavour and network, of one seed or of all; ValueError where there are none."""
    chosen = (table["flavour"] == flavour) & (table["model"] == model)
    if seed is not None:
        chosen &= table["seed"] == seed
    if not chosen.any():
        keys = sorted({tuple(key) for key in table[["flavour", "model", "seed"]].itertuples(index=False)})
        raise ValueError(f"expected one of {keys} in the record, got {(flavour, model, seed)}")
    return table[chosen]


def seeds(table: Any, flavour: str, model: str) -> list[int]:
    """The training seeds of a network on a flavour; [] where there are none."""
    return sorted(map(int, table["seed"][(table["flavour"] == flavour) & (table["model"] == model)].unique()))


def against_truth(heat_map: np.ndarray | None, truth: Mapping[str, Any], num_frames: int) -> dict[str, Any]:
    """The values of TRUTH for a clip's map (T,H,W), or None; None where no frame has a number."""
    row: dict[str, Any] = {**dict.fromkeys(TRUTH), "known": interval_mask(truth, num_frames).astype(int).tolist()}
    if heat_map is None:
        return row
    heat_map = np.asarray(heat_map, dtype=np.float64)
    boxes = [[box for _, box in named] for named in frame_boxes(truth, num_frames)]
    frames = np.array([bool(of_frame) for of_frame in boxes]) & (heat_map.sum(axis=(1, 2)) > 0)
    shares = {"in_boxes": measures.share_in_boxes(heat_map, boxes),
              "pointing": measures.pointing_in_space(heat_map, boxes),
              "boxes_share": measures.share_in_boxes(np.ones_like(heat_map), boxes)}  # fmt: skip
    return row | measures.blob_means(heat_map) | {
        name: measures.finite_mean(values[frames]) for name, values in shares.items()}  # fmt: skip


def again(record: Record, model: nn.Module, dataset: Any, ids: Sequence[str], *, flavour: str = "something",
          batch_size: int | None = None) -> dict[str, Column]:
    """Explain clips of a VideoDataset again as their run did: a Column for each name in TOLERANCES.

    ValueError for weights without a run, an unknown clip, or a difference above the tolerance.
    """
    digest = weights_hash(model)
    run = next((run for run in record.about["runs"]
                if run["weights"]["weights"] == digest and run["flavour"] == flavour), None)  # fmt: skip
    if run is None:
        raise ValueError(f"the record has no run of these weights ({digest[:12]}) on {flavour}: they have changed "
                         "since it was made; write it again with `python -m interp record`")  # fmt: skip
    recorded = of(record.table, flavour, run["model"], run["seed"]).set_index("id")
    if missing := [name for name in ids if name not in recorded.index or name not in dataset.ids]:
        raise ValueError(f"clip {missing[0]} is not in both the record and the dataset")
    run = run | results.with_new_names(run)
    explainer = results.Explainer(model, dataset, recipes.from_dict(run["recipe"]), run["search"], run["data"]["seed"],
                                  batch_size or len(ids))
    indices = [dataset.ids.index(name) for name in ids]
    rows, maps = explainer(indices)
    for row, index, heat_map in zip(rows, indices, maps, strict=True):
        row |= against_truth(heat_map, dataset.samples[index].meta["truth"], run["data"]["num_frames"])
        if row["P"] != (before := recorded.loc[row["id"], "P"]):
            raise ValueError(f"clip {row['id']}: expected the prediction {before!r}, got {row['P']!r}")
    return {name: _compare(name, limit, recorded, rows) for name, limit in TOLERANCES.items()}


def _compare(name: str, limit: float, recorded: Any, rows: Sequence[dict]) -> Column:
    pairs, largest = [(recorded.loc[row["id"], name], row[name]) for row in rows], 0.0
    for row, pair in zip(rows, pairs, strict=True):
        old, new = (np.asarray(np.nan if value is None else value, dtype=np.float64) for value in pair)
        comparable = old.shape == new.shape and np.array_equal(np.isnan(old), np.isnan(new))
        difference = np.nan_to_num(np.abs(old - new)).max() if comparable else np.inf
        if difference > limit:
            raise ValueError(f"clip {row['id']}, {name}: expected the recorded {old}, got {new}, which differs by "
                             f"{difference:.4f}, more than {limit:g}")  # fmt: skip
        largest = max(largest, float(difference))
    return Column(*map(list, zip(*pairs, strict=True)), largest, limit)


@cache
def _read(path: Path, changed: int) -> Record:
    try:
        table = import_extra("pyarrow.parquet").read_table(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from None
    about = (table.schema.metadata or {}).get(KEY)
    if about is None or not set(COLUMNS) <= set(table.column_names):
        missing = ", ".join(sorted({*COLUMNS} - {*table.column_names})) or "its metadata"
        raise ValueError(f"{path} is not a record: it lacks {missing}")
    return Record(table.replace_schema_metadata().to_pandas(), json.loads(about))


def _describe_run(folder: str | Path) -> dict[str, Any]:
    """What made a results folder, with its flavour, network and seed; ValueError where it cannot be recorded."""
    run, folder = results.read_run(folder), Path(folder)
    if not (folder / "results.parquet").exists():
        raise ValueError(f"{results.progress_message(folder)}; finish the run first")
    model, kind, search = run["model"], run["data"].get("kind"), run["search"]
    if kind not in FLAVOURS:
        raise ValueError(f"{folder}: expected data of kind {' or '.join(FLAVOURS)}, got {kind!r}")
    name, seed = (model.get("config") or {}).get("model"), (model.get("training") or {}).get("seed")
    if name not in MODELS or seed is None:
        raise ValueError(f"{folder}: expected i3d or clstm and weights whose record says their seed, as `interp train` "
                         f"writes them, got {name!r} of training seed {seed!r}")  # fmt: skip
    if not search["maps"] or not (search["certify"] or search["method"] == "exact"):
        raise ValueError(f"{folder} lacks the maps or the windows; explain without --no-maps and --no-regret")
    return {"folder": folder, "flavour": FLAVOURS[kind], "model": name, "seed": int(seed),
            **{key: run[key] for key in ("recipe", "search", "shards", "batch_size", "versions")},
            "data": {key: value for key, value in run["data"].items() if key != "root"},
            "weights": {key: model[key] for key in ("weights", "file", "config", "trained_with", "training")},
            "continued_with": run.get("continued_with", [])}  # fmt: skip


def _check_alike(runs: Sequence[Mapping[str, Any]]) -> None:
    """ValueError where two runs are of one seed, or differ in clips, recipe or search from others of the flavour."""
    firsts: dict[str, Mapping[str, Any]] = {}
    names: dict[tuple, str] = {}
    for run in runs:
        key = run["flavour"], run["model"], run["seed"]
        name = str(run.get("folder") or f"the record's {run['model']} of seed {run['seed']}")
        if key in names:
            raise ValueError(f"{name} and {names[key]} are both of {key}; give each once")
        names[key] = name
        first = firsts.setdefault(run["flavour"], run)
        first_name = names[first["flavour"], first["model"], first["seed"]]
        pairs = {part: (run | results.with_new_names(run), first | results.with_new_names(first))
                 for part in ("recipe", "search", "data")}
        for part, (mine, theirs) in pairs.items():
            mine, theirs = mine[part], theirs[part]
            # `files` holds sizes on disk: another version of the encoder writes the same clips in other bytes.
            keys = {*mine, *theirs} if part != "data" else {"clips", "num_frames", "size"} | (
                {"files"} if "folder" in run and "folder" in first else set())
            if differing := sorted(key for key in keys if mine.get(key) != theirs.get(key)):
                raise ValueError(f"{name} and {first_name} differ in {part}: {', '.join(differing)}; record runs of "
                                 "the same clips, recipe and search")  # fmt: skip


def _check_same_clips(rows: Sequence[Mapping[str, Any]]) -> None:
    """ValueError where runs of one flavour differ in their clips, classes or known intervals."""
    clips: dict[str, dict[tuple, dict[str, tuple]]] = {}
    for row in rows:
        run = clips.setdefault(row["flavour"], {}).setdefault((row["model"], row["seed"]), {})
        run[row["id"]] = (row["label_name"], tuple(row["known"]))
    for flavour, runs in clips.items():
        (first, theirs), *others = runs.items()
        for run, mine in others:
            if differing := sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)):
                raise ValueError(f"{flavour}: {run} and {first} differ in the class or the truth of {len(differing)} "
                                 f"clips, {differing[0]} among them; record runs of the same clips")  # fmt: skip


def _plain(table: Any) -> list[dict[str, Any]]:
    """The rows of a data frame, None where there is no value."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _rows(run: Mapping[str, Any], root: str | Path | None) -> list[dict[str, Any]]:
    """The record's rows of a results folder."""
    folder = results.read(run["folder"])
    data, rows = folder.run["data"], []
    root = root or data["root"]
    dataset = open_dataset(data["kind"], root, data["split"], data["num_frames"], data["size"])
    truths = {sample.id: sample.meta.get("truth") for sample in dataset.samples}
    for row, heat_map in zip(_plain(folder.table), folder.maps, strict=True):
        if (truth := truths.get(row["id"])) is None:
            raise ValueError(f"{root}: expected the truth of clip {row['id']}, got none; record runs on the embedded "
                             "data")  # fmt: skip
        rows.append({"flavour": run["flavour"], "model": run["model"], "seed": run["seed"],
                     **{name: row.get(name) for name in KEPT + OPTIONAL},
                     **against_truth(heat_map, truth, data["num_frames"])})
    return rows
