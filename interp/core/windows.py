"""What a mask costs, the score of any mask, and every window of frames scored.

The loss is the paper's (Mänttäri et al., ACCV 2020): lambda1 sum|m| + lambda2 TV(m) + F_c(perturbed clip), with F_c
the softmax score of the target class. Axes: clips (B,C,T,H,W), masks (B,T), windows (N,T) with N = T(T+1)/2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from interp.core import inference, perturb
from interp.recipes import SOMETHING_MASK, MaskRecipe

STEM_FROM = 32  # masks for each clip, from which on the first convolution is computed once
TREE_PART = 64  # masks of a tree whose states are kept at the same time


@dataclass(frozen=True)
class WindowResult:
    """Every window of B clips. Scores are softmax scores of the target, losses the paper's."""

    masks: Tensor  # (B, T) the window of least loss, of zeros and ones
    losses: Tensor  # (B,) its loss
    scores: Tensor  # (B, N) F_c under every window
    all_losses: Tensor  # (B, N)
    class_scores: Tensor  # (B, N, K) the softmax of every class
    windows: Tensor  # (N, T), by first frame, then by last
    originals: Tensor  # (B,) F_c of the clip itself
    targets: Tensor  # (B,)
    perturbation: str
    recipe: MaskRecipe

    starts = property(lambda self: (2 * self.masks - 1) * self.recipe.start_logit,
                      doc="The best windows as logits (B,T), to start a gradient search from.")


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


def windows(num_frames: int) -> Tensor:
    """All contiguous windows as masks (N,T) of zeros and ones, N = T(T+1)/2, by first frame, then by last."""
    first, last = torch.triu_indices(num_frames, num_frames)[..., None]
    time = torch.arange(num_frames)
    return ((time >= first) & (time <= last)).float()


def score_masks(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor, recipe: MaskRecipe = SOMETHING_MASK,
                perturbation: str = "freeze", batch_size: int | None = None) -> Tensor:
    """F_c (B,) of each clip (B,C,T,H,W) under its own mask (B,T)."""
    def score(clips: Tensor, mixing: Tensor, targets: Tensor) -> Tensor:
        return inference.logits(model, perturb.mix(mixing, clips)).softmax(1).gather(1, targets[:, None])[:, 0]

    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    with inference.frozen_eval(model), torch.no_grad():
        return inference.map_batches(model, score, clips, mixing, targets, batch_size=batch_size)


def score_table(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor | None,
                recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze",
                batch_size: int | None = None, bar=None) -> Tensor:
    """F_c (B,N) of every clip under every one of the masks (N,T); with targets None the softmax (B,N,K).

    Binary masks that begin with the same frames share these steps of a model with `step(frames (N,C,H,W), state | None)
    -> (output, state)` and `classify(outputs (N,T,...)) -> logits`.
    """
    def score(mixing: Tensor, source: Tensor) -> Tensor:  # source: one clip, or its responses
        if bar is not None:
            bar.update(len(mixing))
        if stem:
            return stem.logits(stem.mix(mixing, source)).softmax(1)
        return inference.logits(model, perturb.mix(mixing, source.expand(len(mixing), -1, -1, -1, -1))).softmax(1)

    mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
    # Some masks do the same to every clip (freezing frame 0 does nothing): each different matrix is scored once.
    mixing, place = torch.unique(mixing, dim=0, return_inverse=True)
    tree = hasattr(model, "step") and hasattr(model, "classify") and bool(((mixing == 0) | (mixing == 1)).all())
    tables = []
    with inference.frozen_eval(model) as device, torch.no_grad():
        mixing = mixing.to(device or clips.device)
        stem = model.stem_for(clips) if len(mixing) >= STEM_FROM and not tree and hasattr(model, "stem_for") else None
        for row, clip in enumerate(clips.split(1)):
            source = stem.responses(clip) if stem else clip.to(mixing.device)
            table = _score_tree(model, source, mixing, batch_size, bar) if tree else inference.map_batches(
                model, partial(score, source=source), mixing, batch_size=batch_size)  # (N, K)
            tables.append(table if targets is None else table[:, targets[row]])
    return torch.stack(tables).to(clips.device)[:, place.to(clips.device)]


def _score_tree(model, clip: Tensor, mixing: Tensor, batch_size: int | None, bar) -> Tensor:
    """The softmax (N,K) of one clip under sorted mixings that show one frame of it at a time."""
    frames, sources = clip[0].transpose(0, 1), mixing.argmax(2).cpu()  # (T, C, H, W), (N, T)

    def logits(part: slice) -> Tensor:
        rows, outputs, branch, state = sources[part], [], None, None
        for t in range(rows.shape[1]):
            begins = torch.cat([torch.tensor([True]), (rows[1:, :t + 1] != rows[:-1, :t + 1]).any(1)])
            first = begins.nonzero()[:, 0]  # of each different beginning one row
            state = None if t == 0 else tuple(values[branch[first]] for values in state)
            output, state = model.step(frames[rows[first, t]], state)
            branch = begins.cumsum(0) - 1  # (N,) the row of output and state that belongs to each mask
            outputs.append(output[branch])
        if bar is not None:
            bar.update(len(rows))
        return model.classify(torch.stack(outputs, dim=1))

    table = torch.cat(inference.map_slices(model, logits, len(sources), batch_size or TREE_PART))
    return (table if table.dtype == torch.float64 else table.float()).softmax(1)


def best_windows(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
                 targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
                 batch_size: int | None = None, ids: Sequence[str] | None = None) -> WindowResult:
    """Score every contiguous window of frames (136 for T = 16) and name the one of least loss, for each clip.

    The empty mask is no window: where it loses less than the best window, no window pays. Arguments and errors are
    those of `find_masks`.
    """
    clips, ids = inference.check_clips(model, clips), inference.check_ids(ids, len(clips))
    targets, originals = inference.predict_targets(model, clips, targets, batch_size, ids)
    return score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids)


def score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids, bar=None) -> WindowResult:
    """What `best_windows` returns, where the clips are checked and their scores are known."""
    masks = windows(clips.shape[2]).to(originals)
    class_scores = score_table(model, clips, masks, None, recipe, perturbation, batch_size, bar)
    inference.check_finite(class_scores, ids, "under a window")
    scores = class_scores.gather(2, targets[:, None, None].expand(-1, len(masks), 1))[..., 0]
    all_losses = scores + penalty(masks, recipe)
    losses, place = all_losses.min(dim=1)
    return WindowResult(masks[place], losses, scores, all_losses, class_scores, masks, originals, targets, perturbation,
                        recipe)
