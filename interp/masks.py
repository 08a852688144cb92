"""The temporal mask: which moments a decision rests on, found by Adam for many clips at once.

Source: Mänttäri, Broomé et al., "Interpreting Video Features" (ACCV 2020). A mask m = sigmoid(z), z (T,),
minimises lambda1 sum|m| + lambda2 TV(m) + F_c(perturbed clip), with F_c the softmax score of the target class
c: short, smooth, and with the frames under it frozen (or reversed) the score falls. Axes: clips (B,C,T,H,W),
masks (B,T), 1 = perturbed.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 2 * 2, 5))
    >>> found = find_masks(model, torch.rand(2, 3, 4, 2, 2), stop=Stop())
    >>> found.masks.shape, found.losses.shape
    (torch.Size([2, 4]), torch.Size([2, 300]))

Of the released code's defects none is repeated: its test for convergence never fires, it forwards sixteen
clips to move one mask, with gradients to every weight, and its root around TV has a NaN gradient. One is
kept, because the published masks begin there: the central start is the first that loses the drop, not the
last that keeps it.
"""

from __future__ import annotations

import hashlib
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
    probabilities,
    require_finite,
)
from interp.recipes import SOMETHING_MASK, MaskRecipe
from interp.search import Search, Stop
from interp.windows import (
    WindowResult,
    best_windows,
    penalty,
    regret,
    score_masks,
    score_table,
    score_windows,
    total_variation,
    windows,
)

__all__ = ["MaskResult", "Stop", "WindowResult", "best_windows", "central_start", "find_masks", "penalty",
           "random_start", "regret", "total_variation", "windows"]

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class MaskResult:
    """The masks found for B clips, on the clips' device. Scores are the target's softmax probabilities."""

    masks: Tensor  # (B, T) soft, in [0, 1]; 1 = perturbed
    losses: Tensor  # (B, iterations) the loss before each step; after a clip's last step, its last value
    scores: Tensor  # (B,) F_c of the clip perturbed under its mask
    originals: Tensor  # (B,) F_c of the clip itself
    targets: Tensor  # (B,)
    steps: Tensor  # (B,) steps taken
    perturbation: str
    recipe: MaskRecipe
    starts: Tensor  # (B, T) the logits at the start
    path: Tensor | None = None  # (B, iterations+1, T) the mask before each step and at the end, if kept

    @property
    def snapped(self) -> Tensor:
        """The masks (B,T) of zeros and ones, at recipe.snap."""
        return (self.masks > self.recipe.snap).to(self.masks.dtype)

    @property
    def final_losses(self) -> Tensor:
        """The loss (B,) of the masks given: the paper's, with `scores` as F_c."""
        return penalty(self.masks, self.recipe) + self.scores


def find_masks(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
               recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze",
               start: str | Tensor = "central", *, stop: Stop | bool | None = None, chunk: int | None = None,
               generator: torch.Generator | None = None, ids: Sequence[str] | None = None,
               progress: bool = False, keep_path: bool = False, precision: str = "fp32") -> MaskResult:
    """Find the temporal mask of each clip (B,C,T,H,W), whatever its neighbours and the chunk size.

    model: any module from clips to logits (B,K); used in eval mode, and handed back as it came (modes,
        requires_grad, no gradients), whatever happens. targets: the classes to explain, the model's own
        guesses for None.
    start: "central" (`central_start`, by the freeze drop for every perturbation), "random" (`random_start`
        with `generator` and `ids`), "best-window" (the window of `best_windows`), or logits (T,) or (B,T).
    stop: None takes all recipe.iterations steps and gives the mask after the last, as the paper does; True or
        a `Stop` lets each clip leave once it has converged, with the mask of its least loss.
    chunk: clips at once; None: what the memory at hand holds. A clip that leaves makes room for the next.
    ids: the clips' names, for messages and the random start. keep_path: keep the mask of every step.
    precision: "fp32", or "bf16": the steps run the model under bfloat16 autocast, about half again as fast where
        the hardware computes in it; the start and the scores at both ends stay in full precision.

    Raises ValueError for clips that are not float (B,C,T,H,W), for an unknown target, start or perturbation,
    and, naming the clips, for a score that is not finite.
    """
    clips = checked_clips(model, clips)
    ids = checked_ids(ids, len(clips))
    if stop is not None and not isinstance(stop, (Stop, bool)):
        raise ValueError(f"stop: expected None, True or masks.Stop(patience, tolerance), got {stop!r}")
    stop = Stop() if stop is True else stop or None
    _check_names(start, perturbation, clips)
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    with borrowed(model) as device:
        most = capacity(model, clips, device, chunk)
        before = probabilities(model, clips, device, most, ids)
        targets = checked_targets(targets, before)
        originals = before.gather(1, targets[:, None])[:, 0]
        if isinstance(start, Tensor):
            starts = start.detach().to(originals).expand(len(clips), -1)
        elif start == "random":
            starts = random_start(clips.shape[2], ids, generator, recipe).to(originals)
        elif start == "best-window":
            starts = score_windows(model, clips, targets, originals, recipe, perturbation, device, most, ids,
                                   only_best=True).starts
        else:
            starts = _central(model, clips, targets, originals, recipe, "freeze", device, most)
        search = Search(model, clips, targets, starts, recipe, perturbation, stop=stop, ids=ids,
                        keep_path=keep_path, device=device, precision=precision).run(most, progress)
        masks = search.found.sigmoid().to(clips.device)
        scores = score_masks(model, clips, masks, targets, recipe, perturbation, device, most)
        require_finite(scores, ids, "under its mask")
    path = None if search.path is None else search.path.to(clips.device)
    return MaskResult(masks, search.losses.to(clips.device), scores, originals, targets,
                      search.steps.to(clips.device), perturbation, recipe, starts.clone(), path)


def central_start(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
                  recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze", *,
                  chunk: int | None = None, ids: Sequence[str] | None = None) -> Tensor:
    """The paper's start: logits (B,T), -start_logit at i frames of both ends, +start_logit between.

    i is the first of 1..T//2-1 under whose mask of zeros and ones the score drops by less than drop_fraction
    of what the fully frozen (perturbed) clip's does; T//2-1 where there is none. That is what the released
    code does and the published masks start from; its text promises the last i that still keeps the drop,
    which would be one less. With fewer than four frames the whole mask is on. Arguments and errors as in
    `find_masks`.
    """
    clips = checked_clips(model, clips)
    ids = checked_ids(ids, len(clips))
    _check_names("central", perturbation, clips)
    with borrowed(model) as device:
        most = capacity(model, clips, device, chunk)
        before = probabilities(model, clips, device, most, ids)
        targets = checked_targets(targets, before)
        originals = before.gather(1, targets[:, None])[:, 0]
        return _central(model, clips, targets, originals, recipe, perturbation, device, most)


def random_start(num_frames: int, ids: Sequence[str], generator: torch.Generator | None = None,
                 recipe: MaskRecipe = SOMETHING_MASK) -> Tensor:
    """Logits (B,T), uniform between -start_logit and +start_logit.

    One number drawn from the generator (seed 0 for None) and a clip's own id seed that clip's logits, so that
    they are the same whatever clips stand beside it; a second call with the same generator gives others.
    """
    base, rows = 0, []
    if generator is not None:
        base = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    for name in ids:
        seed = int.from_bytes(hashlib.sha256(f"{base}:{name}".encode()).digest()[:8], "big") >> 1
        own = torch.Generator().manual_seed(seed)
        rows.append(torch.rand(num_frames, generator=own, dtype=torch.float64))
    return (2 * torch.stack(rows) - 1) * recipe.start_logit


def _central(model, clips, targets, originals, recipe, perturbation, device, most) -> Tensor:
    num_frames = clips.shape[2]
    time = torch.arange(num_frames, device=clips.device)
    widths = torch.arange(0, max(num_frames // 2, 1), device=clips.device)[:, None]  # 0: the whole clip
    candidates = ((time >= widths) & (time < num_frames - widths)).to(originals)  # (T//2, T)
    scores = score_table(model, clips, candidates, targets, recipe, perturbation, device, most)
    drops = originals[:, None] - scores
    fails = drops[:, 1:] < recipe.drop_fraction * drops[:, :1]
    fails = torch.cat([fails, fails.new_ones(len(clips), 1)], dim=1)  # one always ends the walk
    place = (fails.int().argmax(dim=1) + 1).clamp(max=len(candidates) - 1)
    return (2 * candidates[place] - 1) * recipe.start_logit


def _check_names(start: str | Tensor, perturbation: str, clips: Tensor) -> None:
    if perturbation not in perturb.names():
        raise ValueError(f"perturbation: expected one of {', '.join(perturb.names())}, got {perturbation!r}")
    batch, num_frames = len(clips), clips.shape[2]
    if isinstance(start, Tensor):
        if tuple(start.shape) not in ((num_frames,), (batch, num_frames)) or not start.is_floating_point():
            raise ValueError(f"start: expected float logits ({num_frames},) or ({batch}, {num_frames}), "
                             f"got {start.dtype} {tuple(start.shape)}")
        if not bool(torch.isfinite(start).all()):
            raise ValueError("start: expected finite logits; 5 starts a frame on (0.993), -5 off (0.007)")
    elif start not in ("central", "random", "best-window"):
        raise ValueError(f'start: expected "central", "random", "best-window" or logits (B,T), got {start!r}')
