"""Chooses one clip of each class for a table, by a rule that does not look at what an explanation will show.

Source: this project's own; the tables of Mänttäri, Broomé et al., ACCV 2020, show clips drawn at random.
Axes: clips (B,C,T,H,W) in [0,1], logits (B,K).

    >>> chosen = first_right([i3d, clstm], validation)                        # doctest: +SKIP
    >>> clips = torch.stack([to_clip(validation[i][0]) for i in chosen])      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from interp.borrow import borrowed, even, logits_of
from interp.data import VideoDataset, to_clip

MOST = 16  # clips at once
EVERYWHERE = {"moving", "something", "so", "they", "each", "other", "while", "filming", "and", "the"}
AT_THE_END = {"in", "from", "somewhere", "to", "with"}


def first_right(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class the index of its first clip that every model guesses right, else of its first clip.

    tries: how many clips of a class are looked at before the first is taken; None: all. Classes without a
    clip are left out, so the indices are in the order of the others. Clips are read only as they are needed.
    """
    places = _places(dataset, tries)
    chosen = _first(models, dataset, places, wanted=True)
    return [chosen.get(label, found[0]) for label, found in places.items()]


def first_wrong(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class the index of its first clip that some model guesses wrong; classes without one are left out.

    tries: how many clips of a class are looked at; None: all.
    """
    found = _first(models, dataset, _places(dataset, tries), wanted=False)
    return [found[label] for label in sorted(found)]


def _places(dataset: VideoDataset, tries: int | None) -> dict[int, list[int]]:
    """The indices of each class's first clips."""
    places: dict[int, list[int]] = {}
    for index, label in enumerate(dataset.labels.tolist()):
        if label >= 0:
            places.setdefault(label, []).append(index)
    return {label: places[label][:tries] for label in sorted(places)}


def _first(models, dataset, places: dict[int, list[int]], wanted: bool) -> dict[int, int]:
    """Each class's first clip that all models guess right (wanted), or not all (not wanted)."""
    chosen: dict[int, int] = {}
    for turn in range(max(map(len, places.values()), default=0)):
        open_ = [label for label, found in places.items() if label not in chosen and turn < len(found)]
        asked = [places[label][turn] for label in open_]
        right = _right(models, dataset, asked, open_) if asked else []
        chosen |= {label: index for label, index, good in zip(open_, asked, right, strict=True) if good == wanted}
    return chosen


def short_name(label: str) -> str:
    """A label in the few words that set it apart, for a plot: "Moving something up" gives "Up"."""
    words = [word for word in label.split() if word.lower() not in EVERYWHERE]
    while words and words[-1].lower() in AT_THE_END:
        words.pop()
    short = " ".join(words) or label
    return short[:1].upper() + short[1:]


def _right(models, dataset, indices: list[int], labels: list[int]) -> list[bool]:
    """Whether every model guesses the label of each of these clips."""
    right = torch.ones(len(indices), dtype=torch.bool)
    size = even(len(indices), MOST)
    for start in range(0, len(indices), size):
        part = slice(start, start + size)
        clips = torch.stack([to_clip(dataset[index][0]) for index in indices[part]])
        wanted = torch.tensor(labels[part])
        for model in models:
            with borrowed(model) as device, torch.no_grad():
                guesses = logits_of(model, clips.to(device or clips.device)).argmax(dim=1)
            right[part] &= guesses.cpu() == wanted
    return right.tolist()
