"""The masks beside others: random ones, baselines without a search, and searches with one thing changed."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import torch
from torch import Tensor

from interp.core.masks import Stop, central_start
from interp.core.windows import best_windows, penalty
from interp.study import measures
from interp.study.sanity.sample import EvaluationSample, Missing, seeded

DRAWN = 100  # random masks of each kind for a clip
BEATEN = 0.95  # share of the random masks that a mask must beat: the usual one in twenty may be luck
KEPT = 0.9  # share of the soft mask's drop that the binary mask must keep, as the paper's central start does
FEW = 0.1  # share of clips that may keep less
STARTS = 5  # random starts of each clip
SAME = 0.05  # share by which a loss may lie above the least one and count as found again
ALIKE = 0.7  # intersection over union; two masks of six frames that lie one frame apart have 5/7 = 0.71


def random_masks_test(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """The share of random masks, as long as the binary mask, whose score and loss are higher."""
    masks, scores = sample.binary_masks, sample.scores(sample.binary_masks)
    lengths, losses = measures.length(masks), sample.losses(masks, scores)
    alone = (lengths == 0) | (lengths == masks.shape[1])  # no other mask has this length
    values, beaten, by_loss = {"found": scores, "length": lengths}, {}, {}
    drawn = [random_masks(mask, seeded(sample.seed, f"lot:{name}"))  # the purpose as in the shipped record
             for mask, name in zip(masks, sample.ids, strict=True)]  # fmt: skip
    for kind, others in zip(("scattered", "runs"), map(torch.stack, zip(*drawn, strict=True)), strict=True):
        other_scores = sample.scores(others)  # (B, DRAWN)
        other_losses = torch.stack([penalty(rows, sample.recipe) for rows in others]) + other_scores
        row = {"score": other_scores.mean(dim=1), "share": share_beaten(scores, other_scores),
               "loss": share_beaten(losses, other_losses)}  # fmt: skip
        row = {key: torch.where(alone, torch.nan, value) for key, value in row.items()}
        beaten[kind], by_loss[kind] = row["share"].nanquantile(0.5), row["loss"].nanquantile(0.5)
        values |= {f"{key}_{kind}": value for key, value in row.items()}
    numbers = {"beaten": beaten, "beaten_by_loss": by_loss, "drawn": DRAWN, "left_out": alone.sum()}
    return numbers, values, {"masks": None if alone.all() else bool(min(beaten.values()) >= BEATEN)}


def baselines(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """The binary mask beside the central start, the best window and the frames of the largest difference."""
    lengths = measures.length(sample.binary_masks).tolist()
    arguments = {"model": sample.model, "clips": sample.clips, "targets": sample.explained, "recipe": sample.recipe,
                 "batch_size": sample.batch_size}  # fmt: skip
    masks = {"found": sample.binary_masks, "central": (central_start(**arguments) > 0).float(),
             "window": best_windows(**arguments, only_best=True).masks,
             "difference": torch.stack([*map(difference_window, sample.clips, lengths)])}  # fmt: skip
    values = {}
    for name, rows in masks.items():
        scores = sample.scores(rows)
        values |= {f"{name}_score": scores, f"{name}_loss": sample.losses(rows, scores),
                   f"{name}_length": measures.length(rows)}  # fmt: skip
        if sample.known is not None:
            values[f"{name}_agreement"] = measures.agreement(rows, sample.known)
            values["chance_agreement"] = measures.chance_agreement(sample.binary_masks, sample.known)
    gaps = {f"{key}_to_{name}": values[f"found_{key}"] - values[f"{name}_{key}"]
            for name in masks if name != "found" for key in ("score", "loss", "agreement") if f"{name}_{key}" in values}
    numbers = sample.means(values | gaps)
    rule = numbers["loss_to_central"], numbers["score_to_difference"]
    passed = all(gap["high"] < 0 for gap in rule) or (False if any(gap["low"] > 0 for gap in rule) else None)
    return numbers, values, {"masks": passed}


def binary_masks_test(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """How much of the soft mask's drop is left under the binary mask, which is shown."""
    soft, binary = sample.scores(sample.masks), sample.scores(sample.binary_masks)
    kept = (sample.originals - binary) / (sample.originals - soft)
    kept = torch.where(sample.originals > soft, kept, torch.nan)
    less = torch.where(kept.isnan(), torch.nan, (kept < KEPT).float())
    numbers = sample.means({"soft_score": soft, "snapped_score": binary, "less": less})
    numbers |= {"kept": kept.nanquantile(0.5), "left_out": kept.isnan().sum()}
    passed = numbers["less"]["mean"] <= FEW if numbers["less"]["clips"] else None
    return numbers, {"original": sample.originals, "soft": soft, "snapped": binary, "kept": kept}, {"masks": passed}


def starts(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """Masks of searches from random starts, beside those from the central start and from the best window."""
    if sample.exact:
        raise Missing("an exact search has no start")
    stop = Stop(patience=30, tolerance=0.01, minimum=60)  # from a random start the loss falls in stairs
    masks = [_search(sample, f"random-{k}", start="random", generator=seeded(sample.seed, f"start:{k}"), stop=stop)
             for k in range(STARTS)]  # fmt: skip
    losses = torch.stack([sample.losses(rows) for rows in masks])  # (STARTS, B)
    overlaps = torch.stack([overlap(a, b) for a, b in combinations(masks, 2)])
    chance = torch.stack([measures.chance_agreement(a, b > 0.5) for a, b in combinations(masks, 2)])
    least, best = losses.min(dim=0)
    best_masks = torch.stack(masks)[best, torch.arange(len(best))]
    values = {"overlap": overlaps.mean(0), "chance": chance.mean(0), "least": least, "spread": losses.amax(0) - least}
    for name, rows in (("central", _search(sample, "central", start="central", stop=stop)),
                       ("window", _search(sample, "unchanged"))):  # fmt: skip
        values |= {f"{name}_loss": sample.losses(rows), f"{name}_overlap": overlap(rows, best_masks)}
        values[f"{name}_no_worse"] = (values[f"{name}_loss"] <= least * (1 + SAME)).float()
        values[f"{name}_same"] = (values[f"{name}_overlap"] >= ALIKE).float()
    numbers = sample.means(values)
    return numbers, values, {"masks": numbers["overlap"]["mean"] >= ALIKE}


def lambdas(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """lambda1, the price of a frame, and lambda2, that of an edge, each halved and doubled."""
    changes = {}
    for key in ("lambda1", "lambda2"):
        for word, factor in (("halved", 0.5), ("doubled", 2.0)):
            recipe = dataclasses.replace(sample.recipe, **{key: factor * getattr(sample.recipe, key)})
            changes[f"{key} {word}"] = {"recipe": recipe}
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
    num_frames = clip.shape[1]
    peak = int(clip.diff(dim=1).abs().mean(dim=(0, 2, 3)).argmax()) + 1 if num_frames > 1 else 0
    first = min(max(peak - length // 2, 0), num_frames - length)
    time = torch.arange(num_frames)
    return ((time >= first) & (time < first + length)).float()


def random_masks(mask: Tensor, generator: torch.Generator, count: int = DRAWN) -> tuple[Tensor, Tensor]:
    """Scattered masks and single runs, each (count,T), as long as a binary mask (T,) and different where possible."""
    num_frames, length = len(mask), int(mask.sum())
    if length in (0, num_frames):
        return mask.expand(count, -1), mask.expand(count, -1)
    scattered = []
    while len(scattered) < count:
        drawn = torch.zeros(num_frames)
        drawn[torch.randperm(num_frames, generator=generator)[:length]] = 1
        if not torch.equal(drawn, mask):
            scattered.append(drawn)
    time, first = torch.arange(num_frames), torch.arange(num_frames - length + 1)[:, None]
    runs = ((time >= first) & (time < first + length)).float()
    runs = runs[(runs != mask).any(dim=1)]
    return torch.stack(scattered), runs[torch.randint(len(runs), (count,), generator=generator)]


def share_beaten(values: Tensor, others: Tensor) -> Tensor:
    """The share (B,) of the others (B,N) that are higher than the values (B,); equal ones count half."""
    return ((others > values[:, None]).float() + 0.5 * (others == values[:, None]).float()).mean(dim=1)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (B,) of the frames that are on; 1 for two masks without any."""
    empty = ~((first > 0.5) | (second > 0.5)).any(dim=1)
    return torch.where(empty, 1.0, measures.agreement(first, second > 0.5))


def _compare_searches(sample: EvaluationSample, changes: dict[str, dict]) -> tuple[dict, dict, dict]:
    """Each changed search beside the unchanged one; passed where all overlaps with it are large."""
    unchanged, numbers = _search(sample, "unchanged"), {}
    clips = {"length": measures.length(unchanged)}
    for name, change in changes.items():
        masks = _search(sample, name.replace(" ", "-") if change else "unchanged", **change)
        values = {"overlap": overlap(masks, unchanged), "length": measures.length(masks),
                  "change": measures.length(masks) - measures.length(unchanged),
                  "drop": sample.originals - sample.scores(masks, change.get("perturbation", "freeze")),
                  "strangers": measures.chance_agreement(masks, unchanged > 0.5)}  # fmt: skip
        if sample.known is not None:
            values["agreement"] = measures.agreement(masks, sample.known)
            values["chance"] = measures.chance_agreement(masks, sample.known)
        clips |= {f"{name}: {key}": value for key, value in values.items()}
        numbers[name] = sample.means(values)
    return numbers, clips, {"masks": all(number["overlap"]["mean"] >= ALIKE for number in numbers.values())}


def _search(sample: EvaluationSample, name: str, **changes) -> Tensor:
    """Soft masks (B,T), searched once for each name."""
    return torch.tensor(sample.once(f"parts/{name}", sample.search, **changes))
