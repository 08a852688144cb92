"""The truth of an embedded clip on the frames that a network sees: when something happens, and where.

Source: this project's own; `motion` and `motion_kth` write the truth in seconds and in frames of the video, a
network sees T of those frames (`video.even_indices`). Axes: times (T,) in seconds, masks (T,) with 1 =
something happens, boxes (x0, y0, x1, y1) in 0..1 of the picture.

>>> truth = {"fps": 12, "frames": 32, "interval": [1.0, 1.5], "objects": [], "camera": [[0, 0]] * 32}
>>> interval_frames(truth, 16)
(6, 10)
"""

from collections.abc import Mapping

import numpy as np

from interp.data.video import even_indices


def frame_times(truth: Mapping, num_frames: int = 16) -> np.ndarray:
    """The moments (T,) in seconds at which the clip's T frames were taken."""
    return even_indices(truth["frames"], num_frames) / truth["fps"]


def interval_mask(truth: Mapping, num_frames: int = 16) -> np.ndarray:
    """float32 (T,): 1 for each frame taken while the action goes on, its start and end included."""
    start, end = truth["interval"]
    times = frame_times(truth, num_frames)
    return ((times >= start - 1e-4) & (times <= end + 1e-4)).astype(np.float32)  # seconds have four decimals


def interval_frames(truth: Mapping, num_frames: int = 16) -> tuple[int, int]:
    """The first frame of `interval_mask` and the one after its last, counted from 0.

    ValueError where no frame was taken during the action: T is too small for this clip.
    """
    on = np.flatnonzero(interval_mask(truth, num_frames))
    if not len(on):
        raise ValueError(f"none of {num_frames} frames lies in the interval {truth['interval']} seconds; "
                         "take more frames")
    return int(on[0]), int(on[-1]) + 1


def frame_boxes(truth: Mapping, num_frames: int = 16) -> list[list[tuple[str, tuple]]]:
    """For each of the T frames the (name, box) of every thing and hand that acts and is in sight.

    Empty where only the camera acts.
    """
    taken = even_indices(truth["frames"], num_frames)
    return [[(one["name"], tuple(one["box"][i])) for one in truth["objects"] if one["box"][i] is not None]
            for i in taken]
