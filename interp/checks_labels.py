"""Labels permuted and retrained: a network that learned clips by heart explains itself otherwise, or the explanation
was never about what was learned.

Source: the data randomisation test of Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018. Axes: clips
(B,C,T,H,W), masks (B,T), maps (B,T',H',W').

    >>> train = permuted(training_clips, 240, seed=0)
    >>> model, accuracy = memorise(model, train, "checks/labels", epochs=40)

A copy of the network is trained from a fresh start on some of its own training clips with their labels dealt out
again, until it knows them by heart: without augmentation, dropout, weight decay or smoothed labels, which would
hinder just that. Both networks then explain clips that both have been trained on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interp import evaluate, measure, recipes, runs, train
from interp.borrow import borrowed, capacity, probabilities
from interp.checks_numbers import (
    SIMILAR,
    Outcome,
    among_strangers,
    figure,
    judged,
    mean,
    median,
    overlap,
    rank_correlation,
    said,
    verdict,
)
from interp.checks_parts import Parts, generator
from interp.checks_subject import Subject
from interp.data import to_clip
from interp.data.truth import interval_mask

CLIPS, EPOCHS = 240, 40  # measured: both shipped networks know 240 clips by heart by then
BATCH = 16  # clips a step: few clips give few steps
WATCHED = 48  # clips on which the training's progress is told
MEMORISED = 0.95  # accuracy from which on the labels count as known by heart


class Missing(ValueError):
    """The check cannot be made from what is at hand; the others can."""


class Permuted:
    """A dataset's clips with other labels: `[i]` -> (frames, labels[i], i)."""

    def __init__(self, dataset: Any, labels: list[int]):
        self.dataset, self.labels = dataset, labels
        self.classes, self.ids, self.name = list(dataset.classes), list(dataset.ids), f"{dataset.name}, labels permuted"
        self.samples, self.num_frames = dataset.samples, dataset.num_frames

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        frames, _, _ = self.dataset[index]
        return frames, self.labels[index], index

    def subset(self, indices) -> Permuted:
        """The same with the clips at `indices` only."""
        chosen = [int(i) for i in indices]
        return Permuted(self.dataset.subset(chosen), [self.labels[i] for i in chosen])


def labels(subject: Subject, parts: Parts, *, clips: int = CLIPS, epochs: int = EPOCHS, folder: Path | None = None,
           permuted_model: nn.Module | None = None, workers: int = 0) -> Outcome:
    """Rank correlation of masks and maps with those of a network trained on permuted labels, each network asked about
    its own guess; and, where it is known, how well both agree with the interval.

    permuted_model: such a network, trained already on the same labels. folder: where one is trained, and an interrupted
    training goes on. `Missing` where there are no training clips, or nobody knows how the network was trained.
    """
    if subject.train is None:
        raise Missing("the run's data has no training clips at hand, which the check needs; name the folder "
                      "that holds them with --root, or leave this check out")
    taught = permuted(subject.train, clips, subject.seed)
    device, given = next(subject.model.parameters()).device, permuted_model is not None
    if permuted_model is None:
        folder = folder or parts.folder / "training"
        permuted_model = memorise(subject.model, taught, folder, epochs, subject.seed, workers)
    elif _built(permuted_model) != _built(subject.model):
        raise ValueError("the network of permuted labels is built otherwise than the run's own; train one of its kind")
    permuted_model = permuted_model.to(device)
    known_by_heart = parts("accuracy", lambda: evaluate.evaluate(permuted_model, taught)["top1"])
    shown = taught.subset(runs.choose(taught, len(subject.ids), subject.seed))
    asked = _about(subject, shown)
    guesses = {name: _guesses(asked, model) for name, model in (("true", subject.model), ("permuted", permuted_model))}
    found, maps = {}, {}
    for name, model in (("true", subject.model), ("permuted", permuted_model)):
        def make(name=name, model=model):
            return asked.search(model=model, explained=guesses[name])

        found[name] = torch.tensor(parts(f"masks-{name}", make))
        maps[name] = asked.maps(model, guesses[name]).flatten(1).numpy()
    values: dict[str, Any] = {
        "masks": rank_correlation(found["true"], found["permuted"]),
        "maps": rank_correlation(maps["true"], maps["permuted"]),
        "overlap": overlap(found["true"], found["permuted"]),
        "same_guess": (guesses["true"] == guesses["permuted"]).float(),
        **{f"{name}_length": measure.length(own) for name, own in found.items()}}  # fmt: skip
    if asked.known is not None:
        for name, own in found.items():
            values |= {f"{name}_agreement": measure.agreement(own, asked.known),
                       f"{name}_chance": measure.chance_agreement(own, asked.known)}  # fmt: skip
    numbers: dict[str, Any] = {key: mean(own, asked.classes) for key, own in values.items()}
    numbers |= {"accuracy": known_by_heart, "train_clips": len(taught), "epochs": None if given else epochs,
                "kept": _kept(subject.train, taught),
                "median": {kind: median(values[kind]) for kind in ("masks", "maps")},
                "chance": {"masks": among_strangers(found["true"]), "maps": among_strangers(maps["true"])}}  # fmt: skip
    per_clip = {"ids": asked.ids, **{key: own.tolist() for key, own in values.items()}}
    return Outcome(numbers, per_clip, {kind: _judge(kind, numbers) for kind in ("masks", "maps")})


def permuted(dataset: Any, count: int, seed: int = 0) -> Permuted:
    """`count` of the dataset's clips, as equally over the classes as it goes, with their labels dealt out again: the
    same number of each, the same for the same seed. About one clip in K keeps its label by luck."""
    part = dataset.subset(runs.choose(dataset, count, seed))
    own = [sample.label for sample in part.samples]
    if None in own:
        raise Missing(f"some clips of {dataset.name} have no label, so there is nothing to permute")
    order = torch.randperm(len(own), generator=generator(seed, "labels")).tolist()
    return Permuted(part, [own[i] for i in order])


def memorise(model: nn.Module, taught: Any, folder: str | Path, epochs: int = EPOCHS, seed: int = 0,
             workers: int = 0) -> nn.Module:
    """A fresh network of the model's kind, trained on `taught` by the model's own recipe without what hinders
    learning by heart; goes on with a training that was interrupted."""
    from interp.models import build
    from interp.models.weights import read

    record, config = (getattr(model, key, None) or {} for key in ("record", "config"))
    if "model" not in config or not record.get("recipe"):
        raise Missing(f"{type(model).__name__} does not say how it was trained; train one on permuted labels "
                      "(checks_labels.permuted gives them) and name it with --permuted")
    recipe = recipes.from_dict(record["recipe"])
    plainly = {"augment": False, "dropout": 0.0, "label_smoothing": 0.0, "weight_decay": 0.0}
    recipe = recipes.change(recipe, name=f"{recipe.name}_permuted", epochs=epochs,
                            batch_size=min(BATCH, recipe.batch_size), **plainly)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build(config | {"dropout": 0.0, "num_classes": len(taught.classes)})
    watched = taught.subset(range(min(WATCHED, len(taught))))
    device = str(next(model.parameters()).device)
    with contextlib.redirect_stdout(sys.stderr):  # its lines are progress; stdout is for verdicts
        train.train(recipe, taught, watched, folder, resume=True, device=device, workers=workers, seed=seed,
                    model=fresh)  # fmt: skip
    return read(Path(folder) / "best.safetensors")


def _about(subject: Subject, shown: Permuted) -> Subject:
    """The subject with the training clips in place of its own."""
    truths = [sample.meta.get("truth") for sample in shown.samples]
    known = None
    if all(truths):
        known = torch.stack([torch.from_numpy(interval_mask(one, shown.num_frames)) for one in truths])
    names = [shown.classes[sample.label] for sample in shown.samples]
    clips = torch.stack([to_clip(shown[i][0]) for i in range(len(shown))])
    blank = torch.zeros(len(clips), clips.shape[2])
    return dataclasses.replace(subject, clips=clips, ids=list(shown.ids), classes=names, known=known,
                               explained=torch.zeros(len(clips), dtype=torch.long), originals=blank[:, 0], masks=blank,
                               windows=None, _tables={})  # fmt: skip


def _guesses(subject: Subject, model: nn.Module) -> torch.Tensor:
    with borrowed(model) as device:
        most = capacity(model, subject.clips, device, subject.chunk)
        return probabilities(model, subject.clips, device, most, subject.ids).argmax(dim=1)


def _judge(kind: str, numbers: dict) -> dict[str, str]:
    enough = numbers["accuracy"] >= MEMORISED
    middle = numbers["median"][kind]
    good = (middle < SIMILAR) if enough and middle == middle else None
    sentence = (
        f"a network that knows {numbers['train_clips']} clips with permuted labels by heart (accuracy "
        f"{figure(numbers['accuracy'])}) has {kind} whose median rank correlation with the true network's is "
        f"{figure(middle)}; {kind} of two different clips have {figure(numbers['chance'][kind])}. The rule: below "
        f"{SIMILAR}, with an accuracy of at least {MEMORISED}.")  # fmt: skip
    if kind == "masks" and "true_agreement" in numbers:
        told = [f"{said(numbers[f'{name}_agreement'])}, by chance {figure(numbers[f'{name}_chance']['mean'])}, with "
                f"masks of {figure(numbers[f'{name}_length']['mean'], 1)} frames" for name in ("true", "permuted")]
        sentence += (f" Agreement with the known interval: {told[0]}, for the true network; {told[1]}, for the one of "
                     "permuted labels.")  # fmt: skip
    return verdict(judged(good), sentence)


def _kept(dataset: Any, taught: Permuted) -> int:
    """How many clips have kept their label."""
    return sum(sample.label == label for sample, label in zip(taught.samples, taught.labels, strict=True))


def _built(model: nn.Module) -> dict[str, Any]:
    """How the network is built, without what learning by heart changes."""
    config = getattr(model, "config", None) or {}
    return {key: value for key, value in config.items() if key not in ("dropout", "num_classes")}
