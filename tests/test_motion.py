"""The embedded dataset: its truth is true, it is the same each time, and loaders can read it."""

import json

import numpy as np
import pytest

from interp.data import motion
from interp.data.actions import (
    AWAY,
    CLASSES,
    CLOSER,
    COLLIDE,
    DOWN,
    DOWNWARDS,
    LEFT,
    PASS,
    RIGHT,
    UP,
    UPWARDS,
)
from interp.data.video import read_clip


def scripts(label, count=40):
    first = CLASSES.index(label)
    return [motion.clip_script("train", first + 12 * i) for i in range(count)]


def test_classes_are_the_papers_eleven_and_down():
    assert len(CLASSES) == 12 and len(set(CLASSES)) == 12
    assert all(motion.MIRROR[motion.MIRROR[c]] == c == motion.FLIP[motion.FLIP[c]] for c in CLASSES)
    assert motion.MIRROR[LEFT] == RIGHT and motion.FLIP[UP] == DOWN and motion.FLIP[UPWARDS] == DOWNWARDS
    assert motion.MIRROR[UP] == UP and motion.FLIP[LEFT] == LEFT


def test_interval_is_a_fifth_to_a_half_and_anywhere():
    found = [motion.clip_script("train", i) for i in range(600)]
    share = np.array([(s.end - s.start) / (s.num_frames - 1) for s in found])
    place = np.array(
        [s.start / (s.num_frames - 1 - (s.end - s.start)) for s in found]
    )  # 0 at the earliest, 1 the latest
    assert share.min() >= 0.2 and share.max() <= 0.5
    counts = np.histogram(place, 5, (0, 1))[0]
    assert counts.min() > 85 and counts.max() < 160, counts  # 120 each, give or take


@pytest.mark.parametrize(
    ("label", "axis", "sign"),
    [(UP, 1, -1), (DOWN, 1, 1), (LEFT, 0, -1), (RIGHT, 0, 1), (UPWARDS, 1, -1), (DOWNWARDS, 1, 1)],
)
def test_directed_classes_move_their_way_and_only_in_the_interval(label, axis, sign):
    for s in scripts(label):
        path = s.camera if label.startswith("Turning") else s.things[s.acting[0]][1]
        first, last = int(np.ceil(s.start)), int(np.floor(s.end))
        assert sign * (path[-1] - path[0])[axis] > 0.25
        still = np.concatenate([np.diff(path[:first], axis=0), np.diff(path[last + 1 :], axis=0)])
        assert not len(still) or np.abs(still).max() < 0.03  # only the camera's shake, if it is the camera


def test_pairs_do_what_their_class_says():
    for label in (AWAY, CLOSER, COLLIDE, PASS):
        for s in scripts(label):
            one, two = (s.things[i][1] for i in s.acting)
            gap = np.linalg.norm(one - two, axis=1)
            touch = 0.8 * sum(s.things[i][0].reach for i in s.acting)
            if label == AWAY:
                assert gap[-1] - gap[0] > 0.2 and gap[0] > 0.9 * touch
            elif label == CLOSER:
                assert gap[0] - gap[-1] > 0.2 and gap.min() > 0.99 * touch  # never in contact
            elif label == COLLIDE:
                low = gap.argmin()
                assert gap[0] - gap[low] > 0.2 and gap[-1] > gap[low] + 0.05 and s.start < low < s.end
            else:  # they change sides
                assert np.dot((one - two)[0], (one - two)[-1]) < 0


def test_opposite_classes_cannot_be_told_apart_without_the_order_of_frames():
    """The mean place of the moving thing is the same for up and down (a shuffled clip keeps it)."""
    means = [
        np.mean([s.things[s.acting[0]][1][:, 1].mean() for s in scripts(label, 400)]) for label in (UP, DOWN)
    ]
    assert abs(means[0] - means[1]) < 0.04  # five standard errors; the movement itself is 0.35 to 0.6


def test_boxes_hold_the_thing():
    """Painted on a black canvas, all of the thing's bright pixels lie in its box."""
    from dataclasses import replace

    from interp.data.scene import draw_thing

    for s in scripts(UP, 10):
        thing, path = s.things[s.acting[0]]
        boxes = s.truth()["objects"][0]["box"]
        assert len(boxes) == s.num_frames
        for t in (0, s.num_frames // 2, s.num_frames - 1):
            canvas = np.zeros((64, 64, 3), np.float32)
            draw_thing(canvas, replace(thing, colour=(1, 1, 1), second=(1, 1, 1)), *(path - s.camera)[t], 64)
            rows, columns = np.nonzero(canvas[..., 0] > 0.5)
            if boxes[t] is None:
                assert len(rows) < 20
                continue
            x0, y0, x1, y1 = np.array(boxes[t]) * 64
            inside = (
                (columns + 0.5 >= x0 - 1)
                & (columns + 0.5 <= x1 + 1)
                & (rows + 0.5 >= y0 - 1)
                & (rows + 0.5 <= y1 + 1)
            )
            assert inside.mean() > 0.97


def test_a_clip_is_a_function_of_its_number_alone(tmp_path):
    frames, truth = motion.render_clip("train", 5)
    again, _ = motion.render_clip("train", 5)
    other, _ = motion.render_clip("validation", 5)
    assert (frames == again).all() and frames.dtype == np.uint8
    assert frames.shape == (truth["frames"], 64, 64, 3)
    assert other.shape != frames.shape or (other != frames).mean() > 0.5
    assert (motion.render_clip("train", 5, seed=1)[0][0] != frames[0]).mean() > 0.5
    few = motion.generate(tmp_path / "few", 2, 1, workers=1, progress=False)
    many = motion.generate(tmp_path / "many", 12, 12, workers=2, progress=False)
    for clip in ("1", "2", "1000001"):
        name = f"20bn-something-something-v2/{clip}.webm"
        assert (few / name).read_bytes() == (many / name).read_bytes()


def test_written_dataset_resumes_and_reads_back(tmp_path):
    root = motion.generate(tmp_path / "ä b", 3, 1, workers=1, progress=False)
    video = root / "20bn-something-something-v2" / "2.webm"
    content = video.read_bytes()
    (root / "20bn-something-something-v2" / "1.webm").unlink()
    kept = video.stat().st_mtime_ns
    motion.generate(root, 3, 1, workers=1, progress=False)
    assert video.stat().st_mtime_ns == kept and video.read_bytes() == content
    assert not [p for p in root.rglob("*") if p.name.startswith(".")]  # no partial file left
    frames, _ = motion.render_clip("train", 1)
    read = read_clip(video, len(frames))
    assert np.abs(read.astype(int) - frames).mean() < 12  # what VP9 loses
    labels = json.loads((root / "labels" / "labels.json").read_text())
    entries = json.loads((root / "labels" / "train.json").read_text())
    truth = json.loads((root / "labels" / "truth.json").read_text())
    assert [e["id"] for e in entries] == ["1", "2", "3"] and set(truth) == {"1", "2", "3", "1000001"}
    for e in entries:
        plain = e["template"].replace("[", "").replace("]", "")
        assert plain in labels and truth[e["id"]]["label"] == plain and "[" not in e["label"]
    with pytest.raises(ValueError, match="made with"):
        motion.generate(root, 3, 1, seed=1, workers=1, progress=False)


@pytest.mark.parametrize("size", [31, 63, 226])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match="even number of pixels from 32 to 224"):
        motion.render_clip("train", 0, size=size)
    with pytest.raises(ValueError, match="'train' or 'validation'"):
        motion.render_clip("test", 0)
