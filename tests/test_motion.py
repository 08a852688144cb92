"""The embedded dataset: its truth is true, it is the same each time, and loaders can read it."""

import json

import numpy as np
import pytest

from interp.data import actions, motion
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
    last_seen,
)
from interp.data.truth import interval_mask
from interp.data.video import even_indices, read_clip


def scripts(label, count=40):
    first = CLASSES.index(label)
    return [motion.clip_script("train", first + 12 * i) for i in range(count)]


def test_classes_are_the_papers_eleven_and_down():
    assert len(CLASSES) == 12 and len(set(CLASSES)) == 12
    assert all(motion.MIRROR[motion.MIRROR[c]] == c == motion.FLIP[motion.FLIP[c]] for c in CLASSES)
    assert motion.MIRROR[LEFT] == RIGHT and motion.FLIP[UP] == DOWN and motion.FLIP[UPWARDS] == DOWNWARDS
    assert motion.MIRROR[UP] == UP and motion.FLIP[LEFT] == LEFT


def test_interval_is_a_fifth_to_a_half_and_anywhere():
    """Each moment that leaves room for it is in the action about as often, and both ends of the clip alike."""
    found = [motion.clip_script("train", i) for i in range(1200)]
    share = np.array([(s.end - s.start) / (s.num_frames - 1) for s in found])
    assert share.min() >= 0.2 and share.max() <= 0.5 and abs(share.mean() - 0.35) < 0.01
    ends = np.array([last_seen(s.num_frames) for s in found])
    assert min(s.start for s in found) == 0 and abs(max(s.end - e for s, e in zip(found, ends, strict=True))) < 1e-9
    moments = np.linspace(0, 1, 21)[:, None] * ends
    covered = ((moments >= [s.start for s in found]) & (moments <= [s.end for s in found])).mean(1)
    assert np.ptp(covered[4:17]) < 0.14, covered  # 0.27 to 0.56 where the place is drawn from the clip alone
    assert np.abs(covered - covered[::-1]).max() < 0.08, covered


def test_a_window_in_the_middle_agrees_with_the_interval_no_better_than_one_anywhere():
    truths = [{"fps": motion.FPS, "frames": s.num_frames, "interval": [s.start / motion.FPS, s.end / motion.FPS]}
              for s in (motion.clip_script("train", i) for i in range(2400))]  # fmt: skip
    actual = np.stack([interval_mask(one) for one in truths]) > 0
    rng, time = np.random.default_rng(0), np.arange(16)

    def overlap(starts, lengths):
        guess = (time >= starts[:, None]) & (time < (starts + lengths)[:, None])
        return (guess & actual).sum(1) / (guess | actual).sum(1)

    for lengths in (actual.sum(1), *(np.full(len(actual), k) for k in (5, 6, 8))):
        gain = overlap((16 - lengths) // 2, lengths) - overlap(rng.integers(0, 17 - lengths), lengths)
        assert abs(gain.mean()) < 0.03, (lengths[0], gain.mean())  # 0.09 with a flat place


def test_the_last_frame_that_is_seen():
    for frames in range(32, 61):
        assert last_seen(frames) == even_indices(frames, 16)[-1]
    assert [last_seen(frames) for frames in (32, 33, 60)] == [30, 31, 57]


def test_half_of_a_directed_class_is_its_opposite_played_backwards(monkeypatch):
    written = []
    original = actions._written
    monkeypatch.setattr(actions, "_written", lambda label, rng: written.append(original(label, rng)) or written[-1])
    for label in (UP, LEFT, CLOSER):
        written.clear()
        found = scripts(label, 60)
        turned = [i for i, one in enumerate(written) if one.label == motion.BACKWARDS[label]]
        assert 18 < len(turned) < 42 and {one.label for one in found} == {label}
        one, before = found[turned[0]], written[turned[0]]
        last = last_seen(one.num_frames)
        assert one.end - one.start == pytest.approx(before.end - before.start)
        assert one.start == pytest.approx(last - before.end) and one.start >= 0
        for t in (0, 7, last):
            assert (one.camera[t] == before.camera[last - t]).all()
            assert (one.things[0][1][t] == before.things[0][1][last - t]).all()
    assert all(s.label == PASS for s in scripts(PASS, 5))


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


@pytest.mark.parametrize("label", [UP, LEFT, UPWARDS, CLOSER])
def test_opposite_classes_cannot_be_told_apart_without_the_order_of_frames(label):
    """What order leaves alone has the same mean in both: places of the acting thing, or of the camera."""
    found = []
    for one in (label, motion.BACKWARDS[label]):
        rows = []
        for s in scripts(one, 400):
            path = s.camera if one.startswith("Turning") else s.things[s.acting[0]][1]
            path = path[even_indices(s.num_frames, 16)]
            if one in (CLOSER, AWAY):
                path = path - s.things[s.acting[1]][1][even_indices(s.num_frames, 16)]
            length = np.linalg.norm(path, axis=1)
            rows.append([*path.mean(0), *path.std(0), length.mean(), path[0].dot(path[-1]), s.num_frames])
        found.append(np.array(rows))
    one, other = found
    error = np.sqrt((one.var(0) + other.var(0)) / len(one))
    assert (np.abs(one.mean(0) - other.mean(0)) < 4 * error).all(), (one.mean(0), other.mean(0), error)


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
