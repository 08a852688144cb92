"""Optimizers, learning-rate schedules and seeds, each a function of the recipe and the step.

Source: the paper's training table (Adam, SGD with momentum; the rate halved when the validation score has not
improved for two epochs); cosine decay after Loshchilov and Hutter, "SGDR", ICLR 2017. No tensor axes.

>>> from interp import recipes
>>> schedule = Schedule(recipes.I3D_KTH, steps_per_epoch=10)
>>> [schedule.report(score) for score in (0.5, 0.4, 0.4)], schedule.rate(30)
([True, False, False], 0.004)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from interp.recipes import TrainRecipe

PATIENCE = 2  # epochs without a better score before the plateau schedule halves the rate


def mixed(*numbers: int) -> int:
    """One seed from several numbers, such that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def make_optimizer(recipe: TrainRecipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over the model's parameters.

    AdamW decays matrices and kernels only: a bias or a norm's scale has no reason to be small. Adam and SGD
    add the decay to every gradient, as the paper's code did.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate)


class Schedule:
    """The learning rate of each step, and the memory of the best score that the plateau schedule needs."""

    def __init__(self, recipe: TrainRecipe, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.total = recipe.epochs * steps_per_epoch
        self.warmup = min(round(recipe.warmup_epochs * steps_per_epoch), self.total)
        self.best: float | None = None
        self.bad, self.halvings = 0, 0

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ... of the whole run."""
        rate = self.recipe.learning_rate * 0.5**self.halvings
        if step < self.warmup:
            return rate * (step + 1) / self.warmup
        if self.recipe.schedule == "cosine":
            done = (step - self.warmup) / max(1, self.total - self.warmup)
            return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return rate

    def report(self, score: float) -> bool:
        """Tells the validation score of an epoch (higher is better); returns whether it is the best yet."""
        if self.best is None or score > self.best:
            self.best, self.bad = score, 0
            return True
        self.bad += 1
        if self.recipe.schedule == "plateau" and self.bad >= PATIENCE:
            self.halvings, self.bad = self.halvings + 1, 0
        return False

    def state(self) -> dict[str, Any]:
        """JSON-able; ``load`` takes it back."""
        return {"best": self.best, "bad": self.bad, "halvings": self.halvings}

    def load(self, state: dict[str, Any]) -> None:
        """Continues where ``state`` was taken."""
        self.best, self.bad, self.halvings = state["best"], state["bad"], state["halvings"]
