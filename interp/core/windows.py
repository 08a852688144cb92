"""What a mask costs, the score of any mask, and every window of frames scored.

The loss is the paper's (Mänttäri et al., ACCV 2020): lambda1 sum|m| + lambda2 TV(m) + F_c(perturbed clip), with F_c
the softmax score of the target class. Axes: clips (B,C,T,H,W), masks (B,T), windows (N,T) with N = T(T+1)/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interp.core import perturb
from interp.core._stem import stem_of
from interp.core.inference import (
    check_clips,
    check_finite,
    check_ids,
    check_targets,
    frozen_eval,
    logits,
    map_batches,
    predict,
)
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

    Inner differences count twice, the first and the last once, as in the paper's code. The gradient at a constant
    mask is zero, not NaN.
    """
    if not torch.is_tensor(masks) or masks.dim() != 2:
        raise ValueError(f"masks: expected a tensor (B,T), got {type(masks).__name__} "
                         f"{tuple(getattr(masks, 'shape', ()))}; one mask is mask[None]")
    if beta < 1:
        raise ValueError(f"beta: expected at least 1 (below it equal frames have no gradient), got {beta}")
    steps = masks.diff(dim=1).abs().pow(beta)  # (B, T-1)
    return steps[:, :-1].sum(dim=1) + steps[:, 1:].sum(dim=1)


def penalty(masks: Tensor, recipe: MaskRecipe = SOMETHING_MASK) -> Tensor:
    """The loss (B,) without the model: lambda1 sum|m| + lambda2 TV(m).

    With recipe.border "even", frames outside the clip count as off and every difference counts twice.
    """
    if getattr(recipe, "border", "paper") == "even":
        variation = 2 * nn.functional.pad(masks, (1, 1)).diff(dim=1).abs().pow(recipe.beta).sum(dim=1)
    else:
        variation = total_variation(masks, recipe.beta)
    return recipe.lambda1 * masks.abs().sum(dim=1) + recipe.lambda2 * variation


def windows(num_frames: int, parts: int | None = None) -> Tensor:
    """All contiguous windows as masks (N,T) of zeros and ones, N = T(T+1)/2, by first frame, then by last.

    With `parts`, only those between the cuts of a clip in so many parts, as equal as frames allow.
    """
    if parts is not None and parts < 1:
        raise ValueError(f"parts: expected at least 1, got {parts}")
    parts = min(parts or num_frames, num_frames)
    cuts = torch.tensor([round(i * num_frames / parts) for i in range(parts + 1)])
    first, last = torch.triu_indices(parts, parts)
    time = torch.arange(num_frames)
    return ((time >= cuts[first][:, None]) & (time < cuts[last + 1][:, None])).float()


def score_masks(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor, recipe: MaskRecipe = SOMETHING_MASK,
                perturbation: str = "freeze", batch_size: int | None = None) -> Tensor:
    """F_c (B,) of each clip (B,C,T,H,W) under its own mask (B,T)."""
    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)

    def score(part: Tensor, mixed: Tensor, classes: Tensor) -> Tensor:
        return logits(model, perturb.mix(mixed, part)).softmax(1).gather(1, classes[:, None])[:, 0]

    with frozen_eval(model), torch.no_grad():
        return map_batches(model, score, clips, mixing, targets, batch_size=batch_size)


def score_table(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor | None,
                recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze",
                batch_size: int | None = None) -> Tensor:
    """F_c (B,N) of every clip under every one of the masks (N,T); with targets None the softmax (B,N,K)."""
    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    # Some masks do the same to every clip (freezing frame 0 does nothing): each different matrix is scored once.
    mixing, place = torch.unique(mixing.flatten(1), dim=0, return_inverse=True)
    mixing = mixing.unflatten(1, (masks.shape[1], masks.shape[1]))
    tables = []
    with frozen_eval(model) as device, torch.no_grad():
        mixing = mixing.to(device or clips.device)
        stem = stem_of(model, clips) if len(mixing) >= STEM_FROM else None
        for row, clip in enumerate(clips.split(1)):
            clip = clip.to(mixing.device)
            responses = stem.responses(clip) if stem else None

            def score(part: Tensor, clip: Tensor = clip, responses: Tensor | None = responses) -> Tensor:
                if stem:
                    return stem.logits(stem.mix(part, responses)).softmax(1)
                return logits(model, perturb.mix(part, clip.expand(len(part), -1, -1, -1, -1))).softmax(1)

            table = map_batches(model, score, mixing, batch_size=batch_size)  # (N, K)
            tables.append(table if targets is None else table[:, targets[row]])
    return torch.stack(tables).to(clips.device)[:, place.to(clips.device)]


def best_windows(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
                 targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
                 batch_size: int | None = None, ids: Sequence[str] | None = None, every_class: bool = False,
                 only_best: bool = False, parts: int | None = None) -> WindowResult:
    """Score every contiguous window of frames (136 for T = 16) and name the one of least loss, for each clip.

    The empty mask is not among the windows: compare a window's loss with `originals`.

    Args:
        model, clips, targets, batch_size, ids: as in `find_masks`.
        perturbation: what a window does to its frames.
        recipe: lambda1, lambda2 and beta of the loss.
        every_class: keep the scores of all K classes too.
        only_best: leave out windows that cost more than the best one's whole loss.
        parts: only the windows of `windows(T, parts)`, for long clips.

    Raises:
        ValueError: wrong arguments, or a clip without a finite score, which is named.
    """
    clips, ids = check_clips(model, clips), check_ids(ids, len(clips))
    scores = predict(model, clips, batch_size, ids)
    targets = check_targets(targets, scores)
    return score_windows(model, clips, targets, scores.gather(1, targets[:, None])[:, 0], recipe, perturbation,
                         batch_size, ids, every_class=every_class, only_best=only_best, parts=parts)


def score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids, *, every_class=False,
                  only_best=False, parts=None) -> WindowResult:
    """What `best_windows` returns, where the clips are checked and their scores are known."""
    if every_class and only_best:
        raise ValueError("expected every_class or only_best, got both; give one")
    masks = windows(clips.shape[2], parts).to(originals)
    if only_best:
        scores = _score_promising(model, clips, masks, targets, recipe, perturbation, batch_size)
    else:
        scores = score_table(model, clips, masks, None if every_class else targets, recipe, perturbation, batch_size)
    class_scores = scores if every_class else None
    if every_class:
        scores = scores.gather(2, targets[:, None, None].expand(-1, scores.shape[1], 1))[..., 0]  # (B, N)
    scored = ~scores.isneginf()
    check_finite(torch.where(scored, scores, 0), ids, "under a window")
    all_losses = torch.where(scored, scores + penalty(masks, recipe), torch.inf)
    losses, place = all_losses.min(dim=1)
    return WindowResult(masks[place], losses, torch.where(scored, scores, torch.nan), all_losses, masks, originals,
                        targets, perturbation, recipe, class_scores)


def _score_promising(model, clips, masks, targets, recipe, perturbation, batch_size) -> Tensor:
    """As `score_table`, by rising cost; -inf for masks whose cost alone is above the best loss found."""
    costs = penalty(masks, recipe)
    order = costs.argsort(stable=True)
    rows = []
    for clip, target in zip(clips.split(1), targets.split(1), strict=True):
        row, least = costs.new_full((len(masks),), -torch.inf), torch.inf
        for part in order.split(STEM_FROM):
            part = part[costs[part] <= least]
            if len(part):
                row[part] = score_table(model, clip, masks[part], target, recipe, perturbation, batch_size)[0]
                least = min(least, float((row[part] + costs[part]).min()))
        rows.append(row)
    return torch.stack(rows)


def regret(result, best: WindowResult, *, model: nn.Module | None = None, clips: Tensor | None = None,
           binary: bool = False, batch_size: int | None = None) -> Tensor:
    """How far masks are from the best window (B,): their loss minus its loss. Negative: better than every window.

    Args:
        result: a `MaskResult` of the same clips, targets, recipe and perturbation, or masks (B,T).
        best: the windows of these clips.
        model, clips: needed for bare masks, and with `binary`: one more forward pass.
        binary: set the masks to zeros and ones at recipe.snap first.
    """
    masks = getattr(result, "masks", result)
    if not torch.is_tensor(masks) or masks.shape != best.masks.shape:
        raise ValueError(f"regret: expected a MaskResult or masks {tuple(best.masks.shape)}, "
                         f"got {tuple(masks.shape) if torch.is_tensor(masks) else type(masks).__name__}")
    for name in ("perturbation", "recipe", "targets"):
        mine, expected = getattr(result, name, None), getattr(best, name)
        same = torch.equal(mine, expected) if torch.is_tensor(mine) else mine in (None, expected)
        if not same:
            raise ValueError(f"regret: the masks and the windows differ in {name}: {mine} against {expected}")
    if binary:
        masks = (masks > best.recipe.snap).to(masks.dtype)
    if not binary and hasattr(result, "scores"):
        return penalty(masks, best.recipe) + result.scores - best.losses
    if model is None or clips is None:
        raise ValueError("regret: binary or bare masks must be scored; give model= and clips= as well")
    clips = check_clips(model, clips)
    scores = score_masks(model, clips, masks.to(clips), best.targets, best.recipe, best.perturbation, batch_size)
    return penalty(masks, best.recipe) + scores.to(masks.device) - best.losses
