"""The KTH flavour: a correct truth, KTH's files, and the same pixels on every machine."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from interp.data import open_dataset
from interp.data.kth import CLASSES, read_sequences
from interp.data.motion import _background, _person
from interp.data.motion.kth import generate, render_sequence, write_script
from interp.data.truth import frame_boxes, interval_frames, interval_mask
from interp.data.video import read_clip

SMALL = (48, 64)
# The first digits of the SHA-256 of a sequence of each class: only exact arithmetic touches a pixel.
KNOWN = ["aabe644e8126", "931dca1d833f", "9b293cebc23e", "4a5e694f3f19", "42cad3f31de6", "02f4171b5566"]
GAITS = ("walking", "jogging", "running")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three subjects (two train, one validation), two settings, two sequences a video."""
    root = tmp_path_factory.mktemp("kth flavour") / "ä b"
    return generate(root, 3, (1, 4), 2, size=SMALL, workers=1, progress=False)


def scripts(action, count=60):
    return [write_script(1 + k % 25, action, 1 + k % 4, 1 + k // 25) for k in range(count)]


def test_the_pixels_are_known():
    for number, action in enumerate(CLASSES):
        frames, truth = render_sequence(number + 1, action, 1 + number % 4, size=SMALL)
        assert hashlib.sha256(frames.tobytes()).hexdigest()[:12] == KNOWN[number]
        assert frames.shape == (truth["frames"], *SMALL, 3) and (frames[..., 0] == frames[..., 2]).all()
    assert (frames == render_sequence(6, "walking", 2, size=SMALL)[0]).all()
    for subject, setting, repetition, seed in ((6, 2, 2, 0), (6, 3, 1, 0), (7, 2, 1, 0), (6, 2, 1, 1)):
        other, _ = render_sequence(subject, "walking", setting, repetition, seed, SMALL)
        assert len(other) != len(frames) or (other != frames).any()


def test_loader_reads_the_files_with_the_papers_split(small):
    entries = read_sequences(small / "00sequences.txt")
    assert [name for name, *_ in entries[:2]] == ["person01_boxing_d1", "person01_boxing_d4"]
    assert len(entries) == 3 * 6 * 2 and all(len(ranges) == 2 for *_, ranges in entries)
    train = open_dataset("kth", small, "train", num_frames=32, size=SMALL)
    validation = open_dataset("kth", small, "validation", num_frames=32, size=SMALL)
    assert (len(train), len(validation)) == (2 * 6 * 2 * 2, 6 * 2 * 2)
    assert {s.meta["subject"] for s in train.samples} == {1, 2}
    assert {s.meta["subject"] for s in validation.samples} == {17}
    for sample in validation.samples[::5]:
        meta = sample.meta
        frames, truth = render_sequence(17, meta["action"], meta["setting"], meta["repetition"], size=SMALL)
        assert sample.end - sample.start == truth["frames"] == len(frames)
        assert meta["truth"] == json.loads(json.dumps(truth)) and truth["label"] == meta["action"]
        read = read_clip(sample.path, len(frames), start=sample.start, end=sample.end)
        assert np.abs(read.astype(int) - frames).mean() < 6  # what MPEG-4 loses
        first, end = interval_frames(truth, 32)
        assert interval_mask(truth, 32)[first:end].all() and len(frame_boxes(truth, 32)) == 32


def test_interval_is_a_fifth_to_a_half_and_anywhere():
    plans = [script for action in CLASSES for script in scripts(action, 100)]
    length = np.array([s.end - s.start for s in plans])
    frames = np.array([s.num_frames - 1 for s in plans])
    share = length / frames  # a person who comes or goes acts until they are quite out of sight
    assert 0.16 < share.min() < 0.21 and 0.48 < share.max() < 0.54
    place = np.array([s.start for s in plans]) / (frames - length)
    counts = np.histogram(place, 5, (0, 1))[0]
    assert counts.min() > 80 and counts.max() < 165, counts  # 120 each, give or take
    assert frames.min() >= 40  # so that 32 frames are never repeated
    mean = {a: np.mean([(s.end - s.start) for s in plans if s.action == a]) for a in CLASSES}
    assert max(mean.values()) < 1.35 * min(mean.values()), mean  # the length does not tell the class


@pytest.mark.parametrize("action", CLASSES)
def test_it_moves_in_the_interval_and_rests_outside(action):
    """The hands' speed without camera and zoom; a person out of sight does not move in the picture."""
    for s in scripts(action, 24):
        hands = [limb for limb in s.limbs if "hand" in limb.name]
        place = np.stack([limb.b + s.ground / s.height for limb in hands], axis=1)  # (n, 2, 2)
        speed = np.abs(np.diff(place, axis=0)).max(axis=(1, 2))[: s.num_frames - 1]
        first, last = int(np.ceil(s.start)), int(np.floor(s.end))
        box = _person.extent(s.placed())
        seen = (box[1 : s.num_frames, 2] > 3) & (box[1 : s.num_frames, 0] < 157)
        outside = np.ones(len(speed), bool)
        outside[max(first - 1, 0) : last + 1] = False
        assert speed[first:last].mean() > 0.01
        assert not (outside & seen).any() or speed[outside & seen].max() < 0.004


def test_boxes_hold_the_person_and_the_hands():
    for number, action in enumerate(CLASSES):
        script = write_script(number + 2, action, 1 + number % 4, 1)
        truth = script.truth()
        names = [item["name"] for item in truth["objects"]]
        assert names[0] == "the person" and {"the left hand", "the right hand"} < set(names)
        assert ("the left foot" in names) == (action in GAITS)
        for item in truth["objects"]:
            limbs = [limb for limb in script.placed() if item["name"] in ("the person", f"the {limb.name}")]
            canvas = np.zeros((script.num_drawn, 120, 160), np.float32)
            _person.draw(canvas, [limb._replace(grey=1.0) for limb in limbs])
            for t in range(0, script.num_frames, 7):
                rows, columns = np.nonzero(canvas[t] > 0.4)
                if item["box"][t] is None:
                    assert len(rows) < 20
                    continue
                x0, y0, x1, y1 = np.array(item["box"][t]) * [160, 120, 160, 120]
                assert (columns + 1 >= x0 - 0.6).all() and (columns <= x1 + 0.6).all()
                assert (rows + 1 >= y0 - 0.6).all() and (rows <= y1 + 0.6).all()
                if len(rows) > 400:  # and closely
                    assert x1 - x0 < columns.max() - columns.min() + 5


def test_bones_keep_their_length_and_feet_their_ground():
    phase, amount = np.linspace(0, 3, 90), np.linspace(0, 1, 90)
    for action in CLASSES:
        style = _person.random_style(action, np.random.default_rng(1))
        joints = _person.perform(action, style, phase, amount)
        for side in ("left", "right"):
            upper = np.linalg.norm(joints[f"{side} elbow"] - joints[f"{side} shoulder"], axis=1)
            fore = np.linalg.norm(joints[f"{side} wrist"] - joints[f"{side} elbow"], axis=1)
            assert np.ptp(upper) < 0.005 and np.ptp(fore) < 0.005
        low = np.min([joints[f"{side} {end}"][:, 2] for side in ("left", "right") for end in ("ankle", "toe")], 0)
        assert low.min() > 0.015 and low.max() < 0.09
        assert joints["crown"][0, 2] == pytest.approx(0.97, abs=0.03)  # at ease


def test_gaits_go_both_ways_and_only_d2_changes_scale():
    for action in GAITS:
        ways = [np.sign(s.ground[-1, 0] - s.ground[0, 0]) for s in scripts(action, 50)]
        assert 12 <= ways.count(1) <= 38 and ways.count(1) + ways.count(-1) == 50
    script = write_script(7, "boxing", 2, 1)
    assert abs(script.zoom[0] / script.zoom[script.num_frames - 1] - 1) > 0.15
    assert (write_script(7, "boxing", 1, 1).zoom == 1).all()
    world = _background.paint(np.random.default_rng(3), 1, SMALL)
    still = _background.look(world, SMALL, np.zeros((2, 2)), np.array([1.0, _background.WIDEST]))
    # Zoomed out, the middle of the frame shows what the whole frame showed before, only smaller.
    assert abs(still[1, 15:33, 20:44].mean() - still[0].mean()) < 0.02


def test_an_interrupted_call_can_be_repeated(tmp_path, small):
    root = shutil.copytree(small, tmp_path / "x")
    (root / "00sequences.txt").unlink()  # written last
    kept, *_, gone = sorted(root.glob("person*.avi"))
    gone.unlink()
    when = kept.stat().st_mtime_ns
    generate(root, 3, (1, 4), 2, size=SMALL, workers=2, progress=False)
    assert kept.stat().st_mtime_ns == when
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {
        path.name: path.read_bytes() for path in small.iterdir()}  # fmt: skip
    with pytest.raises(ValueError, match="made with"):
        generate(root, 3, (1, 4), 2, seed=1, size=SMALL, progress=False)


@pytest.mark.parametrize("arguments, message", [
    ({"subjects": 26}, "1 to 25"), ({"subjects": [1, 40]}, "subject 40"), ({"settings": (1, 5)}, "setting 5"),
    ({"settings": ()}, "one of each"), ({"repetitions": 0}, "repetition 0"), ({"seed": -1}, "seed -1"),
    ({"size": (64, 64)}, "about 4/3"), ({"size": (121, 161)}, "even height")])  # fmt: skip
def test_invalid_arguments_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "new", **arguments, progress=False)
    assert not (tmp_path / "new").exists()
