"""One clip searched under many recipes at once: how the mask depends on lambda1, lambda2 and the learning rate.

The search is that of Mänttäri, Broomé et al., ACCV 2020 (`masks`); here a row of the batch is a recipe, not a clip.
Axes: clip (1,C,T,H,W), masks (1,T).

    >>> recipes = [replace(SOMETHING_MASK, lambda1=one) for one in (0.005, 0.01, 0.02)]
    >>> [float(found.masks.sum()) for found in search_grid(model, clip, recipes)]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interp import masks
from interp.borrow import borrowed, capacity, checked_clips, checked_targets, probabilities, require_finite
from interp.masks import MaskResult
from interp.recipes import MaskRecipe
from interp.search import Search
from interp.windows import score_masks, total_variation

VARIED = ("lambda1", "lambda2", "learning_rate")


def search_grid(model: nn.Module, clip: Tensor, recipes: Sequence[MaskRecipe], target: int | None = None,
                perturbation: str = "freeze", start: str | Tensor = "central", *, chunk: int | None = None,
                ) -> list[MaskResult]:  # fmt: skip
    """Search the mask of one clip (1,C,T,H,W) under each recipe, in one batch; each result keeps its path.

    The recipes may differ in lambda1, lambda2 and learning_rate only. start: "central" or logits (T,). Every result
    is that of `find_masks` with its recipe. ValueError for recipes that differ otherwise; beyond that as find_masks.
    """
    clip = checked_clips(model, clip)
    if len(clip) != 1:
        raise ValueError(f"clip: got {len(clip)} clips; a grid is searched for one, clip[None] or clips[:1]")
    if not recipes:
        raise ValueError("recipes: got none; expected at least one MaskRecipe")
    first = recipes[0]
    for name in MaskRecipe.__dataclass_fields__:
        if name not in (*VARIED, "name") and len({getattr(one, name) for one in recipes}) > 1:
            raise ValueError(f"recipes: they differ in {name}; in one batch only {', '.join(VARIED)} may")
    if not isinstance(start, Tensor):
        if start != "central":
            raise ValueError(f'start: expected "central" or logits (T,), got {start!r}')
        start = masks.central_start(model, clip, target, first)[0]
    names = [f"under recipe {number}" for number in range(len(recipes))]
    with borrowed(model) as device:
        most = capacity(model, clip, device, chunk)
        before = probabilities(model, clip, device, most, names[:1])
        targets = checked_targets(target, before).expand(len(recipes))
        original = before.gather(1, targets[:1, None])[:, 0]  # (1,)
        clips = clip.expand(len(recipes), -1, -1, -1, -1)
        starts = start.detach().to(before).expand(len(recipes), -1)
        search = _Grid(model, clips, targets, starts, recipes, perturbation, names, device).run(most)
        found = search.found.sigmoid().to(clip.device)
        scores = score_masks(model, clips, found, targets, first, perturbation, device, most)
        require_finite(scores, names, "under its mask")
    losses, path = search.losses.to(clip.device), search.path.to(clip.device)
    return [
        MaskResult(found[here], losses[here], scores[here], original, targets[here], search.steps[here], perturbation,
                   recipe, starts[here].clone(), path[here])
        for recipe, here in zip(recipes, (slice(row, row + 1) for row in range(len(recipes))), strict=True)
    ]  # fmt: skip


class _Grid(Search):
    """A search in which every row has weights and a learning rate of its own."""

    def __init__(self, model, clips, targets, starts, recipes, perturbation, names, device):
        super().__init__(model, clips, targets, starts, recipes[0], perturbation, ids=names, keep_path=True,
                         device=device)  # fmt: skip
        columns = [[getattr(one, name) for one in recipes] for name in VARIED]
        self.lambda1, self.lambda2 = (torch.tensor(column).to(self.found) for column in columns[:2])
        self.rates = torch.tensor(columns[2], dtype=torch.float64, device=self.found.device)

    def _penalty(self, masks: Tensor, rows: Tensor) -> Tensor:
        varied = self.lambda2[rows] * total_variation(masks, self.recipe.beta)
        return self.lambda1[rows] * masks.abs().sum(dim=1) + varied

    def _rate(self, rows: Tensor) -> Tensor:
        return self.rates[rows][:, None].cpu()
