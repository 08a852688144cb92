"""Kinetics in the layout of its official csv files: ROOT/train.csv, val.csv, test.csv and the videos anywhere below.

Kay et al., "The Kinetics Human Action Video Dataset", 2017. A line has label, youtube_id, time_start and time_end; its
video is ID_000010_000020.mp4 (start and end in whole seconds), or ID.mp4. The csv files may lie in ROOT/annotations.
"""

import csv
from pathlib import Path

from interp.data.dataset import DataError, Sample, VideoDataset, check_root, drop_missing
from interp.data.folder import VIDEO_SUFFIXES

SPLITS = {"train": "train", "validation": "val", "test": "test"}
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def open_kinetics(root, split="train", num_frames=16, size=None, *, on_error="skip"):
    """The VideoDataset of one split. Ids are the videos' names without ending; classes are those of all csv files.

    Arguments and errors are those of `open_dataset`.
    """
    root = check_root(root, split, SPLITS)
    folder = root / "annotations" if (root / "annotations").is_dir() else root
    rows = {name: _read(folder / f"{name}.csv") for name in SPLITS.values() if (folder / f"{name}.csv").exists()}
    if SPLITS[split] not in rows:
        raise DataError(folder / f"{SPLITS[split]}.csv", "there is no such file; it comes with the annotations")
    classes = sorted({row["label"] for part in rows.values() for row in part if row["label"]})
    number = {name: index for index, name in enumerate(classes)}  # of hundreds of thousands of lines
    files, samples = {path.stem: path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES}, {}
    for row in rows[SPLITS[split]]:
        name, absent = row["name"], root / SPLITS[split] / f"{row['name']}.mp4"
        label = number.get(row["label"])  # the test split has none
        path = files.get(name) or files.get(row["youtube_id"], absent)
        if name in samples:
            raise DataError(folder / f"{SPLITS[split]}.csv", f"the clip {name!r} occurs twice")
        samples[name] = Sample(name, path, label)
    name = f"{root.name} ({split})"
    kept, missing = drop_missing([*samples.values()], name, root, on_error)
    return VideoDataset(kept, classes, num_frames, size, name, missing=missing)


def _read(path: Path) -> list[dict]:
    """The lines of one csv file, each with the `name` of its video."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, f"cannot be read: {error}") from None
    for number, row in enumerate(rows, 2):
        try:
            row |= {"label": row.get("label") or "", "name": row["youtube_id"] + "".join(
                f"_{int(float(row[key])):06d}" for key in COLUMNS[2:])}
        except (KeyError, TypeError, ValueError):
            raise DataError(path, f"line {number}: expected the columns {', '.join(COLUMNS)}, got {row}") from None
    return rows
