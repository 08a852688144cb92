"""The temporal mask by gradient descent: which moments a decision rests on, found by Adam for many clips at once.

Mänttäri et al., "Interpreting Video Features" (ACCV 2020): a mask m = sigmoid(z) minimises
lambda1 sum|m| + lambda2 TV(m) + F_c(perturbed clip), with F_c the softmax score of the target class.
`interp.core.exact` finds the best binary mask instead. Axes: clips (B,C,T,H,W), masks (B,T), 1 = perturbed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from interp.core import inference, perturb
from interp.core.exact import ExactResult, search_exact
from interp.core.windows import penalty, score_masks, score_table, score_windows
from interp.recipes import SOMETHING_MASK, MaskRecipe

METHODS, STARTS = ("gradient", "exact", "windows"), ("central", "best-window")
CHECK_EVERY = 20  # steps between looks for a loss that is not finite


@dataclass(frozen=True)
class Stop:
    """When a clip leaves the search early; it then gets the mask of its least loss."""

    patience: int = 20  # steps within which the least loss must fall
    tolerance: float = 0.01  # by what share of itself it must fall
    minimum: int = 40  # steps that every clip takes

    def __post_init__(self) -> None:
        if not (self.patience >= 1 and self.tolerance >= 0 and self.minimum >= 0):
            raise ValueError(f"Stop: expected patience from 1, tolerance and minimum from 0, got {self}")


@dataclass(frozen=True)
class MaskResult:
    """The masks found for B clips, on the clips' device. Scores are the target's softmax scores."""

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

    binary_masks = property(lambda self: (self.masks > self.recipe.snap).to(self.masks.dtype),
                            doc="The masks (B,T) of zeros and ones, at recipe.snap.")


def find_masks(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
               recipe: MaskRecipe = SOMETHING_MASK, perturbation: str = "freeze",
               start: str | Tensor | None = None, *, stop: Stop | bool | None = None, batch_size: int | None = None,
               ids: Sequence[str] | None = None, progress: bool | None = None, keep_path: bool = False,
               method: str = "gradient", budget: int = 2000) -> MaskResult | ExactResult:
    """Find the temporal mask of each clip; a clip's mask does not depend on its neighbours.

    Args:
        model: any module from clips to logits (B,K); used in evaluation mode and restored afterwards.
        clips: floats (B,C,T,H,W) in [0,1].
        targets: the classes to explain, one for all, or None for the predicted classes.
        recipe: the loss, and the steps of the search. perturbation: a name of `perturb.names()`.
        start: "central" (the default), "best-window", or logits (T,) or (B,T).
        stop: True or a `Stop` lets each clip leave once it has converged; None takes all steps, as the paper does.
        batch_size: clips in the model at the same time; None for its preferred batch size.
        ids: the clips' names, for messages. progress: show a bar; None for one on a terminal.
        keep_path: keep the mask of every step.
        method: "gradient", the paper's search; "exact": `best_masks` with `budget` forward passes a clip; "windows":
            the best single run of frames, or none where none pays.

    Raises:
        ValueError: wrong arguments, or a score that is not finite, naming the clip.
    """
    clips, ids = inference.check_clips(model, clips), inference.check_ids(ids, len(clips))
    options = {"start": start, "stop": stop, "keep_path": keep_path}
    check_search(clips, perturbation, method, **options)
    targets, originals = inference.predict_targets(model, clips, targets, batch_size, ids)
    return search(model, clips, targets, originals, recipe, perturbation, ids=ids, method=method, budget=budget,
                  batch_size=batch_size, progress=progress, **options)


def search(model, clips, targets, originals, recipe, perturbation, *, ids, method="gradient", budget=2000, start=None,
           stop=None, batch_size=None, progress=None, keep_path=False) -> MaskResult | ExactResult:
    """What `find_masks` returns, where the arguments are checked and the clips' scores are known."""
    hidden = inference.NO_BAR if progress is None else not progress
    with inference.frozen_eval(model):
        if method == "exact":
            return search_exact(model, clips, targets, originals, perturbation, recipe, budget=budget,
                                batch_size=batch_size, ids=ids, progress=progress)
        if method == "windows":
            number = len(clips) * clips.shape[2] * (clips.shape[2] + 1) // 2
            with tqdm(total=number, desc="windows", unit="mask", leave=False, disable=hidden) as bar:
                found = score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids, bar)
            pays = found.losses < originals
            scores = found.scores.gather(1, found.all_losses.argmin(1, keepdim=True))[:, 0]
            return MaskResult(found.masks * pays[:, None], torch.where(pays, found.losses, originals)[:, None],
                              torch.where(pays, scores, originals), originals, targets,
                              torch.full_like(targets, len(found.windows)), perturbation, recipe, found.starts)
        if isinstance(start, Tensor):
            starts = start.detach().to(originals).expand(len(clips), -1)
        elif start == "best-window":
            starts = score_windows(model, clips, targets, originals, recipe, perturbation, batch_size, ids).starts
        else:
            starts = _central_start(model, clips, targets, originals, recipe, batch_size)
        stop = Stop() if stop is True else stop or None
        with tqdm(total=len(clips) * recipe.iterations, desc="masks", unit="step", leave=False, disable=hidden) as bar:
            def descend(rows: slice) -> tuple:
                bar.update(-bar.n + rows.start * recipe.iterations)  # after memory ran out, the batch begins again
                return _descend(model, clips[rows], targets[rows], starts[rows], recipe, perturbation, stop, ids[rows],
                                keep_path, bar)

            parts = inference.map_slices(model, descend, len(clips), batch_size)
        found, losses, steps, paths = (torch.cat(part).to(clips.device) for part in zip(*parts, strict=True))
        masks = found.sigmoid()
        scores = score_masks(model, clips, masks, targets, recipe, perturbation, batch_size)
    inference.check_finite(scores, ids, "under its mask")
    return MaskResult(masks, losses, scores, originals, targets, steps, perturbation, recipe, starts.clone(),
                      paths if keep_path else None)


def _central_start(model, clips, targets, originals, recipe, batch_size) -> Tensor:
    """The paper's start: logits (B,T), -start_logit at i frames of both ends, +start_logit between.

    i is the first of 1..T//2-1 that takes less than drop_fraction of what freezing the whole clip does, else T//2-1.
    (The last that takes more was meant, but the published masks begin here.)
    """
    num_frames = clips.shape[2]
    time = torch.arange(num_frames, device=clips.device)
    widths = torch.arange(0, max(num_frames // 2, 1), device=clips.device)[:, None]  # 0: the whole clip
    candidates = ((time >= widths) & (time < num_frames - widths)).to(originals)  # (T//2, T)
    drops = originals[:, None] - score_table(model, clips, candidates, targets, recipe, "freeze", batch_size)
    fails = drops[:, 1:] < recipe.drop_fraction * drops[:, :1]
    fails = torch.cat([fails, fails.new_ones(len(clips), 1)], dim=1)  # one always ends the walk
    place = (fails.int().argmax(dim=1) + 1).clamp(max=len(candidates) - 1)
    return (2 * candidates[place] - 1) * recipe.start_logit


def _descend(model, clips, targets, starts, recipe, perturbation, stop, ids, keep_path, bar) -> tuple:
    """Adam on the logits of one batch; gives found logits, losses, steps and path (empty where not kept)."""
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), clips.device)
    num, steps = len(clips), recipe.iterations
    clips, targets = clips.to(device), targets.to(device)
    stem = model.stem_for(clips) if hasattr(model, "stem_for") else None  # the first convolution, computed once
    inputs = stem.responses(clips) if stem else clips
    found = starts.clone().to(device)  # (B, T), the result of each clip
    losses = found.new_zeros(num, steps)
    path = found.sigmoid()[:, None].repeat(1, steps + 1, 1) if keep_path else found.new_zeros(num, 0)
    taken = torch.full((num,), steps)
    (least, mark), waited = found.new_full((2, num), torch.inf), found.new_zeros(num)
    rows = torch.arange(num, device=device)  # of the clips still in the batch
    z = found.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=recipe.learning_rate)
    for step in range(steps):
        masks = z.sigmoid()
        mixing = perturb.time_mixing(perturbation, masks, recipe.reverse_threshold)
        mixed = stem.mix(mixing, inputs) if stem else perturb.mix(mixing, inputs)
        output = stem.logits(mixed) if stem else inference.logits(model, mixed)
        scores = output.to(z.dtype).softmax(1).gather(1, targets[rows][:, None])[:, 0]
        loss = penalty(masks, recipe) + scores
        (z.grad,) = torch.autograd.grad(loss.sum(), z)
        loss = loss.detach()
        losses[rows, step:] = loss[:, None]
        if keep_path:
            path[rows, step:] = masks.detach()[:, None]
        if stop:  # the mask of the least loss
            found[rows] = torch.where((loss < least[rows])[:, None], z.detach(), found[rows])
            least[rows] = torch.minimum(loss, least[rows])
            fell = loss < mark[rows] * (1 - stop.tolerance)
            mark[rows] = torch.where(fell, loss, mark[rows])
            waited[rows] = torch.where(fell, 0, waited[rows] + 1)
        adam.step()
        found[rows] = found[rows] if stop else z.detach()
        staying = waited[rows] < (stop.patience if stop and step + 1 >= stop.minimum else torch.inf)
        if step % CHECK_EVERY == 0 or not staying.all() or step + 1 == steps:
            inference.check_finite(loss, [ids[row] for row in rows.tolist()], "during the search")
        bar.update(len(rows) + int((~staying).sum()) * (steps - step - 1))
        if not staying.all():
            taken[rows[~staying].cpu()] = step + 1
            rows, inputs = rows[staying], inputs[staying]
            if not len(rows):
                break
            state, z = adam.state[z], z.detach()[staying].requires_grad_()
            adam = torch.optim.Adam([z], lr=recipe.learning_rate)
            adam.state[z] = {name: value[staying] if value.dim() else value for name, value in state.items()}
    if keep_path:
        last = torch.arange(steps + 1, device=device) >= taken.to(device)[:, None]
        path = torch.where(last[..., None], found.sigmoid()[:, None], path)
    return found, losses, taken, path


def check_search(clips: Tensor, perturbation: str, method: str, *, start=None, stop=None, keep_path=False,
                 **others) -> None:
    """ValueError where the options of a search do not fit together."""
    for name, value, choices in (("perturbation", perturbation, perturb.names()), ("method", method, METHODS)):
        if value not in choices:
            raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    if method != "gradient" and (start is not None or stop or keep_path):
        raise ValueError(f'method "{method}" takes no start, stop or keep_path; leave them out, or use "gradient"')
    if stop is not None and not isinstance(stop, Stop | bool):
        raise ValueError(f"stop: expected None, True or Stop(patience, tolerance), got {stop!r}")
    batch, num_frames = len(clips), clips.shape[2]
    if isinstance(start, Tensor):
        if start.shape not in ((num_frames,), (batch, num_frames)) or not bool(start.isfinite().all()):
            raise ValueError(f"start: expected finite logits ({num_frames},) or ({batch}, {num_frames}), got "
                             f"{tuple(start.shape)} from {start.min()} to {start.max()}; 5 is on (0.993), -5 off")
    elif start is not None and start not in STARTS:
        raise ValueError(f"start: expected one of {', '.join(STARTS)} or logits (B,T), got {start!r}")
