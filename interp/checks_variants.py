"""Three checks that search again with one thing changed: the start, the weights of the loss, the perturbation.

Source: this project's own; loss and perturbations of Mänttäri, Broomé et al., ACCV 2020. Axes: masks (B,T), 1 =
perturbed. What a changed search is compared with is the same search `unchanged`.

    >>> outcome = lambdas(subject, Parts(None))
    >>> outcome.numbers["lambda1 halved"]["overlap"]
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import torch
from torch import Tensor

from interp import measure
from interp.checks_numbers import ALIKE, Outcome, chance_overlap, judged, mean, overlap, said, verdict
from interp.checks_parts import Parts, generator
from interp.checks_subject import Subject, unchanged
from interp.masks import Stop

STARTS = 5  # random starts for each clip
# From a random start the loss falls in stairs: a longer patience than from a good window.
RANDOM_STOP = Stop(patience=30, tolerance=0.01, minimum=60)
SAME = 0.05  # share by which a loss may lie above the least one and count as found again
CHANGES = {"lambda1 halved": ("lambda1", 0.5), "lambda1 doubled": ("lambda1", 2.0),
           "lambda2 halved": ("lambda2", 0.5), "lambda2 doubled": ("lambda2", 2.0)}  # fmt: skip
KINDS = ("freeze", "reverse", "shuffle", "blur")
RULE = f"The rule: {ALIKE} or more, which two masks of six frames have that lie one frame apart."


def starts(subject: Subject, parts: Parts) -> Outcome:
    """STARTS random starts, the central one and the best window: are their masks the same?"""
    lots = [_found(subject, parts, f"random-{k}", start="random", generator=generator(subject.seed, f"start:{k}"),
                   stop=RANDOM_STOP) for k in range(STARTS)]  # fmt: skip
    central = _found(subject, parts, "central", start="central", stop=RANDOM_STOP)
    window = unchanged(subject, parts)
    pairs = torch.stack([overlap(a["masks"], b["masks"]) for a, b in combinations(lots, 2)]).mean(dim=0)
    losses = torch.stack([one["losses"] for one in lots])  # (STARTS, B)
    least, best = losses.min(dim=0)
    best_masks = torch.stack([one["masks"] for one in lots])[best, torch.arange(len(best))]
    values = {"overlap": pairs, "spread": losses.max(dim=0).values - least, "least": least,
              "losses": losses.T, "masks": [_bars(one["masks"]) for one in (*lots, central, window)]}  # fmt: skip
    values["masks"] = [list(row) for row in zip(*values["masks"], strict=True)]
    for name, own in (("central", central), ("window", window)):
        values |= {f"{name}_loss": own["losses"], f"{name}_overlap": overlap(own["masks"], best_masks),
                   f"{name}_no_worse": (own["losses"] <= least * (1 + SAME)).float()}  # fmt: skip
    numbers = {key: mean(values[key], subject.classes) for key in values if key not in ("losses", "masks")}
    numbers["chance"] = mean(
        torch.stack([chance_overlap(a["masks"], b["masks"]) for a, b in combinations(lots, 2)]).mean(dim=0),
        subject.classes)
    for name in ("central", "window"):
        numbers[f"{name}_same"] = mean((values[f"{name}_overlap"] >= ALIKE).float(), subject.classes)
    sentence = (
        f"two of {STARTS} random starts end in masks whose overlap is {said(numbers['overlap'])} on average (one of "
        f"them laid anywhere: {numbers['chance']['mean']:.2f}); the losses of a clip's {STARTS} spread over "
        f"{said(numbers['spread'], 3)}. The best of the {STARTS} is the mask that the central start ended in for "
        f"{numbers['central_same']['mean']:.0%} of the clips, that of the best window for "
        f"{numbers['window_same']['mean']:.0%}; no worse a loss, to {SAME:.0%}, had the central start in "
        f"{numbers['central_no_worse']['mean']:.0%}, the best window in {numbers['window_no_worse']['mean']:.0%}. "
        f"{RULE}")
    good = numbers["overlap"]["mean"] >= ALIKE
    return Outcome(numbers, _lists(values), {"masks": verdict(judged(good), sentence)})


def lambdas(subject: Subject, parts: Parts) -> Outcome:
    """λ₁, the price of a frame, and λ₂, that of a piece, each halved and doubled: how far does the mask move?"""
    base, values, numbers = unchanged(subject, parts), {}, {}
    values["length"] = measure.length(base["masks"])
    for name, (key, factor) in CHANGES.items():
        recipe = dataclasses.replace(subject.recipe, **{key: factor * getattr(subject.recipe, key)})
        own = _found(subject, parts, name, recipe=recipe)
        change = (measure.length(own["masks"]) - values["length"]).float()
        alike = overlap(own["masks"], base["masks"])
        values |= {f"{name}: change": change, f"{name}: overlap": alike}
        numbers[name] = {"change": mean(change, subject.classes), "overlap": mean(alike, subject.classes)}
    told = "; ".join(f"{name} {said(one['change'], 1, '+')} frames, overlap {said(one['overlap'])}"
                     for name, one in numbers.items())
    worst = min(CHANGES, key=lambda name: numbers[name]["overlap"]["mean"])
    good = numbers[worst]["overlap"]["mean"] >= ALIKE
    numbers["length"] = mean(values["length"], subject.classes)
    sentence = (f"against masks of {said(numbers['length'], 1)} frames, {told}. The largest change is by {worst}. "
                f"{RULE}")  # fmt: skip
    sentence = sentence.replace("lambda1", "λ₁").replace("lambda2", "λ₂")
    return Outcome(numbers, _lists(values), {"masks": verdict(judged(good), sentence)})


def perturbations(subject: Subject, parts: Parts) -> Outcome:
    """Masks searched by freezing, reversing, shuffling and blurring: do they name the same frames?"""
    base, values, numbers = unchanged(subject, parts), {}, {}
    for kind in KINDS:
        own = base if kind == "freeze" else _found(subject, parts, kind, perturbation=kind)
        scores = torch.tensor(parts(f"{kind}-score", lambda own=own, kind=kind: subject.scores(own["masks"], kind)))
        values |= {f"{kind}: drop": measure.drop(subject.originals, scores),
                   f"{kind}: length": measure.length(own["masks"]),
                   f"{kind}: overlap": overlap(own["masks"], base["masks"])}  # fmt: skip
        if subject.known is not None:
            values |= {f"{kind}: agreement": measure.agreement(own["masks"], subject.known),
                       f"{kind}: chance": measure.chance_agreement(own["masks"], subject.known)}  # fmt: skip
        numbers[kind] = {key.split(": ")[1]: mean(one, subject.classes) for key, one in values.items()
                         if key.startswith(f"{kind}:")}  # fmt: skip
        numbers[kind]["strangers"] = mean(chance_overlap(own["masks"], base["masks"]), subject.classes)
    others = KINDS[1:]
    told = "; ".join(f"{kind} {said(numbers[kind]['overlap'])}, by chance {numbers[kind]['strangers']['mean']:.2f}"
                     for kind in others)
    drops = ", ".join(f"{kind} {numbers[kind]['drop']['mean']:.2f}" for kind in KINDS)
    sentence = f"overlap with the freeze masks: {told}. The drop of the score: {drops}. "
    if subject.known is not None:
        told = [f"{kind} {one['agreement']['mean']:.2f} (chance {one['chance']['mean']:.2f})"
                for kind, one in numbers.items()]
        sentence += f"Agreement with the known interval: {', '.join(told)}. "
    good = all(numbers[kind]["overlap"]["mean"] >= ALIKE for kind in others)
    sentence += RULE.removesuffix(".") + ", for each of the three."
    return Outcome(numbers, _lists(values), {"masks": verdict(judged(good), sentence)})


def _found(subject: Subject, parts: Parts, name: str, **search) -> dict[str, Tensor]:
    """Soft masks (B,T) of a search, and, where they were frozen, their losses (B,) under the run's own recipe."""

    def make() -> dict:
        masks = subject.search(**search)
        if search.get("perturbation", "freeze") != "freeze":
            return {"masks": masks}
        return {"masks": masks, "losses": subject.losses(masks, subject.scores(masks))}

    return {key: torch.tensor(one) for key, one in parts(name, make).items()}


def _bars(masks: Tensor) -> list[str]:
    """Each mask's frames as a word of 0 and 1."""
    return ["".join("01"[on] for on in row) for row in (masks > 0.5).int().tolist()]


def _lists(values: dict) -> dict[str, list]:
    return {key: own.tolist() if torch.is_tensor(own) else own for key, own in values.items()}
