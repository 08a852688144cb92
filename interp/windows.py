"""What a mask costs, and the certificate: every window of frames scored, so that a mask's regret is known.

The loss is the paper's (Mänttäri et al., ACCV 2020): lambda1 sum|m| + lambda2 TV(m) + F_c(perturbed clip),
with F_c the softmax score of the target class. Axes: clips (B,C,T,H,W), masks (B,T), windows (N,T) with N =
T(T+1)/2.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 2 * 2, 5))
    >>> best = best_windows(model, torch.rand(2, 3, 4, 2, 2), "freeze")
    >>> best.masks.shape, best.all_losses.shape
    (torch.Size([2, 4]), torch.Size([2, 10]))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interp import perturb
from interp.borrow import (
    borrowed,
    capacity,
    checked_clips,
    checked_ids,
    checked_targets,
    even,
    logits_of,
    probabilities,
    require_finite,
)
from interp.recipes import SOMETHING_MASK, MaskRecipe
from interp.search_stem import stem_of

MANY = 32  # masks for each clip, from which on the first convolution is answered once


@dataclass(frozen=True)
class WindowResult:
    """Every window of B clips. Scores are softmax probabilities of the target, losses the paper's."""

    masks: Tensor  # (B, T) the window of least loss, of zeros and ones
    losses: Tensor  # (B,) its loss
    scores: Tensor  # (B, N) F_c under every window
    all_losses: Tensor  # (B, N)
    windows: Tensor  # (N, T), by first frame, then by last
    originals: Tensor  # (B,) F_c of the clip itself
    targets: Tensor  # (B,)
    perturbation: str
    recipe: MaskRecipe


def total_variation(masks: Tensor, beta: float = 3) -> Tensor:
    """TV (B,) of masks (B,T): sum over inner t of |m[t-1]-m[t]|**beta + |m[t+1]-m[t]|**beta, for beta >= 1.

    So inner differences count twice, the first and the last once, as in the paper's code; masks of fewer than
    three frames have none. The gradient is zero, not NaN, at a constant mask.
    """
    if not torch.is_tensor(masks) or masks.dim() != 2:
        raise ValueError(f"masks: expected a tensor (B,T), got {type(masks).__name__} "
                         f"{tuple(getattr(masks, 'shape', ()))}; one mask is mask[None]")
    if beta < 1:
        raise ValueError(f"beta: expected at least 1 (below it equal frames have no gradient), got {beta}")
    steps = masks.diff(dim=1).abs().pow(beta)  # (B, T-1)
    return steps[:, :-1].sum(dim=1) + steps[:, 1:].sum(dim=1)


def penalty(masks: Tensor, recipe: MaskRecipe = SOMETHING_MASK) -> Tensor:
    """The loss (B,) without the model: lambda1 sum|m| + lambda2 TV(m)."""
    return recipe.lambda1 * masks.abs().sum(dim=1) + recipe.lambda2 * total_variation(masks, recipe.beta)


def windows(num_frames: int) -> Tensor:
    """All contiguous windows as masks (N,T) of zeros and ones, N = T(T+1)/2, by first frame, then by last."""
    first, last = torch.triu_indices(num_frames, num_frames)
    time = torch.arange(num_frames)
    return ((time >= first[:, None]) & (time <= last[:, None])).float()


def score_masks(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor, recipe: MaskRecipe,
                perturbation: str, device: torch.device | None, chunk: int) -> Tensor:
    """F_c (B,) of each clip under its own mask (B,T); the model is already borrowed."""
    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    chunk, scores = even(len(clips), chunk), []
    with torch.no_grad():
        for parts in zip(clips.split(chunk), mixing.split(chunk), targets.split(chunk), strict=True):
            part, mixed, wanted = (tensor.to(device or tensor.device) for tensor in parts)
            scores.append(_score(model, perturb.mix(mixed, part), wanted))
    return torch.cat(scores).to(clips.device)


def score_table(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor, recipe: MaskRecipe,
                perturbation: str, device: torch.device | None, chunk: int) -> Tensor:
    """F_c (B,N) of every clip under every one of the masks (N,T); the model is already borrowed."""
    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    # Some windows do the same to every clip (freezing frame 0 does nothing): each different matrix is asked
    # once.
    mixing, place = torch.unique(mixing.flatten(1), dim=0, return_inverse=True)
    mixing = mixing.unflatten(1, (masks.shape[1], masks.shape[1])).to(device or clips.device)
    with torch.no_grad():
        stem = stem_of(model, clips) if len(mixing) >= MANY else None
        if stem:
            parts = mixing.split(even(len(mixing), chunk))
            rows = []
            for answers, target in zip(map(stem.answers, clips.split(1)), targets.tolist(), strict=True):
                logits = torch.cat([stem.logits(stem.mix(part, answers)) for part in parts])
                rows.append(logits.softmax(1)[:, target])
            return torch.stack(rows)[:, place]
        num_masks, scores = len(mixing), []
        pairs_all = torch.arange(len(clips) * num_masks, device=clips.device)  # every clip with every mask
        for pairs in pairs_all.split(even(len(pairs_all), chunk)):
            owners = pairs // num_masks
            part, wanted = (tensor[owners].to(mixing.device) for tensor in (clips, targets))
            mixed = mixing[(pairs % num_masks).to(mixing.device)]
            scores.append(_score(model, perturb.mix(mixed, part), wanted))
    return torch.cat(scores).to(clips.device).view(len(clips), num_masks)[:, place.to(clips.device)]


def best_windows(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
                 targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
                 chunk: int | None = None, ids: Sequence[str] | None = None) -> WindowResult:
    """Score every contiguous window of frames (136 for T = 16) and name the one of least loss, for each clip.

    Forward passes only, in batches over clips and windows. Windows are hard masks of zeros and ones; the
    empty window is not among them. model, clips, targets, chunk, ids: as in `find_masks`. ValueError names a
    clip without a score.
    """
    clips = checked_clips(model, clips)
    ids = checked_ids(ids, len(clips))
    with borrowed(model) as device:
        chunk = capacity(model, clips, device, chunk)
        before = probabilities(model, clips, device, chunk, ids)
        targets = checked_targets(targets, before)
        all_windows = windows(clips.shape[2]).to(clips.device, before.dtype)
        scores = score_table(model, clips, all_windows, targets, recipe, perturbation, device, chunk)
    require_finite(scores, ids, "under a window")
    all_losses = scores + penalty(all_windows, recipe)
    losses, place = all_losses.min(dim=1)
    originals = before.gather(1, targets[:, None])[:, 0]
    return WindowResult(all_windows[place], losses, scores, all_losses, all_windows, originals, targets,
                        perturbation, recipe)


def regret(found, best: WindowResult, *, model: nn.Module | None = None, clips: Tensor | None = None,
           snapped: bool = False, chunk: int | None = None) -> Tensor:
    """How far found masks are from the best window (B,): L(found) - min over windows of L(window).

    L is the same loss for both. found: the `MaskResult` of the same clips, targets, recipe and perturbation,
    or masks (B,T). With `snapped` the masks are first set to zeros and ones at recipe.snap. Snapped masks and
    bare masks need the model and the clips once more (one forward pass). Negative: the mask is better than
    every window (a soft mask may well be, and a snapped one may have several runs); zero or above: some
    window does at least as well.
    """
    masks = getattr(found, "masks", found)
    if not torch.is_tensor(masks) or masks.shape != best.masks.shape:
        raise ValueError(f"regret: expected a MaskResult or masks {tuple(best.masks.shape)}, "
                         f"got {tuple(masks.shape) if torch.is_tensor(masks) else type(masks).__name__}")
    for name in ("perturbation", "recipe", "targets"):
        mine, theirs = getattr(found, name, None), getattr(best, name)
        if mine is not None and not (torch.equal(mine, theirs) if torch.is_tensor(mine) else mine == theirs):
            raise ValueError(f"regret: the masks and the windows differ in {name}: {mine} against {theirs}")
    if snapped:
        masks = (masks > best.recipe.snap).to(masks.dtype)
    if not snapped and hasattr(found, "scores"):
        return penalty(masks, best.recipe) + found.scores - best.losses
    if model is None or clips is None:
        raise ValueError("regret: snapped or bare masks are scored anew; give model= and clips= as well")
    clips = checked_clips(model, clips)
    with borrowed(model) as device:
        chunk = capacity(model, clips, device, chunk)
        scores = score_masks(model, clips, masks.to(clips.device), best.targets, best.recipe,
                             best.perturbation, device, chunk)
    return penalty(masks, best.recipe) + scores.to(masks.device) - best.losses


def _score(model: nn.Module, clips: Tensor, targets: Tensor) -> Tensor:
    return logits_of(model, clips).softmax(1).gather(1, targets[:, None])[:, 0]  # (B,)
