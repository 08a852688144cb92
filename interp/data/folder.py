"""Any folder of videos with a folder for each class, such as ROOT/walk/shahar_walk.avi, split by the files' names.

The example is of the Weizmann actions (Gorelick et al., PAMI 2007): "(lyova|moshe|shahar)_.*" holds some actors out.
Without a pattern the checksums of their names hold out a third of the videos: none changes sides when others come.
"""

import os
import re
import zlib

from interp.data.dataset import DataError, Sample, VideoDataset, check_root

SPLITS = ("train", "validation", "all")
VIDEO_SUFFIXES = frozenset(".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())
HELD_OUT = 3  # without a pattern: one video in so many


def open_folder(root, split="train", num_frames=16, size=None, *, split_pattern=None, split_groups=None,
                on_error="skip"):
    """The VideoDataset of one split: "train", "validation" or "all". Ids are such as "bend/daria_bend.avi".

    No clip may be mirrored for augmentation, since nothing is known of the classes. Files in `root` itself, files whose
    suffix is no video's, and names that begin with a dot are ignored. Arguments and errors are those of `open_dataset`;
    `on_error` has no effect, since a folder lists no files that are absent.

    split_pattern: regular expression; the videos whose name, without its suffix, begins so are for validation.
    split_groups: regular expression whose first group names the scene or actor; those of one stay on one side.
    """
    root = check_root(root, split, SPLITS)
    try:
        pattern, groups = (expression and re.compile(expression) for expression in (split_pattern, split_groups))
    except re.error as error:
        raise ValueError(f"{split_pattern or split_groups!r} is no regular expression: {error}") from None
    if pattern and groups:
        raise ValueError("expected a split pattern or split groups, got both")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(root, "has no class folders; expected a folder of videos for each class")
    if {path.name.lower() for path in folders} <= {"train", "training", "val", "valid", "validation", "test"}:
        raise DataError(root, "has a folder for each split, expected one for each class; put the videos of all splits "
                              "together and give a split pattern, or take one split as the root")
    samples = []
    for label, folder in enumerate(folders):
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        if not videos:
            raise DataError(root, f"the class folder {folder.name!r} has no video in it")
        for path in videos:
            group = groups and groups.search(path.stem)
            if groups and not group:
                raise DataError(path, f"its name has no group by the pattern {split_groups!r}")
            key = group[min(1, groups.groups)] if group else path.stem
            held_out = pattern.match(path.stem) if pattern else zlib.crc32(os.fsencode(key)) % HELD_OUT == 0
            if split == "all" or bool(held_out) == (split == "validation"):
                samples.append(Sample(_shown(f"{folder.name}/{path.name}"), path, label))
    if not samples:
        rule = f"the pattern {split_pattern!r}" if split_pattern is not None else "the names' checksums"
        raise DataError(root, f"no video is left for {split} by {rule}; give another split pattern")
    classes = [_shown(folder.name) for folder in folders]
    return VideoDataset(samples, classes, num_frames, size, f"{root.name} ({split})")


def _shown(name):
    """The name as it can be written anywhere: bytes that are no UTF-8 as \\udcff."""
    return name.encode("utf-8", "backslashreplace").decode()
