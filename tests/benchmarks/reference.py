"""Rivals of the mask search, written for the benchmark from the facts that the paper's page gives of its code.

Source: the defects of the released loop as listed in the book, and the loss and the freeze of Mänttäri, Broomé
et al., ACCV 2020. Axes: clips (B,C,T,H,W), masks (T,).

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 2 * 2, 5))
    >>> len(released(model, torch.rand(16, 3, 4, 2, 2), 0, 1, torch.zeros(4), steps=2))
    2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LAMBDA1, LAMBDA2, RATE = 0.01, 0.02, 0.2


def frozen(clips: Tensor, mask: Tensor) -> Tensor:
    """Freeze, frame after frame as it is defined: p[t] = (1-m[t]) x[t] + m[t] p[t-1]."""
    frames = [clips[:, :, 0]]
    for t in range(1, clips.shape[2]):
        frames.append((1 - mask[t]) * clips[:, :, t] + mask[t] * frames[-1])
    return torch.stack(frames, dim=2)


def loss_of(model: nn.Module, clips: Tensor, place: int, target: int, logits: Tensor) -> Tensor:
    """The paper's loss of the clip at `place`, of which all of `clips` are forwarded."""
    mask = logits.sigmoid()
    steps = mask.diff().abs() ** 3
    score = model(frozen(clips, mask)).softmax(1)[place, target]
    return LAMBDA1 * mask.abs().sum() + LAMBDA2 * (steps[:-1].sum() + steps[1:].sum()) + score


def released(model: nn.Module, clips: Tensor, place: int, target: int, start: Tensor,
             steps: int) -> list[float]:
    """One clip's mask as the released loop finds it: the batch of 16 forwarded, gradients to all weights,
    anomaly detection, no stop. Gives the losses."""
    logits = start.clone().requires_grad_()
    adam, losses = torch.optim.Adam([logits], lr=RATE), []
    for weight in model.parameters():
        weight.requires_grad_(True)
    try:
        for _ in range(steps):
            with torch.autograd.detect_anomaly(check_nan=True):
                loss = loss_of(model, clips, place, target, logits)
                adam.zero_grad()
                loss.backward()
            adam.step()
            losses.append(loss.item())
    finally:
        for weight in model.parameters():
            weight.grad = None
            weight.requires_grad_(False)
    return losses


def single(model: nn.Module, clips: Tensor, place: int, target: int, start: Tensor,
           steps: int) -> list[float]:
    """The same without its waste: this clip alone, gradients to its mask alone. Gives the losses."""
    logits = start.clone().requires_grad_()
    adam, losses, clip = torch.optim.Adam([logits], lr=RATE), [], clips[place : place + 1]
    for _ in range(steps):
        loss = loss_of(model, clip, 0, target, logits)
        (logits.grad,) = torch.autograd.grad(loss, logits)
        adam.step()
        losses.append(loss.item())
    return losses


def both_passes(model: nn.Module, clips: Tensor, targets: Tensor) -> Tensor:
    """The floor: forward, and backward to the clips alone; gives their gradient."""
    leaf = clips.detach().requires_grad_()
    scores = model(leaf).softmax(1).gather(1, targets[:, None])
    return torch.autograd.grad(scores.sum(), leaf)[0]
