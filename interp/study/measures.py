"""Numbers about masks, scores and Grad-CAM maps, and MEASURES: all of them by name, as columns of a table.

Axes: masks and known (B,T), 1 = perturbed and 1 = in the known interval; scores (B,); maps (T,H,W); boxes: for each
frame a list of (x0, y0, x1, y1) in 0..1. Frames count from 0, and a frame is on where its mask is above 0.5.
"""

from collections import namedtuple
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from interp.study import import_extra
from interp.study.curve import frames_needed

THRESHOLD, GRID = 0.5, 56  # of blobs: the map is cut at this share of 1, after enlargement to GRID points a side
UNIFORM_DISTANCE = 0.5411  # mean `Blobs.distance` of points spread evenly over the picture
RESOLUTION = 0.001  # step of the paper's printed scores
HALF = 0.5  # share of the score that the frames of "needed" take
LEAST_DROP = 0.1  # smallest drop of the fully frozen clip of which a share is taken


def length(masks: Tensor) -> Tensor:
    """Mask length (B,): the number of frames that are on."""
    return _on(masks).sum(dim=1)


def runs(masks: Tensor) -> Tensor:
    """Number of runs (B,) of neighbouring frames that are on."""
    on = _on(masks)
    return on[:, 0].long() + (on[:, 1:] & ~on[:, :-1]).sum(dim=1)


def first_frame(masks: Tensor) -> Tensor:
    """The first frame that is on (B,), float; nan where none is."""
    on = _on(masks)
    return torch.where(on.any(dim=1), on.float().argmax(dim=1).float(), torch.nan)


def last_frame(masks: Tensor) -> Tensor:
    """The last frame that is on (B,), float; nan where none is."""
    return masks.shape[1] - 1 - first_frame(_on(masks).flip(1))


def drop(original: Tensor, perturbed: Tensor, frozen: Tensor | None = None) -> Tensor:
    """OS-FS or OS-RS (B,); with `frozen`, as a share of OS-frozen, which the fully frozen clip loses, nan if none."""
    if frozen is None:
        return original - perturbed
    return torch.where(original > frozen, (original - perturbed) / (original - frozen), torch.nan)


def order_ratio(reversed_score: Tensor, frozen_score: Tensor, resolution: float = 0.0) -> Tensor:
    """RS/FS (B,), after Mänttäri et al., ACCV 2020: well above 1, frames' order matters less than their presence.

    resolution: step of the scores. Below half of it a score counts as that half; nan where both are so small.
    """
    half = resolution / 2
    ratio = reversed_score.clamp(min=half) / frozen_score.clamp(min=half)
    return torch.where((reversed_score <= half) & (frozen_score <= half), torch.nan, ratio)


def agreement(masks: Tensor, known: Tensor) -> Tensor:
    """Intersection over union (B,) of frames on and known frames; 0 where both are empty."""
    on, known = _pair(masks, known)
    return (on & known).sum(dim=1) / (on | known).sum(dim=1).clamp(min=1)


def chance_agreement(masks: Tensor, known: Tensor) -> Tensor:
    """The exact mean (B,) of `agreement` over every place of one run as long as each mask."""
    on, known = _pair(masks, known)
    places = [single_runs(on.shape[1], number).to(known.device) for number in on.sum(dim=1).tolist()]
    return torch.stack([agreement(rows, row.expand_as(rows)).mean() for rows, row in zip(places, known, strict=True)])


def single_runs(num_frames: int, number: int) -> Tensor:
    """All masks (places,T) of zeros and ones with one run of `number` frames, by their first frame."""
    return torch.ones(num_frames - number + 1, num_frames).triu().tril(number - 1)


def largest_change(clips: Tensor) -> Tensor:
    """The frame (B,) of each clip (B,C,T,H,W) that differs most from the one before; 0 in a clip of one frame."""
    changes = clips.diff(dim=2).abs().mean(dim=(1, 3, 4))  # (B, T-1)
    return changes.argmax(dim=1) + 1 if changes.shape[1] else torch.zeros(len(clips), dtype=torch.long)


def change_windows(masks: Tensor, change: Tensor) -> Tensor:
    """One run of frames (B,T) as long as each mask, round the frame `change` (B,): a guess that knows no network.

    That frame is in the middle, or one after it for an even length; near an end the run is moved inside.
    """
    lengths, frames = length(masks)[:, None], torch.arange(masks.shape[1], device=masks.device)
    first = (change.to(masks.device)[:, None] - lengths // 2).clamp(min=0).minimum(masks.shape[1] - lengths)
    return ((frames >= first) & (frames < first + lengths)).float()


def pointing_in_time(masks: Tensor, known: Tensor) -> Tensor:
    """Pointing game in time (B,), after Zhang et al., ECCV 2016: the share of known frames among the mask's highest."""
    known = _pair(masks, known)[1]
    highest = masks.float() == masks.float().amax(dim=1, keepdim=True)
    return (highest & known).sum(dim=1) / highest.sum(dim=1)


def _pair(masks: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    on, known = _on(masks), _on(known)
    if on.shape != known.shape:
        raise ValueError(f"known: expected {tuple(on.shape)} like the masks, got {tuple(known.shape)}")
    return on, known


def _on(masks: Tensor) -> Tensor:
    if masks.dim() != 2:
        raise ValueError(f"expected masks as a tensor (B,T), got {tuple(masks.shape)}; one mask is mask[None]")
    return masks if masks.dtype == torch.bool else masks > 0.5


# Arrays (T,): blobs of each frame; the mean share of the picture that one covers; their centres' distance from the
# picture's middle, weighted by size: 0 there, 1 in a corner. Size and distance are nan in a frame without a blob.
Blobs = namedtuple("Blobs", "count size distance")


def blobs(maps, threshold: float = THRESHOLD, grid: int | None = GRID) -> Blobs:
    """Connected regions of each frame's map (T,H,W) in [0,1] above `threshold`; points that share a side connect.

    grid: points a side to which maps are enlarged first, so that coarse and fine ones are cut alike.
    """
    ndimage, maps = import_extra("scipy.ndimage"), _maps(maps)
    if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
        raise ValueError(f"maps: expected values in 0..1, got {maps.min():.3g} to {maps.max():.3g}; "
                         "scale them with gradcam.normalise")
    if grid is not None:
        maps = interpolate(torch.tensor(maps)[:, None], (grid, grid), mode="bilinear")[:, 0].numpy()
    shape = np.array(maps.shape[1:])
    count, size, distance = np.full((3, len(maps)), np.nan)
    for frame, points in enumerate(maps > threshold):
        labels, count[frame] = ndimage.label(points)
        if numbers := range(1, labels.max() + 1):
            areas = np.bincount(labels.ravel())[1:]
            centres = (2 * np.array(ndimage.center_of_mass(points, labels, numbers)) + 1 - shape) / shape  # -1..1
            size[frame] = areas.mean() / points.size
            distance[frame] = np.average(np.hypot(*centres.T) / np.sqrt(2), weights=areas)
    return Blobs(count, size, distance)


def off_centre(size: Tensor, distance: Tensor) -> Tensor:
    """How much farther from the centre blobs lie (N,) than squares of their size, which may lie anywhere: < 0, nearer.

    A large square cannot lie far out: where its side is s of the picture's, the mean distance is (1 - s) times that of
    a point.
    """
    return distance - (1 - size.sqrt()) * UNIFORM_DISTANCE


def map_means(heat_map, boxes: Sequence[Sequence[Sequence[float]]] | None = None) -> dict[str, float | None]:
    """The means of a map (T,H,W) over the frames that have a number, by column name; None where none has.

    boxes: of the things that act, by frame, for the last three: share of the map in them, pointing game, own share.
    """
    heat_map, frames = _maps(heat_map), blobs(heat_map)
    means = {"blobs": frames.count, "blob_size": frames.size, "blob_distance": frames.distance}
    if boxes is not None:
        shown = np.array([bool(of_frame) for of_frame in boxes]) & (heat_map.sum(axis=(1, 2)) > 0)
        means |= {"in_boxes": share_in_boxes(heat_map, boxes)[shown],
                  "pointing": pointing_in_space(heat_map, boxes)[shown],
                  "boxes_share": share_in_boxes(np.ones_like(heat_map), boxes)[shown]}
    return {name: float(finite.mean()) if len(finite := values[np.isfinite(values)]) else None
            for name, values in means.items()}


def share_in_boxes(maps, boxes: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """Share of each frame's map inside its boxes (T,); nan where the map is empty. Chance: maps of ones."""
    maps = _maps(maps)
    if len(boxes) != len(maps):
        raise ValueError(f"boxes: expected a list for each of {len(maps)} frames, got {len(boxes)}")
    y, x = ((np.arange(number) + 0.5) / number for number in maps.shape[1:])
    inside = np.zeros(maps.shape, bool)  # whether the middle of a point lies in a box
    for frame, frame_boxes in zip(inside, boxes, strict=True):
        for x0, y0, x1, y1 in frame_boxes:
            frame |= ((y >= y0) & (y <= y1))[:, None] & ((x >= x0) & (x <= x1))
    total = maps.sum(axis=(1, 2))
    return np.divide((maps * inside).sum(axis=(1, 2)), total, out=np.full(len(maps), np.nan), where=total > 0)


def pointing_in_space(maps, boxes: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """Pointing game (T,): the share of each frame's highest points that lie in a box; nan where the map is empty."""
    maps = _maps(maps)
    return share_in_boxes((maps == maps.max(axis=(1, 2), keepdims=True)) & (maps > 0), boxes)


def _maps(maps) -> np.ndarray:
    maps = np.asarray(maps.detach().cpu() if hasattr(maps, "detach") else maps, dtype=np.float64)
    if maps.ndim != 3:
        raise ValueError(f"expected maps as (T,H,W), got {maps.shape}; one map is map[None]")
    return maps


# A number for each row of a table. source: the function that makes it, below `interp`; of: makes (N,) of the columns
# `needs`, each (N,) or (N,T), None where the number is the column itself; why: what a row without a number lacks.
Measure = namedtuple("Measure", "name unit source of needs digits why least", defaults=(2, "a score or a mask", 0.05))
# The smallest difference that matters (`Measure.least`), chosen before the record was made: one frame; a factor of two
# in RS/FS; a fiftieth of the picture; else a twentieth of a score or a share.
LEAST = {"length": 1, "needed": 1, "first": 1, "last": 1, "runs": 0.5, "blobs": 0.5, "blob_size": 0.02, "ratio": 0.3}


def _share(original: Tensor, perturbed: Tensor, frozen: Tensor) -> Tensor:
    return torch.where(original - frozen >= LEAST_DROP, drop(original, perturbed, frozen), torch.nan)


NO_FRAME, NO_BLOB, NO_BOX = "a frame that is on", "a blob in some frame", "a box in a frame whose map is not empty"
SMALL = f"a drop of at least {LEAST_DROP:g} by freezing the whole clip"
BOTH_SMALL = f"an RS or FS of at least {RESOLUTION / 2:g}"
_PART, _SHARE = "of the picture", "of the whole clip's drop"
_ROWS = (  # the key, then as in Measure
    ("length", "mask length", "frames", "length", length, "mask"),
    ("runs", "runs", "", "runs", runs, "mask"),
    ("first", "first frame", "frames", "first_frame", first_frame, "mask", 2, NO_FRAME),
    ("last", "last frame", "frames", "last_frame", last_frame, "mask", 2, NO_FRAME),
    ("needed", "frames that take half of the score", "frames", "study.curve.frames_needed",
     partial(frames_needed, share=HALF), "curve", 2, "a curve"),
    ("drop_freeze", "drop OS − FS", "of the score", "drop", drop, "OS FS", 3),
    ("drop_reverse", "drop OS − RS", "of the score", "drop", drop, "OS RS", 3),
    ("share_freeze", "share of the drop, frozen", _SHARE, "drop", _share, "OS FS frozen", 2, SMALL),
    ("share_reverse", "share of the drop, reversed", _SHARE, "drop", _share, "OS RS frozen", 2, SMALL),
    ("ratio", "RS/FS", "powers of ten", "order_ratio", lambda *scores: order_ratio(*scores, RESOLUTION).log10(),
     "RS FS", 2, BOTH_SMALL),
    ("blobs", "blobs a frame", "blobs", "blobs", None, "blobs"),
    ("blob_size", "size of a blob", _PART, "blobs", None, "blob_size", 2, NO_BLOB),
    ("blob_distance", "blobs' distance to the centre", "of centre to corner", "blobs", None, "blob_distance", 2,
     NO_BLOB),
    ("off_centre", "distance beyond that of a square as large", "of centre to corner", "off_centre", off_centre,
     "blob_size blob_distance", 2, NO_BLOB),
    ("in_boxes", "share of the map in the boxes", "of the map", "share_in_boxes", None, "in_boxes", 2, NO_BOX),
    ("pointing_in_space", "pointing game in space", "of the frames", "pointing_in_space", None, "pointing", 2, NO_BOX),
    ("boxes_share", "the boxes' share of the picture", _PART, "share_in_boxes", None, "boxes_share", 2, NO_BOX),
    ("agreement", "agreement with the known interval", "", "agreement", agreement, "mask known"),
    ("chance_agreement", "agreement by chance", "", "chance_agreement", chance_agreement, "mask known"),
    ("change_agreement", "agreement of frames round the largest change", "", "change_windows",
     lambda masks, known, change: agreement(change_windows(masks, change), known), "mask known change"),
    ("pointing_in_time", "pointing game in time", "", "pointing_in_time", pointing_in_time, "mask known"),
    ("known_share", "known share of the frames", "", "data.truth.interval_mask", partial(torch.mean, dim=1), "known"),
)
MEASURES = {key: Measure(name, unit, source if "." in source else f"study.measures.{source}", of, tuple(needs.split()),
                         *rest)._replace(least=LEAST.get(key, 0.05))
            for key, name, unit, source, of, needs, *rest in _ROWS}


def column(table: Any, key: str) -> np.ndarray:
    """The measure of that name for every row, float64 (N,), nan where there is none; masks may differ in length."""
    if key not in MEASURES:
        raise ValueError(f"measure: expected one of {', '.join(MEASURES)}, got {key!r}")
    columns = table.reindex(columns=list(MEASURES[key].needs))
    values, rows = np.full(len(table), np.nan), np.flatnonzero(columns.notna().all(axis=1))
    lengths = np.array([np.size(columns.iat[row, 0]) for row in rows])
    for number in np.unique(lengths):
        same = rows[lengths == number]
        arrays = [torch.tensor(np.stack(columns[name].iloc[same]).astype(float)) for name in columns]
        values[same] = MEASURES[key].of(*arrays).double().numpy() if MEASURES[key].of else arrays[0].numpy()
    return values
