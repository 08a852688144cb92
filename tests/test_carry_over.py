"""The score of a network on another dataset's clips of its classes: a fixed answer, counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from interp.data import open_dataset, to_clip
from interp.data.motion import write_video
from interp.evaluate_carry_over import carry_over
from interp.models import weights

CLASSES = ["Closing something", "Moving something up", "Opening something"]
CLIPS = {"7": "Moving [something] up", "8": "Closing [something]", "9": "Opening [something]"}


class Fixed(torch.nn.Module):
    """Always the same logits."""

    def __init__(self, classes, logits):
        super().__init__()
        self.classes, self.logits = classes, torch.tensor(logits)

    def forward(self, clips):
        assert clips.shape == (1, 3, 4, 32, 32) and 0 <= clips.min() and clips.max() <= 1
        return self.logits.repeat(len(clips), 1)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "20bn-something-something-v2").mkdir()
    numbers = {name: str(i) for i, name in enumerate(CLASSES)}
    entries = [{"id": name, "label": "", "template": template} for name, template in CLIPS.items()]
    (tmp_path / "labels" / "labels.json").write_text(json.dumps(numbers))
    (tmp_path / "labels" / "validation.json").write_text(json.dumps(entries))
    for name in CLIPS:
        frames = np.full((6, 32, 32, 3), 10 * int(name), np.uint8)
        write_video(tmp_path / "20bn-something-something-v2" / f"{name}.webm", frames)
    return tmp_path


def test_only_the_models_own_classes_are_asked(root):
    # The model knows two of the three classes, in another order, and prefers "up" by log 3: 0.75 to 0.25.
    model = Fixed(["Moving something up", "Opening something"], [float(np.log(3)), 0.0])
    found = carry_over(model, root, num_frames=4, size=32)
    assert (found["count"], found["top1"], found["top5"], found["chance"]) == (2, 0.5, 1.0, 0.5)
    rows = {row["id"]: row for row in found["rows"]}
    assert set(rows) == {"7", "9"} and {row["guess"] for row in found["rows"]} == {"Moving something up"}
    assert rows["7"]["score"] == pytest.approx(0.75) and rows["9"]["score"] == pytest.approx(0.25)
    assert (rows["7"]["rank"], rows["9"]["rank"]) == (1, 2)


def test_top5_counts_five_ranks(root):
    names = [f"another {i}" for i in range(5)] + CLASSES
    found = carry_over(Fixed(names, [9.0, 8.0, 7.0, 6.0, 0.0, 5.0, 4.0, 3.0]), root, num_frames=4, size=32)
    assert [row["rank"] for row in found["rows"]] == [6, 5, 7] and found["top5"] == pytest.approx(1 / 3)
    assert found["top1"] == 0 and found["chance"] == 1 / 8


def test_nothing_to_ask_is_said(root):
    with pytest.raises(ValueError, match="no class names"):
        carry_over(Fixed([], [0.0]), root)
    with pytest.raises(ValueError, match="has one of the model's 1 classes"):
        carry_over(Fixed(["Folding something"], [0.0]), root)


SHARED = Path(__file__).parents[2] / "shared" / "real" / "something"


def test_the_record_that_the_book_shows_is_of_the_shipped_networks():
    record = json.loads((weights.SHIPPED / "carry_over.json").read_text())
    for kind, found in record["networks"].items():
        assert found["sha256"] == weights.load(kind, "motion").record["sha256"], "other weights: record anew"
        assert found["count"] == len(found["rows"]) == 31
        assert found["top1"] == pytest.approx(sum(row["rank"] == 1 for row in found["rows"]) / 31, abs=1e-4)
        assert found["top1"] >= 0.40


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips of ../shared are not here")
def test_the_record_is_what_the_networks_answer():
    """Three clips, one answered rightly at least: a check of the record, no choice is made by it."""
    record = json.loads((weights.SHIPPED / "carry_over.json").read_text())
    data = open_dataset("something", SHARED, "validation", num_frames=16, size=64)
    for kind, found in record["networks"].items():
        model = weights.load(kind, "motion")
        for row in found["rows"][::12]:
            clip = to_clip(data[data.ids.index(row["id"])][0])[None]
            scores = model(clip)[0].softmax(0)
            assert model.classes[int(scores.argmax())] == row["guess"]
            assert scores[model.classes.index(row["label"])].item() == pytest.approx(row["score"], abs=2e-3)
