"""Binary masks in the order of their cost lambda1*n + lambda2*v, never all 2^T at once.

An automaton runs over the frames, and a table counts for each frame and state the ways to go on, by what they add to
(n, v), frames on and weighted edges. So masks are counted without being made, and a depth-first walk meets no dead end
and takes O(T) memory. Of masks that give the same perturbed clip of any frames only the cheapest is there: under freeze
frame 0 has no effect, and one frame alone cannot be reversed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from interp.core import perturb
from interp.recipes import MaskRecipe

OFF, ONCE, ON = range(3)  # states: not on, on for the first frame of a reversed run, on


@functools.lru_cache(maxsize=16)
def mask_order(num_frames: int, recipe: MaskRecipe, perturbation: str) -> MaskOrder:
    """The order, made once for each T, recipe and perturbation."""
    return MaskOrder(num_frames, recipe, perturbation)


class MaskOrder:
    """The masks of T frames by cost; a mask is held as its code, the sum of m[t]*2^t."""

    def __init__(self, num_frames: int, recipe: MaskRecipe, perturbation: str):
        if perturbation not in perturb.names():
            raise ValueError(f"perturbation: expected one of {', '.join(perturb.names())}, got {perturbation!r}")
        if min(recipe.lambda1, recipe.lambda2) < 0:
            raise ValueError(f"recipe: expected lambda1 and lambda2 of at least 0, got {recipe.lambda1} and "
                             f"{recipe.lambda2}; with a negative one no bound holds, so search with gradients")
        self.num_frames, self.recipe, self.perturbation = num_frames, recipe, perturbation
        self.one_source = perturbation in ("freeze", "reverse")  # each frame shown is one frame of the clip
        inner = [(t > 1) + (t < num_frames - 1) for t in range(1, num_frames)]
        even = recipe.border == "even"
        self.edges = [2] * (num_frames + 1) if even else [0, *inner, 0]  # before each frame, and at the clip's end
        self.steps = [[self._steps(t, state) for state in (OFF, ONCE, ON)] for t in range(num_frames)]
        self.follow = [({(0, 0): 1}, {}, {(0, self.edges[-1]): 1})]
        for steps in reversed(self.steps):
            counts = (Counter(), Counter(), Counter())
            for state, moves in enumerate(steps):
                for _, after, n, v in moves:
                    for (more_n, more_v), count in self.follow[0][after].items():
                        counts[state][n + more_n, v + more_v] += count
            self.follow.insert(0, counts)
        self.cells = sorted((self.price(*cell), cell) for cell in self.follow[0][OFF])

    def price(self, n: int, v: int) -> float:
        """What n frames on and v weighted edges cost."""
        return self.recipe.lambda1 * n + self.recipe.lambda2 * v

    def _steps(self, t: int, state: int) -> list[tuple[int, int, int, int]]:
        """What frame t can be after a state: (bit, next state, frames on, weighted edges)."""
        edge = self.edges[t]
        off, on = (0, OFF, 0, edge if state else 0), (1, ON, 1, 0 if state else edge)
        if self.perturbation == "freeze" and t == 0:  # frame 0 changes no clip, so it is off and priced with frame 1
            return [off]
        if self.perturbation == "freeze" and t == 1 and self.price(2, self.edges[0]) < self.price(1, edge):
            on = (1, ON, 2, self.edges[0])
        if self.perturbation == "reverse" and state == OFF:
            on = (1, ONCE, 1, edge)
        return [on] if state == ONCE else [off, on]  # one frame alone cannot be reversed

    def count(self, cost: float) -> int:
        """How many masks cost less; no model is needed."""
        return sum(self.follow[0][OFF][cell] for price, cell in self.cells if price < cost)

    def cost(self, code: int) -> float:
        """What a mask costs; infinite where another mask stands for its clip."""
        state, n, v = OFF, 0, 0
        for t, moves in enumerate(self.steps):
            move = next((move for move in moves[state] if move[0] == code >> t & 1), None)
            if move is None:
                return float("inf")
            state, n, v = move[1], n + move[2], v + move[3]
        return min((self.price(n, v + end) for _, end in self.follow[-1][state]), default=float("inf"))

    def walk(self) -> Iterator[tuple[float, int]]:
        """(cost, code) of every mask, by cost."""
        for price, cell in self.cells:
            stack = [(0, OFF, *cell, 0)]
            while stack:
                t, state, n, v, code = stack.pop()
                if t == self.num_frames:
                    yield price, code
                    continue
                for bit, after, dn, dv in reversed(self.steps[t][state]):
                    if (n - dn, v - dv) in self.follow[t + 1][after]:
                        stack.append((t + 1, after, n - dn, v - dv, code | bit << t))

    def masks(self, codes: Iterable[int]) -> Tensor:
        """The masks (N,T) of zeros and ones."""
        return torch.tensor([[code >> t & 1 for t in range(self.num_frames)] for code in codes]).float()

    def mixing(self, masks: Tensor) -> Tensor:
        """The time-mixing matrices (N,T,T) of masks."""
        return perturb.time_mixing(self.perturbation, masks, self.recipe.reverse_threshold)
