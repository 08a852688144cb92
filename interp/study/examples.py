"""One clip of each class for a table, chosen by a rule that does not look at the explanations."""

from collections.abc import Sequence

from torch import nn

from interp.core.inference import predict
from interp.data import VideoDataset, to_clip


def first_right(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class the index of its first clip (of `tries`) that every model predicts right, else of its first."""
    return [indices[0] if found is None else found for indices, found in _find(models, dataset, tries, True)]


def first_wrong(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class that has one, the index of its first clip (of `tries`) that some model predicts wrong."""
    return [found for _, found in _find(models, dataset, tries, False) if found is not None]


def _find(models, dataset, tries, right):
    def all_right(index: int) -> bool:
        clip = to_clip(dataset[index][0])[None]
        return all(int(predict(model, clip).argmax(1)) == dataset.labels[index] for model in models)

    for label in sorted({*dataset.labels.tolist()} - {-1}):
        indices = (dataset.labels == label).nonzero()[0][:tries].tolist()
        yield indices, next((index for index in indices if all_right(index) == right), None)
