"""Scores of a classifier on a dataset: top-1, top-5, F1 per class, and the same with the input reversed in
time.

Source: the paper's Table 1 (ACCV 2020). Axes: frames (B,T,H,W,3) uint8 from the dataset, clips (B,C,T,H,W)
into the model, logits (B,K) out; ``confusion[i][j]`` counts clips of class i that were taken for class j.
Every clip is counted exactly once, on any number of processes.

>>> from interp import evaluate
>>> scores = evaluate.evaluate(model, dataset)                           # doctest: +SKIP
>>> scores["top1"], scores["macro_f1"]                                   # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from interp import distributed
from interp.augment import to_float
from interp.batches import Batches

PRECISIONS = ("auto", "bf16", "fp32")


def f1_scores(confusion: Tensor) -> Tensor:
    """F1 of each class, float64 (K,), from counts (K,K); 0 for a class that neither occurs nor is guessed."""
    confusion = confusion.double()
    hits, both = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    return torch.where(both > 0, 2 * hits / both.clamp(min=1), torch.zeros_like(hits))


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Any,
    reverse: bool = False,
    *,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    world: distributed.World | None = None,
    workers: int = 0,
    progress: bool = False,
    channels_last: bool = False,
) -> dict[str, Any]:
    """Runs the model, in eval mode, over every clip of ``dataset`` (or of a ``Batches``) once.

    Args:
        reverse: play every clip backwards in time.
        device: None takes the model's own.
        precision: "fp32" | "bf16" (autocast).
        world: the processes that share the work; each must call this.

    Returns:
        count, loss (mean cross-entropy), top1, top5 (in 0..1; top5 of fewer than 5 classes is 1), f1 (list of
        K), macro_f1 (their mean over the classes that occur), confusion (K lists of K counts). Clips without
        a label or that cannot be read are left out of the count.
    Raises:
        ValueError: no clip has a label.
    """
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    world = world or distributed.World(0, 1, torch.device(device))
    batches = dataset if isinstance(dataset, Batches) else Batches(dataset, device, workers=workers)
    num_classes = len(batches.classes)
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    sums = torch.zeros(2, dtype=torch.float64)  # cross-entropy, clips with the target among the five best
    share = list(world.share(len(batches)))
    chunks = [share[i : i + batch_size] for i in range(0, len(share), batch_size)]
    was_training = model.training
    model.eval()
    try:
        for frames, labels, _ in batches(chunks, progress="evaluate" if progress else None):
            known = labels >= 0
            clips = to_float(frames.flip(1) if reverse else frames)
            if channels_last:
                clips = channels_innermost(clips)
            with autocast(clips.device, precision):
                logits = model(clips).float()[known]
            if not len(logits):
                continue
            labels = labels[known]
            ranks = logits.topk(min(5, num_classes), 1).indices  # (B, 5)
            sums[0] += functional.cross_entropy(logits, labels, reduction="sum").double().cpu()
            sums[1] += (ranks == labels[:, None]).any(1).sum().cpu()
            flat = (labels * num_classes + ranks[:, 0]).cpu()
            confusion += torch.bincount(flat, minlength=num_classes**2).view(num_classes, num_classes)
    finally:
        model.train(was_training)
    confusion, sums = world.total(confusion), world.total(sums)
    count = int(confusion.sum())
    if not count:
        raise ValueError("no clip of the evaluation set has a label and can be read; nothing to evaluate")
    f1 = f1_scores(confusion)
    return {
        "count": count,
        "loss": float(sums[0] / count),
        "top1": float(confusion.diagonal().sum() / count),
        "top5": float(sums[1] / count),
        "f1": f1.tolist(),
        "macro_f1": float(f1[confusion.sum(1) > 0].mean()),
        "confusion": confusion.tolist(),
    }


def channels_innermost(tensor: Tensor) -> Tensor:
    """The tensor with the channels innermost in memory, if it has 4 axes (images) or 5 (clips)."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.contiguous(memory_format=layouts.get(tensor.dim(), torch.contiguous_format))


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """bf16 autocast on that device, or nothing for "fp32"."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(precision: str, device: torch.device) -> str:
    """The precision, with "auto" resolved: bf16 where the processor computes in it, else fp32. ValueError."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    known = getattr(torch.cpu, "get_capabilities", dict)()  # newer than our lower bound
    return "bf16" if known.get("avx512_bf16") or known.get("amx_bf16") else "fp32"
