"""The best binary mask of a clip, with a proof that none of the 2^T masks is better.

A binary mask costs lambda1*n + lambda2*v with whole numbers n (frames on) and v (weighted edges), and the score F_c is
at least 0. So when masks are scored in the order of their cost, the search ends at the first mask whose cost is not
below the best loss. Axes: clips (B,C,T,H,W), masks (B,T).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from interp.core._order import MaskOrder, mask_order
from interp.core.inference import check_clips, check_finite, check_ids, check_targets, frozen_eval, predict
from interp.core.windows import score_masks, score_table
from interp.recipes import SOMETHING_MASK, MaskRecipe

TIE = 1e-6  # losses closer than this count as equal
SHARE, TREE_SHARE = 32, 256  # masks of one clip scored together; the same in a tree, where more share more steps
TREE_PART = 64  # masks of a tree whose states are kept at the same time
MAX_VISITS = 100_000  # masks that are looked at for one clip, where most of them give a clip scored before


@dataclass(frozen=True)
class ExactResult:
    """The best binary masks found for B clips, on the clips' device. Scores are the target's softmax probabilities."""

    masks: Tensor  # (B, T) of zeros and ones; under freeze frame 0 is off
    losses: Tensor  # (B,) cost + score; under freeze frame 0, which changes no clip, has the value that costs less
    scores: Tensor  # (B,) F_c of the clip perturbed under its mask
    originals: Tensor  # (B,) F_c of the clip itself
    targets: Tensor  # (B,)
    bounds: Tensor  # (B,) no mask has a lower loss: the cost of the first mask not scored, at most the loss
    proven: Tensor  # (B,) bool: the bound is the loss, so the mask is the best of all 2^T
    forwards: Tensor  # (B,) clips scored, the unperturbed one included
    ties: list[Tensor]  # for each clip the masks (M,T) scored within TIE of the best, which give different clips
    perturbation: str
    recipe: MaskRecipe

    @property
    def binary_masks(self) -> Tensor:
        """The masks (B,T), under the name that `MaskResult` gives them."""
        return self.masks

    @property
    def final_losses(self) -> Tensor:
        """The losses (B,), under the name that `MaskResult` gives them."""
        return self.losses

    @property
    def gap(self) -> Tensor:
        """By how much (B,) another binary mask could be better; 0 where the mask is proven."""
        return self.losses - self.bounds


def best_masks(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
               targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
               budget: int = 2000, batch_size: int | None = None, ids: Sequence[str] | None = None,
               progress: bool | None = None) -> ExactResult:
    """Find the binary mask of least loss of each clip, and prove it within `budget` forward passes a clip.

    Scores the clip itself, then windows and flips of one or two frames of the best mask until the proof is sure to fit
    the budget, then all masks by cost. Ctrl-C and the budget's end give the best mask so far with its bound. A soft
    mask can have a lower loss than any binary one, since with beta = 3 an edge over a half-on frame is cheap.

    Args:
        model: clips to logits (B,K). Where it has `step(frames (N,C,H,W), state | None) -> (output, state)` and
            `classify(outputs (N,T,...)) -> logits`, masks with the same first frames share these steps.
        clips: floats (B,C,T,H,W) in [0,1].
        perturbation: "freeze", "reverse" or another registered name.
        targets: the classes (B,) to explain, or one for all; None for the predicted ones.
        recipe: lambda1, lambda2 and border. With border "paper" the edges next to the first and the last frame count
            once, all others twice; with "even" frames outside the clip are off, and every edge counts twice.
        budget: forward passes for each clip, of which at most SHARE (in a tree TREE_SHARE) may prove needless.
        batch_size: clips in the network at the same time; None for its preferred batch size.
        ids: the clips' names, for messages.
        progress: show a bar; None for a bar on a terminal only.

    Raises:
        ValueError: for wrong arguments, negative lambdas, or a score that is not finite (naming the clip).
    """
    clips, ids = check_clips(model, clips), check_ids(ids, len(clips))
    scores = predict(model, clips, batch_size, ids)
    targets = check_targets(targets, scores)
    originals = scores.gather(1, targets[:, None])[:, 0]
    return search_exact(model, clips, targets, originals, perturbation, recipe, budget=budget, batch_size=batch_size,
                        ids=ids, progress=progress)


def search_exact(model: nn.Module, clips: Tensor, targets: Tensor, originals: Tensor, perturbation: str,
                 recipe: MaskRecipe, *, budget: int = 2000, batch_size: int | None = None,
                 ids: Sequence[str] | None = None, progress: bool | None = None) -> ExactResult:
    """`best_masks` of checked clips and targets, whose own scores (B,) are known."""
    if budget < 1:
        raise ValueError(f"budget: expected at least 1 forward pass a clip, got {budget}; 2000 prove most clips")
    order = mask_order(clips.shape[2], recipe, perturbation)
    ids, bar = check_ids(ids, len(clips)), tqdm(total=len(clips), unit="clip",
                                                disable=None if progress is None else not progress)
    with frozen_eval(model) as device:
        tree = order.one_source and hasattr(model, "step") and hasattr(model, "classify")
        single = tree or (device or clips.device).type == "cpu"  # what masks share is shared within one clip
        score = _score_tree if tree else _score_clip if single else _score_clips
        searches = [_Search(order, clip, original, budget, TREE_SHARE if tree else SHARE)
                    for clip, original in zip(clips, originals.tolist(), strict=True)]
        try:
            for rows in torch.arange(len(clips)).split(1 if single else max(1, (batch_size or SHARE) // SHARE)):
                batches = {row: searches[row].batches() for row in rows.tolist()}
                while step := {row: batch for row in batches if (batch := next(batches[row], None))}:
                    masks = [order.masks([code for _, code in batch.values()]).to(clips) for batch in step.values()]
                    scores = score(model, clips[list(step)], masks, targets[list(step)], order, batch_size)
                    for (row, batch), part in zip(step.items(), scores.cpu().split([*map(len, masks)]), strict=True):
                        check_finite(part[None], [ids[row]], "under a mask")
                        searches[row].receive(batch, part.tolist())
                bar.update(len(rows))
        except KeyboardInterrupt:
            pass  # every search gives what it knows so far
        bar.close()
    losses, codes, scores = zip(*(search.best for search in searches), strict=True)
    bounds = [search.bound() for search in searches]
    proven = [bound == loss for bound, loss in zip(bounds, losses, strict=True)]
    return ExactResult(
        order.masks(codes).to(originals), originals.new_tensor(losses), originals.new_tensor(scores), originals,
        targets, originals.new_tensor(bounds), torch.tensor(proven, device=clips.device),
        torch.tensor([len(search.scored) for search in searches], device=clips.device),
        [order.masks(search.ties()).to(originals) for search in searches], perturbation, recipe)


def count_masks(num_frames: int, cost: float, recipe: MaskRecipe = SOMETHING_MASK,
                perturbation: str = "freeze") -> int:
    """How many masks of T frames cost less than `cost`, one for each different clip; no model is needed."""
    return mask_order(num_frames, recipe, perturbation).count(cost)


def masks_by_cost(num_frames: int, count: int, recipe: MaskRecipe = SOMETHING_MASK,
                  perturbation: str = "freeze") -> Tensor:
    """The first `count` masks (N,T) by cost, the empty one first; one for each different clip."""
    order = mask_order(num_frames, recipe, perturbation)
    return order.masks([code for _, code in islice(order.walk(), count)])


class _Search:
    """The search for one clip: it proposes batches of masks and remembers what they gave."""

    def __init__(self, order: MaskOrder, clip: Tensor, original: float, budget: int, share: int):
        self.order, self.budget, self.share = order, budget, share
        self.same = torch.unique(clip.transpose(0, 1).flatten(1), dim=0, return_inverse=True)[1].cpu()  # (T,)
        self.still = order.one_source and not self.same.any()  # all frames are equal
        self.best = original, 0, original  # loss, code, score
        self.scored = {self.keys([0])[0]: self.best}

    def keys(self, codes: Sequence[int]) -> list[bytes]:
        """What tells the perturbed clips apart: the frame of the clip that each frame shows, equal frames merged."""
        mixing = self.order.mixing(self.order.masks(codes))
        shares = mixing.new_zeros(*mixing.shape[:2], int(self.same.max()) + 1).index_add_(2, self.same, mixing)
        return [row.tobytes() for row in (shares.argmax(2).short() if self.order.one_source else shares).numpy()]

    def receive(self, batch: dict[bytes, tuple[float, int]], scores: Sequence[float]) -> None:
        rows = [(cost + score, code, score) for (cost, code), score in zip(batch.values(), scores, strict=True)]
        self.best = min(self.best, *rows)
        self.scored.update(zip(batch, rows, strict=True))

    def ties(self) -> list[int]:
        """The codes scored within TIE of the best, best first."""
        return [code for loss, code, _ in sorted(self.scored.values()) if loss <= self.best[0] + TIE]

    def bound(self) -> float:
        """The cost of the first mask that was not scored, at most the best loss."""
        walk = islice(self.order.walk(), MAX_VISITS)
        while not self.still and (group := list(islice(walk, 256))):
            for (cost, _), key in zip(group, self.keys([code for _, code in group]), strict=True):
                if cost >= self.best[0] or key not in self.scored:
                    return min(cost, self.best[0])
        return self.best[0] if self.still or self.order.count(float("inf")) <= MAX_VISITS else cost

    def batches(self) -> Iterator[dict[bytes, tuple[float, int]]]:
        """Windows by cost, then flips of the best mask, until all that is left fits the budget; then all by cost."""
        bits = [1 << t for t in range(self.order.num_frames + 1)]
        center, candidates = None, self._by_cost(last - first for first, last in combinations(bits, 2))
        while self.order.count(self.best[0]) > self.budget - len(self.scored):
            if batch := self._take(candidates):
                yield batch
            elif center == self.best[1]:
                break
            if not batch or center not in (None, self.best[1]):
                center = self.best[1]
                candidates = self._by_cost(center ^ a ^ b for a, b in combinations([0, *bits[:-1]], 2))
        walk = islice(self.order.walk(), 0 if self.still else MAX_VISITS)
        while batch := self._take(walk):
            yield batch

    def _by_cost(self, codes) -> Iterator[tuple[float, int]]:
        return iter(sorted((cost, code) for code in codes if (cost := self.order.cost(code)) < float("inf")))

    def _take(self, candidates: Iterator[tuple[float, int]]) -> dict[bytes, tuple[float, int]]:
        """The next candidates, in order of cost, that can still be best and give a clip not scored before."""
        size, batch = min(self.share, self.budget - len(self.scored)), {}
        while len(batch) < size:
            group = [pair for pair in islice(candidates, size - len(batch)) if pair[0] < self.best[0]]
            if not group:
                break
            for pair, key in zip(group, self.keys([code for _, code in group]), strict=True):
                if key not in self.scored:
                    batch.setdefault(key, pair)
        return batch


def _score_clip(model, clips, masks, targets, order, batch_size) -> Tensor:
    """Scores (N,) of one clip under its masks."""
    return score_table(model, clips, masks[0], targets, order.recipe, order.perturbation, batch_size)[0]


def _score_clips(model, clips, masks, targets, order, batch_size) -> Tensor:
    """Scores (N,) of several clips, each under its masks, concatenated."""
    rows = torch.arange(len(masks)).repeat_interleave(torch.tensor([*map(len, masks)]))
    return score_masks(model, clips[rows], torch.cat(masks), targets[rows], order.recipe, order.perturbation,
                       batch_size)


@torch.no_grad()
def _score_tree(model, clips, masks, targets, order, batch_size) -> Tensor:
    """As `_score_clip`; in lexicographic order masks share the steps over the frames that they begin with."""
    sources = order.mixing(masks[0]).argmax(2).cpu()  # (N, T)
    place = torch.tensor(sorted(range(len(sources)), key=sources.tolist().__getitem__))
    device = next((weight.device for weight in model.parameters()), clips.device)
    frames, logits = clips[0].transpose(0, 1).to(device), []
    for rows in sources[place].split(batch_size or TREE_PART):
        outputs, branch, state = [], None, None
        for t in range(rows.shape[1]):
            begins = torch.cat([torch.tensor([True]), (rows[1:, :t + 1] != rows[:-1, :t + 1]).any(1)])
            first = begins.nonzero()[:, 0]  # of each different beginning one row
            state = None if t == 0 else tuple(part[branch[first]] for part in state)
            output, state = model.step(frames[rows[first, t]], state)
            branch = begins.cumsum(0) - 1  # (N,) the row of output and state that belongs to each mask
            outputs.append(output[branch])
        logits.append(model.classify(torch.stack(outputs, dim=1)))
    scores = torch.cat([part if part.dtype == torch.float64 else part.float() for part in logits]).softmax(1)
    return torch.empty_like(scores[:, 0]).scatter_(0, place.to(device), scores[:, int(targets[0])])
