r"""Any folder of videos with a folder for each class, split by a pattern in the file name.

Source: this project's own; the example is the Weizmann actions (Gorelick et al., PAMI 2007), 10 classes by 9
actors, where the videos of some actors are held out. Axes: as in `dataset`.

    ROOT/bend/daria_bend.avi, ROOT/bend/denis_bend.avi, ..., ROOT/walk/shahar_walk.avi

>>> from interp.data.folder import open_folder
>>> validation = open_folder("data/weizmann", "validation", 16, 64, split_pattern="(lyova|moshe|shahar)_.*")
... # doctest: +SKIP

Without a pattern a third of the videos is held out, chosen by a checksum of their names (so that a video
never changes sides when others come or go).
"""

import os
import re
import zlib

from interp.data.dataset import DataError, Sample, VideoDataset, checked_root

SPLITS = ("train", "validation", "all")
VIDEO_SUFFIXES = frozenset(".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())
HELD_OUT = 3  # without a pattern: one video in so many


def open_folder(
    root, split="train", num_frames=16, size=None, *, split_pattern=None, strict=False, mirror=None, flip=None
):
    """The VideoDataset of one split: "train", "validation" or "all".

    Args:
        root: a folder of class folders; the class is the folder's name, in sorted order. Files that lie in
            `root` itself, files that are no videos by their suffix, and names that begin with a dot are not
            looked at.
        split_pattern: regular expression; a video whose file name without its suffix matches it from its
            start is for validation, all others are for training.
        strict: accepted as for the other kinds; a folder lists no files that are absent.
        mirror, flip: class name -> class name under mirroring, for augmentation; unknown, so that none is
            mirrored.

    Ids are such as "bend/daria_bend.avi". Raises DataError for a class folder without a video, or an empty
    split.
    """
    root = checked_root(root, split, SPLITS)
    held_out = _held_out(split_pattern)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(root, "has no class folders; expected a folder of videos for each class")
    samples = []
    for label, folder in enumerate(folders):
        videos = sorted(path for path in folder.iterdir() if _is_video(path))
        if not videos:
            raise DataError(root, f"the class folder {folder.name!r} has no video in it")
        for path in videos:
            if split == "all" or held_out(path.stem) == (split == "validation"):
                samples.append(Sample(_shown(f"{folder.name}/{path.name}"), path, label))
    if not samples:
        rule = f"the pattern {split_pattern!r}" if split_pattern is not None else "the names' checksums"
        raise DataError(root, f"no video is left for {split} by {rule}; give another split pattern")
    classes = [_shown(folder.name) for folder in folders]
    return VideoDataset(
        samples, classes, num_frames, size, f"{root.name} ({split})", mirror=mirror, flip=flip
    )


def _is_video(path):
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def _shown(name):
    """The name as it can be written anywhere: bytes that are no UTF-8 as \\udcff."""
    return name.encode("utf-8", "backslashreplace").decode()


def _held_out(pattern):
    """name -> True if the video is for validation."""
    if pattern is None:
        return lambda name: zlib.crc32(os.fsencode(name)) % HELD_OUT == 0
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the split pattern {pattern!r} is no regular expression: {error}") from None
    return lambda name: compiled.match(name) is not None
