"""What a mask costs, the score of any mask, and every window of frames scored.

The loss is the paper's (Mänttäri et al., ACCV 2020): lambda1 sum|m| + lambda2 TV(m) + F_c(perturbed clip), with F_c
the softmax score of the target class. Axes: clips (B,C,T,H,W), masks (B,T), windows (N,T) with N = T(T+1)/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from interp.core import perturb
from interp.core._stem import stem_of
from interp.core.inference import check_clips, check_finite, check_ids, frozen_eval, logits, map_batches, score_targets
from interp.recipes import SOMETHING_MASK, MaskRecipe

STEM_FROM = 32  # masks for each clip, from which on the first convolution is computed once


@dataclass(frozen=True)
class WindowResult:
    """Every window of B clips. Scores are softmax scores of the target, losses the paper's."""

    masks: Tensor  # (B, T) the window of least loss, of zeros and ones
    losses: Tensor  # (B,) its loss
    scores: Tensor  # (B, N) F_c under every window; nan where it was not needed
    all_losses: Tensor  # (B, N); infinite where it was not needed
    windows: Tensor  # (N, T), by first frame, then by last
    originals: Tensor  # (B,) F_c of the clip itself
    targets: Tensor  # (B,)
    perturbation: str
    recipe: MaskRecipe
    class_scores: Tensor | None = None  # (B, N, K) the softmax of every class, if kept

    @property
    def starts(self) -> Tensor:
        """The best windows as logits (B,T), to start a gradient search from."""
        return (2 * self.masks - 1) * self.recipe.start_logit


def total_variation(masks: Tensor, beta: float = 3) -> Tensor:
    """TV (B,) of masks (B,T): sum over inner t of |m[t-1]-m[t]|**beta + |m[t+1]-m[t]|**beta, for beta >= 1.

    Inner differences count twice, the first and the last once, as in the paper's code.
    """
    if beta < 1:
        raise ValueError(f"beta: expected at least 1 (below it equal frames have no gradient), got {beta}")
    steps = masks.diff(dim=1).abs().pow(beta)  # (B, T-1)
    return steps[:, :-1].sum(dim=1) + steps[:, 1:].sum(dim=1)


def penalty(masks: Tensor, recipe: MaskRecipe = SOMETHING_MASK) -> Tensor:
    """The loss (B,) without the model: lambda1 sum|m| + lambda2 TV(m).

    With recipe.border "even", frames outside the clip count as off and every difference counts twice.
    """
    # One more frame at either end makes the differences at the border inner ones.
    padded = nn.functional.pad(masks, (2, 2)) if recipe.border == "even" else masks
    return recipe.lambda1 * masks.abs().sum(dim=1) + recipe.lambda2 * total_variation(padded, recipe.beta)


def windows(num_frames: int, parts: int | None = None) -> Tensor:
    """All contiguous windows as masks (N,T) of zeros and ones, N = T(T+1)/2, by first frame, then by last.

    With `parts`, only those between the cuts of a clip in so many parts, as equal as frames allow.
    """
    parts = min(parts or num_frames, num_frames)
    cuts = torch.tensor([round(i * num_frames / parts) for i in range(parts + 1)])
    first, last = torch.triu_indices(parts, parts)
    time = torch.arange(num_frames)
    return ((time >= cuts[first][:, None]) & (time < cuts[last + 1][:, None])).float()


def score_masks(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor, recipe: MaskRecipe = SOMETHING_MASK,
                perturbation: str = "freeze", batch_size: int | None = None) -> Tensor:
    """F_c (B,) of each clip (B,C,T,H,W) under its own mask (B,T)."""
    def score(clips: Tensor, mixing: Tensor, targets: Tensor) -> Tensor:
        return logits(model, perturb.mix(mixing, clips)).softmax(1).gather(1, targets[:, None])[:, 0]

    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    with frozen_eval(model), torch.no_grad():
        return map_batches(model, score, clips, mixing, targets, batch_size=batch_size)


def score_table(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor | None,
                recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze",
                batch_size: int | None = None) -> Tensor:
    """F_c (B,N) of every clip under every one of the masks (N,T); with targets None the softmax (B,N,K)."""
    def score(mixing: Tensor, source: Tensor) -> Tensor:  # source: one clip, or its responses
        if stem:
            return stem.logits(stem.mix(mixing, source)).softmax(1)
        return logits(model, perturb.mix(mixing, source.expand(len(mixing), -1, -1, -1, -1))).softmax(1)

    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    # Some masks do the same to every clip (freezing frame 0 does nothing): each different matrix is scored once.
    mixing, place = torch.unique(mixing, dim=0, return_inverse=True)
    tables = []
    with frozen_eval(model) as device, torch.no_grad():
        mixing = mixing.to(device or clips.device)
        stem = stem_of(model, clips) if len(mixing) >= STEM_FROM else None
        for row, clip in enumerate(clips.split(1)):
            source = stem.responses(clip) if stem else clip.to(mixing.device)
            table = map_batches(model, partial(score, source=source), mixing, batch_size=batch_size)  # (N, K)
            tables.append(table if targets is None else table[:, targets[row]])
    return torch.stack(tables).to(clips.device)[:, place.to(clips.device)]


def best_windows(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
                 targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
                 batch_size: int | None = None, ids: Sequence[str] | None = None, **options) -> WindowResult:
    """Score every contiguous window of frames (136 for T = 16) and name the one of least loss, for each clip.

    Args:
        model, clips, targets, batch_size, ids: as in `find_masks`.
        perturbation, recipe: what a window does to its frames, and lambda1, lambda2 and beta of the loss.
        options: every_class=True keeps the scores of all K classes, only_best=True leaves out windows that cost more
            than the best one's whole loss; parts=P takes only the windows of `windows(T, P)`, for long clips.

    Raises:
        ValueError: wrong arguments, or a clip without a finite score, which is named.
    """
    clips, ids = check_clips(model, clips), check_ids(ids, len(clips))
    targets, originals = score_targets(model, clips, targets, batch_size, ids)
    return score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids, **options)


def score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids, *, every_class=False,
                  only_best=False, parts=None) -> WindowResult:
    """What `best_windows` returns, where the clips are checked and their scores are known."""
    masks, class_scores = windows(clips.shape[2], parts).to(originals), None
    score = _score_promising if only_best and not every_class else score_table
    scores = score(model, clips, masks, None if every_class else targets, recipe, perturbation, batch_size)
    if every_class:
        class_scores, scores = scores, scores.gather(2, targets[:, None, None].expand(-1, len(masks), 1))[..., 0]
    needed = ~scores.isneginf()  # (B, N)
    check_finite(torch.where(needed, scores, 0), ids, "under a window")
    all_losses = torch.where(needed, scores + penalty(masks, recipe), torch.inf)
    losses, place = all_losses.min(dim=1)
    return WindowResult(masks[place], losses, torch.where(needed, scores, torch.nan), all_losses, masks, originals,
                        targets, perturbation, recipe, class_scores)


def _score_promising(model, clips, masks, targets, recipe, perturbation, batch_size) -> Tensor:
    """As `score_table`, by rising cost; -inf for masks whose cost alone is above the best loss found."""
    costs = penalty(masks, recipe)
    table = costs.new_full((len(clips), len(masks)), -torch.inf)
    for row, scores in enumerate(table):
        least = torch.inf
        for part in costs.argsort(stable=True).split(STEM_FROM):
            part = part[costs[part] <= least]
            if len(part):
                clip, target = clips[row, None], targets[row, None]
                scores[part] = score_table(model, clip, masks[part], target, recipe, perturbation, batch_size)[0]
                least = min(least, float((scores[part] + costs[part]).min()))
    return table


def regret(result, best: WindowResult, *, model: nn.Module | None = None, clips: Tensor | None = None,
           binary: bool = False) -> Tensor:
    """How far the masks of a `MaskResult` are from the best windows (B,): their loss minus its loss.

    Negative where a mask is better than every window. With `binary` the masks are set to zeros and ones first, which
    takes `model` and `clips` for one more forward pass. ValueError where masks and windows are not of the same search.
    """
    if any(getattr(result, name) != getattr(best, name) for name in ("perturbation", "recipe")) or not torch.equal(
            result.targets, best.targets):
        raise ValueError("regret: expected masks and windows of the same targets, perturbation and recipe")
    if not binary:
        return result.final_losses - best.losses
    masks, clips = result.binary_masks, check_clips(model, clips)
    scores = score_masks(model, clips, masks.to(clips), best.targets, best.recipe, best.perturbation)
    return penalty(masks, best.recipe) + scores.to(masks.device) - best.losses
