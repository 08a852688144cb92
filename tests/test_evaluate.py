"""Scores counted by hand: of a coded dataset, forwards and backwards, and of a fixed model on another dataset."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interp.data import open_dataset, to_clip
from interp.data.motion import write_video
from interp.models import weights
from interp.training.evaluate import evaluate, transfer

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


class Fixed(nn.Module):
    """Always the same logits."""

    def __init__(self, classes, logits):
        super().__init__()
        self.classes, self.logits = classes, torch.tensor(logits)

    def forward(self, clips):
        assert clips.shape == (1, 3, 4, 32, 32) and 0 <= clips.min() and clips.max() <= 1
        return self.logits.repeat(len(clips), 1)


@pytest.fixture
def root(tmp_path):
    classes = ["Closing something", "Moving something up", "Opening something"]
    templates = {"7": "Moving [something] up", "8": "Closing [something]", "9": "Opening [something]"}
    (tmp_path / "labels").mkdir()
    (tmp_path / "20bn-something-something-v2").mkdir()
    (tmp_path / "labels" / "labels.json").write_text(json.dumps({name: str(i) for i, name in enumerate(classes)}))
    entries = [{"id": name, "label": "", "template": template} for name, template in templates.items()]
    (tmp_path / "labels" / "validation.json").write_text(json.dumps(entries))
    for name in templates:
        frames = np.full((6, 32, 32, 3), 10 * int(name), np.uint8)
        write_video(tmp_path / "20bn-something-something-v2" / f"{name}.webm", frames)
    return tmp_path


def test_transfer_scores_only_the_models_own_classes(root):
    # The model knows two of the three classes, in another order, and prefers "up" by log 3: 0.75 to 0.25.
    model = Fixed(["Moving something up", "Opening something"], [float(np.log(3)), 0.0])
    scores = transfer(model, root, num_frames=4, size=32)
    assert (scores["count"], scores["top1"], scores["top5"], scores["chance"]) == (2, 0.5, 1.0, 0.5)
    rows = {row["id"]: row for row in scores["rows"]}
    assert set(rows) == {"7", "9"} and {row["guess"] for row in scores["rows"]} == {"Moving something up"}
    assert rows["7"]["score"] == pytest.approx(0.75) and rows["9"]["score"] == pytest.approx(0.25)
    assert (rows["7"]["rank"], rows["9"]["rank"]) == (1, 2)
    for classes, words in (([], "no class names"), (["Folding something"], "has one of the model's 1 classes")):
        with pytest.raises(ValueError, match=words):
            transfer(Fixed(classes, [0.0]), root)


def test_transfer_counts_five_ranks(root):
    names = [f"another {i}" for i in range(5)] + ["Closing something", "Moving something up", "Opening something"]
    scores = transfer(Fixed(names, [9.0, 8.0, 7.0, 6.0, 0.0, 5.0, 4.0, 3.0]), root, num_frames=4, size=32)
    assert [row["rank"] for row in scores["rows"]] == [6, 5, 7] and scores["top5"] == pytest.approx(1 / 3)
    assert scores["top1"] == 0 and scores["chance"] == 1 / 8


def test_the_record_that_the_book_shows_is_of_the_shipped_networks():
    record = json.loads((weights.SHIPPED / "carry_over.json").read_text())
    for kind, scores in record["networks"].items():
        assert scores["sha256"] == weights.load(kind, "motion").record["sha256"], "other weights: record again"
        assert scores["count"] == len(scores["rows"]) == 31
        assert scores["top1"] == pytest.approx(sum(row["rank"] == 1 for row in scores["rows"]) / 31, abs=1e-4)
        assert scores["top1"] >= 0.40


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips of ../shared are not here")
def test_the_record_is_what_the_networks_predict():
    record = json.loads((weights.SHIPPED / "carry_over.json").read_text())
    data = open_dataset("something", SHARED, "validation", num_frames=16, size=64)
    for kind, scores in record["networks"].items():
        model = weights.load(kind, "motion")
        for row in scores["rows"][::12]:
            softmax = model(to_clip(data[data.ids.index(row["id"])][0])[None])[0].softmax(0)
            assert model.classes[int(softmax.argmax())] == row["guess"]
            assert softmax[model.classes.index(row["label"])].item() == pytest.approx(row["score"], abs=2e-3)
