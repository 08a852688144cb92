"""Datasets of clips: open_dataset(kind, root, split) for each layout on disk, to_clip for a model's input.

Source: this project's own. Axes: frames (T,H,W,3) uint8; clips (C,T,H,W) float32 in [0,1].

>>> from interp.data import open_dataset, to_clip
>>> dataset = open_dataset("folder", "my videos", "train", num_frames=16, size=64)    # doctest: +SKIP
>>> clip = to_clip(dataset[0][0])                                                     # doctest: +SKIP
"""

from interp.data.dataset import DataError, Report, Sample, VideoDataset, to_clip
from interp.data.video import VideoError, even_indices, probe, read_clip

__all__ = [
    "KINDS",
    "DataError",
    "Report",
    "Sample",
    "VideoDataset",
    "VideoError",
    "even_indices",
    "open_dataset",
    "probe",
    "read_clip",
    "to_clip",
]

KINDS = ("something", "kth", "folder", "motion")


def open_dataset(kind, root, split="train", num_frames=None, size=None, **options):
    """The VideoDataset of kind "something", "kth", "folder" or "motion" in the folder `root`.

    Args:
        split: "train" or "validation" ("test" too for something; "all" for kth and folder).
        num_frames: None takes the paper's: 32 for kth, 16 else.
        size: (height, width) or one number; None keeps each video's own.
        options: `strict` for every kind; `split_pattern` for folder; see `something`, `kth`, `folder`.

    "motion" is the embedded dataset: the something layout, each clip's truth in `sample.meta["truth"]`.
    Raises DataError where the files contradict the layout.
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of dataset is {kind!r}; expected one of {', '.join(KINDS)}")
    if num_frames is None:
        num_frames = 32 if kind == "kth" else 16
    if kind == "kth":
        from interp.data.kth import open_kth as opener
    elif kind == "folder":
        from interp.data.folder import open_folder as opener
    else:
        from interp.data.something import open_something as opener
    if kind == "motion":
        from interp.data.motion import FLIP, MIRROR

        options = {"truth": True, "mirror": MIRROR, "flip": FLIP} | options
    return opener(root, split, num_frames, size, **options)
