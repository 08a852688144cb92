"""The truth of a generated clip on the frames that a network sees: when something happens, and where.

The truth is in seconds and in frames of the video; a network sees T of these frames (`even_indices`).

>>> truth = {"fps": 12, "frames": 32, "interval": [1.0, 1.5], "objects": [], "camera": [[0, 0]] * 32}
>>> interval_frames(truth, 16)
(6, 10)
"""

from collections.abc import Mapping

import numpy as np

from interp.data.sampling import even_indices


def interval_mask(truth: Mapping, num_frames: int = 16) -> np.ndarray:
    """float32 (T,): 1 for each frame taken while the action goes on, its start and end included."""
    start, end = truth["interval"]
    times = even_indices(truth["frames"], num_frames) / truth["fps"]
    return ((times >= start - 1e-4) & (times <= end + 1e-4)).astype(np.float32)  # seconds have four decimals


def interval_frames(truth: Mapping, num_frames: int = 16) -> tuple[int, int]:
    """The first frame of `interval_mask` and the one after its last, counted from 0.

    Raises:
        ValueError: no frame was taken during the action.
    """
    on = np.flatnonzero(interval_mask(truth, num_frames))
    if not len(on):
        raise ValueError(f"expected a frame in the interval {truth['interval']} seconds, got none of {num_frames}; "
                         "take more frames")
    return int(on[0]), int(on[-1]) + 1


def frame_boxes(truth: Mapping, num_frames: int = 16) -> list[list[tuple[str, tuple]]]:
    """For each of the T frames the (name, box) of all visible objects and hands that act.

    A box is (x0, y0, x1, y1) in 0..1 of the picture. Empty where only the camera acts.
    """
    return [[(item["name"], tuple(item["box"][i])) for item in truth["objects"] if item["box"][i] is not None]
            for i in even_indices(truth["frames"], num_frames)]
