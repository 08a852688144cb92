"""The record: what explains the clips of a validation set under two networks of several seeds, as one table.

A row is a clip under one network of one seed; masks and known intervals are lists; the metadata say what made each run.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from interp import recipes
from interp.data import motion, open_dataset
from interp.data.kth import SUBJECTS
from interp.data.motion import kth
from interp.models import weights
from interp.study import import_extra, measures, results
from interp.training.log import versions

PATH = Path(__file__).parent / "record_data" / "record.parquet"
MODELS = ("i3d", "clstm")
FLAVOURS = {"motion": "something", "kth": "kth"}  # kind of data -> the paper's dataset that it imitates
TRAINED_ON = {"something": "motion", "kth": "motion-kth"}  # flavour -> the data in the names of the networks that ship
CLIPS = {"motion": 240, "kth": 120}  # of the validation set, equally many of each class
BUDGET = {"motion": 2000, "kth": 500}  # forward passes a clip; at 32 frames .1 more of the loss takes ten times more
DROPPED = ("index", "label", "target", "guess", "explained", "map", "seconds")  # columns of a results folder
COLUMNS = {"flavour": "string", "model": "string", "seed": "int32",  # KEY
           **{name: kind for name, kind in results.COLUMNS.items() if name not in DROPPED},
           "gradient_mask": "mask", "gradient_loss": "float64"}  # where the clip was searched by gradient too
KEY = ("flavour", "model", "seed")
_key = itemgetter(*KEY)


@dataclass(frozen=True)
class Record:
    """The table (a pandas.DataFrame) and what made it: {"runs": [...], "versions": ..., ...}."""

    table: Any
    about: dict[str, Any]


def plan(runs: str | Path, *, flavours: Iterable[str] = tuple(FLAVOURS), clips: int | None = None, gradient: int = 0,
         budget: int | None = None) -> list[dict[str, Any]]:
    """The arguments of `results.write` that explain generated clips with every network that ships, below `runs`.

    Args:
        flavours: of FLAVOURS. clips: so many of each, the classes taking turns; None: as many as CLIPS says.
        gradient: for so many of them seed 0 is searched by gradient too. budget: of the exact search; None: BUDGET.
    """
    jobs = []
    for flavour in flavours:
        root = motion.prepare() if flavour == "motion" else kth.generate(Path(runs, "kth"), SUBJECTS["validation"])
        data = TRAINED_ON[FLAVOURS[flavour]]
        networks = [(name, seed) for name in MODELS for seed in weights.shipped_seeds(name, data)]
        for name, seed in networks:
            model, stem = weights.load(name, data, seed), weights.shipped(name, data, seed).stem
            trained = recipes.from_dict(model.record["recipe"])
            same = {"model": model, "recipe": recipes.MASKS[FLAVOURS[flavour]], "name": stem, "maps": False,
                    "dataset": open_dataset(flavour, root, "validation", trained.num_frames, trained.size),
                    "source": {"kind": flavour, "root": str(root), "split": "validation"}}
            jobs.append({"folder": Path(runs, stem), "limit": CLIPS[flavour] if clips is None else clips,
                         "budget": BUDGET[flavour] if budget is None else budget, "curves": True, **same})
            if gradient and not seed:
                jobs.append({"folder": Path(runs, f"{stem}_gradient"), "limit": gradient, "method": "gradient",
                             "start": "best-window", "stop": True, **same})
    return jobs


def write(folders: Iterable[str | Path], out: str | Path, onto: Record | None = None) -> Record:
    """Write finished results folders into the Parquet file `out`, beside the runs of the record `onto`; and read it.

    A folder is one network of one training seed, a second one by gradient fills the columns for that; ValueError where
    those of one flavour differ in clips or search.
    """
    order = [(flavour, model) for flavour in FLAVOURS.values() for model in MODELS]
    runs = [(_describe_run(folder), folder) for folder in folders]
    exact = {_key(run): run["weights"]["weights"] for run, _ in runs if run["search"]["method"] == "exact"}
    second = {_key(run): results.read(folder).table.set_index("id") for run, folder in runs
              if run["search"]["method"] == "gradient" and exact.get(_key(run)) == run["weights"]["weights"]}
    runs = [pair for pair in runs if pair[0]["search"]["method"] == "exact" or _key(pair[0]) not in second]
    runs += [(run, None) for run in (onto.about["runs"] if onto else ())]
    runs.sort(key=lambda pair: (order.index(_key(pair[0])[:2]), pair[0]["seed"]))
    tables = [results.read(folder).table.assign(**dict(zip(KEY, _key(run), strict=True))) if folder
              else of(onto.table, *_key(run)) for run, folder in runs]
    for at, (run, _) in enumerate(runs):
        if (found := second.get(_key(run))) is not None:
            columns = {f"gradient_{name}": tables[at]["id"].map(found[name]) for name in ("mask", "loss")}
            tables[at] = tables[at].assign(**columns)
    rows = [table.astype(object).where(table.notna(), None).to_dict("records") for table in tables]
    runs = [run for run, _ in runs]
    _check_alike(runs, rows)
    rows = [row for rows_of_run in rows for row in rows_of_run]
    about = {"runs": runs, "versions": versions(), "maps": {"threshold": measures.THRESHOLD, "grid": measures.GRID}}
    results.write_rows(out, rows, COLUMNS, metadata={"interp": json.dumps(about, sort_keys=True)}, compression="zstd")
    return read(out)


def read(path: str | Path | None = None) -> Record:
    """Read the shipped record, or another one."""
    path, parquet = Path(path or PATH), import_extra("pyarrow.parquet")
    try:
        table = parquet.read_table(path)
        about = json.loads(table.schema.metadata[b"interp"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a record, got {error!r}; `python -m interp record` writes one") from None
    return Record(table.replace_schema_metadata().to_pandas(), about)


def of(table: Any, flavour: str, model: str, seed: int | None = None) -> Any:
    """The rows of one flavour and network, of one seed or of all; ValueError where there are none."""
    chosen = (table["flavour"] == flavour) & (table["model"] == model) & ((table["seed"] == seed) | (seed is None))
    if not chosen.any():
        keys = table[["flavour", "model", "seed"]].drop_duplicates().to_numpy().tolist()
        raise ValueError(f"expected one of {keys} in the record, got {(flavour, model, seed)}")
    return table[chosen]


def _describe_run(folder: str | Path) -> dict[str, Any]:
    """What made a results folder, with its flavour, network and seed; ValueError where it cannot be recorded."""
    run = results.read_run(folder)
    model, kind = run["model"], run["data"].get("kind")
    name, seed = model["config"].get("model"), model["training"].get("seed")
    if not Path(folder, "results.parquet").exists():
        raise ValueError(f"{results.progress_message(folder)}; finish the run first")
    if kind not in FLAVOURS or name not in MODELS or seed is None:
        raise ValueError(f"{folder}: expected data of kind {' or '.join(FLAVOURS)}, i3d or clstm, and weights whose "
                         f"record says their seed, got {kind!r}, {name!r} and training seed {seed!r}")
    return {"flavour": FLAVOURS[kind], "model": name, "seed": int(seed),
            **{key: run[key] for key in ("recipe", "search", "shards", "batch_size", "versions")},
            "data": {key: value for key, value in run["data"].items() if key != "root"},
            "weights": {key: model[key] for key in ("weights", "file", "config", "trained_with", "training")}}


def _check_alike(runs: Sequence[Mapping[str, Any]], rows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """ValueError where a run is there twice, or differs from the first of its flavour in recipe, search or clips."""
    seen: dict[tuple, dict[str, Any]] = {}
    for run, clips in zip(runs, rows, strict=True):
        if (key := _key(run)) in seen:
            raise ValueError(f"two runs are of {key}; give each once")
        parts = {part: run[part] for part in ("recipe", "search")} | {
            "data": {"size": run["data"]["size"]},
            "clips": {row["id"]: (row["label_name"], *row["known"]) for row in clips}}
        seen[key] = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        first = next(other for other in seen if other[0] == run["flavour"])
        if differing := [name for name in seen[key] | seen[first] if seen[key].get(name) != seen[first].get(name)]:
            raise ValueError(f"{key} and {first} differ in {len(differing)} values, {', '.join(differing[:3])} among "
                             "them; record runs of the same clips, recipe and search")
