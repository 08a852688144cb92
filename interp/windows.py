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
    class_scores: Tensor | None = None  # (B, N, K) the softmax of every class, if kept

    @property
    def starts(self) -> Tensor:
        """The best windows as logits (B,T), where the search begins that starts from the best window."""
        return (2 * self.masks - 1) * self.recipe.start_logit


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


def windows(num_frames: int, parts: int | None = None) -> Tensor:
    """All contiguous windows as masks (N,T) of zeros and ones, N = T(T+1)/2, by first frame, then by last.

    parts: only those that begin and end where the clip is cut in so many parts, as equal as frames allow; then N =
    parts(parts+1)/2. Of a clip of fewer frames all windows. ValueError for fewer than 1.
    """
    if parts is not None and parts < 1:
        raise ValueError(f"parts: expected at least 1, got {parts}")
    parts = min(parts or num_frames, num_frames)
    cuts = torch.tensor([round(i * num_frames / parts) for i in range(parts + 1)])
    first, last = torch.triu_indices(parts, parts)
    time = torch.arange(num_frames)
    return ((time >= cuts[first][:, None]) & (time < cuts[last + 1][:, None])).float()


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


def score_table(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor | None, recipe: MaskRecipe,
                perturbation: str, device: torch.device | None, chunk: int) -> Tensor:
    """F_c (B,N) of every clip under every one of the masks (N,T); the model is already borrowed.

    With None for targets, the softmax of every class, (B,N,K).
    """
    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    # Some windows do the same to every clip (freezing frame 0 does nothing): each different matrix is asked
    # once.
    mixing, place = torch.unique(mixing.flatten(1), dim=0, return_inverse=True)
    mixing = mixing.unflatten(1, (masks.shape[1], masks.shape[1])).to(device or clips.device)
    wanted = [slice(None)] * len(clips) if targets is None else targets.tolist()
    with torch.no_grad():
        stem = stem_of(model, clips) if len(mixing) >= MANY else None
        if stem:
            parts = mixing.split(even(len(mixing), chunk))
            rows = []
            for answers, target in zip(map(stem.answers, clips.split(1)), wanted, strict=True):
                logits = torch.cat([stem.logits(stem.mix(part, answers)) for part in parts])
                rows.append(logits.softmax(1)[:, target])
            return torch.stack(rows)[:, place]
        num_masks, scores = len(mixing), []
        pairs_all = torch.arange(len(clips) * num_masks, device=clips.device)  # every clip with every mask
        for pairs in pairs_all.split(even(len(pairs_all), chunk)):
            owners = pairs // num_masks
            mixed = perturb.mix(mixing[(pairs % num_masks).to(mixing.device)], clips[owners].to(mixing.device))
            chosen = None if targets is None else targets[owners].to(mixing.device)
            scores.append(_score(model, mixed, chosen))
    table = torch.cat(scores).to(clips.device).unflatten(0, (len(clips), num_masks))
    return table[:, place.to(clips.device)]


def best_windows(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
                 targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
                 chunk: int | None = None, ids: Sequence[str] | None = None,
                 every_class: bool = False, only_best: bool = False, parts: int | None = None) -> WindowResult:
    """Score every contiguous window of frames (136 for T = 16) and name the one of least loss, for each clip.

    Forward passes only, in batches over clips and windows. Windows are hard masks of zeros and ones; the
    empty window is not among them. model, clips, targets, chunk, ids: as in `find_masks`. every_class: keep
    the scores of all K classes too. only_best: leave out the windows that cannot be the best, since their length
    and edges alone cost more than the best one's whole loss; their scores are nan, their losses infinite.
    parts: only the windows of `windows(T, parts)`, for long clips; the best is then the best of these.
    ValueError names a clip without a score.
    """
    clips = checked_clips(model, clips)
    ids = checked_ids(ids, len(clips))
    with borrowed(model) as device:
        chunk = capacity(model, clips, device, chunk)
        before = probabilities(model, clips, device, chunk, ids)
        targets = checked_targets(targets, before)
        originals = before.gather(1, targets[:, None])[:, 0]
        return score_windows(model, clips, targets, originals, recipe, perturbation, device, chunk, ids,
                             every_class=every_class, only_best=only_best, parts=parts)


def score_windows(model: nn.Module, clips: Tensor, targets: Tensor, originals: Tensor, recipe: MaskRecipe,
                  perturbation: str, device: torch.device | None, chunk: int, ids: Sequence[str], *,
                  every_class: bool = False, only_best: bool = False, parts: int | None = None) -> WindowResult:
    """What `best_windows` gives, where the model is already borrowed and the clips' own scores are known."""
    if every_class and only_best:
        raise ValueError("every_class and only_best: expected one of them at most")
    all_windows = windows(clips.shape[2], parts).to(clips.device, originals.dtype)
    asked = (model, clips, all_windows, None if every_class else targets, recipe, perturbation, device, chunk)
    scores = _promising(*asked) if only_best else score_table(*asked)
    class_scores = scores if every_class else None
    if every_class:
        scores = scores.gather(2, targets[:, None, None].expand(-1, scores.shape[1], 1))[..., 0]  # (B, N)
    known = ~scores.isneginf()
    require_finite(torch.where(known, scores, 0), ids, "under a window")
    all_losses = torch.where(known, scores + penalty(all_windows, recipe), torch.inf)
    losses, place = all_losses.min(dim=1)
    scores = torch.where(known, scores, torch.nan)
    return WindowResult(all_windows[place], losses, scores, all_losses, all_windows, originals, targets,
                        perturbation, recipe, class_scores)


def _promising(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor, recipe: MaskRecipe,
               perturbation: str, device: torch.device | None, chunk: int) -> Tensor:
    """As `score_table`, -inf for the masks that cost more without any score than the best with its own."""
    costs = penalty(masks, recipe)
    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    different, place = torch.unique(mixing.flatten(1), dim=0, return_inverse=True)
    # Of the masks that do the same to every clip the cheapest one speaks.
    first = costs.new_full((len(different),), torch.inf).scatter_reduce(0, place, costs, "amin")
    order = first.argsort(stable=True)
    speaker = torch.stack([((place == one) & (costs == first[one])).nonzero()[0, 0] for one in order])
    rows = []
    for clip, target in zip(clips.split(1), targets.split(1), strict=True):
        row, least = costs.new_full((len(different),), -torch.inf), torch.inf
        for part, spoken in zip(order.split(max(chunk, MANY)), speaker.split(max(chunk, MANY)), strict=True):
            if first[part[0]] > least:
                break
            found = score_table(model, clip, masks[spoken], target, recipe, perturbation, device, chunk)[0]
            row[part] = found
            least = min(least, float((found + first[part]).min()))
        rows.append(row)
    return torch.stack(rows)[:, place]


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


def _score(model: nn.Module, clips: Tensor, targets: Tensor | None) -> Tensor:
    scores = logits_of(model, clips).softmax(1)  # (B, K)
    return scores if targets is None else scores.gather(1, targets[:, None])[:, 0]  # (B,)
