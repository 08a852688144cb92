"""What the sanity checks look at: some clips of a run, the model, and the masks that the run found for them.

Axes: clips (B,C,T,H,W), masks (B,T) with 1 = perturbed, maps (B,T',H',W') on the grid of the Grad-CAM layer.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interp import recipes
from interp.core import gradcam
from interp.core.inference import map_batches
from interp.core.masks import find_masks
from interp.core.windows import score_table
from interp.data import to_clip
from interp.data.truth import interval_mask
from interp.models.weights import weights_hash
from interp.study import measures, results, statistics

TOLERANCE = 0.02  # a larger difference between a score and the run's means another clip or model


class Missing(ValueError):
    """The check cannot be made from what the sample has; others can."""


@dataclass
class EvaluationSample:
    """Clips, model and masks under test."""

    model: nn.Module
    clips: Tensor  # (B,C,T,H,W)
    ids: list[str]
    classes: list[str]  # of each clip, by name; "" where it has none
    explained: Tensor  # (B,) the class that mask and scores are about
    originals: Tensor  # (B,) its score on the unperturbed clip
    masks: Tensor  # (B,T) the run's masks, soft after a gradient search
    recipe: recipes.MaskRecipe
    known: Tensor | None = None  # (B,T) 1 in the known interval
    train: Any = None  # the training set
    about: dict[str, Any] = field(default_factory=dict)  # model, data, recipe, search, clips, seed: for checks.json
    batch_size: int | None = None

    seed = property(lambda self: self.about.get("seed", 0), doc="The seed of all that the checks draw.")
    binary_masks = property(lambda self: (self.masks > self.recipe.snap).float(), doc="(B,T) of zeros and ones.")
    arguments = property(lambda self: {
        "model": self.model, "clips": self.clips, "targets": self.explained, "recipe": self.recipe,
        "batch_size": self.batch_size, "ids": self.ids}, doc="The arguments that all searches take.")

    def scores(self, masks: Tensor, perturbation: str = "freeze") -> Tensor:
        """Score (B,) of each clip under its own mask (B,T), or (B,N) under its own masks (B,N,T)."""
        rows = masks.to(self.clips).reshape(len(masks), -1, masks.shape[-1])
        scores = [score_table(self.model, clip[None], row, target[None], self.recipe, perturbation, self.batch_size)
                  for clip, row, target in zip(self.clips, rows, self.explained, strict=True)]
        return torch.cat(scores).reshape(masks.shape[:-1])

    def search(self, **changes: Any) -> Tensor:
        """Masks (B,T) of a new search by the run's method; changes: other arguments of `find_masks`."""
        run = self.about.get("search", {})
        method = ({"method": "exact", "budget": run["budget"]} if run.get("method") == "exact"
                  else {"start": "best-window", "stop": True})
        return find_masks(**self.arguments | method | changes).masks.float()

    unchanged = cached_property(lambda self: self.search())  # masks (B,T) of a search with nothing changed

    def maps(self, model: nn.Module | None = None, targets: Tensor | None = None) -> Tensor:
        """Grad-CAM maps (B,T',H',W') in [0,1]."""
        model, targets = model or self.model, self.explained if targets is None else targets
        options = {key: value for key, value in self.about.get("search", {}).items() if key in ("layer", "weights")}
        grad_cam = partial(gradcam.compute_maps, model, upsample=False, **options)
        return gradcam.normalise(map_batches(model, grad_cam, self.clips, targets, batch_size=self.batch_size).float())

    def describe(self, masks: Tensor) -> dict[str, Tensor]:
        """Length (B,) of masks, and their agreement with the known intervals where there are any."""
        rows = {"agreement": measures.agreement, "chance": measures.chance_agreement} if self.known is not None else {}
        return {"length": measures.length(masks)} | {key: of(masks, self.known) for key, of in rows.items()}

    def means(self, values: Mapping[str, Sequence]) -> dict[str, dict[str, float]]:
        """{"mean", "low", "high", "clips"} of the finite ones of B values; the interval resamples whole classes."""
        numbers = {}
        for key, row in values.items():
            finite = np.isfinite(row := np.asarray(row, dtype=np.float64))
            row, classes = row[finite], np.asarray(self.classes)[finite]
            low, high = statistics.interval(row, classes) if len(set(classes)) > 1 else (np.nan, np.nan)
            mean = float(row.mean()) if len(row) else np.nan
            numbers[key] = {"mean": mean, "low": low, "high": high, "clips": len(row)}
        return numbers


def open_run(folder: str | Path, model: nn.Module, dataset: Any, *, clips: int = 24, seed: int = 0,
             **options: Any) -> EvaluationSample:
    """The sample of a results folder: `clips` of its clips, drawn by `seed`, the classes taking turns.

    ValueError for a damaged folder, one of another model or of other clips, or masks that do not freeze.
    """
    table, about = (run := results.read(folder)).table, run.run
    if weights_hash(model) != about["model"]["weights"] or about["search"]["perturbation"] != "freeze":
        raise ValueError(f"{folder}: expected freeze masks of these weights, got {about['search']['perturbation']} "
                         f"masks of {about['model']['name']} with weights {about['model']['weights'][:12]}...")
    table = table[table["error"].isna()].set_index("id").rename(columns={"label_name": "class"}).fillna({"class": ""})
    part = _select(dataset, table.index)
    ids = [part.ids[place] for place in results.choose(part, clips, seed)]
    rows = table.loc[ids, ["class", "explained", "OS", "mask"]].reset_index().to_dict("records")
    about = {key: about[key] for key in ("model", "data", "recipe", "search")} | {"clips": plain(rows), "seed": seed}
    return of_rows(about, model, dataset, **options)


def of_rows(about: Mapping[str, Any], model: nn.Module, dataset: Any, clips: int | None = None,
            **options: Any) -> EvaluationSample:
    """The sample of the first `clips` rows of a checks.json's "about"; ValueError for other data or another model."""
    rows = about["clips"][:clips]
    ids, classes, *numbers = ([row[key] for row in rows] for key in ("id", "class", "explained", "OS", "mask"))
    shown, known = load_clips(_select(dataset, ids))
    sample = EvaluationSample(model, shown, ids, classes, *map(torch.tensor, numbers),
                              recipes.from_dict(about["recipe"]), known, about=dict(about), **options)
    gaps = (sample.scores(torch.zeros_like(sample.masks)) - sample.originals).abs()
    if not gaps.max() <= TOLERANCE:
        raise ValueError(f"clip {sample.ids[gaps.argmax()]}: expected the run's score, got one that differs by "
                         f"{gaps.max():.3f}; give the clips and the weights that the run was made with")
    return sample


def seeded(seed: int, purpose: str) -> torch.Generator:
    """A random generator for one purpose, independent of what else is drawn."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def load_clips(dataset: Any) -> tuple[Tensor, Tensor | None]:
    """All clips (B,C,T,H,W), and their known intervals (B,T) where every clip has one."""
    clips = torch.stack([to_clip(dataset[i][0]) for i in range(len(dataset))])
    truths = [sample.meta.get("truth") for sample in dataset.samples]
    masks = [torch.from_numpy(interval_mask(truth, dataset.num_frames)) for truth in truths if truth]
    return clips, torch.stack(masks) if all(truths) else None


def plain(value: Any) -> Any:
    """What JSON takes: tensors and arrays as lists, floats to six decimals, NaN and infinity as None."""
    text = json.dumps(value, default=lambda array: array.tolist())
    return json.loads(text, parse_float=lambda number: round(float(number), 6), parse_constant=lambda name: None)


def _select(dataset: Any, ids: Sequence[str]) -> Any:
    """The clips of these ids, as a dataset."""
    places = {name: i for i, name in enumerate(dataset.ids)}
    if lost := [name for name in ids if name not in places]:
        raise ValueError(f"expected the clip {lost[0]!r} in {dataset!r}, got none; give the run's own data")
    return dataset.subset([places[name] for name in ids])
