"""Scores counted by hand: of a coded dataset, forwards and backwards; and the record of other data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interp.data import open_dataset, to_clip
from interp.models import weights
from interp.training.evaluate import evaluate

SHARED = Path(__file__).parents[2] / "shared" / "real" / "something"


class Coded:
    """Eight clips; the first frame's red is the class predicted forwards, the last frame's the one backwards."""

    classes = list("abcdefg")
    targets = [0, 0, 0, 0, 1, 1, 2, -1]
    forwards = [0, 0, 0, 1, 1, 0, 2, 6]
    backwards = [6, 6, 6, 6, 6, 6, 2, 6]
    ids = [str(i) for i in range(8)]

    def __len__(self):
        return 8

    def __getitem__(self, i):
        frames = np.zeros((4, 2, 2, 3), np.uint8)
        frames[0], frames[-1] = self.forwards[i], self.backwards[i]
        return frames, self.targets[i], i


class Reader(nn.Module):
    """Predicts the class in the first frame, then those after it in order, 0 after 6."""

    def forward(self, clips):
        first = (clips[:, 0, 0, 0, 0] * 255).round().long()
        return -((torch.arange(7) - first[:, None]) % 7).float()


def test_known_scores():
    model = Reader().train()
    scores = evaluate(model, Coded(), batch_size=3)
    assert model.training
    assert scores["count"] == 7  # the last has no label
    assert scores["top1"] == pytest.approx(5 / 7)
    # class 0: 3 right, 1 missed, 1 false; class 1: 1 right, 1 missed, 1 false; class 2: all right
    assert scores["f1"] == pytest.approx([6 / 8, 2 / 4, 1, 0, 0, 0, 0])
    assert scores["macro_f1"] == pytest.approx((6 / 8 + 2 / 4 + 1) / 3)
    assert scores["confusion"][0][:2] == [3, 1] and scores["confusion"][1][:2] == [1, 1]
    # predicted 1, target 0: the sixth choice after 1 to 6, so no hit of five. Predicted 0, target 1: second
    assert scores["top5"] == pytest.approx(6 / 7)
    log_sum = np.log(np.exp(-np.arange(7.0)).sum())
    assert scores["loss"] == pytest.approx(log_sum + (6 + 1) / 7)


def test_known_scores_reversed():
    scores = evaluate(Reader(), Coded(), reverse=True)
    assert scores["top1"] == pytest.approx(1 / 7)
    assert scores["top5"] == pytest.approx(1.0)  # after 6 come 0 and 1


def test_the_record_that_the_book_shows_is_of_the_shipped_networks():
    record = json.loads((weights.SHIPPED / "carry_over.json").read_text())
    assert {(scores["model"], scores["seed"]) for scores in record["networks"]} == {
        (name, seed) for name in ("i3d", "clstm") for seed in weights.shipped_seeds(name)}
    for scores in record["networks"]:
        model = weights.load(scores["model"], "motion", scores["seed"])
        assert scores["sha256"] == model.record["sha256"], "other weights: record again"
        assert scores["count"] == len(scores["rows"]) == 31
        assert scores["top1"] == pytest.approx(sum(row["rank"] == 1 for row in scores["rows"]) / 31, abs=1e-4)
        assert scores["top1"] >= 0.45


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips of ../shared are not here")
def test_the_record_is_what_the_networks_predict():
    record = json.loads((weights.SHIPPED / "carry_over.json").read_text())
    data = open_dataset("something", SHARED, "validation", num_frames=16, size=64)
    for scores in record["networks"]:
        model = weights.load(scores["model"], "motion", scores["seed"])
        for row in scores["rows"][::12]:
            softmax = model(to_clip(data[data.ids.index(row["id"])][0])[None])[0].softmax(0)
            assert model.classes[int(softmax.argmax())] == row["guess"]
            assert softmax[model.classes.index(row["label"])].item() == pytest.approx(row["score"], abs=2e-3)
