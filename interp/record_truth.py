"""What of a clip's map and mask can be held against the known truth: the numbers that need the maps, which do not ship.

Source: this project's own; the measures are those of `measure_maps`, the truth that of `data.truth`. Axes: maps
(T,H,W) in [0,1]; the known interval is a list of T zeros and ones.

    >>> sample = dataset.samples[0]
    >>> against_truth(results.maps[0], sample.meta["truth"], num_frames=16)["in_boxes"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from interp import measure_maps
from interp.data.truth import frame_boxes, interval_mask

# The columns and what they are, each a mean over the frames that have one.
COLUMNS = {
    "known": "1 in the frames in which something happens",
    "blobs": "connected regions of the map above one half, a frame",
    "blob_size": "mean share of the picture that one covers",
    "blob_distance": "of the blobs' centres from the middle of the picture, 0 there and 1 in a corner",
    "in_boxes": "share of the map inside the boxes of what acts, in frames with a box",
    "pointing": "share of frames whose highest point lies in a box, in frames with a box",
    "boxes_share": "share of the picture that the boxes cover in these frames: what chance gives for both",
}


def against_truth(one: np.ndarray | None, truth: Mapping[str, Any], num_frames: int) -> dict[str, Any]:
    """The values of COLUMNS for a clip's map (T,H,W), or without one (None) those of the truth alone.

    None stands for a number that the clip does not give: no blob in any frame, or no box in any frame where the
    map is not empty.
    """
    told: dict[str, Any] = dict.fromkeys(COLUMNS)
    told["known"] = interval_mask(truth, num_frames).astype(int).tolist()
    if one is None:
        return told
    one = np.asarray(one, dtype=np.float64)
    boxes = [[box for _, box in here] for here in frame_boxes(truth, num_frames)]
    seen = np.array([bool(here) for here in boxes]) & (one.sum(axis=(1, 2)) > 0)
    told |= blob_means(one)
    if seen.any():
        told["in_boxes"] = _mean(measure_maps.share_in_boxes(one, boxes)[seen])
        told["pointing"] = _mean(measure_maps.pointing_in_space(one, boxes)[seen])
        told["boxes_share"] = _mean(measure_maps.share_in_boxes(np.ones_like(one), boxes)[seen])
    return told


def blob_means(one: np.ndarray) -> dict[str, float | None]:
    """The means over the frames of a map (T,H,W) of `measure_maps.blobs`, under the names that COLUMNS gives them."""
    found = measure_maps.blobs(one)
    return {"blobs": _mean(found.count), "blob_size": _mean(found.size), "blob_distance": _mean(found.distance)}


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None
