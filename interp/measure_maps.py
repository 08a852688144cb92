"""Numbers about Grad-CAM maps: blobs in each frame, and whether the map lies on the object.

Source: this project's own; the pointing game after Zhang et al., "Top-down Neural Attention by Excitation Backprop",
ECCV 2016; blobs are connected components, from scipy.ndimage. Axes: maps (T,H,W), numbers >= 0; boxes: for each
frame a list of (x0, y0, x1, y1) in 0..1. Needs the extra `results` (scipy) for blobs.

    >>> found = measure_maps.blobs(maps)  # maps (16,7,7) in [0,1]
    >>> found.count.mean(), np.nanmean(found.size), np.nanmean(found.distance)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLD = 0.5  # of the map's scale 0-1
GRID = 56  # points a side to which maps are enlarged before they are cut
UNIFORM_DISTANCE = 0.5411  # the mean distance to the centre of points strewn evenly; see `blobs`


@dataclass(frozen=True)
class Blobs:
    """One value a frame, arrays (T,): count; size, the mean share of the picture that a blob covers; distance,
    of the blobs' centres from the middle of the picture, 0 in the middle and 1 in a corner, weighed by size.
    Size and distance are nan in a frame without a blob."""

    count: np.ndarray
    size: np.ndarray
    distance: np.ndarray


def blobs(maps, threshold: float = THRESHOLD, grid: int | None = GRID) -> Blobs:
    """The connected regions of each frame in which the map is above `threshold`; points that share a side connect.

    Maps come scaled to 0-1 (`gradcam.normalise`). grid: each frame is first enlarged to grid × grid points,
    bilinearly, so that maps of coarse and of fine layers are cut alike; None leaves the layer's own points.
    ValueError where the maps are of another form or not in 0-1.
    """
    measurements = _ndimage()
    maps = _maps(maps)
    if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
        raise ValueError(f"maps: got values from {maps.min():.3g} to {maps.max():.3g}; expected 0 to 1, "
                         "so scale them first with gradcam.normalise")  # fmt: skip
    if grid is not None:
        maps = _enlarged(maps, grid)
    height, width = maps.shape[1:]
    down, right = (np.arange(n) * 2 + 1 - n for n in (height, width))  # -n..n across the picture
    away = np.hypot(down[:, None] / height, right[None, :] / width) / np.sqrt(2)
    count, size, distance = (np.full(len(maps), np.nan) for _ in range(3))
    for frame, one in enumerate(maps > threshold):
        named, number = measurements.label(one)
        count[frame] = number
        if number:
            areas = np.bincount(named.ravel())[1:]
            rows, columns = np.array(measurements.center_of_mass(one, named, range(1, number + 1))).T
            centres = np.hypot((rows * 2 + 1 - height) / height, (columns * 2 + 1 - width) / width) / np.sqrt(2)
            size[frame] = areas.mean() / away.size
            distance[frame] = np.average(centres, weights=areas)
    return Blobs(count, size, distance)


def share_in_boxes(maps, boxes: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """The share of each frame's map that lies inside the boxes (T,), in [0,1]; nan where the map is empty.

    Beside it belongs what an even map gives: `share_in_boxes(np.ones_like(maps), boxes)`.
    """
    maps = _maps(maps)
    inside = _inside(maps.shape, boxes)
    total = maps.sum(axis=(1, 2))
    return np.divide((maps * inside).sum(axis=(1, 2)), total, out=np.full(len(maps), np.nan), where=total > 0)


def pointing_in_space(maps, boxes: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """The pointing game (T,): 1 where a frame's highest point lies in a box, 0 where not, nan for an empty map.

    Of several highest points, the share of them that do. Chance gives the boxes' share of the picture.
    """
    maps = _maps(maps)
    highest = (maps == maps.max(axis=(1, 2), keepdims=True)) & (maps > 0)
    return share_in_boxes(highest.astype(float), boxes)


def _inside(shape: tuple[int, int, int], boxes) -> np.ndarray:
    """Bool (T,H,W): whether the middle of each point lies in a box of its frame."""
    if len(boxes) != shape[0]:
        raise ValueError(f"boxes: got {len(boxes)} frames for maps of {shape[0]}; give a list for each frame")
    y, x = ((np.arange(n) + 0.5) / n for n in shape[1:])
    inside = np.zeros(shape, bool)
    for frame, here in zip(inside, boxes, strict=True):
        for x0, y0, x1, y1 in here:
            frame |= ((y >= y0) & (y <= y1))[:, None] & ((x >= x0) & (x <= x1))[None, :]
    return inside


def _enlarged(maps: np.ndarray, grid: int) -> np.ndarray:
    import torch

    points = torch.from_numpy(np.ascontiguousarray(maps))[:, None]
    return torch.nn.functional.interpolate(points, (grid, grid), mode="bilinear")[:, 0].numpy()


def _maps(maps) -> np.ndarray:
    maps = maps.detach().cpu().numpy() if hasattr(maps, "detach") else np.asarray(maps)
    if maps.ndim != 3:
        raise ValueError(f"expected maps as (T,H,W), got {maps.shape}; one map is map[None]")
    return maps.astype(np.float64)


def _ndimage():
    try:
        from scipy import ndimage
    except ImportError as error:
        raise ValueError(f"blobs need scipy ({error}): pip install 'interp[results]'") from error
    return ndimage
