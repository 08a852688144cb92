"""The recorded run: finished results folders of two networks and several seeds, as one table that ships with the book.

Source: this project's own. A row is a clip under one network of one seed; the columns are COLUMNS. Axes: a mask and
the known interval are lists of T numbers. The maps do not ship: what needs them is computed here, by `record_truth`.
What made every run (recipe, search, data, versions, hashes of the weights) stands in the table's metadata.

    >>> write(["runs/i3d", "runs/clstm"], "record.parquet")  # doctest: +SKIP
    >>> found = read()
    >>> found.table[["flavour", "model", "seed", "id", "OS", "FS", "regret"]], found.about["runs"][0]["recipe"]
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from interp import measure_maps, record_truth, runs, whole
from interp.runs_table import libraries
from interp.train_log import versions

PATH = Path(__file__).parent / "record_data" / "record.parquet"
MOST_BYTES = 3_000_000
MODELS = ("i3d", "clstm")
FLAVOURS = {"motion": "something", "kth": "kth"}  # kind of data -> the paper's dataset whose flavour it is
KEPT = ("id", "label_name", "P", "OS", "FS", "RS", "CS", "frozen", "mask", "steps", "first_loss", "last_loss", "loss",
        "window_first", "window_last", "window_loss", "regret", "error")  # of a results folder, as they are
COLUMNS = ("flavour", "model", "seed", *KEPT, *record_truth.COLUMNS)
KINDS = {"flavour": "string", "model": "string", "seed": "int32", "id": "string", "label_name": "string",
         "P": "string", "mask": "mask", "steps": "int32", "window_first": "int32", "window_last": "int32",
         "error": "string", "known": "frames"}  # the others: float64  # fmt: skip
KEY = b"interp"  # of the metadata


@dataclasses.dataclass(frozen=True)
class Record:
    """The table (a pandas.DataFrame of COLUMNS) and what made it: {"runs": [...], "versions": ..., ...}."""

    table: Any
    about: dict[str, Any]


def write(folders: Iterable[str | Path], out: str | Path, roots: Mapping[str, str | Path] | None = None,
          onto: Record | None = None) -> Record:
    """Writes one table of finished results folders to `out`, whole or not at all, and reads it.

    Each folder is one network of one training seed on one flavour of the embedded data; all of a flavour must be of
    the same clips, recipe and search. roots: {"motion": folder, "kth": folder} of the data, where run.json's is no
    longer right. onto: a record whose runs come along; its clips must have the same names, classes and truth (their
    files may have been encoded anew). ValueError says what does not fit, and why; so too where the table is above
    MOST_BYTES.
    """
    _, arrow, parquet = libraries()
    found = [_about(folder) for folder in folders]
    if not found:
        raise ValueError("got no results folder; name those that `interp explain --data` wrote")
    found = sorted([*(onto.about["runs"] if onto else ()), *found], key=_place)
    _check_alike(found)
    rows = [row for run in found for row in (
        _rows(run, (roots or {}).get(run["data"]["kind"])) if "folder" in run
        else _plain(of(onto.table, run["flavour"], run["model"], run["seed"])))]
    _check_same_clips(rows)
    about = {"runs": [{key: value for key, value in run.items() if key != "folder"} for run in found],
             "versions": versions(), "columns": record_truth.COLUMNS,
             "maps": {"threshold": measure_maps.THRESHOLD, "grid": measure_maps.GRID}}  # fmt: skip
    if onto and onto.about["maps"] != about["maps"]:
        raise ValueError(f"the record measured its maps with {onto.about['maps']}, here it is {about['maps']}; "
                         "record all runs anew")  # fmt: skip
    types = {"mask": arrow.list_(arrow.float32()), "frames": arrow.list_(arrow.int8())}
    schema = arrow.schema([(name, types.get(kind) or getattr(arrow, kind)())
                           for name in COLUMNS for kind in [KINDS.get(name, "float64")]],
                          metadata={KEY: json.dumps(about, sort_keys=True).encode()})  # fmt: skip
    target = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), target, compression="zstd")
    if target.tell() > MOST_BYTES:
        raise ValueError(f"the table takes {target.tell()} bytes; expected at most {MOST_BYTES}: record fewer clips")
    whole.write(out, target.getvalue())
    return read(out)


def read(path: str | Path | None = None) -> Record:
    """The record that ships with the package, or another one. ValueError where it is not there or no record."""
    path = Path(PATH if path is None else path)
    if not path.is_file():
        raise ValueError(f"there is no record {path}; `python -m interp record FOLDER... --out FILE` writes one")
    return _read(path, path.stat().st_mtime_ns)


def of(table: Any, flavour: str, model: str, seed: int | None = None) -> Any:
    """The rows of one flavour and network, of one seed or of all. ValueError where there are none."""
    chosen = (table["flavour"] == flavour) & (table["model"] == model)
    if seed is not None:
        chosen &= table["seed"] == seed
    if not chosen.any():
        there = sorted({tuple(key) for key in table[["flavour", "model", "seed"]].itertuples(index=False)})
        wanted = f"{flavour}, {model}{'' if seed is None else f', seed {seed}'}"
        raise ValueError(f"the record has no {wanted}; it has {there}")
    return table[chosen]


def seeds(table: Any, flavour: str, model: str) -> list[int]:
    """The training seeds of a network that the record has on a flavour; [] where none."""
    rows = table[(table["flavour"] == flavour) & (table["model"] == model)]
    return sorted(int(seed) for seed in rows["seed"].unique())


@cache
def _read(path: Path, changed: int) -> Record:
    _, _, parquet = libraries()
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no whole Parquet file: {error}") from None
    about = (table.schema.metadata or {}).get(KEY)
    if about is None or set(table.column_names) != set(COLUMNS):
        missing = ", ".join(sorted({*COLUMNS} - {*table.column_names})) or "its metadata"
        raise ValueError(f"{path} is no record: it lacks {missing}")
    frame = table.replace_schema_metadata().to_pandas()
    return Record(frame, json.loads(about))


def _about(folder: str | Path) -> dict[str, Any]:
    """What made a results folder, with its flavour, network and seed. ValueError where it cannot be recorded."""
    run = runs.Folder(folder).read_run()
    if not runs.Folder(folder).results.exists():
        raise ValueError(f"{runs.standing(folder)}; finish the run first")
    model, kind = run["model"], run["data"].get("kind")
    if kind not in FLAVOURS:
        raise ValueError(f"{folder} explains data of kind {kind!r}; expected one of {', '.join(FLAVOURS)}")
    name, seed = (model.get("config") or {}).get("model"), (model.get("training") or {}).get("seed")
    if name not in MODELS or seed is None:
        raise ValueError(f"{folder}: the network is {name!r} of training seed {seed!r}; expected i3d or clstm, and "
                         "weights whose record says their seed, as `interp train` writes them")
    if not (run["search"]["certify"] and run["search"]["maps"]):
        raise ValueError(f"{folder} lacks the maps or the windows; explain without --no-maps and --no-regret")
    kept = {key: run[key] for key in ("recipe", "search", "shards", "chunk", "versions")}
    data = {key: value for key, value in run["data"].items() if key != "root"}
    return {"folder": Path(folder), "flavour": FLAVOURS[kind], "model": name, "seed": int(seed), **kept, "data": data,
            "weights": {key: model[key] for key in ("weights", "file", "config", "trained_with", "training")},
            "continued_with": run.get("continued_with", [])}  # fmt: skip


def _check_alike(found: Sequence[Mapping[str, Any]]) -> None:
    firsts: dict[str, Mapping[str, Any]] = {}
    seen: dict[tuple, Path] = {}
    for run in found:
        key = run["flavour"], run["model"], run["seed"]
        if key in seen:
            raise ValueError(f"{_name(run)} and {seen[key]} are both of {key}; give each once")
        seen[key] = _name(run)
        first = firsts.setdefault(run["flavour"], run)
        # The files' sizes are this machine's: another version of the encoder writes the same clips in other bytes.
        data = ("clips", "num_frames", "size", *(("files",) if "folder" in run and "folder" in first else ()))
        for part, names in (("recipe", None), ("search", None), ("data", data)):
            mine, theirs = ({name: one[part][name] for name in names or one[part]} for one in (run, first))
            if mine != theirs:
                differing = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
                raise ValueError(f"{_name(run)} and {_name(first)} differ in {part}: {', '.join(differing)}; "
                                 "record runs of the same clips, recipe and search")  # fmt: skip


def _check_same_clips(rows: Sequence[Mapping[str, Any]]) -> None:
    """Every network and seed of a flavour has the clips, classes and intervals that the first one has."""
    told: dict[str, dict[tuple, dict[str, tuple]]] = {}
    for row in rows:
        run = told.setdefault(row["flavour"], {}).setdefault((row["model"], row["seed"]), {})
        run[row["id"]] = (row["label_name"], tuple(row["known"]))
    for flavour, of_runs in told.items():
        (first, theirs), *others = of_runs.items()
        for run, mine in others:
            if differing := sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)):
                raise ValueError(f"{flavour}: {run} and {first} differ in the class or the truth of {len(differing)} "
                                 f"clips, {differing[0]} among them; record runs of the same clips")  # fmt: skip


def _place(run: Mapping[str, Any]) -> tuple[int, int, int]:
    """By flavour, network, seed."""
    return list(FLAVOURS.values()).index(run["flavour"]), MODELS.index(run["model"]), run["seed"]


def _name(run: Mapping[str, Any]) -> str:
    return str(run.get("folder") or f"the record's {run['model']} of seed {run['seed']}")


def _plain(table: Any) -> list[dict[str, Any]]:
    """The rows of a data frame, None where there is no value."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _rows(run: Mapping[str, Any], root: str | Path | None) -> list[dict[str, Any]]:
    from interp.data import open_dataset

    results = runs.read(run["folder"])
    data = results.run["data"]
    dataset = open_dataset(data["kind"], root or data["root"], data["split"], data["num_frames"], data["size"])
    truths = {sample.id: sample.meta.get("truth") for sample in dataset.samples}
    rows = []
    for number, row in enumerate(_plain(results.table)):
        truth = truths.get(row["id"])
        if truth is None:
            raise ValueError(f"{root or data['root']} says nothing of the truth of clip {row['id']}; "
                             "record runs on the embedded data")  # fmt: skip
        rows.append({"flavour": run["flavour"], "model": run["model"], "seed": run["seed"],
                     **{name: row[name] for name in KEPT},
                     **record_truth.against_truth(results.maps[number], truth, data["num_frames"])})
    return rows
