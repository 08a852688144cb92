"""Weights randomised layer by layer: an explanation that stays the same did not come from the weights.

Source: the cascading randomisation of Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018: from the
classifier down, every stage adds one block to those whose weights are random. Axes: clips (B,C,T,H,W), masks (B,T),
maps (B,T',H',W').

    >>> [name for name, _ in stages(interp.load("i3d"))][-2:]
    ['Mixed_5c', 'Logits']

A block's weights are made random by shuffling the values within each of its tensors: their scale stays, so that the
network still answers, and all that training put in place is gone. It needs nothing of a network but its tensors.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from interp.borrow import borrowed, capacity, probabilities
from interp.checks_numbers import (
    FINEST,
    SIMILAR,
    Outcome,
    among_strangers,
    figure,
    judged,
    mean,
    median,
    rank_correlation,
    verdict,
)
from interp.checks_parts import Parts, generator
from interp.checks_subject import Subject, unchanged

SETTLED = 16  # clips at once for the statistics of batch normalisation
MASKED = 3  # stages for which masks are searched too, from the first to the last: a search costs more than a map


def layers(subject: Subject, parts: Parts) -> Outcome:
    """Rank correlation of masks and maps with the trained network's, stage by stage, for the class explained on the
    trained network. Each stage's search begins at that network's own best window."""
    base = unchanged(subject, parts)["masks"]
    maps = subject.maps().flatten(1).numpy()
    blocks = [name for name, _ in stages(subject.model, subject.clips[:1])]
    masked = {round(i * (len(blocks) - 1) / max(1, MASKED - 1)) for i in range(MASKED)}
    found: dict[str, list] = {"maps": [], "masks": [], "flat_maps": [], "flat_masks": [], "scores": [], "stages": []}
    for number in range(1, len(blocks) + 1):
        name = blocks[-number]
        with_masks = number - 1 in masked

        def make(number=number, with_masks=with_masks) -> dict:
            model = randomised(subject.model, blocks[-number:], subject.seed, subject.clips)
            new = subject.maps(model).flatten(1).numpy()
            own = {"maps": rank_correlation(maps, new), "flat_maps": _flat(new), "scores": _scores(subject, model)}
            if with_masks:
                mask = subject.search(model=model)
                own |= {"masks": rank_correlation(base, mask), "flat_masks": _flat(mask)}
            return own

        own = parts(f"stage-{number}", make)
        found["stages"].append(name)
        for key in ("maps", "masks", "flat_maps", "flat_masks", "scores"):
            found[key].append(own.get(key))
    chance = {"masks": among_strangers(base), "maps": among_strangers(maps)}
    numbers = {"stages": found["stages"], "chance": chance, "flat": {}, "median": {}, "last": {}}
    for kind in ("masks", "maps"):
        rows = [None if row is None else _array(row) for row in found[kind]]
        numbers["median"][kind] = [None if row is None else median(row) for row in rows]
        numbers["last"][kind] = mean(rows[-1], subject.classes)
        numbers["flat"][kind] = [None if row is None else float(np.mean(row)) for row in found[f"flat_{kind}"]]
    numbers["score"] = [float(np.mean(row)) for row in found["scores"]]
    clips = {kind: _by_clip(found[kind], len(subject.ids)) for kind in ("masks", "maps")}
    return Outcome(numbers, clips, {kind: _judge(kind, numbers) for kind in ("masks", "maps")})


def stages(model: nn.Module, clip: Tensor | None = None) -> list[tuple[str, nn.Module]]:
    """The network's blocks as (name, module): its children that have tensors to randomise, in their own order, or,
    with a clip (1,C,T,H,W), in the order in which they are called.

    A lone child is opened, and so are lists of modules. ValueError where the model has no weights.
    """
    found: list[tuple[str, nn.Module]] = []

    def add(name: str, module: nn.Module, inside: bool) -> None:
        children = [(key, child) for key, child in module.named_children() if _weights(child)]
        opened = inside or isinstance(module, nn.Sequential | nn.ModuleList)
        if children and opened and not list(module.parameters(recurse=False)):
            for key, child in children:
                add(f"{name}.{key}".lstrip("."), child, len(children) == 1)
        else:
            found.append((name or type(module).__name__, module))

    if not _weights(model):
        raise ValueError(f"{type(model).__name__} has no weights, so there is nothing to randomise")
    add("", model, True)
    return found if clip is None else _as_called(model, found, clip)


def randomised(model: nn.Module, names: list[str], seed: int = 0, clips: Tensor | None = None) -> nn.Module:
    """A copy of the model with the weights of the stages `names` shuffled, the same for the same seed.

    With clips (B,C,T,H,W) the batch normalisations among them take their means and variances from these: those of
    the trained network do not fit random weights, and would let the signal die.
    """
    twin = copy.deepcopy(model)
    blocks = dict(stages(twin))
    norms = [part for name in names for part in blocks[name].modules() if isinstance(part, _BatchNorm)]
    with torch.no_grad():
        for name in names:
            own = generator(seed, f"weights:{name}")
            for tensor in blocks[name].parameters():
                order = torch.randperm(tensor.numel(), generator=own).to(tensor.device)
                tensor.copy_(tensor.flatten()[order].view_as(tensor))
        if clips is not None and norms:
            twin.eval()
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean over all parts
                norm.train()
            device = next(twin.parameters()).device
            for part in clips.split(SETTLED):
                twin(part.to(device))
    return twin.eval()


def _weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _as_called(model: nn.Module, blocks: list, clip: Tensor) -> list:
    called: list[str] = []
    hooks = [module.register_forward_pre_hook(lambda *_, name=name: called.append(name)) for name, module in blocks]
    try:
        with borrowed(model) as device, torch.no_grad():
            model(clip.to(device or clip.device))
    finally:
        for hook in hooks:
            hook.remove()
    order = {name: place for place, name in reversed(list(enumerate(called)))}  # its first call
    return sorted((block for block in blocks if block[0] in order), key=lambda block: order[block[0]])


def _judge(kind: str, numbers: dict) -> dict[str, str]:
    last, chance, stages = numbers["median"][kind][-1], numbers["chance"][kind], numbers["stages"]
    medians = [(name, one) for name, one in zip(stages, numbers["median"][kind], strict=True) if one is not None]
    flat = numbers["flat"][kind][-1]
    good = None if last is None or last != last else last < SIMILAR
    what = {"masks": "mask", "maps": "map"}[kind]
    return verdict(judged(good), (
        f"with the classifier's weights ({medians[0][0]}) random, the median rank correlation with the trained "
        f"network's {what} is {figure(medians[0][1])}, with all weights random {figure(last)}; {kind} of two different "
        f"clips have {figure(chance)}. With all weights random {flat:.0%} of the {kind} are constant and count as 0. "
        f"The rule: below {SIMILAR} with all weights random."))  # fmt: skip


def _scores(subject: Subject, model: nn.Module) -> Tensor:
    """Score (B,) of the explained classes under another network."""
    with borrowed(model) as device:
        most = capacity(model, subject.clips, device, subject.chunk)
        answers = probabilities(model, subject.clips, device, most, subject.ids)
    return answers.gather(1, subject.explained[:, None])[:, 0]


def _flat(values) -> np.ndarray:
    """Which rows (B,N) are constant, as 0 and 1; such a row stands in no order with any other."""
    rows = np.round(np.asarray(values, dtype=np.float64), FINEST)
    return (rows == rows[:, :1]).all(axis=1).astype(int)


def _array(row: list) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in row], dtype=float)


def _by_clip(rows: list, count: int) -> list[list]:
    """One list a clip of the stages that have a value."""
    there = [row for row in rows if row is not None]
    return [[row[i] for row in there] for i in range(count)]
