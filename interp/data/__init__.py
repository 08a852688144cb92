"""Datasets of clips: open_dataset(kind, root, split) for each layout on disk, to_clip for a network's input.

>>> dataset = open_dataset("folder", "my videos", "train", num_frames=16, size=64)    # doctest: +SKIP
"""

from functools import partial

from interp.data.dataset import DataError, Sample, VideoDataset, to_clip
from interp.data.folder import open_folder
from interp.data.kinetics import open_kinetics
from interp.data.kth import open_kth
from interp.data.sampling import Sampling, even_indices
from interp.data.something import open_something
from interp.data.ucf101 import open_ucf101
from interp.data.video import VideoError, VideoInfo, probe, read_clip

__all__ = ["KINDS", "DataError", "Sample", "Sampling", "VideoDataset", "VideoError", "VideoInfo", "even_indices",
           "open_dataset", "probe", "read_clip", "to_clip"]

KINDS = {"something": open_something, "kth": open_kth, "kinetics": open_kinetics, "ucf101": open_ucf101,
         "folder": open_folder, "motion": partial(open_something, truth=True)}


def open_dataset(kind, root, split="train", num_frames=None, size=None, **options):
    """The VideoDataset of one kind in the folder `root`.

    Args:
        kind: "something", "kth", "kinetics", "ucf101", "folder", or "motion" (the generated clips, in the layout of
            something, each with its truth in `sample.meta["truth"]`).
        root: the dataset's folder.
        split: "train" or "validation" ("test" too for something and kinetics; "all" for kth and folder).
        num_frames: frames of a clip; None takes the paper's: 32 for kth, 16 else.
        size: (height, width) or one number; None keeps each video's own.
        options: `on_error` for every kind: "raise" makes a listed video that is absent an error, "skip" a warning with
            the count; and what `open_folder` and `open_ucf101` take.

    Raises:
        DataError: the files contradict the layout; it names the file and the entry or line.
    """
    if kind not in KINDS:
        raise ValueError(f"expected the kind of dataset to be one of {', '.join(KINDS)}, got {kind!r}")
    if num_frames is None:
        num_frames = 32 if kind == "kth" else 16
    return KINDS[kind](root, split, num_frames, size, **options)
