"""The clip that stands for its class is the first that all models guess right, else the first."""

import numpy as np
import torch

from interp.data import VideoDataset
from interp.study.examples import first_right, first_wrong


class Dataset(VideoDataset):
    """Clips of one grey level each; the level is what the models below read."""

    def __init__(self, levels, labels, num_classes=3):
        super().__init__([], [f"class {k}" for k in range(num_classes)])
        self.levels, self.known, self.read = levels, labels, []

    def __len__(self):
        return len(self.levels)

    @property
    def labels(self):
        return np.array(self.known)

    def __getitem__(self, index):
        self.read.append(index)
        return np.full((2, 4, 4, 3), self.levels[index], np.uint8), self.known[index], index


class Reader(torch.nn.Module):
    """Guesses the class whose number is the clip's grey level, plus `shift` for levels of 10 and more."""

    def __init__(self, shift=0):
        super().__init__()
        self.shift = shift

    def forward(self, clips):
        level = (clips.mean(dim=(1, 2, 3, 4)) * 255).round().long()
        guess = level % 10 + self.shift * (level >= 10)
        return torch.nn.functional.one_hot(guess % 3, 3).float()


def test_first_clip_that_every_model_guesses_right():
    # class 0: the first is misread by both, the second by the second model, the third by none
    dataset = Dataset([1, 10, 0, 0, 1, 2], [0, 0, 0, 0, 1, 2])
    assert first_right([Reader()], dataset) == [1, 4, 5]
    assert first_right([Reader(), Reader(shift=1)], dataset) == [2, 4, 5]
    assert 3 not in dataset.read  # no clip is read once its class is settled


def test_else_the_first():
    dataset = Dataset([1, 2, 0, 1, 0], [0, 0, 0, 1, -1])
    assert [first_right([Reader()], dataset, tries) for tries in (None, 2)] == [[2, 3], [0, 3]]


def test_first_clip_that_some_model_guesses_wrong():
    dataset = Dataset([0, 10, 1, 1, 2], [0, 0, 0, 1, 2])
    assert first_wrong([Reader()], dataset) == [2]  # classes 1 and 2 have none
    assert first_wrong([Reader(), Reader(shift=1)], dataset) == [1]
    assert first_wrong([Reader()], dataset, tries=2) == []
