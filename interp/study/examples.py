"""One clip of each class for a table, chosen by a rule that does not look at the explanations."""

from collections.abc import Sequence

from torch import nn

from interp.core.inference import predict
from interp.data import VideoDataset, to_clip


def first_right(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class the index of its first clip (of `tries`) that every model predicts right, else of its first."""
    return [next((index for index in indices if _all_right(models, dataset, index)), indices[0])
            for indices in _by_class(dataset, tries)]


def first_wrong(models: Sequence[nn.Module], dataset: VideoDataset, tries: int | None = None) -> list[int]:
    """For each class that has one, the index of its first clip (of `tries`) that some model predicts wrong."""
    wrong = (next((index for index in indices if not _all_right(models, dataset, index)), None)
             for indices in _by_class(dataset, tries))
    return [index for index in wrong if index is not None]


def _by_class(dataset: VideoDataset, tries: int | None) -> list[list[int]]:
    labels = dataset.labels
    return [(labels == label).nonzero()[0][:tries].tolist() for label in sorted({*labels.tolist()} - {-1})]


def _all_right(models: Sequence[nn.Module], dataset: VideoDataset, index: int) -> bool:
    frames, label, _ = dataset[index]
    clips = to_clip(frames)[None]
    return all(int(predict(model, clips).argmax(1)) == label for model in models)
