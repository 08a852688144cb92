"""What explains a score without any lambda: the fewest frames that take it away, and the frames that suffice for it."""

import dataclasses
from itertools import islice

import torch
from torch import Tensor, nn

from interp.core.exact import MaskOrder
from interp.core.inference import check_clips, predict_targets
from interp.core.windows import score_table, windows
from interp.recipes import SOMETHING_MASK

FRAMES = dataclasses.replace(SOMETHING_MASK, name="frames", lambda1=1.0, lambda2=0.0)  # a mask costs its frames


@dataclasses.dataclass(frozen=True)
class CurveResult:
    """For B clips and k = 0..T the target's lowest score with at most k frames perturbed; k = 0 is the clip itself."""

    by_window: Tensor  # (B, T+1) by one window of frames
    by_mask: Tensor  # (B, T+1) by any mask: the lowest score that was found
    proven: Tensor  # (T+1,) bool: every mask of at most k frames was scored, so by_mask is the lowest of all
    targets: Tensor  # (B,)

    def frames_needed(self, share: float = 0.9, by: str = "window") -> Tensor:
        """The fewest frames (B,) that take `share` of the clip's own score, by "window" or "mask"; T+1 for none."""
        return frames_needed(self.by_window if by == "window" else self.by_mask, share)


def frames_needed(scores: Tensor, share: float) -> Tensor:
    """The fewest frames (B,) that take `share` of the clip's own score, from a curve (B,T+1); T+1 for none."""
    reached = scores <= (1 - share) * scores[:, :1]
    return torch.where(reached.any(1), reached.int().argmax(1), scores.shape[1])


def curve(model: nn.Module, clips: Tensor, targets=None, perturbation: str = "freeze", *, budget: int = 600,
          batch_size: int | None = None) -> CurveResult:
    """Find the lowest score of each clip (B,C,T,H,W) with at most k frames perturbed, for every k.

    Args:
        targets, perturbation, batch_size: as in `best_masks`. Freezing frame 0 has no effect, so it is never counted.
        budget: masks scored beside the windows, those of fewest frames first; 600 prove k up to 3 of T = 16.
    """
    clips = check_clips(model, clips)
    targets, original = predict_targets(model, clips, targets, batch_size, None)
    order, runs, numbers = MaskOrder(clips.shape[2], FRAMES, perturbation), windows(clips.shape[2]), clips.shape[2] + 1
    masks = torch.cat([runs, order.masks(code for _, code in islice(order.walk(), budget))]).to(clips)
    if perturbation == "freeze":
        masks[:, 0] = 0
    scores = score_table(model, clips, masks, targets, FRAMES, perturbation, batch_size)  # (B, N)
    allowed = masks.sum(1) <= torch.arange(numbers, device=masks.device)[:, None]  # (T+1, N)
    lowest = torch.where(allowed, scores[:, None], original[:, None, None])
    proven = torch.tensor([order.count(k + 1) <= budget for k in range(numbers)], device=clips.device)
    return CurveResult(lowest[..., :len(runs)].amin(2), lowest.amin(2), proven, targets)


def deletion_insertion(model: nn.Module, clips: Tensor, importance: Tensor, targets=None, *,
                       batch_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Scores (B,T+1) with the k frames of most importance (B,T) frozen, and with all others (RISE, BMVC 2018)."""
    clips = check_clips(model, clips)
    targets, _ = predict_targets(model, clips, targets, batch_size, None)
    ranks = importance.argsort(dim=1, descending=True, stable=True).argsort(dim=1)[:, None].to(clips.device)
    masks = (ranks < torch.arange(ranks.shape[2] + 1, device=clips.device)[:, None]).to(clips)  # (B, T+1, T)
    scores = torch.cat([score_table(model, clip, torch.cat([mask, 1 - mask]), target, FRAMES, "freeze", batch_size)
                        for clip, mask, target in zip(clips.split(1), masks, targets.split(1), strict=True)])
    return scores.chunk(2, dim=1)
