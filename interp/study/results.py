"""From a dataset to a results folder: every clip is explained once, in shards that interrupted runs need not repeat.

With RANK and WORLD_SIZE set, as torchrun does, a process makes the shards rank::world. A folder holds run.json (recipe,
search, model, data, versions), for each shard its maps (shards/00000.npy, float16 (n,T,H,W)) and its rows
(shards/00000.parquet, written last), and at the end all rows in the order of the clips (results.parquet).
"""

import hashlib
import json
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from interp import recipes
from interp.core.explanation import DEFAULT_METHOD, explain
from interp.core.gradcam import DEFAULT_ALIGN
from interp.core.inference import attribute, model_name
from interp.core.masks import Stop
from interp.core.windows import penalty, score_masks
from interp.data import VideoError, to_clip
from interp.data.dataset import read_json
from interp.data.truth import frame_boxes, interval_mask
from interp.io import atomic_path, atomic_write
from interp.models.weights import weights_hash
from interp.study import import_extra, measures
from interp.study.curve import curve
from interp.training.log import versions

TRUTH = ("blobs", "blob_size", "blob_distance", "in_boxes", "pointing", "boxes_share")
COLUMNS = {  # for each clip; where it could not be explained, all from `guess` to `map` but `known` are null
    "index": "int32", "id": "string",  # of the clip in its dataset
    "label": "int32", "label_name": "string", "target": "int32",  # the dataset's class, and its number in the model
    "guess": "int32", "P": "string", "explained": "int32",  # the predicted class; the one that all below is about
    "OS": "float64", "FS": "float64", "RS": "float64", "CS": "float64",  # CS: of the target where the guess is wrong
    "frozen": "float64", "mask": "mask",  # score with the whole clip frozen; T floats, 1 = perturbed
    "loss": "float64", "steps": "int32", "first_loss": "float64", "last_loss": "float64",  # of a search by gradient
    "forwards": "int32", "bound": "float64", "proven": "bool_",  # of an exact one: clips scored, and as in ExactResult
    "kept": "float64",  # of an exact one: the score with all frames frozen but the mask's
    "curve": "mask", "change": "int32",  # T+1 lowest scores by a window of at most k frames; `measures.largest_change`
    "known": "frames", **dict.fromkeys(TRUTH, "float64"),  # of a generated clip the known interval; `map_means`
    "map": "int32", "seconds": "float64", "error": "string",  # place in the shard's array; its time, shared equally
}
_IGNORED = "data.root data.missing data.split_pattern model.name model.file model.trained_with model.training".split()


@dataclass(frozen=True)
class Results:
    """A results folder that was read."""

    table: Any  # pandas.DataFrame with a row for each clip
    maps: list[np.ndarray | None]  # of each clip, read from disk when used: float16 (T,H,W) in [0,1]
    run: dict[str, Any]  # run.json

    finished = property(lambda self: len(self.table) == self.run["data"]["clips"], doc="Whether every clip is there.")


def write(folder: str | Path, model: nn.Module, dataset: Any, recipe: recipes.MaskRecipe | None = None, *,
          perturbation: str = "freeze", weights: str = "clip", layer: str | None = None, align: str = DEFAULT_ALIGN,
          explained_class: str = "predicted", method: str = DEFAULT_METHOD, budget: int = 2000,
          start: str | None = None, stop: bool | Stop | None = None, maps: bool = True, curves: bool = False,
          limit: int | None = None, seed: int = 0, shard_size: int = 32, batch_size: int | None = None,
          workers: int = 2, on_error: str = "skip", progress: bool = False, name: str | None = None,
          source: Mapping[str, Any] | None = None) -> Results | None:
    """Explain the clips of a VideoDataset into `folder`; the same call continues an interrupted one.

    Args:
        perturbation ... stop: as in `explain`, `grad_cam` and `find_masks`; start is a name.
        maps, curves: whether to keep each clip's map, and the lowest scores by windows of at most k frames.
        limit: only so many clips, drawn by `seed`, the classes taking turns.
        shard_size: clips written together: the most that an interruption loses. workers: threads that decode.
        on_error: "skip" writes a row with the error of a clip that cannot be read or scored, "raise" raises it.
        name, source: of the model, and of the data (kind, root, split), for run.json.

    Returns:
        The Results; None in a process of another rank than 0. ValueError for a folder of another run.
    """
    parquet, _ = import_extra("pyarrow.parquet"), import_extra("pandas")
    rank, world, exact = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), method == "exact"
    folder, recipe, chosen = Path(folder), recipe or recipes.SOMETHING_MASK, choose(dataset, limit, seed)
    stop, progress = Stop() if stop is True else stop, progress and rank == 0
    search = {"method": method, "perturbation": perturbation, "weights": weights, "layer": layer, "align": align,
              "explained_class": explained_class, "start": start or "central" if method == "gradient" else start,
              "stop": asdict(stop) if stop else None, "maps": maps}
    search |= ({"budget": budget} if exact else {}) | ({"curves": True} if curves else {})
    size = math.ceil(len(chosen) / math.ceil(len(chosen) / shard_size))
    shards = [chosen[first : first + size] for first in range(0, len(chosen), size)]
    digest = hashlib.sha256()  # of the clips' names, labels, ranges and sizes on disk
    for sample in (dataset.samples[index] for index in chosen):
        length = os.stat(sample.path).st_size if os.path.exists(sample.path) else None
        digest.update(json.dumps([sample.id, sample.label, sample.start, sample.end, length]).encode())
    run = _open(folder, {
        "recipe": recipes.asdict(recipe), "search": search, "model": _describe_model(model, name),
        "data": {**(source or {}), "clips": len(chosen), "of": len(dataset), "seed": seed, "files": digest.hexdigest(),
                 "size": dataset.size, "num_frames": dataset.num_frames, "missing": len(dataset.missing),
                 "classes": list(dataset.classes)},
        "shards": {"size": size, "count": len(shards)}, "batch_size": batch_size, "versions": versions()})
    paths = _shard_paths(folder, run)
    for shard in tqdm(range(rank, len(shards), world), f"explain to {folder}", unit="shard", disable=not progress):
        if not (path := paths[shard * size]).exists():
            rows = explain_clips(model, dataset, shards[shard], recipe, search, batch_size=batch_size, workers=workers,
                                 on_error=on_error, progress=progress)
            maps = [row["map"] for row in rows if row.get("map") is not None]
            for place, row in enumerate(row for row in rows if row.get("map") is not None):
                row["map"] = place
            if maps:
                with atomic_path(path.with_suffix(".npy")) as part, open(part, "wb") as file:
                    np.save(file, np.stack(maps), allow_pickle=False)
            write_rows(path, rows, COLUMNS)
    if all(path.exists() for path in paths):  # in the process that is the last to finish
        with atomic_path(folder / "results.parquet") as part:
            parquet.write_table(parquet.read_table(list(dict.fromkeys(paths))), part)
    return None if rank else read(folder)


def read(folder: str | Path) -> Results:
    """Read a results folder; of an unfinished run what is there, with a UserWarning."""
    folder, run = Path(folder), read_run(folder)
    pandas, arrow, parquet = map(import_extra, ("pandas", "pyarrow", "pyarrow.parquet"))
    files, paths = folder / "results.parquet", _shard_paths(folder, run)
    if not files.exists():
        paths = [path for path in paths if path.exists()]
        files = list(dict.fromkeys(paths))
    if not paths:
        raise ValueError(f"{progress_message(folder)}; there is nothing to read")
    if len(paths) < run["data"]["clips"]:
        warnings.warn(f"{progress_message(folder)}; the run is not finished", UserWarning, stacklevel=2)
    table = parquet.read_table(files)
    arrays = {path: np.load(file, "r") for path in {*paths} if (file := path.with_suffix(".npy")).exists()}
    maps = [None if place is None else arrays[path][place]
            for path, place in zip(paths, table.column("map").to_pylist(), strict=True)]
    return Results(table.to_pandas(types_mapper={arrow.int32(): pandas.Int32Dtype()}.get), maps, run)


def read_run(folder: str | Path) -> dict[str, Any]:
    """The run.json of a results folder; ValueError without one, or where an earlier version wrote it."""
    run = read_json(path := Path(folder, "run.json"))
    if not {"method", "align"} <= set(run.get("search", ())):
        raise ValueError(f"{path}: an earlier version of interp wrote this; explain the clips again into a new folder")
    return run


def progress_message(folder: str | Path) -> str:
    """How far a run is: "8 of 24 clips are in runs/i3d"."""
    if not Path(folder, "run.json").exists():
        return f"no clip is in {folder} yet"
    paths = _shard_paths(Path(folder), read_run(folder))
    return f"{sum(path.exists() for path in paths)} of {len(paths)} clips are in {folder}"


def choose(dataset: Any, limit: int | None, seed: int) -> list[int]:
    """Indices of all clips, or of `limit` drawn ones with the classes taking turns, in the order of the dataset."""
    if not len(dataset):
        raise ValueError("dataset: expected at least one clip, got none")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected at least 1, got {limit}")
    if limit is None or limit >= len(dataset):
        return list(range(len(dataset)))
    drawn, turns = Counter(), {}  # clips so far of each label; for each clip its place among them
    for index in np.random.default_rng(seed).permutation(len(dataset)).tolist():
        drawn[label := dataset.samples[index].label] += 1
        turns[index] = drawn[label]
    return sorted(sorted(turns, key=turns.get)[:limit])


def explain_clips(model: nn.Module, dataset: Any, indices: Sequence[int], recipe: recipes.MaskRecipe,
                  search: Mapping[str, Any], *, workers: int = 1, on_error: str = "raise", **options) -> list[dict]:
    """Rows of some clips, explained as `search` (of a run.json) says; options: batch_size and progress.

    Maps are held against boxes in the frames of the known interval, where their things move.
    """
    started, names = time.perf_counter(), list(attribute(model, "classes", list | tuple) or dataset.classes)
    rows, boxes = [], {}
    for index in indices:
        sample = dataset.samples[index]
        label_name = None if sample.label is None else dataset.classes[sample.label]
        rows.append({"index": index, "id": sample.id, "label": sample.label, "label_name": label_name,
                     "target": names.index(label_name) if label_name in names else None})
        if truth := sample.meta.get("truth"):
            rows[-1]["known"] = known = interval_mask(truth, dataset.num_frames).astype(int).tolist()
            boxes[index] = [[box for _, box in frame] * moves for frame, moves in
                            zip(frame_boxes(truth, dataset.num_frames), known, strict=True)]
    try:
        with ThreadPoolExecutor(workers) as pool:
            clips = list(pool.map(lambda index: to_clip(dataset[index][0]), indices))
        if len({clip.shape for clip in clips}) > 1:
            raise ValueError("expected clips of one size, got several; open the dataset with size=(height, width)")
        _explain_rows(model, rows, torch.stack(clips), boxes, recipe, search, **options)
    except (VideoError, OSError, ValueError) as error:
        bad_clip = isinstance(error, VideoError | OSError) or "score is not finite for clip" in str(error)
        if on_error == "raise" or not bad_clip:
            raise
        if half := len(rows) // 2:  # look for the clip in both halves
            return [row for part in (indices[:half], indices[half:]) for row in explain_clips(
                model, dataset, part, recipe, search, workers=workers, on_error=on_error, **options)]
        rows[0]["error"] = str(error)
    return [{**row, "seconds": (time.perf_counter() - started) / len(rows)} for row in rows]


def _explain_rows(model, rows, clips, boxes, recipe, search, batch_size=None, progress: bool = False) -> None:
    """Complete the rows of the clips (B,C,T,H,W); boxes: by their indices, of the things that act."""
    ids, kind, exact = [row["id"] for row in rows], search["perturbation"], search["method"] == "exact"
    targets = torch.tensor([-1 if row["target"] is None else row["target"] for row in rows])
    options = {key: search[key] for key in ("method", "explained_class", "weights", "layer", "align", "start")}
    options |= {"budget": search["budget"]} if exact else {
        "stop": Stop(**search["stop"]) if search["stop"] else None}
    explanations = explain(model, clips, targets, recipe, kind, ids=ids, batch_size=batch_size, progress=progress,
                           **options)
    masks = torch.stack([each.mask for each in explanations])
    classes = torch.tensor([each.explained for each in explanations])
    frozen, scores = (score_masks(model, clips, frames, classes, recipe, how, batch_size) for frames, how in (
        (torch.ones_like(masks), "freeze"), (1 - masks, "freeze") if exact else (masks, kind)))
    losses, change = penalty(masks, recipe) + scores, measures.largest_change(clips)
    curves = curve(model, clips, classes, kind, budget=0, batch_size=batch_size) if search.get("curves") else None
    for i, (row, each) in enumerate(zip(rows, explanations, strict=True)):
        first, last = float(each.losses[0]), float(each.losses[-1])
        row |= {key: getattr(each, key) for key in "guess P explained OS FS RS CS bound proven".split()}
        row |= measures.map_means(each.map, boxes.get(row["index"]))
        row |= {"curve": curves.by_window[i].tolist()} if curves else {}
        row |= {"change": int(change[i]), "mask": each.mask.tolist(), "frozen": float(frozen[i]),
                "loss": last if exact else float(losses[i]), "map": each.map.half().numpy() if search["maps"] else None}
        row |= {"forwards": each.steps, "kept": float(scores[i])} if exact else {
            "steps": each.steps, "first_loss": first, "last_loss": last}


def _describe_model(model: nn.Module, name: str | None) -> dict[str, Any]:
    """Name, config, training and hashes: `weights` of the tensors, `file` of the file they came from."""
    config, record = (attribute(model, key, Mapping) or {} for key in ("config", "record"))
    training = {**record, "top1": (record.get("metrics") or {}).get("top1")}
    return {"name": name or model_name(model), "config": config, "weights": weights_hash(model),
            "file": record.get("sha256"), "trained_with": record.get("recipe"),
            "classes": attribute(model, "classes", list | tuple),
            "training": {key: training[key] for key in ("seed", "command", "versions", "data", "top1")
                         if training.get(key) is not None}}


def _open(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Write run.json, or compare it with the one that is there; ValueError for another run's."""
    run = json.loads(json.dumps(run, default=str))
    if not (folder / "run.json").exists():
        atomic_write(folder / "run.json", json.dumps(run, indent=1, ensure_ascii=False) + "\n")
        return run
    known = read_run(folder)
    before, now = ({f"{part}.{key}": value for part in ("recipe", "search", "model", "data", "shards")
                    for key, value in each[part].items() if f"{part}.{key}" not in _IGNORED} for each in (known, run))
    if differing := [f"{key} was {before.get(key)!r:.60}, is {now.get(key)!r:.60}" for key in now | before
                     if before.get(key) != now.get(key)]:
        raise ValueError(f"{folder}: expected this run, got another one: {'; '.join(differing)}; choose another folder")
    return known


def _shard_paths(folder: Path, run: Mapping[str, Any]) -> list[Path]:  # one for each clip
    return [folder / "shards" / f"{row // run['shards']['size']:05d}.parquet" for row in range(run["data"]["clips"])]


def write_rows(path: str | Path, rows: list[dict], columns: Mapping[str, str], **options) -> None:
    """Write a Parquet file of columns with these kinds; options: metadata and compression."""
    arrow, parquet = import_extra("pyarrow"), import_extra("pyarrow.parquet")
    kinds = {"mask": arrow.list_(arrow.float32()), "frames": arrow.list_(arrow.int8())}
    schema = arrow.schema([(name, kinds.get(kind) or getattr(arrow, kind)()) for name, kind in columns.items()],
                          options.pop("metadata", None))
    with atomic_path(path) as part:
        parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), part, **options)
