"""A dataset to a results folder: every clip explained once, whatever is interrupted, killed or shared out.

Source: this project's own; the scores are those of Mänttäri, Broomé et al., ACCV 2020. Axes: frames
(T,H,W,3) uint8, clips (B,C,T,H,W), maps (T,H,W). The files are described in `runs_table`.

    >>> dataset = open_dataset("motion", "data/motion", "validation", num_frames=16, size=64)
    >>> results = write("runs/i3d", interp.load("i3d"), dataset, recipes.SOMETHING_MASK, limit=24)
    >>> results.table[["id", "P", "OS", "FS", "regret"]], results.maps[0].shape

Clips are explained in shards, always the same clips together, so that a run that was stopped and started
again ends with the same rows, to the bit on a CPU with the same number of threads (a GPU adds in no fixed
order, so that there the last digits may differ). Processes share the shards without talking to each other:
who holds a shard's lock makes it. So torchrun, a cluster's array of jobs and a second terminal all do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from interp import recipes
from interp.borrow import even
from interp.masks import Stop
from interp.runs_job import Job, class_numbers, room
from interp.runs_table import Folder, Maps, libraries
from interp.train_log import versions

__all__ = ["Results", "choose", "merge", "read", "standing", "weights_hash", "write"]

POLL = 0.5  # seconds between looks at what other processes have finished
PATIENCE = 600  # seconds that a process waits for the first one's run.json
TOLD = {"data.root", "data.missing", "data.split_pattern",  # not compared
        "model.name", "model.file", "model.trained_with", "model.training"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Results:
    """A results folder, read: one row a clip (`runs_table.COLUMNS`), and `maps[i]` is the map of row i."""

    table: Any  # pandas.DataFrame
    maps: Maps
    run: dict[str, Any]  # what made it: run.json

    @property
    def finished(self) -> bool:
        return len(self.table) == self.run["data"]["clips"]


def write(folder: str | Path, model: nn.Module, dataset: Any, recipe: recipes.MaskRecipe | None = None, *,
          perturbation: str = "freeze", weights: str = "clip", layer: str | None = None, about: str = "guess",
          start: str = "central", stop: bool | Stop | None = None, precision: str = "fp32",
          certify: bool = True, parts: int | None = None, maps: bool = True, limit: int | None = None, seed: int = 0,
          shard_size: int = 32, chunk: int | None = None, workers: int = 2, strict: bool = False,
          progress: bool = False, name: str | None = None, source: Mapping[str, Any] | None = None) -> Results | None:
    """Explain the clips of a VideoDataset into `folder`, going on where an earlier run stopped.

    perturbation, weights, layer, about, start, stop, precision: as in `explain` and `find_masks`. certify: score all
        windows too, for the regret; in a long clip only those between `parts` parts (`windows.windows`). maps: keep the
        Grad-CAM maps.
    limit: only so many clips, as equally over the classes as it goes; `seed` draws them and random starts.
    shard_size: clips explained and written together, which is what a kill can lose. chunk: clips at once in
        the model; None measures once and stays with it.
    workers: threads that decode. strict: a clip that cannot be read, or has no finite score, raises its error
        instead of being a row with it. source: told in run.json about the data, such as kind, root and split.

    Gives the Results; None in a further process of torchrun, which may be done before the others. Raises
    ValueError for a folder that holds anything else, naming what differs, and for wrong arguments.
    """
    libraries()
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    recipe, place = recipe or recipes.SOMETHING_MASK, Folder(folder)
    for option, value in (("limit", limit), ("shard_size", shard_size), ("chunk", chunk),
                          ("workers", workers), ("parts", parts)):
        if value is not None and value < 1:
            raise ValueError(f"{option} is {value}; expected at least 1")
    if parts and not certify:
        raise ValueError(f"parts is {parts} and certify False; parts says which windows certify the masks")
    if not isinstance(start, str):
        raise ValueError('start: expected "central", "random" or "best-window" for a dataset')
    chosen = choose(dataset, limit, seed)
    stop = Stop() if stop is True else stop or None
    search = {"perturbation": perturbation, "weights": weights, "layer": layer, "about": about,
              "start": start, "stop": stop and dataclasses.asdict(stop), "precision": precision,
              "certify": certify, "maps": maps, **({"parts": parts} if parts else {})}
    per_shard = even(len(chosen), shard_size)
    run = {"recipe": recipes.asdict(recipe), "search": search, "model": _about_model(model, name),
           "data": {**(source or {}), **_about_data(dataset, chosen, seed)},
           "shards": {"size": per_shard, "count": -(-len(chosen) // per_shard)}, "versions": versions()}
    run = _open(place, json.loads(json.dumps(run)), rank,
                lambda: chunk or room(model, dataset, chosen, per_shard, size))
    job = Job(model, dataset, recipe, search, stop, seed, chunk or run["chunk"], workers, strict,
              class_numbers(model, dataset), progress and rank == 0)
    shards = range(run["shards"]["count"])
    order = [*shards[rank::size], *(shard for shard in shards if shard % size != rank)]
    bar = tqdm(total=len(chosen), initial=_there(place, run), unit="clip", desc=f"explain to {folder}",
               disable=not job.progress)
    with bar:
        while True:
            for shard in order:
                if not place.done(shard):
                    with place.claim(shard, shard % size == rank) as free:
                        if free:
                            first = shard * per_shard
                            place.save(shard, *job.make(chosen[first:first + per_shard]))
                            bar.update(_there(place, run) - bar.n)
            missing = sum(not place.done(shard) for shard in shards)
            if not missing or rank:  # the first process stays, to take over what another left, and to merge
                break
            time.sleep(POLL)
    return None if rank else merge(folder)


def merge(folder: str | Path) -> Results:
    """Write results.parquet from all shards and read it. ValueError: not all clips are there yet."""
    place = Folder(folder)
    run = place.read_run()
    if not all(map(place.done, range(run["shards"]["count"]))):
        raise ValueError(f"{standing(folder)}; the run is to be finished first")
    place.merge(run["shards"]["count"], run["data"]["clips"])
    return read(folder)


def read(folder: str | Path) -> Results:
    """The results folder; of a run that is not finished what is there, with a UserWarning."""
    pandas, arrow, parquet = libraries()
    place = Folder(folder)
    run = place.read_run()
    size, count = run["shards"]["size"], run["shards"]["count"]
    if place.results.exists():
        table, rows = parquet.read_table(place.results), range(run["data"]["clips"])
    else:
        table = place.table(count)
        done = {shard for shard in range(count) if place.done(shard)}
        rows = [row for row in range(run["data"]["clips"]) if row // size in done]
        if table is None:
            raise ValueError(f"{standing(folder)}; there is nothing to read")
        if len(rows) < run["data"]["clips"]:
            warnings.warn(f"{standing(folder)}; the run is not finished", UserWarning, stacklevel=2)
    places = table.column("map").to_pylist()
    whole = {arrow.int32(): pandas.Int32Dtype()}  # whole numbers that may be missing
    maps = Maps(place, [row // size for row in rows], places)
    return Results(table.to_pandas(types_mapper=whole.get), maps, run)


def standing(folder: str | Path) -> str:
    """How far a run is, in words: "8 of 24 clips are in runs/i3d"."""
    place = Folder(folder)
    if not place.run.exists():
        return f"no clip is in {folder} yet"
    run = place.read_run()
    return f"{_there(place, run)} of {run['data']['clips']} clips are in {folder}"


def _there(place: Folder, run: Mapping[str, Any]) -> int:
    size, clips = run["shards"]["size"], run["data"]["clips"]
    done = (shard for shard in range(run["shards"]["count"]) if place.done(shard))
    return sum(min(size, clips - shard * size) for shard in done)


def choose(dataset: Any, limit: int | None, seed: int) -> list[int]:
    """The clips, in the order of the dataset: all, or `limit` of them with the classes taking turns."""
    if not len(dataset):
        raise ValueError("the dataset has no clips")
    if limit is None or limit >= len(dataset):
        return list(range(len(dataset)))
    drawn = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    turns: dict[Any, int] = {}
    order = []
    for index in drawn:
        label = dataset.samples[index].label
        turns[label] = turns.get(label, 0) + 1
        order.append((turns[label], index))
    return sorted(index for _, index in sorted(order, key=lambda pair: pair[0])[:limit])


def _about_data(dataset: Any, chosen: list[int], seed: int) -> dict[str, Any]:
    """What the rows depend on; `files` stands for the clips' names, labels, ranges and sizes on disk."""
    digest = hashlib.sha256()
    for index in chosen:
        sample = dataset.samples[index]
        try:
            length = os.stat(sample.path).st_size
        except OSError:
            length = None
        digest.update(json.dumps([sample.id, sample.label, sample.start, sample.end, length]).encode())
    return {"clips": len(chosen), "of": len(dataset), "seed": seed, "files": digest.hexdigest(),
            "num_frames": dataset.num_frames, "size": dataset.size, "missing": len(dataset.missing),
            "classes": list(dataset.classes)}


def weights_hash(model: nn.Module) -> str:
    """What stands for the model's tensors in run.json: their names, types, sizes and values, as one SHA-256."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _about_model(model: nn.Module, name: str | None) -> dict[str, Any]:
    """Name, config and hashes: `weights` of the tensors, `file` of the file they came from."""
    classes = getattr(model, "classes", None)
    config, record = getattr(model, "config", None) or {}, getattr(model, "record", None) or {}
    return {"name": name or config.get("model") or type(model).__name__, "config": config,
            "weights": weights_hash(model), "file": record.get("sha256"),
            "trained_with": record.get("recipe"), "training": _about_training(record),
            "classes": classes and list(classes)}


def _about_training(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the weights' record says about their training beside the recipe; nothing where it says nothing."""
    told = {key: record[key] for key in ("seed", "command", "versions", "data") if record.get(key) is not None}
    top1 = (record.get("metrics") or {}).get("top1")
    return {**told, "top1": top1} if top1 is not None else told


def _open(place: Folder, run: dict[str, Any], rank: int, measure: Callable[[], int]) -> dict[str, Any]:
    """run.json of the folder, made by the first process; ValueError where the folder holds another run."""
    limit = time.monotonic() + PATIENCE
    while rank and not place.run.exists() and time.monotonic() < limit:
        time.sleep(POLL)
    if not place.run.exists():
        run["chunk"] = measure()
        place.write_run(run)
        return run
    known = place.read_run()
    there, here = _identity(known), _identity(run)
    differing = [f"{key} was {_short(there.get(key))}, is {_short(here.get(key))}"
                 for key in {**here, **there} if there.get(key) != here.get(key)]
    if differing:
        raise ValueError(f"{place.path} holds another run: {'; '.join(differing)}. "
                         "Continue it as it was begun, or choose another folder")
    if not rank and run["versions"] not in (seen := [known["versions"], *known.get("continued_with", [])]):
        known["continued_with"] = [*seen[1:], run["versions"]]
        place.write_run(known)
    return known


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same to continue, flat: {"recipe.lambda1": 0.01, ...}."""
    return {f"{part}.{key}": value for part in ("recipe", "search", "model", "data", "shards")
            for key, value in run.get(part, {}).items() if f"{part}.{key}" not in TOLD}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
