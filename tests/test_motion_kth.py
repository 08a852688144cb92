"""The KTH flavour of the embedded dataset: a true truth, KTH's files, the same each time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from interp.data import figure, open_dataset, stage
from interp.data.gestures import GAITS, perform, random_style, stand
from interp.data.kth import CLASSES, read_sequences
from interp.data.kth_script import write_script
from interp.data.motion_kth import generate, render_sequence
from interp.data.truth import frame_boxes, interval_frames, interval_mask
from interp.data.video import read_clip

SMALL = (48, 64)
# the first digits of the SHA-256 of a sequence of each class, see below
KNOWN = ["aabe644e8126", "931dca1d833f", "9b293cebc23e", "4a5e694f3f19", "42cad3f31de6", "02f4171b5566"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three subjects (two train, one validation), two settings, two sequences a video."""
    root = tmp_path_factory.mktemp("kth flavour") / "ä b"
    return generate(root, 3, (1, 4), 2, size=SMALL, workers=1, progress=False)


def scripts(action, count=60):
    return [write_script(1 + k % 25, action, 1 + k % 4, 1 + k // 25) for k in range(count)]


def test_a_sequence_is_a_function_of_its_place_alone():
    frames, truth = render_sequence(3, "jogging", 2, 1, seed=5, size=SMALL)
    again, _ = render_sequence(3, "jogging", 2, 1, seed=5, size=SMALL)
    assert frames.shape == (truth["frames"], *SMALL, 3) and frames.dtype == np.uint8
    assert (frames == again).all() and (frames[..., 0] == frames[..., 2]).all()
    for subject, setting, repetition, seed in ((3, 2, 2, 5), (3, 3, 1, 5), (4, 2, 1, 5), (3, 2, 1, 6)):
        other, _ = render_sequence(subject, "jogging", setting, repetition, seed, SMALL)
        assert len(other) != len(frames) or (other != frames).any()


def test_the_pixels_are_known():
    """Made on one machine, asked for on every other: only exact arithmetic touches a pixel."""
    digests = []
    for number, action in enumerate(CLASSES):
        frames, _ = render_sequence(number + 1, action, 1 + number % 4, size=SMALL)
        digests.append(hashlib.sha256(frames.tobytes()).hexdigest()[:12])
    assert digests == KNOWN


def test_loader_reads_the_files_with_the_papers_split(small):
    entries = read_sequences(small / "00sequences.txt")
    assert [name for name, *_ in entries[:2]] == ["person01_boxing_d1", "person01_boxing_d4"]
    assert len(entries) == 3 * 6 * 2 and all(len(ranges) == 2 for *_, ranges in entries)
    train = open_dataset("kth", small, "train", num_frames=32, size=SMALL)
    validation = open_dataset("kth", small, "validation", num_frames=32, size=SMALL)
    assert (len(train), len(validation)) == (2 * 6 * 2 * 2, 6 * 2 * 2)
    assert {s.meta["subject"] for s in train.samples} == {1, 2}
    assert {s.meta["subject"] for s in validation.samples} == {17}
    assert sorted(set(validation.labels.tolist())) == list(range(6))
    for kind in ("train", "validation"):
        assert not open_dataset("kth", small, kind, num_frames=8).check().unreadable
    # Nobody here boxes to the left in particular: a mirrored sequence keeps its class, one upside down has none.
    assert train.mirror == {i: i for i in range(6)} and train.flip == {}


def test_every_sequence_of_the_list_is_the_one_that_was_drawn(small):
    for sample in open_dataset("kth", small, "validation").samples[::5]:
        meta = sample.meta
        frames, truth = render_sequence(17, meta["action"], meta["setting"], meta["repetition"], size=SMALL)
        assert sample.end - sample.start == truth["frames"] == len(frames)
        assert meta["truth"] == json.loads(json.dumps(truth)) and truth["label"] == meta["action"]
        read = read_clip(sample.path, len(frames), start=sample.start, end=sample.end)
        assert np.abs(read.astype(int) - frames).mean() < 6  # what MPEG-4 loses
        first, end = interval_frames(truth, 32)
        assert interval_mask(truth, 32)[first:end].all() and len(frame_boxes(truth, 32)) == 32


def test_interval_is_a_fifth_to_a_half_and_anywhere():
    found = [script for action in CLASSES for script in scripts(action, 100)]
    length = np.array([s.end - s.start for s in found])
    frames = np.array([s.num_frames - 1 for s in found])
    share = length / frames  # the ends of those who come or go are when they are quite out of sight
    assert 0.16 < share.min() < 0.21 and 0.48 < share.max() < 0.54
    place = np.array([s.start for s in found]) / (frames - length)
    counts = np.histogram(place, 5, (0, 1))[0]
    assert counts.min() > 80 and counts.max() < 165, counts  # 120 each, give or take
    assert frames.min() >= 40  # so that 32 frames are never repeated
    mean = {a: np.mean([(s.end - s.start) for s in found if s.action == a]) for a in CLASSES}
    assert max(mean.values()) < 1.35 * min(mean.values()), mean  # how long it takes does not tell what it is


@pytest.mark.parametrize("action", CLASSES)
def test_it_moves_in_the_interval_and_rests_outside(action):
    """Of the joints, without camera and zoom; who is out of sight does not move in the picture."""
    for s in scripts(action, 24):
        hands = [one for one in s.limbs if "hand" in one.name]
        place = np.stack([one.b + s.ground / s.height for one in hands], axis=1)  # (n, 2, 2)
        speed = np.abs(np.diff(place, axis=0)).max(axis=(1, 2))[: s.num_frames - 1]
        first, last = int(np.ceil(s.start)), int(np.floor(s.end))
        box = figure.extent(s.placed())
        seen = (box[1 : s.num_frames, 2] > 3) & (box[1 : s.num_frames, 0] < 157)
        outside = np.ones(len(speed), bool)
        outside[max(first - 1, 0) : last + 1] = False
        assert speed[first:last].mean() > 0.01
        assert not (outside & seen).any() or speed[outside & seen].max() < 0.004


def test_frames_change_more_inside_the_interval():
    inside, outside = [], []
    for number in range(12):
        frames, truth = render_sequence(1 + 2 * number, CLASSES[number % 6], (1, 3, 4)[number % 3], size=SMALL)
        change = np.abs(np.diff(frames[..., 0].astype(int), axis=0)).mean(axis=(1, 2))
        times = (np.arange(len(change)) + 0.5) / truth["fps"]
        on = (times >= truth["interval"][0]) & (times <= truth["interval"][1])
        inside.append(change[on].mean())
        outside.append(change[~on].mean())
    assert (np.array(inside) > np.array(outside)).mean() > 0.8
    assert np.mean(inside) > 1.15 * np.mean(outside)


def test_boxes_hold_the_person_and_the_hands():
    for number, action in enumerate(CLASSES):
        script = write_script(number + 2, action, 1 + number % 4, 1)
        truth = script.truth()
        names = [one["name"] for one in truth["objects"]]
        assert names[0] == "the person" and {"the left hand", "the right hand"} < set(names)
        assert ("the left foot" in names) == (action in GAITS)
        for thing in truth["objects"]:
            limbs = [o for o in script.placed() if thing["name"] in ("the person", f"the {o.name}")]
            canvas = np.zeros((script.num_drawn, 120, 160), np.float32)
            figure.draw(canvas, [figure.Limb(o.name, o.a, o.b, o.ra, o.rb, 1.0) for o in limbs])
            for t in range(0, script.num_frames, 7):
                rows, columns = np.nonzero(canvas[t] > 0.4)
                if thing["box"][t] is None:
                    assert len(rows) < 20
                    continue
                x0, y0, x1, y1 = np.array(thing["box"][t]) * [160, 120, 160, 120]
                assert (columns + 1 >= x0 - 0.6).all() and (columns <= x1 + 0.6).all()
                assert (rows + 1 >= y0 - 0.6).all() and (rows <= y1 + 0.6).all()
                if len(rows) > 400:  # and closely
                    assert x1 - x0 < columns.max() - columns.min() + 5


def test_gaits_differ_in_speed_stride_and_lean_and_go_both_ways():
    styles = {a: [random_style(a, np.random.default_rng(k)) for k in range(50)] for a in GAITS}
    for slow, fast in (("walking", "jogging"), ("jogging", "running")):
        assert max(s.speed for s in styles[slow]) < min(s.speed for s in styles[fast])
    assert np.mean([s.stride for s in styles["running"]]) > 1.3 * np.mean([s.stride for s in styles["jogging"]])
    assert np.mean([s.lean for s in styles["walking"]]) < np.mean([s.lean for s in styles["jogging"]])
    for action in GAITS:
        ways = [np.sign(s.ground[-1, 0] - s.ground[0, 0]) for s in scripts(action, 50)]
        assert 12 <= ways.count(1) <= 38 and ways.count(1) + ways.count(-1) == 50


def test_bones_keep_their_length_and_feet_their_ground():
    phase, amount = np.linspace(0, 3, 90), np.linspace(0, 1, 90)
    for action in CLASSES:
        joints = perform(action, random_style(action, np.random.default_rng(1)), phase, amount)
        for side in ("left", "right"):
            upper = np.linalg.norm(joints[f"{side} elbow"] - joints[f"{side} shoulder"], axis=1)
            fore = np.linalg.norm(joints[f"{side} wrist"] - joints[f"{side} elbow"], axis=1)
            assert np.ptp(upper) < 0.005 and np.ptp(fore) < 0.005
        low = np.min([joints[f"{side} {end}"][:, 2] for side in ("left", "right") for end in ("ankle", "toe")], 0)
        assert low.min() > 0.015 and low.max() < 0.09
    at_ease = stand(2)
    assert at_ease["crown"][0, 2] == pytest.approx(0.97, abs=0.03)


def test_background_does_not_know_the_action_and_d2_changes_scale():
    one, other = (write_script(7, action, 2, 1) for action in ("boxing", "walking"))
    assert abs(one.zoom[0] / one.zoom[one.num_frames - 1] - 1) > 0.15 and (other.zoom != 1).any()
    assert (write_script(7, "boxing", 1, 1).zoom == 1).all()
    world = stage.paint(np.random.default_rng(3), 1, SMALL)
    still = stage.look(world, SMALL, np.zeros((2, 2)), np.array([1.0, stage.WIDEST]))
    # Zoomed out, the middle half of the frame shows what the frame showed before, only smaller.
    assert abs(still[1, 15:33, 20:44].mean() - still[0].mean()) < 0.02


def test_an_interrupted_call_can_be_repeated(tmp_path, small):
    code = f"generate({str(tmp_path / 'x')!r}, 3, (1, 4), 2, size={SMALL}, workers=1, progress=False)"
    command = [sys.executable, "-c", f"from interp.data.motion_kth import generate; {code}"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    for _ in range(2400):
        if len(list((tmp_path / "x").glob("person*.avi"))) >= 3 or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "x" / "00sequences.txt").exists()  # killed before the end
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "x").glob("person*.avi")}
    root = generate(tmp_path / "x", 3, (1, 4), 2, size=SMALL, workers=2, progress=False)
    assert all((root / name).stat().st_mtime_ns == when for name, when in kept.items())
    names = [path.name for path in small.iterdir()]
    assert set(names) <= {path.name for path in root.iterdir()} and len(kept) >= 3
    for name in names:
        assert (root / name).read_bytes() == (small / name).read_bytes(), name


def test_command_line(tmp_path, capsys):
    from interp.__main__ import main

    root = tmp_path / "videos"
    options = "--subjects 2 --settings 4 --repetitions 1 --size 48 64 --workers 1 --quiet".split()
    assert main(["data", "kth", str(root), *options]) == 0
    assert str(root) in capsys.readouterr().out
    assert len(list(root.glob("*_d4_uncomp.avi"))) == 12 and os.listdir(root).count("truth.json") == 1
    assert len(open_dataset("kth", root, "all")) == 12


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"subjects": 26}, "1 to 25"),
        ({"subjects": [1, 40]}, "subject 40"),
        ({"settings": (1, 5)}, "setting 5"),
        ({"settings": ()}, "one of each"),
        ({"repetitions": 0}, "repetition 0"),
        ({"seed": -1}, "seed -1"),
        ({"size": (64, 64)}, "about 4/3"),
        ({"size": (121, 161)}, "even height"),
    ],
)
def test_what_cannot_be_made_is_told_before_a_start(tmp_path, wrong, told):
    with pytest.raises(ValueError, match=told):
        generate(tmp_path / "new", **wrong, progress=False)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_another_recipe_and_another_action_are_refused(small):
    with pytest.raises(ValueError, match="made with"):
        generate(small, 3, (1, 4), 2, seed=1, size=SMALL, progress=False)
    with pytest.raises(ValueError, match="'dancing'"):
        render_sequence(1, "dancing", 1)
