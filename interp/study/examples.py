"""One clip of each class for a table, chosen by a rule that does not look at the explanations."""

from collections.abc import Sequence

import torch
from torch import nn

from interp.core.inference import predict
from interp.data import VideoDataset, to_clip


def first_right(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class the index of its first clip (of `tries`) that every model predicts right, else of its first."""
    chosen = _first(models, dataset, places := _places(dataset, tries), right=True)
    return [chosen.get(label, indices[0]) for label, indices in places.items()]


def first_wrong(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class that has one, the index of its first clip (of `tries`) that some model predicts wrong."""
    return list(dict(sorted(_first(models, dataset, _places(dataset, tries), right=False).items())).values())


def short_name(label: str) -> str:
    """A label without the words that many share: "Moving something up" gives "Up"."""
    everywhere = "moving something so they each other while filming and the".split()
    words = [word for word in label.split() if word.lower() not in everywhere]
    while words and words[-1].lower() in "in from somewhere to with".split():
        words.pop()
    return (short := " ".join(words) or label)[:1].upper() + short[1:]


def _places(dataset: VideoDataset, tries: int | None) -> dict[int, list[int]]:
    """The indices of each class's first clips."""
    labels = dataset.labels
    return {label: (labels == label).nonzero()[0][:tries].tolist() for label in sorted({*labels.tolist()} - {-1})}


def _first(models, dataset, places: dict[int, list[int]], right: bool) -> dict[int, int]:
    """Each class's first clip that all models predict right, or (right=False) that not all do."""
    chosen: dict[int, int] = {}
    for turn in range(max(map(len, places.values()), default=0)):
        labels = [label for label, indices in places.items() if label not in chosen and turn < len(indices)]
        if not labels:
            break
        clips = torch.stack([to_clip(dataset[places[label][turn]][0]) for label in labels])
        good = torch.stack([predict(model, clips).argmax(1) == torch.tensor(labels) for model in models]).all(0)
        chosen |= {label: places[label][turn] for label, all_right in zip(labels, good.tolist(), strict=True)
                   if all_right == right}
    return chosen
