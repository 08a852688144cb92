"""The masks beside others: random ones, baselines without a search, and searches with one thing changed.

Every check takes a sample and returns its numbers, the values of each clip, and whether the masks pass.
"""

import dataclasses

import torch
from torch import Tensor

from interp.core.masks import find_masks
from interp.core.windows import best_windows, penalty
from interp.study import measures
from interp.study.sanity.sample import EvaluationSample, seeded

DRAWN = 100  # random masks of each kind for a clip
BEATEN = 0.95  # share of the random masks that a mask must beat: the usual one in twenty may be luck
KEPT = 0.9  # share of the soft mask's drop that the binary mask must keep, as the paper's central start does
FEW = 0.1  # share of clips that may keep less
ALIKE = 0.7  # intersection over union; two masks of six frames that lie one frame apart have 5/7 = 0.71


def random_masks_test(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """The share of random masks, as long as the binary mask, whose score and loss are higher."""
    masks, scores = sample.binary_masks, sample.scores(sample.binary_masks)
    lengths, losses = measures.length(masks), penalty(masks, sample.recipe) + scores
    alone = (lengths == 0) | (lengths == masks.shape[1])  # no other mask has this length
    values, numbers = {"found": scores, "length": lengths}, {"beaten": {}, "beaten_by_loss": {}}
    drawn = [random_masks(mask, seeded(sample.seed, f"lot:{name}"))  # the purpose as in the shipped record
             for mask, name in zip(masks, sample.ids, strict=True)]
    for kind, others in zip(("scattered", "runs"), map(torch.stack, zip(*drawn, strict=True)), strict=True):
        other_scores = sample.scores(others)  # (B, DRAWN)
        other_losses = torch.stack([penalty(rows, sample.recipe) for rows in others]) + other_scores
        row = {"score": other_scores.mean(dim=1), "share": share_beaten(scores, other_scores),
               "loss": share_beaten(losses, other_losses)}
        row = {f"{key}_{kind}": torch.where(alone, torch.nan, value) for key, value in row.items()}
        numbers["beaten"][kind] = row[f"share_{kind}"].nanquantile(0.5)
        numbers["beaten_by_loss"][kind] = row[f"loss_{kind}"].nanquantile(0.5)
        values |= row
    passed = None if alone.all() else bool(min(numbers["beaten"].values()) >= BEATEN)
    return numbers | {"drawn": DRAWN, "left_out": alone.sum()}, values, {"masks": passed}


def baselines(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """The binary mask beside the central start, the best window and the frames of the largest difference."""
    arguments = {"model": sample.model, "clips": sample.clips, "targets": sample.explained, "recipe": sample.recipe,
                 "batch_size": sample.batch_size}
    lengths = measures.length(sample.binary_masks).tolist()
    central = find_masks(**arguments | {"recipe": dataclasses.replace(sample.recipe, iterations=1)}).starts > 0
    masks = {"found": sample.binary_masks, "central": central.float(), "window": best_windows(**arguments).masks,
             "difference": torch.stack([*map(difference_window, sample.clips, lengths)])}
    values = {}
    for name, rows in masks.items():
        scores = sample.scores(rows)
        values |= {f"{name}_score": scores, f"{name}_loss": penalty(rows, sample.recipe) + scores,
                   f"{name}_length": measures.length(rows)}
        if sample.known is not None:
            values[f"{name}_agreement"] = measures.agreement(rows, sample.known)
            values["chance_agreement"] = measures.chance_agreement(sample.binary_masks, sample.known)
    gaps = {f"{key}_to_{name}": values[f"found_{key}"] - values[f"{name}_{key}"]
            for name in ("central", "window", "difference") for key in ("score", "loss", "agreement")
            if f"{name}_{key}" in values}
    numbers = sample.means(values | gaps)
    rule = numbers["loss_to_central"], numbers["score_to_difference"]
    passed = all(gap["high"] < 0 for gap in rule) or (False if any(gap["low"] > 0 for gap in rule) else None)
    return numbers, values, {"masks": passed}


def binary_masks_test(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """How much of the soft mask's drop is left under the binary mask, which is shown."""
    soft, binary = sample.scores(sample.masks), sample.scores(sample.binary_masks)
    kept = measures.drop(sample.originals, binary, soft)
    less = torch.where(kept.isnan(), torch.nan, (kept < KEPT).float())
    numbers = sample.means({"soft_score": soft, "snapped_score": binary, "less": less})
    numbers |= {"kept": kept.nanquantile(0.5), "left_out": kept.isnan().sum()}
    passed = numbers["less"]["mean"] <= FEW if numbers["less"]["clips"] else None
    return numbers, {"original": sample.originals, "soft": soft, "snapped": binary, "kept": kept}, {"masks": passed}


def lambdas(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """lambda1, the price of a frame, and lambda2, that of an edge, each halved and doubled."""
    changes = {f"{key} {word}": {"recipe": dataclasses.replace(sample.recipe, **{key: factor * price})}
               for key, price in (("lambda1", sample.recipe.lambda1), ("lambda2", sample.recipe.lambda2))
               for word, factor in (("halved", 0.5), ("doubled", 2.0))}
    numbers, clips, passed = _compare_searches(sample, changes)
    return numbers | {"length": sample.means({"length": clips["length"]})["length"]}, clips, passed


def perturbations(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """Masks searched by freezing, reversing, shuffling and blurring."""
    kinds = ("reverse", "shuffle", "blur")
    return _compare_searches(sample, {"freeze": {}} | {kind: {"perturbation": kind} for kind in kinds})


def difference_window(clip: Tensor, length: int) -> Tensor:
    """One run (T,) of `length` frames around the frame of a clip (C,T,H,W) that differs most from the one before.

    That frame is in the middle, or one after it for an even length; near an end the run is moved inside.
    """
    runs = measures.single_runs(clip.shape[1], length)
    peak = int(clip.diff(dim=1).abs().mean(dim=(0, 2, 3)).argmax()) + 1 if clip.shape[1] > 1 else 0
    return runs[min(max(peak - length // 2, 0), len(runs) - 1)]


def random_masks(mask: Tensor, generator: torch.Generator, count: int = DRAWN) -> tuple[Tensor, Tensor]:
    """Scattered masks and single runs, each (count,T), as long as a binary mask (T,) and different where possible."""
    length = int(mask.sum())
    if length in (0, len(mask)):
        return mask.expand(count, -1), mask.expand(count, -1)
    scattered = []
    while len(scattered) < count:
        frames = torch.randperm(len(mask), generator=generator)[:length]
        if not mask[frames].all():
            scattered.append(torch.zeros(len(mask)).index_fill(0, frames, 1))
    runs = measures.single_runs(len(mask), length)
    runs = runs[(runs != mask).any(dim=1)]
    return torch.stack(scattered), runs[torch.randint(len(runs), (count,), generator=generator)]


def share_beaten(values: Tensor, others: Tensor) -> Tensor:
    """The share (B,) of the others (B,N) that are higher than the values (B,); equal ones count half."""
    return (0.5 + 0.5 * (others - values[:, None]).sign()).mean(dim=1)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (B,) of the frames that are on; 1 for two masks without any."""
    empty = ~((first > 0.5) | (second > 0.5)).any(dim=1)
    return torch.where(empty, 1.0, measures.agreement(first, second > 0.5))


def _compare_searches(sample: EvaluationSample, changes: dict[str, dict]) -> tuple[dict, dict, dict]:
    """Each changed search beside the unchanged one; passed where all overlaps with it are large."""
    unchanged, numbers = sample.unchanged, {}
    clips = {"length": measures.length(unchanged)}
    for name, change in changes.items():
        masks = sample.search(**change) if change else unchanged
        values = {"overlap": overlap(masks, unchanged), "length": measures.length(masks),
                  "change": measures.length(masks) - clips["length"],
                  "drop": sample.originals - sample.scores(masks, change.get("perturbation", "freeze")),
                  "strangers": measures.chance_agreement(masks, unchanged > 0.5)}
        if sample.known is not None:
            values["agreement"] = measures.agreement(masks, sample.known)
            values["chance"] = measures.chance_agreement(masks, sample.known)
        clips |= {f"{name}: {key}": value for key, value in values.items()}
        numbers[name] = sample.means(values)
    return numbers, clips, {"masks": all(number["overlap"]["mean"] >= ALIKE for number in numbers.values())}
