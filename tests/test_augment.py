"""Augmentation: a direction is mirrored only together with its class, and pixels end where the draws say."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional
from toy import Toy

from interp.data import Sample, VideoDataset, open_dataset, to_clip
from interp.data.kth import CLASSES as KTH
from interp.training import augment

STILL = {"zoom": 1.0, "stretch": 0.0, "brightness": 0.0, "contrast": 0.0, "colour": 0.0}
RIGHT, LEFT = "Pushing something from left to right", "Pushing something from right to left"
CAMERA, UP, HOLD = "Turning the camera left while filming something", "Moving something up", "Holding something"


def augmentation(num_classes, mirror=None, flip=None, **options):
    """`augment_clips` for classes that are mirrored so."""
    tables = (torch.tensor([(mapping or {}).get(k, -1) for k in range(num_classes)]) for mapping in (mirror, flip))
    return partial(augment.augment_clips, **dict(zip(("mirror", "flip"), tables, strict=True)), **options)


def moving(dx, dy, size=12):
    """A bright dot that moves by (dx, dy) a frame, uint8 (4, size, size, 3)."""
    frames = np.zeros((4, size, size, 3), np.uint8)
    for t in range(4):
        frames[t, size // 2 + dy * (2 * t - 3), size // 2 + dx * (2 * t - 3)] = 255
    return torch.from_numpy(frames)


def direction(clip):
    """(dx, dy) of the dot in a clip (3,T,H,W), in signs."""
    first, last = ((frame == frame.max()).nonzero()[0] for frame in (clip[0, 0], clip[0, -1]))
    return int((last[1] - first[1]).sign()), int((last[0] - first[0]).sign())


@pytest.fixture
def something(tmp_path):
    """The dataset as it is opened from files: it derives from the names what may be mirrored."""
    (tmp_path / "videos").mkdir()
    names = [RIGHT, LEFT, CAMERA, UP, HOLD]
    clips = [{"id": str(i), "template": name} for i, name in enumerate(names)]
    (tmp_path / "labels.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (tmp_path / "train.json").write_text(json.dumps(clips))
    for i in range(len(names)):
        (tmp_path / "videos" / f"{i}.webm").touch()
    return open_dataset("something", tmp_path, "train", 4, 12)


def test_what_has_a_direction_is_mirrored_only_into_its_opposite(something):
    change = augmentation(5, something.mirror, something.flip, **STILL)
    truth = {RIGHT: (1, 0), LEFT: (-1, 0), CAMERA: (-1, 0), UP: (0, -1), HOLD: (1, 0)}
    count, seen = 200, {}
    for label, name in enumerate(something.classes):
        frames = moving(*truth[name]).expand(count, -1, -1, -1, -1)
        clips, labels = change(frames, torch.full((count,), label), augment.draw(0, label, count))
        seen[name] = {(direction(clip), something.classes[new]) for clip, new in zip(clips, labels, strict=True)}
    assert seen[RIGHT] == {((1, 0), RIGHT), ((-1, 0), LEFT)}  # never to the left and still called right
    assert seen[LEFT] == {((-1, 0), LEFT), ((1, 0), RIGHT)}
    assert seen[CAMERA] == {((-1, 0), CAMERA)}  # "to the right" is no class here
    assert seen[UP] == {((0, -1), UP)}
    assert seen[HOLD] == {((1, 0), HOLD), ((-1, 0), HOLD)}


def test_each_kind_of_dataset_says_what_may_be_mirrored(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "1.avi").touch()
    folder = open_dataset("folder", tmp_path / "videos", "all")
    frames = moving(1, 0).expand(100, -1, -1, -1, -1)
    clips, labels = augmentation(2, folder.mirror, folder.flip, **STILL)(
        frames, torch.zeros(100).long(), augment.draw(0, 0, 100)
    )
    torch.testing.assert_close(clips, to_clip(frames), atol=1e-5, rtol=0)
    assert not labels.any()  # nothing is known of its classes
    kth = VideoDataset([Sample("a", tmp_path, 0)], KTH, mirror={name: name for name in KTH})
    assert kth.mirror == {i: i for i in range(6)} and kth.flip == {}


def test_a_crop_is_where_the_draws_say_and_the_same_in_every_frame():
    frames = torch.randint(256, (1, 5, 16, 24, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    draws = torch.full((1, augment.NUM_DRAWS), 0.5)
    draws[0, :2], draws[0, 2] = 0.9, 0.0  # nothing turned, the smallest crop
    for (across, down), (left, top) in {(0.0, 0.0): (0, 0), (0.999, 0.999): (12, 8), (0.5, 0.25): (6, 2)}.items():
        draws[0, 4], draws[0, 5] = across, down
        change = augmentation(1, **(STILL | {"zoom": 0.5}))
        clips, _ = change(frames, torch.zeros(1).long(), draws)
        crop = to_clip(frames)[0, :, :, top : top + 8, left : left + 12]
        expected = functional.interpolate(crop, (16, 24), mode="bilinear", align_corners=False)
        torch.testing.assert_close(clips[0], expected, atol=1e-4, rtol=0)


def test_gain_and_offset_are_one_for_the_whole_clip():
    frames = torch.randint(90, 160, (1, 3, 4, 4, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    draws = torch.full((1, augment.NUM_DRAWS), 0.5)
    draws[0, :2] = 0.9
    draws[0, 6], draws[0, 7], draws[0, 10] = 1.0, 0.0, 0.75
    options = STILL | {"brightness": 0.1, "contrast": 0.2, "colour": 0.1}
    clips, _ = augmentation(1, **options)(frames, torch.zeros(1).long(), draws)
    gain = 1.2 * torch.tensor([0.9, 1.0, 1.0])[:, None, None, None]
    expected = (to_clip(frames)[0] - 0.5) * gain + 0.5 + 0.05
    torch.testing.assert_close(clips[0], expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_draws_depend_on_seed_and_epoch_and_a_clip_not_on_its_neighbours():
    frames = torch.randint(256, (3, 4, 8, 8, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels, draws = torch.tensor([0, 1, 0]), augment.draw(1, 2, 10)
    assert torch.equal(draws, augment.draw(1, 2, 10)) and 0 <= draws.min() and draws.max() < 1
    assert not torch.equal(draws, augment.draw(1, 3, 10)) and not torch.equal(draws, augment.draw(2, 2, 10))
    change = augmentation(2, Toy.mirror, Toy.flip)
    clips, mapped = change(frames, labels, draws[[5, 9, 7]])
    alone, label = change(frames[1:2], labels[1:2], draws[[9]])
    assert torch.equal(clips[1:2], alone) and torch.equal(mapped[1:2], label)


def test_mirroring_maps_the_label_and_turns_the_frames():
    frames = torch.stack([torch.as_tensor(Toy(2)[i][0]) for i in (0, 1)])
    draws, original = torch.full((2, augment.NUM_DRAWS), 0.75), to_clip(frames)
    for mirror, flip, reversed_axes, expected in (
        (0.75, 0.75, ((), ()), [0, 1]),
        (0.25, 0.75, ((-1,), (-1,)), [1, 0]),
        (0.75, 0.25, ((-2,), (-2,)), [0, 1]),
        (0.25, 0.25, ((-1, -2), (-1, -2)), [1, 0]),
    ):
        draws[:, 0], draws[:, 1] = mirror, flip
        clips, labels = augmentation(2, Toy.mirror, Toy.flip, **STILL)(frames, torch.tensor([0, 1]), draws)
        turned = torch.stack([clip.flip(axes) for clip, axes in zip(original, reversed_axes, strict=True)])
        torch.testing.assert_close(clips, turned, atol=1e-5, rtol=0)
        assert labels.tolist() == expected


def test_an_unknown_mirror_image_is_never_made_and_a_known_one_half_of_the_time():
    frames = torch.zeros(1, 1, 4, 4, 3, dtype=torch.uint8).expand(500, -1, -1, -1, -1)
    labels = torch.arange(500) % 3
    labels[0] = -1
    _, after = augmentation(3, {0: 1}, None)(frames, labels, augment.draw(0, 0, 500))
    assert torch.equal(after[labels != 0], labels[labels != 0])
    assert 0.35 < (after[labels == 0] == 1).double().mean() < 0.65


def test_one_change_for_all_frames():
    still = torch.randint(256, (6, 1, 16, 16, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    clips, _ = augmentation(1)(still.expand(-1, 4, -1, -1, -1), torch.zeros(6).long(), augment.draw(0, 0, 6))
    assert torch.equal(clips, clips[:, :, :1].expand_as(clips)) and 0 <= clips.min() and clips.max() <= 1
