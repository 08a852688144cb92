"""What a sanity check looks at: some clips of a run, the network, and the masks that the run found for them.

Source: this project's own. Axes: clips (B,C,T,H,W), masks (B,T) with 1 = perturbed, tables of scores (B,N), maps
(B,T',H',W') as coarse as the layer gives them. `checks.run` makes one; every check asks its questions through it.

    >>> subject = open_run("runs/i3d", interp.load("i3d"), dataset, clips=24)
    >>> subject.scores(subject.snapped), subject.search(perturbation="reverse").shape

The searches that checks compare with each other begin at the best window, chosen for each network, perturbation and
recipe anew: a start that all shared would make their masks alike. In a clip of more than 16 frames only windows whose
edges lie on sixteenths are tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interp import gradcam, masks, recipes, runs
from interp.borrow import borrowed, capacity
from interp.checks_parts import Parts
from interp.data import to_clip
from interp.data.truth import interval_mask
from interp.windows import penalty, score_masks, score_table, windows

PARTS = 16  # of a clip, between which the starts' windows have their edges: 136 windows, all of a clip of 16
FAR = 0.02  # difference between a score and the run's own from which on the clip or the network is another


@dataclass
class Subject:
    """Clips, network and masks under test. `known` is None where nobody knows when something happens."""

    model: nn.Module
    clips: Tensor  # (B,C,T,H,W)
    ids: list[str]
    classes: list[str]  # of each clip, by name; "" where it has none
    explained: Tensor  # (B,), the class that mask and scores are about
    originals: Tensor  # (B,), its score on the untouched clip
    masks: Tensor  # (B,T), soft: what the run found
    recipe: recipes.MaskRecipe
    known: Tensor | None = None  # (B,T), 1 where something happens
    windows: list[tuple[int, int]] | None = None  # of each clip, the run's best window: first and last frame
    train: Any = None  # the training clips, a dataset, where they are at hand
    about: dict[str, Any] = field(default_factory=dict)  # model, data and search, for the record
    seed: int = 0
    stop: masks.Stop = field(default_factory=masks.Stop)
    precision: str = "fp32"
    chunk: int | None = None
    layer: str | None = None
    weights: str = "clip"  # of Grad-CAM
    _tables: dict[str, Tensor] = field(default_factory=dict)

    @property
    def snapped(self) -> Tensor:
        """The run's masks (B,T), of zeros and ones."""
        return (self.masks > self.recipe.snap).float()

    def scores(self, masks: Tensor, perturbation: str = "freeze") -> Tensor:
        """Score (B,) of each clip under its own mask (B,T)."""
        with borrowed(self.model) as device:
            most = capacity(self.model, self.clips, device, self.chunk)
            return score_masks(self.model, self.clips, masks.to(self.clips), self.explained, self.recipe,
                               perturbation, device, most)

    def losses(self, masks: Tensor, scores: Tensor) -> Tensor:
        """The paper's loss (B,) of masks (B,T) with these scores."""
        return penalty(masks, self.recipe) + scores

    def table(self, place: int, masks: Tensor) -> Tensor:
        """Scores (N,) of the clip at `place` under each of the masks (N,T), all frozen."""
        with borrowed(self.model) as device:
            most = capacity(self.model, self.clips, device, self.chunk)
            one = slice(place, place + 1)
            return score_table(self.model, self.clips[one], masks.to(self.clips), self.explained[one], self.recipe,
                               "freeze", device, most)[0]

    def search(self, perturbation: str = "freeze", recipe: recipes.MaskRecipe | None = None, *,
               start: Tensor | str | None = None, model: nn.Module | None = None, explained: Tensor | None = None,
               generator: torch.Generator | None = None, stop: masks.Stop | None = None) -> Tensor:
        """Masks (B,T) found anew, with whatever is given in place of the subject's own."""
        recipe, wanted = recipe or self.recipe, self.explained if explained is None else explained
        if start is None:
            start = self._start(model, wanted, recipe, perturbation)
        found = masks.find_masks(
            model or self.model, self.clips, wanted, recipe, perturbation, start, stop=stop or self.stop,
            chunk=self.chunk, generator=generator, ids=self.ids, precision=self.precision,
        )  # fmt: skip
        return found.masks.float()

    def maps(self, model: nn.Module | None = None, explained: Tensor | None = None) -> Tensor:
        """Grad-CAM maps (B,T',H',W') in [0,1], on the layer's own grid."""
        model, wanted = model or self.model, self.explained if explained is None else explained
        most = min(16, self.chunk or 16)
        parts = zip(self.clips.split(most), wanted.split(most), strict=True)
        options = {"layer": self.layer, "weights": self.weights, "upsample": False}
        found = [gradcam.grad_cam(model, *part, **options) for part in parts]
        return gradcam.normalise(torch.cat(found).float())

    def _start(self, model, wanted: Tensor, recipe, perturbation: str) -> Tensor:
        """Logits (B,T) of the best of the windows; their scores are asked for once a perturbation."""
        candidates = windows(self.clips.shape[2], PARTS).to(self.clips)
        own = model is None and torch.equal(wanted, self.explained)
        scores = self._tables.get(perturbation) if own else None
        if scores is None:
            asked = model or self.model
            with borrowed(asked) as device:
                most = capacity(asked, self.clips, device, self.chunk)
                scores = score_table(asked, self.clips, candidates, wanted, recipe, perturbation, device, most)
            if own:
                self._tables[perturbation] = scores
        best = (scores + penalty(candidates, recipe)).argmin(dim=1)
        return (2 * candidates[best] - 1) * recipe.start_logit


def open_run(folder: str | Path, model: nn.Module, dataset: Any, *, clips: int = 24, seed: int = 0,
             train: Any = None, **options) -> Subject:
    """The subject of a results folder: `clips` of its clips, the classes taking turns, drawn by `seed`.

    ValueError where the folder is none, is damaged, or was made with another network or other clips.
    """
    results = runs.read(folder)
    run = results.run
    try:
        weights, explained_by = run["model"]["weights"], run["search"]
        recipe = recipes.from_dict(run["recipe"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}/run.json is damaged: it lacks {error}") from None
    if explained_by["perturbation"] != "freeze":
        raise ValueError(f"{folder} has masks searched with {explained_by['perturbation']}; the checks are of freeze "
                         "masks")
    if runs.weights_hash(model) != weights:
        raise ValueError(f"{folder} was made with other weights ({run['model']['name']}, {weights[:12]}...) than the "
                         f"model given; name the file it was made with")
    table = results.table[results.table["error"].isna()]
    if not len(table):
        raise ValueError(f"{folder} has no clip that was explained")
    places = {name: i for i, name in enumerate(dataset.ids)}
    lost = [name for name in table["id"] if name not in places]
    if lost:
        raise ValueError(f"{len(lost)} clips of {folder}, such as {lost[0]!r}, are not in {dataset!r}; name the data "
                         "it was made with")
    own = {row["id"]: row for row in table.to_dict("records")}
    part = dataset.subset([places[name] for name in table["id"]])
    chosen = [part.ids[i] for i in runs.choose(part, clips, seed)]
    rows = [{"id": name, "class": own[name]["label_name"] or "", "explained": int(own[name]["explained"]),
             "OS": float(own[name]["OS"]), "mask": list(own[name]["mask"]), "window": _window(own[name])}
            for name in chosen]  # fmt: skip
    about = {"model": {key: run["model"].get(key) for key in ("name", "weights", "file")},
             "data": {key: run["data"].get(key) for key in ("kind", "split", "files", "num_frames", "size")},
             "recipe": run["recipe"], "search": explained_by, "clips": rows}
    return of_rows(about, model, dataset, recipe=recipe, seed=seed, train=train, **options)


def of_rows(about: Mapping[str, Any], model: nn.Module, dataset: Any, *, clips: int | None = None,
            recipe: recipes.MaskRecipe | None = None, **options) -> Subject:
    """The subject of what a check's record says about its run: `about`, with the rows under "clips".

    clips: only the first so many. ValueError where a clip is not in the dataset, or the model scores it otherwise.
    """
    rows, places = about["clips"][:clips], {name: i for i, name in enumerate(dataset.ids)}
    lost = [row["id"] for row in rows if row["id"] not in places]
    if lost:
        raise ValueError(f"the clip {lost[0]!r} is not in {dataset!r}; name the data that the run was made with")
    samples = [dataset.samples[places[row["id"]]] for row in rows]
    frames = [to_clip(dataset[places[row["id"]]][0]) for row in rows]
    known = None
    if all("truth" in sample.meta for sample in samples):
        known = torch.stack([torch.from_numpy(interval_mask(s.meta["truth"], dataset.num_frames)) for s in samples])
    windows = [row.get("window") for row in rows]
    search = about["search"]
    subject = Subject(
        model, torch.stack(frames), [row["id"] for row in rows], [row["class"] for row in rows],
        torch.tensor([row["explained"] for row in rows]), torch.tensor([row["OS"] for row in rows]),
        torch.tensor([row["mask"] for row in rows]).float(), recipe or recipes.from_dict(about["recipe"]), known,
        windows if all(windows) else None, about=dict(about), layer=search.get("layer"),
        weights=search.get("weights", "clip"), **options,
    )  # fmt: skip
    again = subject.scores(torch.zeros_like(subject.masks))
    gap = (again - subject.originals).abs()
    if bool((gap > FAR).any()):
        worst = int(gap.argmax())
        raise ValueError(f"the network gives clip {subject.ids[worst]} {float(again[worst]):.3f}, in the run it was "
                         f"{float(subject.originals[worst]):.3f}: the clip is not the one the run was made with")
    return subject


def unchanged(subject: Subject, parts: Parts) -> dict[str, Tensor]:
    """Soft masks (B,T) of this room's own search and their losses (B,): what a search with anything changed is
    compared with. All checks of a folder share them."""

    def make() -> dict:
        masks = subject.search()
        return {"masks": masks, "losses": subject.losses(masks, subject.scores(masks))}

    return {key: torch.tensor(one) for key, one in parts("unchanged", make, shared=True).items()}


def _window(row: Mapping[str, Any]) -> tuple[int, int] | None:
    first, last = row.get("window_first"), row.get("window_last")
    there = all(isinstance(one, int | float) and one == one for one in (first, last))
    return (int(first), int(last)) if there else None
