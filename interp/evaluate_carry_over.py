"""Does a network that was trained on one dataset know the same classes in another: scored clip by clip.

Source: this project's own. Networks trained on generated clips are asked about real ones in the layout of
Something-Something V2 (Goyal et al., ICCV 2017). Axes: frames (T,H,W,3) uint8 from the files, clips (B,C,T,H,W).

>>> import interp
>>> from interp.evaluate_carry_over import carry_over
>>> model = interp.load("i3d", "motion")
>>> found = carry_over(model, "something")                               # doctest: +SKIP
>>> found["count"], found["top1"], found["rows"][0]["id"]                # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from interp.data import open_dataset, to_clip


@torch.no_grad()
def carry_over(
    model: nn.Module, root: Any, split: str = "validation", *, num_frames: int = 16, size: Any = 64
) -> dict[str, Any]:
    """Asks the model about every clip whose label is one of its own classes.

    Args:
        model: from (B,C,T,H,W) in [0,1] to (B,K) logits, with ``classes``, its K class names.
        root: a folder in the layout of Something-Something V2.
        num_frames, size: what the model takes.

    Returns:
        count, top1, top5 (0..1), chance (1/K), rows: for each clip id, label, guess, score (the softmax of the
        label), rank (1: the guess is the label).
    Raises:
        ValueError: the model has no class names, or no clip of the split has one of them as its label.
    """
    names = list(getattr(model, "classes", None) or ())
    if not names:
        raise ValueError("the model has no class names; set model.classes to the list of its K classes")
    dataset = open_dataset("something", root, split, num_frames=num_frames, size=size)
    wanted = [i for i, sample in enumerate(dataset.samples) if _name(dataset, sample) in names]
    if not wanted:
        raise ValueError(
            f"no clip of the {split} split in {root} has one of the model's {len(names)} classes as its label"
        )
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    rows = []
    try:
        for i in wanted:
            clip = to_clip(dataset[i][0])[None].to(device)
            scores = model(clip)[0].float().softmax(0).cpu()
            label = names.index(_name(dataset, dataset.samples[i]))
            rows.append(
                {
                    "id": dataset.ids[i],
                    "label": names[label],
                    "guess": names[int(scores.argmax())],
                    "score": float(scores[label]),
                    "rank": int((scores > scores[label]).sum()) + 1,
                }
            )
    finally:
        model.train(was_training)
    return {
        "count": len(rows),
        "top1": sum(row["rank"] == 1 for row in rows) / len(rows),
        "top5": sum(row["rank"] <= 5 for row in rows) / len(rows),
        "chance": 1 / len(names),
        "rows": rows,
    }


def _name(dataset: Any, sample: Any) -> str | None:
    return None if sample.label is None else dataset.classes[sample.label]
