"""The work behind a results folder: a shard of clips read, explained and certified, as rows and maps.

Source: this project's own; the scores are those of Mänttäri, Broomé et al., ACCV 2020. Axes: frames
(T,H,W,3) uint8, clips (B,C,T,H,W), maps (n,T,H,W). `runs.write` is the way in.

    >>> job = Job(model, dataset, recipes.SOMETHING_MASK, search, stop=None, seed=0, chunk=32, workers=2,
    ...           strict=False, numbers=class_numbers(model, dataset), progress=False)
    >>> rows, maps = job.make([0, 1, 2])
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interp import recipes
from interp.borrow import borrowed, capacity, probabilities
from interp.data import VideoError, to_clip
from interp.explain import explain
from interp.masks import Stop
from interp.windows import best_windows, penalty, regret, score_masks


def class_numbers(model: nn.Module, dataset: Any) -> dict[int, int]:
    """The dataset's class -> the model's of that name; as they are where the model has no names.

    A UserWarning where the model knows none of the dataset's classes.
    """
    known = list(getattr(model, "classes", None) or dataset.classes)
    numbers = {label: known.index(name) for label, name in enumerate(dataset.classes) if name in known}
    if not numbers:
        warnings.warn(f"the model knows none of the dataset's {len(dataset.classes)} classes: there will be "
                      "no target and no CS", UserWarning, stacklevel=3)
    return numbers


def room(model: nn.Module, dataset: Any, indices: list[int], most: int, processes: int = 1) -> int:
    """How many clips, at most `most`, go through the model at once by the memory at hand."""
    for index in indices:
        try:
            clip = to_clip(dataset[index][0])
        except (VideoError, OSError):
            continue
        with borrowed(model) as device:
            fitting = capacity(model, torch.stack([clip, clip]), device, None)
        if fitting < most and (device is None or device.type == "cpu"):
            fitting = max(1, fitting // processes)  # they share the memory
        return min(fitting, most)
    return most


@dataclasses.dataclass
class Job:
    """Explains shards of clips; every one with its own generator, so that the order does not matter."""

    model: nn.Module
    dataset: Any
    recipe: recipes.MaskRecipe
    search: dict[str, Any]
    stop: Stop | None
    seed: int
    chunk: int
    workers: int
    strict: bool
    numbers: dict[int, int]  # the dataset's class -> the model's
    progress: bool

    def make(self, indices: list[int]) -> tuple[list[dict], np.ndarray | None]:
        """The rows of these clips, and the maps (n,T,H,W) of those that could be explained."""
        begun = time.perf_counter()
        with ThreadPoolExecutor(self.workers) as pool:
            found = list(pool.map(self._look, indices))
        rows, clips = [], [clip for clip in found if torch.is_tensor(clip)]
        if len({clip.shape for clip in clips}) > 1:
            raise ValueError("the clips differ in size; open the dataset with size=(height, width)")
        for index, clip in zip(indices, found, strict=True):
            sample = self.dataset.samples[index]
            label = sample.label
            rows.append({"index": index, "id": sample.id, "label": label, "target": self.numbers.get(label),
                         "label_name": None if label is None else self.dataset.classes[label],
                         "error": None if torch.is_tensor(clip) else clip})
        good, maps = [row for row in rows if row["error"] is None], []
        if good:
            for row, (told, picture) in zip(good, self._explain(torch.stack(clips), good), strict=True):
                row.update(told)
                if picture is not None and self.search["maps"]:
                    row["map"] = len(maps)
                    maps.append(picture.half().numpy())
        for row in rows:
            row["seconds"] = (time.perf_counter() - begun) / len(rows)
        return rows, (np.stack(maps) if maps else np.zeros((0, 0, 0, 0))) if self.search["maps"] else None

    def _look(self, index: int) -> Tensor | str:
        try:
            return to_clip(self.dataset[index][0])
        except (VideoError, OSError) as error:
            if self.strict:
                raise
            return str(error)

    def _explain(self, clips: Tensor, rows: list[dict]) -> list[tuple[dict, Tensor | None]]:
        """What each clip adds to its row, and its map; one without a finite score has that alone."""
        try:
            return self._told(clips, rows)
        except ValueError as error:
            if self.strict or "score is not finite for clip" not in str(error):
                raise
            half = len(rows) // 2
            if not half:
                return [({"error": str(error)}, None)]
            return self._explain(clips[:half], rows[:half]) + self._explain(clips[half:], rows[half:])

    def _told(self, clips: Tensor, rows: list[dict]) -> list[tuple[dict, Tensor | None]]:
        ids, kind = [row["id"] for row in rows], self.search["perturbation"]
        targets = [-1 if row["target"] is None else row["target"] for row in rows]
        options = {key: self.search[key] for key in ("weights", "layer", "about", "start", "precision")}
        best = None
        if self.search["certify"]:
            best = best_windows(self.model, clips, kind, self._explained(clips, targets, ids), self.recipe,
                                chunk=self.chunk, ids=ids, only_best=True, parts=self.search.get("parts"))
            if options["start"] == "best-window":
                options["start"] = best.starts  # the same logits, without scoring the windows again
        records = explain(self.model, clips, targets, self.recipe, kind, ids=ids, chunk=self.chunk,
                          stop=self.stop, generator=torch.Generator().manual_seed(self.seed),
                          progress=self.progress, **options)  # fmt: skip
        masks = torch.stack([record.mask for record in records])
        losses, windows, far = [None] * len(rows), [{}] * len(rows), [None] * len(rows)
        if kind in ("freeze", "reverse"):
            scores = torch.tensor([record.FS if kind == "freeze" else record.RS for record in records])
            losses = (penalty(masks, self.recipe) + scores).tolist()
        if best is not None:
            if losses[0] is None:
                over = regret(masks, best, model=self.model, clips=clips, chunk=self.chunk)
                losses = (best.losses + over).tolist()
            for i, mask in enumerate(best.masks):
                on, cost = mask.nonzero()[:, 0].tolist(), float(best.losses[i])
                windows[i] = {"window_first": on[0], "window_last": on[-1], "window_loss": cost}
                far[i] = losses[i] - cost
        frozen = self._frozen(clips, [record.explained for record in records])
        return [({**{key: getattr(record, key) for key in ("guess", "P", "explained", "OS", "FS", "RS", "CS",
                                                           "steps")},
                  "mask": record.mask.tolist(), "first_loss": _end(record.losses, 0),
                  "last_loss": _end(record.losses, -1), "loss": losses[i], "regret": far[i], "frozen": frozen[i],
                  **windows[i]},
                 record.map) for i, record in enumerate(records)]

    def _explained(self, clips: Tensor, targets: list[int], ids: list[str]) -> list[int]:
        """The class that each clip's explanation is about, as `explain` has it."""
        with borrowed(self.model) as device:
            guesses = probabilities(self.model, clips, device, self.chunk, ids).argmax(dim=1).tolist()
        if self.search["about"] == "guess":
            return guesses
        return [guess if target < 0 else target for guess, target in zip(guesses, targets, strict=True)]

    def _frozen(self, clips: Tensor, explained: list[int]) -> list[float]:
        """The score of the class explained with the whole clip frozen."""
        everything = torch.ones(len(clips), clips.shape[2])
        with borrowed(self.model) as device:
            return score_masks(self.model, clips, everything, torch.tensor(explained), self.recipe, "freeze",
                               device, self.chunk).tolist()


def _end(losses: Tensor, place: int) -> float | None:
    """The first or the last loss; a recipe without steps has none."""
    return float(losses[place]) if len(losses) else None
