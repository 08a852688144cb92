"""From a dataset to a results folder: every clip is explained once, in shards that interrupted runs need not repeat.

With RANK and WORLD_SIZE set, as torchrun does, a process makes the shards rank::world. A results folder holds run.json
(recipe, search, model, data, versions), for each shard its maps (shards/00000.npy, float16 (n,T,H,W)) and its rows
(shards/00000.parquet, written last), and at the end all rows in the order of the clips (results.parquet).

    >>> results = write("runs/i3d", interp.load("i3d"), dataset, limit=24)
    >>> results.table[["id", "P", "OS", "FS", "regret"]], results.maps[0].shape
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from interp import recipes
from interp.core.explanation import DEFAULT_METHOD, explain
from interp.core.inference import model_name, predict
from interp.core.masks import Stop
from interp.core.windows import WindowResult, penalty, score_masks, score_windows
from interp.data import VideoError, to_clip
from interp.io import PREFIX, atomic_write
from interp.models.weights import weights_hash
from interp.study import import_extra, read_json
from interp.training.log import versions

COLUMNS = {  # for each clip; where it could not be explained, all from `guess` to `map` are null
    "index": "int32",  # of the clip in its dataset
    "id": "string",
    "label": "int32",  # the dataset's class, null without one
    "label_name": "string",
    "target": "int32",  # the model's number for it, null where the model does not know the class
    "guess": "int32",  # the model's class of the highest score
    "P": "string",  # its name
    "explained": "int32",  # the class that mask, map and scores are about
    "OS": "float64", "FS": "float64", "RS": "float64",  # scores: original, frozen, reversed
    "CS": "float64",  # score of the target where the guess is wrong, else null
    "frozen": "float64",  # score with the whole clip frozen
    "mask": "mask",  # T floats, 1 = perturbed
    "steps": "int32",  # of the gradient search
    "first_loss": "float64", "last_loss": "float64",  # of its first and last step
    "loss": "float64",  # of the mask
    "window_first": "int32", "window_last": "int32",  # frames of the best window
    "window_loss": "float64",
    "regret": "float64",  # loss - window_loss
    "map": "int32",  # place in the shard's array
    "seconds": "float64",  # a shard's time is shared equally
    "error": "string",
}  # fmt: skip
EXACT_COLUMNS = {  # further ones with method="exact"
    "bound": "float64",  # no binary mask has a lower loss
    "proven": "bool_",  # the mask is the best of all
    "forwards": "int32",  # clips scored in the search
    "kept": "float64",  # score with all frames frozen but the mask's
}
EXPLAINED = ("guess", "P", "explained", "OS", "FS", "RS", "CS", "map")  # what a row has from an Explanation
NOT_COMPARED = {"data.root", "data.missing", "data.split_pattern", "model.name", "model.file", "model.trained_with",
                "model.training"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Results:
    """A results folder that was read."""

    table: Any  # pandas.DataFrame of COLUMNS, a row for each clip
    maps: Maps  # maps[i] is the map of row i
    run: dict[str, Any]  # run.json

    @property
    def finished(self) -> bool:
        return len(self.table) == self.run["data"]["clips"]


class Maps(Sequence):
    """Grad-CAM maps by row: float16 (T,H,W) in [0,1], None where there is none."""

    def __init__(self, paths: Sequence[Path], places: Sequence[int | None]):
        self.paths, self.places = paths, places
        self._array: tuple[Path | None, Any] = (None, None)  # the one read last

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> np.ndarray | None:
        path, place = self.paths[row], self.places[row]
        if place is None:
            return None
        if self._array[0] != path:
            if not path.exists():
                raise ValueError(f"expected the maps in {path}, got no such file; was the folder copied without them?")
            self._array = path, np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(self._array[1][place])


def write(folder: str | Path, model: nn.Module, dataset: Any, recipe: recipes.MaskRecipe | None = None, *,
          perturbation: str = "freeze", weights: str = "clip", layer: str | None = None,
          explained_class: str = "predicted", method: str = DEFAULT_METHOD, budget: int = 2000,
          start: str | None = None, stop: bool | Stop | None = None, precision: str = "fp32",
          certify: bool | None = None, parts: int | None = None, maps: bool = True, limit: int | None = None,
          seed: int = 0, shard_size: int = 32, batch_size: int | None = None, workers: int = 2, on_error: str = "skip",
          progress: bool = False, name: str | None = None, source: Mapping[str, Any] | None = None) -> Results | None:
    """Explain the clips of a VideoDataset into `folder`; the same call continues an interrupted one.

    Args:
        perturbation, weights, layer, explained_class: as in `explain`.
        method, budget, start, stop, precision: as in `find_masks`; start is a name.
        certify: score all windows too, for the regret; by default unless the method is "exact".
        parts: in a long clip, score only the windows between so many parts (`windows.windows`).
        maps: keep the Grad-CAM maps.
        limit: only so many clips, drawn by `seed`, the classes taking turns. `seed` also draws random starts.
        shard_size: clips written together: the most that an interruption loses.
        batch_size: clips in the model at the same time. workers: threads that decode.
        on_error: "skip" writes a row with the error of a clip that cannot be read or scored, "raise" raises it.
        name, source: of the model, and of the data (kind, root, split), for run.json.

    Returns:
        The Results; None in a process of another rank than 0.

    Raises:
        ValueError: wrong arguments, or a folder of another run.
    """
    import_extra("pyarrow.parquet"), import_extra("pandas")
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    for option, value in {"limit": limit, "shard_size": shard_size, "workers": workers, "parts": parts}.items():
        if value is not None and value < 1:
            raise ValueError(f"{option}: expected at least 1, got {value}")
    exact = method == "exact"
    certify = not exact if certify is None else certify
    if parts and not certify:
        raise ValueError("parts: expected certify=True, got False; parts chooses the windows that certify the masks")
    if on_error not in ("skip", "raise"):
        raise ValueError(f'on_error: expected "skip" or "raise", got {on_error!r}')
    chosen, stop = choose(dataset, limit, seed), Stop() if stop is True else stop or None
    recipe = recipe or recipes.SOMETHING_MASK
    search = {"method": method, "perturbation": perturbation, "weights": weights, "layer": layer,
              "explained_class": explained_class, "start": start if exact else start or "central",
              "stop": stop and dataclasses.asdict(stop), "precision": precision, "certify": certify, "maps": maps,
              **({"parts": parts} if parts else {}), **({"budget": budget} if exact else {})}  # fmt: skip
    size = math.ceil(len(chosen) / math.ceil(len(chosen) / shard_size))
    run = {"recipe": recipes.asdict(recipe), "search": search, "model": _describe_model(model, name),
           "data": {**(source or {}), **_describe_data(dataset, chosen, seed)},
           "shards": {"size": size, "count": math.ceil(len(chosen) / size)}, "batch_size": batch_size,
           "versions": versions()}  # fmt: skip
    folder = Path(folder)
    run = _open(folder, json.loads(json.dumps(run, default=str)), rank)
    explainer = Explainer(model, dataset, recipe, search, seed, batch_size, workers, on_error, progress and rank == 0)
    shards = [chosen[first:first + size] for first in range(0, len(chosen), size)]
    with tqdm(total=sum(map(len, shards[rank::world])), unit="clip", desc=f"explain to {folder}",
              disable=not explainer.progress) as bar:
        for shard in range(rank, len(shards), world):
            if not _path(folder, shard).exists():
                _write_shard(folder, shard, *explainer(shards[shard]), exact)
            bar.update(len(shards[shard]))
    if len(_finished(folder, run)) == len(shards):  # in the process that is the last to finish
        merge(folder)
    return None if rank else read(folder)


def merge(folder: str | Path) -> Results:
    """Write results.parquet from all shards and read it; ValueError where clips are missing."""
    folder = Path(folder)
    run = read_run(folder)
    if len(_finished(folder, run)) < run["shards"]["count"]:
        raise ValueError(f"{progress_message(folder)}; expected a finished run, continue it first")
    _write_table(folder / "results.parquet", _read_shards(folder, run))
    return read(folder)


def read(folder: str | Path) -> Results:
    """Read a results folder; of an unfinished run what is there, with a UserWarning."""
    folder, run = Path(folder), read_run(folder)
    pandas, arrow, parquet = map(import_extra, ("pandas", "pyarrow", "pyarrow.parquet"))
    size, clips = run["shards"]["size"], run["data"]["clips"]
    if (folder / "results.parquet").exists():
        table, rows = parquet.read_table(folder / "results.parquet"), range(clips)
    else:
        shards = _finished(folder, run)
        rows = [row for row in range(clips) if row // size in shards]
        if not rows:
            raise ValueError(f"{progress_message(folder)}; there is nothing to read")
        if len(rows) < clips:
            warnings.warn(f"{progress_message(folder)}; the run is not finished", UserWarning, stacklevel=2)
        table = _read_shards(folder, run)
    maps = Maps([_path(folder, row // size, "npy") for row in rows], table.column("map").to_pylist())
    integers = {arrow.int32(): pandas.Int32Dtype()}  # which may be missing
    return Results(table.to_pandas(types_mapper=integers.get), maps, run)


def read_run(folder: str | Path) -> dict[str, Any]:
    """The run.json of a results folder, with today's names in one of an earlier version; ValueError without one."""
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not a results folder: it has no run.json")
    run = read_json(path)
    return run | with_new_names(run)


def with_new_names(run: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a run.json that an earlier version named otherwise, under today's names."""
    search = {"method": "gradient", **run["search"]}
    if "about" in search:
        search["explained_class"] = {"guess": "predicted"}.get(about := search.pop("about"), about)
    return {"recipe": recipes.asdict(recipes.from_dict(run["recipe"])), "search": search,
            "batch_size": run.get("batch_size", run.get("chunk"))}


def progress_message(folder: str | Path) -> str:
    """How far a run is: "8 of 24 clips are in runs/i3d"."""
    folder = Path(folder)
    if not (folder / "run.json").exists():
        return f"no clip is in {folder} yet"
    run = read_run(folder)
    size, clips = run["shards"]["size"], run["data"]["clips"]
    done = sum(min(size, clips - shard * size) for shard in _finished(folder, run))
    return f"{done} of {clips} clips are in {folder}"


def choose(dataset: Any, limit: int | None, seed: int) -> list[int]:
    """Indices of all clips, or of `limit` drawn ones with the classes taking turns, in the order of the dataset."""
    if not len(dataset):
        raise ValueError("dataset: expected at least one clip, got none")
    if limit is None or limit >= len(dataset):
        return list(range(len(dataset)))
    turns: dict[Any, int] = {}
    order = []
    for index in np.random.default_rng(seed).permutation(len(dataset)).tolist():
        label = dataset.samples[index].label
        turns[label] = turns.get(label, 0) + 1
        order.append((turns[label], index))
    return sorted(index for _, index in sorted(order, key=lambda pair: pair[0])[:limit])


@dataclasses.dataclass
class Explainer:
    """Explains some clips of a dataset: `explainer(indices)` gives their rows (COLUMNS) and maps (n,T,H,W)."""

    model: nn.Module
    dataset: Any
    recipe: recipes.MaskRecipe
    search: Mapping[str, Any]  # of run.json
    seed: int = 0
    batch_size: int | None = None
    workers: int = 1
    on_error: str = "raise"
    progress: bool = False

    def __post_init__(self) -> None:
        classes = self.dataset.classes
        names = _class_names(self.model) or list(classes)
        self.targets = {label: names.index(name) for label, name in enumerate(classes) if name in names}
        if not self.targets:
            warnings.warn(f"the model knows none of the dataset's {len(classes)} classes: there will be no target and "
                          "no CS", UserWarning, stacklevel=4)  # fmt: skip

    def __call__(self, indices: Sequence[int]) -> tuple[list[dict], np.ndarray | None]:
        started, rows, maps = time.perf_counter(), [], []
        with ThreadPoolExecutor(self.workers) as pool:
            clips = list(pool.map(self._read, indices))  # Tensor, or an error's text
        for index, clip in zip(indices, clips, strict=True):
            sample = self.dataset.samples[index]
            name = None if sample.label is None else self.dataset.classes[sample.label]
            rows.append({"index": index, "id": sample.id, "label": sample.label, "label_name": name,
                         "target": self.targets.get(sample.label), "error": clip if isinstance(clip, str) else None})
        good, clips = [row for row in rows if row["error"] is None], [clip for clip in clips if torch.is_tensor(clip)]
        if len({clip.shape for clip in clips}) > 1:
            raise ValueError("expected clips of one size, got several; open the dataset with size=(height, width)")
        if good:
            self._explain(good, torch.stack(clips))
        for row in rows:
            row["seconds"] = (time.perf_counter() - started) / len(rows)
            if (heat_map := row.pop("map", None)) is not None and self.search["maps"]:
                row["map"] = len(maps)
                maps.append(heat_map.half().numpy())
        return rows, (np.stack(maps) if maps else np.zeros((0, 0, 0, 0))) if self.search["maps"] else None

    def _read(self, index: int) -> Tensor | str:
        try:
            return to_clip(self.dataset[index][0])
        except (VideoError, OSError) as error:
            if self.on_error == "raise":
                raise
            return str(error)

    def _explain(self, rows: list[dict], clips: Tensor) -> None:
        """Complete the rows; one whose clip has no finite score gets the error."""
        try:
            self._explain_finite(rows, clips)
        except ValueError as error:
            if self.on_error == "raise" or "score is not finite for clip" not in str(error):
                raise
            if len(rows) == 1:
                rows[0]["error"] = str(error)
            else:
                for row, clip in zip(rows, clips.split(1), strict=True):
                    self._explain([row], clip)

    def _explain_finite(self, rows: list[dict], clips: Tensor) -> None:
        model, search, kind, ids = self.model, self.search, self.search["perturbation"], [row["id"] for row in rows]
        exact, best = search["method"] == "exact", None
        targets = torch.tensor([-1 if row["target"] is None else row["target"] for row in rows])
        options = {key: search[key] for key in ("method", "explained_class", "weights", "layer", "start")}
        options |= {"budget": search["budget"]} if exact else {
            "stop": Stop(**search["stop"]) if search["stop"] else None, "precision": search["precision"],
            "generator": torch.Generator().manual_seed(self.seed)}
        if search["certify"] and search["start"] == "best-window":  # the windows are scored once, before the search
            scores = predict(model, clips, self.batch_size, ids)
            classes = scores.argmax(dim=1)
            if search["explained_class"] == "target":
                classes = torch.where(targets >= 0, targets, classes)
            best = self._windows(clips, classes, scores.gather(1, classes[:, None])[:, 0], ids)
            options["start"] = best.starts
        explanations = explain(model, clips, targets, self.recipe, kind, ids=ids, batch_size=self.batch_size,
                               progress=self.progress, **options)  # fmt: skip
        masks = torch.stack([explanation.mask for explanation in explanations])
        classes = torch.tensor([explanation.explained for explanation in explanations])
        if search["certify"] and best is None:
            best = self._windows(clips, classes, torch.tensor([explanation.OS for explanation in explanations]), ids)
        if exact:
            losses = torch.stack([explanation.losses[-1] for explanation in explanations])
        elif score := {"freeze": "FS", "reverse": "RS"}.get(kind):
            losses = penalty(masks, self.recipe) + torch.tensor([getattr(each, score) for each in explanations])
        else:
            losses = penalty(masks, self.recipe) + self._score(clips, masks, classes, kind)
        frozen = self._score(clips, torch.ones_like(masks), classes).tolist()
        kept = self._score(clips, 1 - masks, classes).tolist() if exact else None
        for i, (row, explanation) in enumerate(zip(rows, explanations, strict=True)):
            row |= {key: getattr(explanation, key) for key in EXPLAINED}
            row |= {"mask": masks[i].tolist(), "loss": float(losses[i]), "frozen": frozen[i]}
            if exact:
                row |= {"bound": explanation.bound, "proven": explanation.proven, "forwards": explanation.steps,
                        "kept": kept[i]}  # fmt: skip
            else:
                first, last = explanation.losses[[0, -1]].tolist()
                row |= {"steps": explanation.steps, "first_loss": first, "last_loss": last}
            if best is not None:
                frames, loss = best.masks[i].nonzero()[:, 0].tolist(), float(best.losses[i])
                row |= {"window_first": frames[0], "window_last": frames[-1], "window_loss": loss,
                        "regret": row["loss"] - loss}  # fmt: skip

    def _windows(self, clips, classes, originals, ids) -> WindowResult:
        return score_windows(self.model, clips, classes, originals, self.recipe, self.search["perturbation"],
                             self.batch_size, ids, only_best=True, parts=self.search.get("parts"))  # fmt: skip

    def _score(self, clips: Tensor, masks: Tensor, classes: Tensor, perturbation: str = "freeze") -> Tensor:
        return score_masks(self.model, clips, masks, classes, self.recipe, perturbation, self.batch_size)


def _class_names(model: nn.Module) -> list[str] | None:
    names = getattr(model, "classes", None)
    return list(names) if isinstance(names, list | tuple) else None


def _describe_data(dataset: Any, chosen: list[int], seed: int) -> dict[str, Any]:
    """What the rows depend on; `files` is a hash of the clips' names, labels, ranges and sizes on disk."""
    digest = hashlib.sha256()
    for sample in (dataset.samples[index] for index in chosen):
        length = os.stat(sample.path).st_size if os.path.exists(sample.path) else None
        digest.update(json.dumps([sample.id, sample.label, sample.start, sample.end, length]).encode())
    return {"clips": len(chosen), "of": len(dataset), "seed": seed, "files": digest.hexdigest(),
            "num_frames": dataset.num_frames, "size": dataset.size, "missing": len(dataset.missing),
            "classes": list(dataset.classes)}


def _describe_model(model: nn.Module, name: str | None) -> dict[str, Any]:
    """Name, config, training and hashes: `weights` of the tensors, `file` of the file they came from."""
    config, record = (value if isinstance(value := getattr(model, key, None), Mapping) else {}
                      for key in ("config", "record"))  # fmt: skip
    training = {key: record.get(key) for key in ("seed", "command", "versions", "data")}
    training["top1"] = (record.get("metrics") or {}).get("top1")
    training = {key: value for key, value in training.items() if value is not None}
    return {"name": name or model_name(model), "config": config, "weights": weights_hash(model),
            "file": record.get("sha256"), "trained_with": record.get("recipe"), "training": training,
            "classes": _class_names(model)}


def _open(folder: Path, run: dict[str, Any], rank: int) -> dict[str, Any]:
    """Write run.json, or compare it with the one that is there; ValueError for a folder of anything else."""
    if not (folder / "run.json").exists():
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        if others := [name for name in names if not name.startswith(PREFIX) and name not in ("run.json", "shards")]:
            raise ValueError(f"{folder}: expected an empty folder or one with a run.json, got {others[0]} and no "
                             "run.json; give another folder")
        _write_run(folder, run)
        return run
    known = read_run(folder)
    before, now = _compared(known), _compared(run)
    if differing := [f"{key} was {before.get(key)!r:.60}, is {now.get(key)!r:.60}" for key in now | before
                     if before.get(key) != now.get(key)]:
        raise ValueError(f"{folder} holds another run: {'; '.join(differing)}. Continue it as it was begun, or choose "
                         "another folder")  # fmt: skip
    if not rank and run["versions"] not in (earlier := [known["versions"], *known.get("continued_with", [])]):
        known["continued_with"] = [*earlier[1:], run["versions"]]
        _write_run(folder, known)
    return known


def _compared(run: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same to continue, flat: {"recipe.lambda1": 0.01, ...}."""
    return {f"{part}.{key}": value for part in ("recipe", "search", "model", "data", "shards")
            for key, value in run.get(part, {}).items() if f"{part}.{key}" not in NOT_COMPARED}  # fmt: skip


def _write_run(folder: Path, run: Mapping[str, Any]) -> None:
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "run.json", json.dumps(run, indent=1, ensure_ascii=False) + "\n")


def _path(folder: Path, shard: int, ending: str = "parquet") -> Path:
    return folder / "shards" / f"{shard:05d}.{ending}"


def _finished(folder: Path, run: Mapping[str, Any]) -> set[int]:
    return {shard for shard in range(run["shards"]["count"]) if _path(folder, shard).exists()}


def _write_shard(folder: Path, shard: int, rows: Sequence[Mapping], maps: np.ndarray | None, exact: bool) -> None:
    arrow = import_extra("pyarrow")
    if maps is not None:
        buffer = io.BytesIO()
        np.save(buffer, maps.astype(np.float16), allow_pickle=False)
        atomic_write(_path(folder, shard, "npy"), buffer.getvalue())
    columns = COLUMNS | (EXACT_COLUMNS if exact else {})
    schema = arrow.schema([(name, arrow.list_(arrow.float32()) if kind == "mask" else getattr(arrow, kind)())
                           for name, kind in columns.items()])  # fmt: skip
    _write_table(_path(folder, shard), arrow.Table.from_pylist(list(rows), schema=schema))


def _read_shards(folder: Path, run: Mapping[str, Any]):
    """The rows of the finished shards, a pyarrow Table in the order of the clips."""
    read_table = import_extra("pyarrow.parquet").read_table
    return import_extra("pyarrow").concat_tables(
        read_table(_path(folder, shard)) for shard in sorted(_finished(folder, run)))  # fmt: skip


def _write_table(path: Path, table) -> None:
    buffer = io.BytesIO()
    import_extra("pyarrow.parquet").write_table(table, buffer, compression="zstd")
    atomic_write(path, buffer.getvalue())
