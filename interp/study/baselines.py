"""Other explainers over time, to compare masks with: how much each frame of a clip matters for its score.

Occlusion (Zeiler and Fergus, ECCV 2014), RISE (Petsiuk et al., BMVC 2018), Shapley values (1953) and integrated
gradients (Sundararajan et al., ICML 2017). Each asks for scores under masks; a frame is taken away by freezing it.
"""

import itertools
import math

import torch
from torch import Tensor, nn

from interp.core import perturb
from interp.core.inference import attribute, check_clips, frozen_eval, logits, predict_targets
from interp.core.windows import score_table
from interp.recipes import SOMETHING_MASK
from interp.study import import_extra

EXPLAINERS = ("occlusion", "RISE", "Shapley", "integrated gradients")


def frame_importance(model: nn.Module, clips: Tensor, explainer: str, targets=None, *, samples: int = 500,
                     groups: int = 8, steps: int = 32, generator: torch.Generator | None = None,
                     batch_size: int | None = None) -> Tensor:
    """The importance (B,T) of each frame of clips (B,C,T,H,W) for the target's softmax score; higher matters more.

    Args:
        explainer: of EXPLAINERS. "occlusion": what freezing one frame takes. "RISE": the mean score where a frame is
            shown, less that where it is frozen, under `samples` random masks drawn from `generator`. "Shapley": exact
            values of `groups` equal runs of frames, by all 2**groups masks, shared equally within a run. "integrated
            gradients": of the mask, from the frozen clip to the clip, in `steps` steps; by captum.
        targets, batch_size: as in `find_masks`.

    Raises:
        ValueError: an unknown explainer, or wrong clips or targets.
    """
    if explainer not in EXPLAINERS:
        raise ValueError(f"explainer: expected one of {', '.join(EXPLAINERS)}, got {explainer!r}")
    clips = check_clips(model, clips)
    targets, _ = predict_targets(model, clips, targets, batch_size, None)
    if explainer == "integrated gradients":
        return torch.cat([_integrated(model, clip, target, steps, batch_size)
                          for clip, target in zip(clips.split(1), targets, strict=True)])
    num_frames = clips.shape[2]
    if explainer == "RISE":
        masks = (torch.rand(samples, num_frames, generator=generator or torch.Generator().manual_seed(0)) < 0.5).float()
    elif explainer == "Shapley":
        parts = torch.tensor_split(torch.eye(num_frames), min(groups, num_frames))
        owner = torch.stack([part.sum(0) for part in parts])  # (G, T)
        shown = torch.tensor([*itertools.product((0.0, 1.0), repeat=len(owner))])  # (2**G, G)
        masks = 1 - shown @ owner
    else:
        masks = torch.cat([torch.zeros(1, num_frames), torch.eye(num_frames)])
    scores = score_table(model, clips, masks.to(clips), targets, SOMETHING_MASK, "freeze", batch_size).double()
    masks = masks.to(scores)  # (N, T), the scores (B, N)
    if explainer == "RISE":
        return (scores @ ((1 - masks) / (1 - masks).sum(0)) - scores @ (masks / masks.sum(0))).to(clips)
    if explainer == "Shapley":
        values, owner = scores @ _shapley_weights(shown.to(scores)), owner.to(scores)  # (B, G), (G, T)
        return (values @ (owner / owner.sum(1, keepdim=True))).to(clips)
    return (scores[:, :1] - scores[:, 1:]).to(clips)


def _shapley_weights(shown: Tensor) -> Tensor:
    """(N,G): with what weight the score of each set of shown groups (N,G) counts for each group's Shapley value."""
    number, size = shown.shape[1], shown.sum(1).long().tolist()
    with_it = torch.tensor([math.factorial(k - 1) * math.factorial(number - k) if k else 0 for k in size]).to(shown)
    without = torch.tensor([math.factorial(k) * math.factorial(number - k - 1) if k < number else 0 for k in size])
    return (shown * with_it[:, None] - (1 - shown) * without.to(shown)[:, None]) / math.factorial(number)


def _integrated(model: nn.Module, clip: Tensor, target: Tensor, steps: int, batch_size: int | None) -> Tensor:
    captum = import_extra("captum.attr", "book")
    with frozen_eval(model) as device:
        source, mask = clip.to(device or clip.device), torch.zeros(1, clip.shape[2])

        def score(masks: Tensor) -> Tensor:
            mixing = perturb.time_mixing("freeze", masks.to(source), SOMETHING_MASK.reverse_threshold)
            mixed = perturb.mix(mixing, source.expand(len(masks), -1, -1, -1, -1))
            return logits(model, mixed).softmax(1)[:, int(target)]

        size = batch_size or attribute(model, "preferred_batch_size", int) or 32
        change = captum.IntegratedGradients(score).attribute(
            mask.to(source), torch.ones_like(mask).to(source), n_steps=steps, internal_batch_size=size)
    return change.to(clip)
