"""The known interval and boxes on the frames that a network sees: by hand, and on a generated clip."""

import numpy as np
import pytest

from interp.data.motion import render_clip
from interp.data.truth import frame_boxes, interval_frames, interval_mask

HAND = {
    "fps": 10, "frames": 20, "interval": [0.6, 1.2], "camera": [[0, 0]] * 20,
    "objects": [{"name": "a cup", "box": [None] * 10 + [[0.1, 0.2, 0.3, 0.4]] * 10}],
}  # fmt: skip


def test_frames_in_the_interval_by_hand():
    # Ten of twenty frames: 0, 2, 4, ... at 0.0, 0.2, 0.4, ... seconds; both ends belong to the interval.
    assert interval_mask(HAND, 10).tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert interval_frames(HAND, 10) == (3, 7)


def test_boxes_follow_the_frames_taken():
    boxes = frame_boxes(HAND, 10)
    assert boxes[:5] == [[]] * 5
    assert boxes[5:] == [[("a cup", (0.1, 0.2, 0.3, 0.4))]] * 5


def test_an_interval_between_two_frames_is_refused():
    with pytest.raises(ValueError, match="got none of 2; take more frames"):
        interval_frames(HAND | {"interval": [0.3, 0.7]}, 2)


def test_every_generated_clip_has_frames_in_its_interval():
    for index in range(12):
        truth = render_clip("validation", index, size=32)[1]
        mask = interval_mask(truth)
        first, end = interval_frames(truth)
        assert mask.sum() == end - first and np.all(mask[first:end] == 1)  # one run
        assert 3 <= mask.sum() <= 9  # a fifth to a half of sixteen
