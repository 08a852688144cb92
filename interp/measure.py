"""Numbers about masks: how long they are, and whether they lie on the interval in which something happens.

Source: this project's own; mask length after Mänttäri, Broomé et al., ACCV 2020. Axes: masks (B,T) in [0,1];
known (B,T), bool or 0 and 1, 1 in the frames of the known interval (`data.truth.interval_mask`). A mask is on
above `snap`.

    >>> masks, known = torch.tensor([[0.1, 0.9, 0.8, 0.2]]), torch.tensor([[0, 0, 1, 1]])
    >>> measure.length(masks), measure.agreement(masks, known)
    (tensor([2]), tensor([0.3333]))
"""

from __future__ import annotations

import torch
from torch import Tensor


def length(masks: Tensor, snap: float = 0.5) -> Tensor:
    """Mask length (B,): how many frames are on."""
    return _on(masks, snap).sum(dim=1)


def agreement(masks: Tensor, known: Tensor, snap: float = 0.5) -> Tensor:
    """Intersection over union (B,) of the frames that are on and the known ones, in [0,1]; 0 where both are
    empty. ValueError where the shapes differ."""
    on, known = _on(masks, snap), _on(known, 0.5)
    if on.shape != known.shape:
        raise ValueError(f"known: expected {tuple(on.shape)} like the masks, got {tuple(known.shape)}")
    return (on & known).sum(dim=1) / (on | known).sum(dim=1).clamp(min=1)


def chance_agreement(masks: Tensor, known: Tensor, snap: float = 0.5) -> Tensor:
    """What chance gives for `agreement` (B,): the mean over every place of one run as long as each mask.

    Exact, not drawn: a run of n frames has T-n+1 places in a clip of T. Errors as in `agreement`.
    """
    agreement(masks, known, snap)  # the same errors
    num_frames, means = masks.shape[1], []
    time = torch.arange(num_frames, device=known.device)
    for number, row in zip(length(masks, snap).tolist(), known, strict=True):
        first = time[: num_frames - number + 1, None]
        runs = (time >= first) & (time < first + number)  # (places, T)
        means.append(agreement(runs, row.expand_as(runs)).mean())
    return torch.stack(means)


def _on(masks: Tensor, snap: float) -> Tensor:
    if not torch.is_tensor(masks) or masks.dim() != 2:
        got = tuple(masks.shape) if torch.is_tensor(masks) else type(masks).__name__
        raise ValueError(f"expected masks as a tensor (B,T), got {got}; one mask is mask[None]")
    return masks if masks.dtype == torch.bool else masks > snap
