"""The engine of the mask search: Adam on many masks at once, each clip with its own count of steps.

Clips enter the batch as room allows and leave it one by one, so nothing that a clip computes depends on the
others. Source of the loss: Mänttäri et al., ACCV 2020; of Adam: Kingma and Ba, 2015. Axes: clips (B,C,T,H,W),
logits (B,T). `masks.find_masks` is the way in; alone it runs on a model that is already borrowed:

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 2 * 2, 5))
    >>> search = Search(model, torch.rand(2, 3, 4, 2, 2), torch.tensor([0, 1]), torch.zeros(2, 4))
    >>> search.run(most=2).found.shape
    torch.Size([2, 4])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from interp import perturb
from interp.borrow import even, filled, logits_of, require_finite
from interp.evaluate import autocast
from interp.recipes import SOMETHING_MASK, MaskRecipe
from interp.search_stem import stem_of
from interp.windows import penalty

BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's published defaults, which the paper's code uses
CHECK_EVERY = 20  # steps between looks for a loss that is no longer finite


@dataclass(frozen=True)
class Stop:
    """When a clip is done before all steps are taken; it then gets the mask of its least loss.

    A clip leaves when its least loss has not fallen by the share `tolerance` within `patience` steps, once it has
    taken `minimum` steps. Chosen on whole searches of training clips: from the best window the loss is by then near
    that of all steps; from the central start, where it falls in stairs far apart, no patience of this kind is enough
    (book/benchmarks.md has the numbers).
    """

    patience: int = 20
    tolerance: float = 0.01
    minimum: int = 40

    def __post_init__(self) -> None:
        for name, value in {"patience": 1, "tolerance": 0, "minimum": 0}.items():
            if not getattr(self, name) >= value:
                raise ValueError(f"Stop: expected {name} of at least {value}, got {getattr(self, name)!r}")


class Search:
    """The search for B clips from start logits (B,T); `run` fills `found`, `losses`, `steps` and `path`."""

    def __init__(self, model: nn.Module, clips: Tensor, targets: Tensor, starts: Tensor,
                 recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze", *,
                 stop: Stop | None = None, ids: Sequence[str] | None = None, keep_path: bool = False,
                 device: torch.device | None = None, precision: str = "fp32"):
        self.model, self.clips, self.recipe, self.perturbation = model, clips, recipe, perturbation
        self.stop, self.ids = stop, ids or [str(index) for index in range(len(clips))]
        self.device, self.precision = device or clips.device, precision
        self.format = torch.contiguous_format
        if not clips.is_contiguous() and clips.is_contiguous(memory_format=torch.channels_last_3d):
            self.format = torch.channels_last_3d
        self.stem = stem_of(model, clips)  # None: the clips are mixed, and go through the whole model
        batch, num_frames = starts.shape
        # One row a clip; a step reads and writes the rows of the clips that are in the batch.
        self.targets = targets.to(self.device)
        self.found = starts.detach().clone().to(self.device)  # (B, T) logits
        self.first, self.second = torch.zeros_like(self.found), torch.zeros_like(self.found)  # Adam's moments
        self.best, self.least = self.found.clone(), torch.full_like(self.found[:, 0], torch.inf)
        self.mark, self.waited = self.least.clone(), torch.zeros_like(self.targets)
        self.losses = self.found.new_zeros(batch, recipe.iterations)
        self.path = self.found.new_zeros(batch, recipe.iterations + 1, num_frames) if keep_path else None
        self.counts = [0] * batch  # steps taken

    @property
    def steps(self) -> Tensor:
        """Steps taken (B,)."""
        return torch.tensor(self.counts)

    def run(self, most: int, progress: bool = False) -> Search:
        """Search all clips, at most `most` at once; fewer where a GPU's memory turns out too small."""
        room, waiting, active = even(len(self.clips), most), list(range(len(self.clips))), []
        held, batch = [], None  # the clips that the batch holds, and what the model needs of them
        bar = _bar(len(self.clips) * self.recipe.iterations, progress)
        changed = True
        while (active or waiting) and self.recipe.iterations > 0:
            if waiting and len(active) < room:
                active, waiting = active + waiting[: room - len(active)], waiting[room - len(active):]
                changed = True
            if changed:
                rows = torch.tensor(active, device=self.device)
                batch, held = self._gather(active, held, batch), list(active)
            try:
                losses = self._step(batch, rows)
            except torch.cuda.OutOfMemoryError:
                if len(active) == 1:
                    raise
                room = len(active) // 2
                active, waiting, changed = active[:room], active[room:] + waiting, True
                held, batch = [], None
                torch.cuda.empty_cache()
                continue
            for index in active:
                self.counts[index] += 1
            done = self._done(rows, losses, active)
            if done or self.counts[active[0]] % CHECK_EVERY == 0:
                require_finite(losses, [self.ids[index] for index in active], "during the search")
            bar.update(len(active) + sum(self.recipe.iterations - self.counts[index] for index in done))
            for index in done:
                self._finish(index)
            active, changed = [index for index in active if index not in done], bool(done)
        bar.close()
        return self

    def _gather(self, active: list[int], held: list[int], batch: Tensor | None) -> Tensor:
        """The batch for the clips `active`: clips, or the stem's answers; rows above their number only fill it."""
        staying = [held.index(index) for index in active if index in held]
        coming = [index for index in active if index not in held]
        parts = [batch[staying]] if staying else []  # in `active` the clips that stay come first
        if coming:
            clips = self.clips[coming].to(self.device)
            parts.append(self.stem.answers(clips) if self.stem else clips.contiguous(memory_format=self.format))
        rows = torch.cat(parts) if len(parts) > 1 else parts[0]
        surplus = filled(self.model, len(active)) - len(active)
        return torch.cat([rows, rows[:1].expand(surplus, *rows.shape[1:])]) if surplus else rows

    def _probabilities(self, mixing: Tensor, batch: Tensor) -> Tensor:
        """Softmax (n,K) of the n clips under W (n,T,T)."""
        wanted = len(mixing)
        if len(batch) > wanted:
            mixing = torch.cat([mixing, mixing[:1].detach().expand(len(batch) - wanted, -1, -1)])
        mixed = self.stem.mix(mixing, batch) if self.stem else perturb.mix(mixing, batch)
        with autocast(self.device, self.precision):
            logits = self.stem.logits(mixed) if self.stem else logits_of(self.model, mixed)
        return logits[:wanted].to(mixing.dtype).softmax(1)

    def _step(self, batch: Tensor, rows: Tensor) -> Tensor:
        """One step of Adam for the clips in the batch; gives their losses (n,) before it."""
        logits = self.found[rows].requires_grad_()
        masks = logits.sigmoid()
        mixing = perturb.time_mixing(self.perturbation, masks, self.recipe.reverse_threshold)
        answers = self._probabilities(mixing, batch)
        losses = self._penalty(masks, rows) + answers.gather(1, self.targets[rows][:, None])[:, 0]
        (gradient,) = torch.autograd.grad(losses.sum(), logits)  # to the masks alone: the weights are at rest
        losses, logits = losses.detach(), logits.detach()
        before = [self.counts[index] for index in rows.tolist()]
        places = torch.tensor(before, device=self.device)
        self.losses[rows, places] = losses
        if self.path is not None:
            self.path[rows, places] = masks.detach()
        if self.stop is not None:
            better = losses < self.least[rows]
            self.best[rows] = torch.where(better[:, None], logits, self.best[rows])
            self.least[rows] = torch.minimum(losses, self.least[rows])
        first = BETAS[0] * self.first[rows] + (1 - BETAS[0]) * gradient
        second = BETAS[1] * self.second[rows] + (1 - BETAS[1]) * gradient.square()
        steps = torch.tensor(before, dtype=torch.float64)[:, None] + 1
        rate = (self._rate(rows) / (1 - BETAS[0] ** steps)).to(logits)  # Adam's correction
        root = (1 - BETAS[1] ** steps).sqrt().to(logits)
        self.found[rows] = logits - rate * first / (second.sqrt() / root + EPSILON)
        self.first[rows], self.second[rows] = first, second
        return losses

    def _penalty(self, masks: Tensor, rows: Tensor) -> Tensor:
        """The loss (n,) without the model, of these rows; `masks_grid` gives each row its own weights."""
        return penalty(masks, self.recipe)

    def _rate(self, rows: Tensor) -> float | Tensor:
        """The learning rate, or one (n,1) for each of these rows."""
        return self.recipe.learning_rate

    def _done(self, rows: Tensor, losses: Tensor, active: list[int]) -> set[int]:
        """The clips of the batch that have taken all steps, or have converged."""
        done = {index for index in active if self.counts[index] >= self.recipe.iterations}
        if self.stop is not None:
            fell = losses < self.mark[rows] * (1 - self.stop.tolerance)
            self.mark[rows] = torch.where(fell, losses, self.mark[rows])
            self.waited[rows] = torch.where(fell, 0, self.waited[rows] + 1)
            converged = (self.waited[rows] >= self.stop.patience).tolist()
            done |= {index for index, over in zip(active, converged, strict=True)
                     if over and self.counts[index] >= self.stop.minimum}
        return done

    def _finish(self, index: int) -> None:
        taken = self.counts[index]
        self.losses[index, taken:] = self.losses[index, taken - 1]
        if self.stop is not None:
            self.found[index] = self.best[index]
        if self.path is not None:
            self.path[index, taken:] = self.found[index].sigmoid()


def _bar(total: int, progress: bool) -> tqdm:
    return tqdm(total=total, desc="masks", unit="step", leave=False, disable=not progress)
