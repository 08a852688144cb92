"""The best binary mask of a clip, with a proof that none of the 2^T masks is better.

A binary mask costs lambda1*n + lambda2*v with whole numbers n (frames on) and v (weighted edges), and the score F_c is
at least 0. So when masks are scored in the order of their cost, the search ends at the first mask whose cost is not
below the best loss. Axes: clips (B,C,T,H,W), masks (B,T).
"""

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from interp.core import perturb
from interp.core.inference import NO_BAR, check_clips, check_finite, check_ids, frozen_eval, predict_targets
from interp.core.windows import score_table
from interp.recipes import SOMETHING_MASK, MaskRecipe

TIE = 1e-6  # losses closer than this count as equal
SHARE, TREE_SHARE = 32, 256  # masks that are scored together; in a tree, where more of them share more steps
OFF, ONCE, ON = range(3)  # a frame's states: not on, on for the first frame of a reversed run, on
GROUP, MAX_VISITS = 256, 100_000  # masks looked at together, and in all: most may give a clip scored before


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

    binary_masks = property(lambda self: self.masks, doc="The masks (B,T), under the name in `MaskResult`.")
    gap = property(lambda self: self.losses - self.bounds, doc="By how much (B,) another mask could be better.")


def best_masks(model: nn.Module, clips: Tensor, perturbation: str = "freeze",
               targets: Tensor | Sequence[int] | int | None = None, recipe: MaskRecipe = SOMETHING_MASK, *,
               budget: int = 2000, batch_size: int | None = None, ids: Sequence[str] | None = None,
               progress: bool | None = None) -> ExactResult:
    """Find the binary mask of least loss of each clip, and prove it within `budget` forward passes a clip.

    Ctrl-C and the budget's end give the best mask so far with its bound. A soft mask can lose less than any binary one:
    with beta = 3 an edge over a half-on frame is cheap. Arguments and errors as in `find_masks`; lambdas from 0 up.
    """
    clips, ids = check_clips(model, clips), check_ids(ids, len(clips))
    targets, originals = predict_targets(model, clips, targets, batch_size, ids)
    return search_exact(model, clips, targets, originals, perturbation, recipe, budget=budget, batch_size=batch_size,
                        ids=ids, progress=progress)


def search_exact(model, clips, targets, originals, perturbation, recipe, *, budget=2000, batch_size=None, ids=None,
                 progress=None) -> ExactResult:
    """What `best_masks` returns, where the arguments are checked and the clips' scores (B,) are known."""
    if budget < 1:
        raise ValueError(f"budget: expected at least 1 forward pass a clip, got {budget}; 2000 prove most clips")
    order, ids = MaskOrder(clips.shape[2], recipe, perturbation), check_ids(ids, len(clips))
    share = TREE_SHARE if order.one_source and hasattr(model, "step") else max(SHARE, batch_size or 0)

    def score(row: int, masks: Tensor) -> list[float]:
        clip, target = clips[row : row + 1], targets[row : row + 1]
        scores = score_table(model, clip, masks.to(clip), target, recipe, perturbation, batch_size)  # (1, N)
        check_finite(scores, ids[row : row + 1], "under a mask")
        return scores[0].tolist()

    searches = [_Search(order, clip, original, budget, share) for clip, original in
                zip(clips, originals.tolist(), strict=True)]
    bar = tqdm(searches, desc="exact masks", unit="clip", disable=NO_BAR if progress is None else not progress)
    with frozen_eval(model), contextlib.suppress(KeyboardInterrupt), bar:  # each search gives what it knows so far
        for row, search in enumerate(bar):
            search.run(functools.partial(score, row))
    losses, codes, scores, bounds = zip(*((*search.best, search.bound()) for search in searches), strict=True)
    proven = [bound == loss for bound, loss in zip(bounds, losses, strict=True)]
    losses, scores, bounds = originals.new_tensor([losses, scores, bounds])
    ties = [order.masks(code for loss, code, _ in sorted(search.scored.values()) if loss <= search.best[0] + TIE)
            .to(originals) for search in searches]
    forwards = torch.tensor([len(search.scored) for search in searches], device=clips.device)
    return ExactResult(order.masks(codes).to(originals), losses, scores, originals, targets, bounds,
                       torch.tensor(proven, device=clips.device), forwards, ties, perturbation, recipe)


@functools.lru_cache(maxsize=16)
class MaskOrder:
    """The masks of T frames by cost, a mask held as its code, the sum of m[t]*2^t.

    A table holds, for each frame and state of an automaton, the ways to go on by what they add to (n, v). So masks are
    counted without being made, and walked through in O(T) memory. Of masks with the same effect on every clip only the
    cheapest is there: under freeze frame 0 has none, and one frame alone cannot be reversed.
    """

    def __init__(self, num_frames: int, recipe: MaskRecipe, perturbation: str):
        if perturbation not in perturb.names():
            raise ValueError(f"perturbation: expected one of {', '.join(perturb.names())}, got {perturbation!r}")
        if min(recipe.lambda1, recipe.lambda2) < 0:
            raise ValueError(f"recipe: expected lambda1 and lambda2 of at least 0, got {recipe}; search with gradients")
        self.num_frames, self.recipe, self.perturbation = num_frames, recipe, perturbation
        self.one_source = perturbation in ("freeze", "reverse")  # each frame shown is one frame of the clip
        inner = [(t > 1) + (t < num_frames - 1) for t in range(1, num_frames)]  # weights of the edges before frames
        self.edges = [2] * (num_frames + 1) if recipe.border == "even" else [0, *inner, 0]
        self.moves = [[self._moves(t, state) for state in (OFF, ONCE, ON)] for t in range(num_frames)]
        self.follow = [({(0, 0): 1}, {}, {(0, self.edges[-1]): 1})]  # by frame, state and (n, v): ways to go on
        for moves in reversed(self.moves):
            counts = (Counter(), Counter(), Counter())
            for state in (OFF, ONCE, ON):
                for after, n, v in moves[state].values():
                    for (more_n, more_v), count in self.follow[0][after].items():
                        counts[state][n + more_n, v + more_v] += count
            self.follow.insert(0, counts)
        self.cells = sorted((self._price(*cell), cell) for cell in self.follow[0][OFF])

    def _price(self, n: int, v: int) -> float:
        return self.recipe.lambda1 * n + self.recipe.lambda2 * v

    def _moves(self, t: int, state: int) -> dict[int, tuple[int, int, int]]:
        """What frame t can be after a state: {m[t]: (next state, frames on, weighted edges)}."""
        edge, freeze = self.edges[t], self.perturbation == "freeze"
        off, on = (OFF, 0, edge if state else 0), (ON, 1, 0 if state else edge)
        if freeze and t == 0:  # changes no clip, so it is off and priced with frame 1
            return {0: off}
        if freeze and t == 1 and self._price(2, self.edges[0]) < self._price(1, edge):
            on = (ON, 2, self.edges[0])
        if self.perturbation == "reverse" and state == OFF:
            on = (ONCE, 1, edge)
        return {1: on} if state == ONCE else {0: off, 1: on}

    def count(self, cost: float) -> int:
        """How many masks cost less."""
        return sum(self.follow[0][OFF][cell] for price, cell in self.cells if price < cost)

    def cost(self, code: int) -> float:
        """What a mask costs; infinite where another mask stands for its clip."""
        state, n, v = OFF, 0, 0
        for t, moves in enumerate(self.moves):
            if (bit := code >> t & 1) not in moves[state]:
                return math.inf
            state, more_n, more_v = moves[state][bit]
            n, v = n + more_n, v + more_v
        return min((self._price(n, v + end) for _, end in self.follow[-1][state]), default=math.inf)

    def walk(self) -> Iterator[tuple[float, int]]:
        """(cost, code) of every mask, by cost."""
        for price, cell in self.cells:
            stack = [(0, OFF, *cell, 0)]
            while stack:
                t, state, n, v, code = stack.pop()
                if t == self.num_frames:
                    yield price, code
                    continue
                for bit, (after, dn, dv) in reversed(self.moves[t][state].items()):
                    if (n - dn, v - dv) in self.follow[t + 1][after]:
                        stack.append((t + 1, after, n - dn, v - dv, code | bit << t))

    def masks(self, codes: Iterable[int]) -> Tensor:
        """The masks (N,T) of zeros and ones."""
        return torch.tensor([[code >> t & 1 for t in range(self.num_frames)] for code in codes]).float()


class _Search:
    """The search for one clip; `scored` holds (loss, code, score) for each different perturbed clip."""

    def __init__(self, order: MaskOrder, clip: Tensor, original: float, budget: int, share: int):
        self.order, self.budget, self.share = order, budget, share
        self.same = torch.unique(clip.transpose(0, 1).flatten(1), dim=0, return_inverse=True)[1].cpu()  # (T,)
        self.still = order.one_source and not self.same.any()  # all frames are equal
        self.best = original, 0, original  # loss, code, score
        self.scored = dict.fromkeys(self.keys([0]), self.best)

    def keys(self, codes: Sequence[int]) -> list[bytes]:
        """What tells the perturbed clips apart: the frame of the clip that each frame shows, equal frames merged."""
        order = self.order
        mixing = perturb.time_mixing(order.perturbation, order.masks(codes), order.recipe.reverse_threshold)
        shares = mixing @ nn.functional.one_hot(self.same).to(mixing)  # (N, T, different frames)
        return [row.tobytes() for row in (shares.argmax(2).short() if order.one_source else shares).numpy()]

    def run(self, score: Callable[[Tensor], list[float]]) -> None:
        """Windows by cost, then flips of the best mask, until all that is left fits the budget; then all by cost."""
        bits = [1 << t for t in range(self.order.num_frames + 1)]
        center, candidates = None, self._open(last - first for first, last in combinations(bits, 2))
        while self.order.count(self.best[0]) > self.budget - len(self.scored):
            if not (done := self._score_next(candidates, score)) and center == self.best[1]:
                break
            if not done or center not in (None, self.best[1]):
                center = self.best[1]
                candidates = self._open(center ^ a ^ b for a, b in combinations([0, *bits[:-1]], 2))
        walk = self._open()
        while self._score_next(walk, score):
            pass

    def bound(self) -> float:
        """The cost of the first mask that was not scored, at most the best loss."""
        if not all(-TIE <= score <= 1 + TIE for *_, score in self.scored.values()):
            return -math.inf  # the score is no probability, and no cost bounds a loss
        for _, cost, _ in self._open():
            return cost
        if self.still or self.order.count(self.best[0]) <= MAX_VISITS:
            return self.best[0]
        return max(price for price, _ in self.order.cells if self.order.count(price) <= MAX_VISITS)

    def _open(self, codes: Iterable[int] | None = None) -> Iterator[tuple[bytes, float, int]]:
        """(key, cost, code) of these masks, or of all, by cost, that can still be best and give a new clip."""
        candidates = self.order.walk() if codes is None else sorted((self.order.cost(code), code) for code in codes)
        candidates = islice(candidates, 0 if self.still else MAX_VISITS)
        while group := list(islice(candidates, GROUP)):
            for (cost, code), key in zip(group, self.keys([code for _, code in group]), strict=True):
                if cost >= self.best[0]:
                    return
                if key not in self.scored:
                    yield key, cost, code

    def _score_next(self, candidates: Iterator[tuple[bytes, float, int]], score: Callable) -> bool:
        """Score the next open candidates; False where none is left or the budget is spent."""
        size, batch = min(self.share, self.budget - len(self.scored)), {}
        while len(batch) < size and (candidate := next(candidates, None)):
            batch.setdefault(candidate[0], candidate[1:])
        if batch:
            costs, codes = zip(*batch.values(), strict=True)
            scores = score(self.order.masks(codes))
            rows = [(cost + score, code, score) for cost, code, score in zip(costs, codes, scores, strict=True)]
            self.best = min(self.best, *rows)
            self.scored.update(zip(batch, rows, strict=True))
        return bool(batch)
