"""Scores of a classifier: top-1, top-5, F1 of each class, the same with clips reversed in time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from interp.core.inference import frozen_eval
from interp.data.dataset import to_clip
from interp.data.loader import ClipLoader

from .distributed import World


def evaluate(model: nn.Module, dataset: Any, reverse: bool = False, *, batch_size: int = 32, precision: str = "fp32",
             world: World | None = None) -> dict[str, Any]:
    """Run the model, in eval mode, over every clip once.

    Args:
        model: from clips (B,C,T,H,W) to logits (B,K), already on its device.
        dataset: a VideoDataset, or a ClipLoader. reverse: play every clip backwards in time.
        precision: "fp32" or "bf16" (autocast). world: the processes that share the work; each calls this.

    Returns:
        count, loss (mean cross-entropy), top1, top5 (in 0..1), f1 (list of K), macro_f1 (their mean over the classes
        that occur), confusion (of class i, classified as j). Clips without a label or that cannot be read do not count.
    """
    with frozen_eval(model) as device, torch.no_grad():
        world = world or World(0, 1, device or torch.device("cpu"))
        loader = dataset if isinstance(dataset, ClipLoader) else ClipLoader(dataset, world.device, keep="none")
        num_classes = len(loader.classes)
        confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=world.device)
        sums = torch.zeros(2, dtype=torch.float64, device=world.device)  # cross-entropy, hits among five
        indices = list(range(world.rank, len(loader), world.size))
        for frames, labels, _ in loader([indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]):
            clips = to_clip(frames.flip(1) if reverse else frames)
            with torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = model(clips).float()
            top5 = logits.topk(min(5, num_classes), dim=1).indices  # (B, 5)
            sums[0] += F.cross_entropy(logits, labels, reduction="sum", ignore_index=-1)
            sums[1] += (top5 == labels[:, None]).any(1).sum()
            pairs = labels.clamp(min=0) * num_classes + top5[:, 0]
            confusion.scatter_add_(0, pairs, (labels >= 0).long())
    loss, in_top5 = world.total(sums).tolist()
    confusion = world.total(confusion).cpu().view(num_classes, num_classes)
    count = int(confusion.sum())
    if not count:
        raise ValueError("no clip of the evaluation set has a label and can be read; nothing to evaluate")
    total = (confusion.sum(0) + confusion.sum(1)).double()
    f1 = 2 * confusion.diagonal() / total.clamp(min=1)  # 0 for a class that neither occurs nor is predicted
    return {"count": count, "loss": loss / count, "top1": int(confusion.diagonal().sum()) / count,
            "top5": in_top5 / count, "f1": f1.tolist(), "macro_f1": float(f1[confusion.sum(1) > 0].mean()),
            "confusion": confusion.tolist()}
