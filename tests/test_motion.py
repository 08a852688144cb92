"""The Something-Something flavour: a correct truth, the same clips each time, and files that loaders can read."""

import hashlib
import json

import numpy as np
import pytest

from interp.data import motion
from interp.data.motion import BACKWARDS, CLASSES, _scene, something
from interp.data.motion.something import AWAY, CLOSER, DOWN, DOWNWARDS, LEFT, PASS, RIGHT, UP, UPWARDS, last_seen
from interp.data.truth import interval_mask
from interp.data.video import even_indices, read_clip

# Of the clip with each number: frames, the pixels' mean and deviation, and the mean change from frame to frame. The
# sines and matrix products differ in the last bit from CPU to CPU, and so do a few pixels by one level.
KNOWN = [
    (47, 108.740, 30.116, 9.892), (50, 147.912, 32.084, 5.989), (47, 94.976, 35.892, 3.373),
    (35, 157.972, 42.462, 7.008), (58, 126.393, 32.851, 3.077), (58, 116.410, 25.138, 4.675),
    (32, 96.066, 25.067, 4.656), (46, 171.552, 52.374, 7.130), (32, 194.991, 47.811, 10.456),
    (58, 143.057, 29.354, 10.555), (46, 123.954, 41.596, 12.225), (39, 154.615, 51.140, 10.190)]  # fmt: skip
FPS = something.FPS
KNOWN_TRUTH = "2457a9164511"  # SHA-256 of 240 truths as JSON


def scripts(label, count=40):
    first = CLASSES.index(label)
    return [motion.clip_script("train", first + 12 * i) for i in range(count)]


def moving_path(script):
    return script.camera if script.label.startswith("Turning") else script.things[script.acting[0]][1]


def test_the_clips_are_known():
    assert len(CLASSES) == len(set(CLASSES)) == 12 and CLASSES == tuple(sorted(CLASSES))
    for i, expected in enumerate(KNOWN):
        frames, truth = motion.render_clip("validation", i, seed=i % 3)
        values = frames.astype(float)
        change = np.abs(np.diff(values, axis=0)).mean()
        assert (len(frames), values.mean(), values.std(), change) == pytest.approx(expected, abs=0.002)
        assert truth["label"] == CLASSES[i] and frames.shape == (truth["frames"], 64, 64, 3)
    assert (frames == motion.render_clip("validation", i, seed=i % 3)[0]).all() and frames.dtype == np.uint8
    for split, number, seed in (("train", i, i % 3), ("validation", i - 1, i % 3), ("validation", i, 1 + i % 3)):
        assert (motion.render_clip(split, number, seed=seed)[0][0] != frames[0]).mean() > 0.5
    truths = [motion.clip_script("validation", i).truth() for i in range(240)]
    assert hashlib.sha256(json.dumps(truths).encode()).hexdigest()[:12] == KNOWN_TRUTH


def test_interval_is_a_fifth_to_a_half_and_anywhere():
    """Each moment lies in the action about as often, and both ends of the clip alike."""
    plans = [motion.clip_script("train", i) for i in range(1200)]
    share = np.array([(s.end - s.start) / (s.num_frames - 1) for s in plans])
    assert share.min() >= 0.2 and share.max() <= 0.5 and abs(share.mean() - 0.35) < 0.01
    ends = np.array([last_seen(s.num_frames) for s in plans])
    assert min(s.start for s in plans) == 0 and abs(max(s.end - e for s, e in zip(plans, ends, strict=True))) < 1e-9
    moments = np.linspace(0, 1, 21)[:, None] * ends
    covered = ((moments >= [s.start for s in plans]) & (moments <= [s.end for s in plans])).mean(1)
    assert np.ptp(covered[4:17]) < 0.14, covered  # 0.27 to 0.56 without EDGE
    assert np.abs(covered - covered[::-1]).max() < 0.08, covered
    assert [last_seen(frames) for frames in (32, 33, 60)] == [30, 31, 57]


def test_a_window_in_the_middle_agrees_with_the_interval_no_better_than_one_anywhere():
    plans = [motion.clip_script("train", i) for i in range(2400)]
    truths = [{"fps": FPS, "frames": s.num_frames, "interval": [s.start / FPS, s.end / FPS]} for s in plans]
    actual = np.stack([interval_mask(truth) for truth in truths]) > 0
    rng, time = np.random.default_rng(0), np.arange(16)

    def overlap(starts, lengths):
        window = (time >= starts[:, None]) & (time < (starts + lengths)[:, None])
        return (window & actual).sum(1) / (window | actual).sum(1)

    for lengths in (actual.sum(1), *(np.full(len(actual), k) for k in (5, 6, 8))):
        gain = overlap((16 - lengths) // 2, lengths) - overlap(rng.integers(0, 17 - lengths), lengths)
        assert abs(gain.mean()) < 0.03, (lengths[0], gain.mean())  # 0.09 without EDGE


def test_half_of_a_directed_class_is_its_opposite_played_backwards(monkeypatch):
    written = []
    original = something._written
    monkeypatch.setattr(something, "_written", lambda label, rng: written.append(original(label, rng)) or written[-1])
    for label in (UP, LEFT, CLOSER):
        written.clear()
        played = scripts(label, 60)
        turned = [i for i, script in enumerate(written) if script.label == BACKWARDS[label]]
        assert 18 < len(turned) < 42 and {script.label for script in played} == {label}
        after, before = played[turned[0]], written[turned[0]]
        last = last_seen(after.num_frames)
        assert after.end - after.start == pytest.approx(before.end - before.start)
        assert after.start == pytest.approx(last - before.end) and after.start >= 0
        for t in (0, 7, last):
            assert (after.camera[t] == before.camera[last - t]).all()
            assert (after.things[0][1][t] == before.things[0][1][last - t]).all()


@pytest.mark.parametrize("label, axis, sign", [(UP, 1, -1), (DOWN, 1, 1), (LEFT, 0, -1), (RIGHT, 0, 1),
                                               (UPWARDS, 1, -1), (DOWNWARDS, 1, 1)])  # fmt: skip
def test_directed_classes_move_their_way_and_only_in_the_interval(label, axis, sign):
    for s in scripts(label):
        path = moving_path(s)
        first, last = int(np.ceil(s.start)), int(np.floor(s.end))
        assert sign * (path[-1] - path[0])[axis] > 0.25
        still = np.concatenate([np.diff(path[:first], axis=0), np.diff(path[last + 1 :], axis=0)])
        assert not len(still) or np.abs(still).max() < 0.03  # the camera's shake


def test_pairs_do_what_their_class_says():
    for label in (AWAY, CLOSER, something.COLLIDE, PASS):
        for s in scripts(label):
            (first, path), (second, other) = (s.things[i] for i in s.acting)
            gap = np.linalg.norm(path - other, axis=1)
            touch = 0.8 * (first.reach + second.reach)
            if label == AWAY:
                assert gap[-1] - gap[0] > 0.2 and gap[0] > 0.9 * touch
            elif label == CLOSER:
                assert gap[0] - gap[-1] > 0.2 and gap.min() > 0.99 * touch  # never in contact
            elif label == something.COLLIDE:
                low = gap.argmin()
                assert gap[0] - gap[low] > 0.2 and gap[-1] > gap[low] + 0.05 and s.start < low < s.end
            else:  # they change sides
                assert np.dot((path - other)[0], (path - other)[-1]) < 0


@pytest.mark.parametrize("label", [UP, LEFT, CLOSER])
def test_opposite_classes_cannot_be_told_apart_without_the_order_of_frames(label):
    """Statistics of the acting thing's or the camera's path that ignore the order have the same mean in both."""
    groups = []
    for name in (label, BACKWARDS[label]):
        rows = []
        for s in scripts(name, 400):
            taken = even_indices(s.num_frames, 16)
            path = moving_path(s)[taken]
            if name in (CLOSER, AWAY):
                path = path - s.things[s.acting[1]][1][taken]
            length = np.linalg.norm(path, axis=1)
            rows.append([*path.mean(0), *path.std(0), length.mean(), path[0].dot(path[-1]), s.num_frames])
        groups.append(np.array(rows))
    a, b = groups
    error = np.sqrt((a.var(0) + b.var(0)) / len(a))
    assert (np.abs(a.mean(0) - b.mean(0)) < 4 * error).all(), (a.mean(0), b.mean(0), error)


def test_boxes_hold_the_thing():
    """Painted white on a black canvas, the thing's bright pixels lie in its box."""
    for s in scripts(UP, 10):
        thing, path = s.things[s.acting[0]]
        thing = thing._replace(colour=(1, 1, 1), second=(1, 1, 1))
        boxes = s.truth()["objects"][0]["box"]
        assert len(boxes) == s.num_frames
        for t in (0, s.num_frames // 2, s.num_frames - 1):
            canvas = np.zeros((64, 64, 3), np.float32)
            _scene.draw_thing(canvas, thing, *(path - s.camera)[t], 64)
            pixels = np.argwhere(canvas[..., 0] > 0.5)[:, ::-1] + 0.5  # x, y
            if boxes[t] is None:
                assert len(pixels) < 20
                continue
            low, high = np.split(np.array(boxes[t]) * 64, 2)
            assert ((pixels >= low - 1) & (pixels <= high + 1)).all(1).mean() > 0.97


def test_written_dataset_resumes_and_reads_back(tmp_path):
    root = motion.generate(tmp_path / "ä b", 12, 1, workers=1, progress=False)
    many = motion.generate(tmp_path / "many", 12, 12, workers=2, progress=False)
    video = root / "20bn-something-something-v2" / "2.webm"
    for name in ("1.webm", "2.webm", "1000001.webm"):
        assert video.with_name(name).read_bytes() == (many / video.parent.name / name).read_bytes()
    kept = video.stat().st_mtime_ns
    video.with_name("1.webm").unlink()
    motion.generate(root, 12, 1, workers=1, progress=False)
    assert video.stat().st_mtime_ns == kept and video.with_name("1.webm").exists()
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]  # no partial file left
    frames, _ = motion.render_clip("train", 1)
    assert np.abs(read_clip(video, len(frames)).astype(int) - frames).mean() < 12  # what VP9 loses
    labels, entries, truth = (json.loads((root / "labels" / f"{name}.json").read_text())
                              for name in ("labels", "train", "truth"))  # fmt: skip
    assert labels == {name: str(i) for i, name in enumerate(CLASSES)}
    assert [entry["id"] for entry in entries] == [str(i) for i in range(1, 13)] and len(truth) == 13
    for entry in entries:
        plain = entry["template"].replace("[", "").replace("]", "")
        assert plain in labels and truth[entry["id"]]["label"] == plain and "[" not in entry["label"]
        assert all(name.lower() in entry["label"] for name in entry["placeholders"])
    with pytest.raises(ValueError, match="made with"):
        motion.generate(root, 12, 1, seed=1, workers=1, progress=False)


def test_clips_that_cannot_be():
    for size in (31, 63, 226):
        with pytest.raises(ValueError, match="even number of pixels from 32 to 224"):
            motion.render_clip("train", 0, size=size)
    with pytest.raises(ValueError, match="'train' or 'validation'"):
        motion.render_clip("test", 0)
    with pytest.raises(ValueError, match="0 clips or more"):
        motion.generate("nowhere", 0, 0)
