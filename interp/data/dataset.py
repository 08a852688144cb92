"""Samples and datasets of clips: one class for every layout on disk; from frames to a model's input.

Source: this project's own; the layouts are read by `something`, `kth` and `folder`. Axes: frames (T,H,W,3)
uint8, clips (C,T,H,W) float32 in [0,1]; labels are class indices, -1 where there is none.

>>> from interp.data import open_dataset, to_clip
>>> validation = open_dataset("motion", "data/motion", "validation", num_frames=16, size=64)  # doctest: +SKIP
>>> frames, label, index = validation[0]  # doctest: +SKIP
>>> clip = to_clip(frames)  # doctest: +SKIP
"""

import copy
import json
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from interp import whole
from interp.data import video


class DataError(ValueError):
    """A dataset's files contradict themselves; `path` is the file or folder, `reason` names the entry."""

    def __init__(self, path, reason):
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self):
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Sample:
    """One clip of a dataset: frames `start` (0-based) up to, not including, `end` of the video at `path`."""

    id: str
    path: Path
    label: int | None = None
    start: int | None = None
    end: int | None = None
    meta: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What `check` found: number of clips, {id: reason} of the unreadable, ids of those too short."""

    num_samples: int
    unreadable: dict
    short: tuple

    def __str__(self):
        text = f"{self.num_samples - len(self.unreadable)} of {self.num_samples} clips can be read"
        if self.short:
            text += f"; {len(self.short)} of them have too few frames, which are repeated"
        return text


class VideoDataset(Dataset):
    """Clips with labels: `[i]` is (frames uint8 (T,H,W,3), label or -1, i), read anew from its file.

    Args:
        samples: the clips; their ids are all different.
        classes: the names of the K classes, in the order of the labels.
        num_frames, size: as in `video.read_clip`.
        name: of the dataset, for messages.
        mirror, flip: class name -> class name of the clip mirrored left-right and top-bottom. A class that is
            not in the mapping, or maps to a name that is no class here, must not be mirrored; with None no
            class may be.
        missing: files that are listed but absent: {file name: number of clips lost with it}.

    `mirror` and `flip` become attributes {class index: class index}, holding only the classes that may be
    mirrored; `reversals` holds both. A clip that cannot be read raises video.VideoError; `check` finds all of
    them at once, and `readable` is the dataset without them.
    """

    def __init__(
        self, samples, classes, num_frames=16, size=None, name="videos", *, mirror=None, flip=None, missing=()
    ):
        self.samples, self.classes, self.name = list(samples), list(classes), name
        self.num_frames, self.size, self.missing = num_frames, size, dict(missing)
        self.ids = [sample.id for sample in self.samples]
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(
                f"{name}: the id {_first_twice(self.ids)!r} occurs twice; every clip needs its own"
            )
        for sample in self.samples:
            if sample.label is not None and not 0 <= sample.label < len(self.classes):
                raise ValueError(
                    f"{name}: {sample.id!r} has label {sample.label}; there are {len(self.classes)} classes"
                )
        self.mirror, self.flip = self._indices(mirror), self._indices(flip)
        self.reversals = {"mirror": self.mirror, "flip": self.flip}

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        frames, _ = self._read(sample)
        index = index if index >= 0 else len(self.samples) + index
        return frames, -1 if sample.label is None else sample.label, index

    def __repr__(self):
        return f"VideoDataset({self.name}: {len(self)} clips, {len(self.classes)} classes)"

    @property
    def labels(self):
        """int64 (N,), -1 where a clip has no label."""
        return np.array([-1 if sample.label is None else sample.label for sample in self.samples], np.int64)

    def subset(self, indices):
        """The same dataset with only the samples at `indices`."""
        part = copy.copy(self)
        part.samples = [self.samples[int(i)] for i in indices]
        part.ids = [sample.id for sample in part.samples]
        return part

    def check(self, progress=False, *, strict=False, workers=1, list_file=None):
        """Reads every clip once and tells which cannot be read, as a Report.

        Writes one summary line to stderr if any is unreadable, and the list to `list_file` (a JSON object
        {id: reason}) if that is given. With `strict` the first unreadable clip raises its VideoError.
        """

        def look(sample):
            try:
                return None, self._read(sample)[1]
            except video.VideoError as error:
                if strict:
                    raise
                return str(error), []

        reasons, short = {}, []
        with ThreadPoolExecutor(max(1, workers)) as pool:
            found = pool.map(look, self.samples)
            bar = tqdm(found, total=len(self), desc=f"checking {self.name}", disable=not progress)
            try:
                for sample, (reason, notes) in zip(self.samples, bar, strict=True):
                    if reason is not None:
                        reasons[sample.id] = reason
                    elif notes:
                        short.append(sample.id)
            except video.VideoError:
                pool.shutdown(cancel_futures=True)
                raise
        report = Report(len(self), reasons, tuple(short))
        if list_file is not None:
            whole.write_json(list_file, reasons)
        if reasons:
            where = f"; the list is in {list_file}" if list_file is not None else ""
            print(
                f"{self.name}: {len(reasons)} of {len(self)} clips cannot be read and are left out{where}",
                file=sys.stderr,
            )
        return report

    def readable(self, report):
        """This dataset without the clips that `report` lists as unreadable."""
        return self.subset([i for i, name in enumerate(self.ids) if name not in report.unreadable])

    def _read(self, sample):
        short = sample.meta.get("short", "spread")
        return video.read_with_notes(
            sample.path, self.num_frames, self.size, sample.start, sample.end, short=short
        )

    def _indices(self, names):
        number = {name: index for index, name in enumerate(self.classes)}
        return {number[a]: number[b] for a, b in (names or {}).items() if a in number and b in number}


def to_clip(frames):
    """uint8 frames (T,H,W,3) or (B,T,H,W,3) -> float32 clip (C,T,H,W) or (B,C,T,H,W) in [0,1], contiguous."""
    frames = torch.as_tensor(frames)
    if frames.dtype != torch.uint8 or frames.ndim not in (4, 5) or frames.shape[-1] != 3:
        raise ValueError(f"got {frames.dtype} {tuple(frames.shape)}; expected uint8 (T,H,W,3) or (B,T,H,W,3)")
    clip = frames.movedim(-1, -4)
    return clip.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def checked_root(root, split, splits):
    """The Path of a dataset's folder. ValueError: there is no such split; DataError: no such folder."""
    if split not in splits:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(splits)}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(root, "is no folder" if root.exists() else "there is no such folder")
    return root


def read_json(path):
    """The content of a JSON file; DataError, with the place, where it is none or a key is there twice."""
    path = Path(path)

    def unique(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise DataError(path, f"the entry {_first_twice(keys)!r} occurs twice")
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except FileNotFoundError:
        raise DataError(path, "there is no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise DataError(
            path, f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from None


def leave_out_missing(samples, name, root, strict=False):
    """Samples whose file is there, and {path: clips lost with it}; one UserWarning with the counts.

    With `strict`, or if no file at all is there, DataError. Each folder is listed once, however many its
    files.
    """
    folders = {}
    for folder in {sample.path.parent for sample in samples}:
        folders[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
    there = [sample for sample in samples if sample.path.name in folders[sample.path.parent]]
    lost = {}
    for sample in samples:
        if sample.path.name not in folders[sample.path.parent]:
            lost[str(sample.path)] = lost.get(str(sample.path), 0) + 1
    if lost:
        videos = len({sample.path for sample in samples})
        text = f"{len(lost)} of {videos} listed videos are absent, the first is {next(iter(lost))}"
        if strict or not there:
            raise DataError(root, f"{name}: {text}")
        warnings.warn(
            f"{name}: {text}; {len(there)} of {len(samples)} clips remain", UserWarning, stacklevel=4
        )
    return there, lost


def _first_twice(names):
    seen = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def list_left_out(path, clips, unreadable, missing):
    """Writes what of `clips` clips is left out, a line each, and gives one line of words about it.

    unreadable: {clip's id: reason}; missing: {file: number of clips lost with it}. The list's lines are
    "id<TAB>reason", and "file<TAB>there is no such file". OSError where it cannot be written.
    """
    rows = [*unreadable.items()]
    rows += [(file, f"there is no such file ({count} clip{'s' * (count > 1)})") for file, count in missing.items()]
    whole.write(path, "".join(f"{_one_line(name)}\t{_one_line(reason)}\n" for name, reason in rows))
    lost = sum(missing.values())
    parts = [f"{count} {words}" for count, words in
             ((len(unreadable), "cannot be read"), (lost, "have no file")) if count]  # fmt: skip
    return f"{len(unreadable) + lost} of {clips + lost} clips are left out ({', '.join(parts)}): {path}"


def _one_line(text):
    return " ".join(str(text).split())
