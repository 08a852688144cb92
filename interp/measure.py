"""Numbers about masks and scores: how long, how broken, how much they take, and whether they lie where something is.

Source: this project's own; mask length, the drops and RS/FS after Mänttäri, Broomé et al., ACCV 2020. Axes: masks
(B,T) in [0,1], on above `snap`; known (B,T), bool or 0 and 1, 1 in the frames of the known interval
(`data.truth.interval_mask`); scores (B,) in [0,1]. Frames count from 0. Maps: measure_maps; tests: measure_statistics.

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


def runs(masks: Tensor, snap: float = 0.5) -> Tensor:
    """How many runs (B,) of neighbouring frames that are on; 0 where none is."""
    on = _on(masks, snap)
    begins = on.clone()
    begins[:, 1:] &= ~on[:, :-1]
    return begins.sum(dim=1)


def first_frame(masks: Tensor, snap: float = 0.5) -> Tensor:
    """The first frame that is on (B,), float, from 0; nan where none is."""
    on = _on(masks, snap)
    return torch.where(on.any(dim=1), on.float().argmax(dim=1).float(), torch.nan)


def last_frame(masks: Tensor, snap: float = 0.5) -> Tensor:
    """The last frame that is on (B,), float, from 0; nan where none is."""
    on = _on(masks, snap)
    return on.shape[1] - 1 - first_frame(on.flip(1))


def is_central_start(masks: Tensor, snap: float = 0.5) -> Tensor:
    """Whether each mask (B,) is still one that a search with a central start may begin from: one run, with the
    same number of frames off before and after it, at least one."""
    before, after = first_frame(masks, snap), masks.shape[1] - 1 - last_frame(masks, snap)
    return (runs(masks, snap) == 1) & (before == after) & (before > 0)


def drop(original: Tensor, perturbed: Tensor, frozen: Tensor | None = None) -> Tensor:
    """How much of the score the perturbation takes (B,): OS-FS or OS-RS, in [-1,1].

    frozen: the score of the fully frozen clip. With it, the share of the drop which freezing the whole clip
    brings: 1 where the mask takes as much, nan where the whole clip frozen loses nothing.
    """
    taken = original - perturbed
    if frozen is None:
        return taken
    whole = original - frozen
    return torch.where(whole > 0, taken / whole, torch.nan)


def order_ratio(reversed_score: Tensor, frozen_score: Tensor, resolution: float = 0.0) -> Tensor:
    """RS/FS (B,), the paper's main measure: well above 1, the order of the frames matters less than their absence.

    resolution: the step in which the scores are printed (0.001: three decimals). A score under half a step is
    printed as 0 and stands for anything up to half a step, which is what is put in its place. nan where both
    are so small: nothing is known of their ratio then.
    """
    if resolution < 0:
        raise ValueError(f"resolution: got {resolution}; expected 0 or the step of the printed scores, as 0.001")
    half = resolution / 2
    ratio = reversed_score.clamp(min=half) / frozen_score.clamp(min=half)
    return torch.where((reversed_score <= half) & (frozen_score <= half), torch.nan, ratio)


def agreement(masks: Tensor, known: Tensor, snap: float = 0.5) -> Tensor:
    """Intersection over union (B,) of the frames that are on and the known ones, in [0,1]; 0 where both are
    empty. ValueError where the shapes differ."""
    on, known = _pair(masks, known, snap)
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


def pointing_in_time(masks: Tensor, known: Tensor) -> Tensor:
    """The pointing game in time (B,), after Zhang et al., ECCV 2016: 1 where the mask's highest frame is a known one.

    Where several frames are equally high, the share of them that are known. Chance gives the share of the
    clip's frames that are known: `known.float().mean(dim=1)`. Errors as in `agreement`.
    """
    _pair(masks, known, 0.5)
    values = masks.float()
    highest = values == values.amax(dim=1, keepdim=True)
    return (highest & _on(known, 0.5)).sum(dim=1) / highest.sum(dim=1)


def _pair(masks: Tensor, known: Tensor, snap: float) -> tuple[Tensor, Tensor]:
    on, known = _on(masks, snap), _on(known, 0.5)
    if on.shape != known.shape:
        raise ValueError(f"known: expected {tuple(on.shape)} like the masks, got {tuple(known.shape)}")
    return on, known


def _on(masks: Tensor, snap: float) -> Tensor:
    if not torch.is_tensor(masks) or masks.dim() != 2:
        got = tuple(masks.shape) if torch.is_tensor(masks) else type(masks).__name__
        raise ValueError(f"expected masks as a tensor (B,T), got {got}; one mask is mask[None]")
    return masks if masks.dtype == torch.bool else masks > snap
