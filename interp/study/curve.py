"""What explains a score without any lambda: the fewest frames that take it away, and the frames that suffice for it.

Axes: clips (B,C,T,H,W), masks (B,T), curves (B,T+1) by the number of frames. Scores are the target's softmax
probabilities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from interp.core.exact import MaskOrder
from interp.core.inference import check_clips, check_ids, predict_targets
from interp.core.windows import score_masks, score_table, windows
from interp.recipes import SOMETHING_MASK

FRAMES = dataclasses.replace(SOMETHING_MASK, name="frames", lambda1=1.0, lambda2=0.0)  # a mask costs its frames


@dataclasses.dataclass(frozen=True)
class CurveResult:
    """For B clips and k = 0..T the lowest score with at most k frames perturbed; k = 0 is the clip itself."""

    by_window: Tensor  # (B, T+1) by one window of frames
    by_mask: Tensor  # (B, T+1) by any mask: the lowest score that was found
    proven: Tensor  # (T+1,) bool: every mask of at most k frames was scored, so by_mask is the lowest of all
    targets: Tensor  # (B,)
    perturbation: str

    def frames_needed(self, share: float = 0.9, by: str = "window") -> Tensor:
        """The fewest frames (B,) that take `share` of the clip's own score, by "window" or "mask"; T+1 for none.

        By "mask" the number is proven where `proven` holds for one frame less.
        """
        scores = self.by_window if by == "window" else self.by_mask
        reached = scores <= (1 - share) * scores[:, :1]
        return torch.where(reached.any(1), reached.int().argmax(1), scores.shape[1])


def curve(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
          perturbation: str = "freeze", *, budget: int = 600, batch_size: int | None = None,
          ids: Sequence[str] | None = None) -> CurveResult:
    """Find the lowest score of each clip (B,C,T,H,W) with at most k frames perturbed, for every k.

    Args:
        budget: masks that are scored beside the windows, those of fewest frames first. 600 prove k up to 3 of T = 16,
            2,000 up to 4. Under freeze frame 0 has no effect, so it is never counted.

    The other arguments, and the errors, are those of `best_masks`.
    """
    clips, ids = check_clips(model, clips), check_ids(ids, len(clips))
    targets, original, _ = predict_targets(model, clips, targets, batch_size, ids)
    num_frames = clips.shape[2]
    order, runs = MaskOrder(num_frames, FRAMES, perturbation), windows(num_frames)
    masks = torch.cat([runs, order.masks(code for _, code in islice(order.walk(), budget))]).to(clips)
    if perturbation == "freeze":
        masks[:, 0] = 0
    scores = score_table(model, clips, masks, targets, FRAMES, perturbation, batch_size)  # (B, N)
    allowed = masks.sum(1) <= torch.arange(num_frames + 1, device=masks.device)[:, None]  # (T+1, N)
    lowest = torch.where(allowed, scores[:, None], original[:, None, None])
    proven = torch.tensor([order.count(k + 1) <= budget for k in range(num_frames + 1)], device=clips.device)
    return CurveResult(lowest[..., :len(runs)].amin(2), lowest.amin(2), proven, targets, perturbation)


def kept(model: nn.Module, clips: Tensor, masks: Tensor, targets: Tensor | Sequence[int] | int | None = None, *,
         batch_size: int | None = None) -> Tensor:
    """The score (B,) when only the frames under binary masks (B,T) move and all others are frozen: do they suffice?"""
    clips = check_clips(model, clips)
    targets, *_ = predict_targets(model, clips, targets, batch_size, check_ids(None, len(clips)))
    return score_masks(model, clips, 1 - masks.to(clips), targets, FRAMES, "freeze", batch_size)


def deletion_insertion(model: nn.Module, clips: Tensor, importance: Tensor,
                       targets: Tensor | Sequence[int] | int | None = None, *,
                       batch_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Scores (B,T+1) with the k most important frames frozen (deletion), and with all but these (insertion).

    importance (B,T): a mask or a frame's heat; of equal frames the earlier comes first. The area under a curve is
    `torch.trapezoid(scores, dx=1 / T)`: low for deletion and high for insertion where the importance is right. After
    Petsiuk et al., "RISE" (BMVC 2018), which does so with pixels.
    """
    clips = check_clips(model, clips)
    targets, *_ = predict_targets(model, clips, targets, batch_size, check_ids(None, len(clips)))
    num_frames = clips.shape[2]
    ranks = importance.to(clips).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (B, T)
    deleted = (ranks[:, None] < torch.arange(num_frames + 1, device=clips.device)[:, None]).to(clips)  # (B, T+1, T)
    copies = clips.repeat_interleave(num_frames + 1, dim=0)
    repeated = targets.repeat_interleave(num_frames + 1)
    deletion, insertion = (score_masks(model, copies, masks.flatten(0, 1), repeated, FRAMES, "freeze", batch_size)
                           for masks in (deleted, 1 - deleted))
    return deletion.unflatten(0, (-1, num_frames + 1)), insertion.unflatten(0, (-1, num_frames + 1))
