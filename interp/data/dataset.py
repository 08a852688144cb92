"""A dataset of clips whatever its layout on disk, and the way from frames to a network's input."""

import copy
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from interp.data import video
from interp.data.sampling import Sampling, check_size
from interp.io import atomic_write


class DataError(video.FileError):
    """A dataset's files contradict themselves: `path` is the file or folder, `reason` names the entry."""


@dataclass(frozen=True)
class Sample:
    """One clip: frames `start` (counted from 0) up to, not including, `end` of the video at `path`."""

    id: str
    path: Path
    label: int | None = None
    start: int | None = None
    end: int | None = None
    meta: dict = field(default_factory=dict)


class VideoDataset(Dataset):
    """Clips with labels: `[i]` is (frames uint8 (T,H,W,3), label or -1, i), decoded from the file each time.

    Args:
        samples: the clips; their ids are all different.
        classes: names of the K classes, in the order of the labels.
        num_frames, size: as in `read_clip`; the attribute `sampling` holds them, and may be set to a model's own.
        name: of the dataset, for messages.
        mirror, flip: {class name: class name of the clip mirrored left-right, top-bottom}. A class that is not in
            the mapping, or whose image is no class here, must not be mirrored; with None no class may be. The
            attributes have the classes' indices.
        missing: {file: number of clips lost with it} of files that are listed but absent.

    Reading a clip raises `VideoError` where its file cannot be decoded.
    """

    def __init__(self, samples, classes, num_frames=16, size=None, name="videos", *, mirror=None, flip=None,
                 missing=()):
        self.samples, self.classes, self.name = list(samples), list(classes), name
        self.sampling, self.missing = Sampling(num_frames, check_size(size)), dict(missing)
        self.ids = [sample.id for sample in self.samples]
        if (twice := _repeated(self.ids)) is not None:
            raise ValueError(f"{name}: expected a different id for each clip, got {twice!r} twice")
        for sample in self.samples:
            if sample.label is not None and not 0 <= sample.label < len(self.classes):
                raise ValueError(f"{name}: expected labels below {len(classes)}, got {sample.id!r}: {sample.label}")
        number = {name: index for index, name in enumerate(self.classes)}
        self.mirror, self.flip = (
            {number[a]: number[b] for a, b in (names or {}).items() if a in number and b in number}
            for names in (mirror, flip))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, int]:
        sample = self.samples[index]
        frames, _ = video.read_with_notes(sample.path, self.sampling, sample.start, sample.end,
                                          short=sample.meta.get("short", "spread"))
        label = -1 if sample.label is None else sample.label
        return frames, label, index if index >= 0 else len(self.samples) + index

    def __repr__(self) -> str:
        return f"VideoDataset({self.name}: {len(self)} clips, {len(self.classes)} classes)"

    num_frames = property(lambda self: self.sampling.num_frames, doc="Frames of a clip.")
    size = property(lambda self: self.sampling.size, doc="(height, width) of a clip, or None for each video's own.")
    labels = property(lambda self: np.array([-1 if s.label is None else s.label for s in self.samples], np.int64),
                      doc="int64 (N,), -1 where a clip has no label.")

    def subset(self, indices: Iterable[int]) -> "VideoDataset":
        """The same dataset with only the samples at `indices`."""
        part = copy.copy(self)
        part.samples = [self.samples[int(i)] for i in indices]
        part.ids = [sample.id for sample in part.samples]
        return part


def to_clip(frames: np.ndarray | Tensor) -> Tensor:
    """uint8 frames (T,H,W,3) or (B,T,H,W,3) as a float32 clip (C,T,H,W) or (B,C,T,H,W) in [0,1]."""
    frames = torch.as_tensor(frames)
    if frames.dtype != torch.uint8 or frames.ndim not in (4, 5) or frames.shape[-1] != 3:
        raise ValueError(f"expected uint8 (T,H,W,3) or (B,T,H,W,3), got {frames.dtype} {tuple(frames.shape)}")
    return frames.movedim(-1, -4).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def check_root(root: str | Path, split: str, splits: Iterable[str]) -> Path:
    """The dataset's folder as a Path; ValueError for an unknown split, DataError where there is no folder."""
    if split not in splits:
        raise ValueError(f"expected split to be one of {', '.join(splits)}, got {split!r}")
    if not (root := Path(root)).is_dir():
        raise DataError(root, "is not a folder" if root.exists() else "there is no such folder")
    return root


def read_json(path: str | Path):
    """The content of a JSON file; DataError, with the place, where it is none or has a key twice."""
    path = Path(path)

    def unique(pairs):
        if (twice := _repeated([key for key, _ in pairs])) is not None:
            raise DataError(path, f"the entry {twice!r} occurs twice")
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(path, f"is not JSON: {error}") from None
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        raise DataError(path, "there is no such file" if absent else f"cannot be read: {error.strerror}") from None


def drop_missing(samples: list[Sample], name: str, root: Path, on_error: str) -> tuple[list[Sample], dict[str, int]]:
    """The samples whose file exists, and {path: clips lost with it}; one UserWarning gives the counts.

    DataError with on_error="raise", or if no file exists at all.
    """
    folders = {sample.path.parent for sample in samples}
    files = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}  # faster than a look at each
    kept = [sample for sample in samples if sample.path in files]
    missing = Counter(str(sample.path) for sample in samples if sample.path not in files)
    if missing:
        videos = len({sample.path for sample in samples})
        text = f"{len(missing)} of {videos} listed videos are absent, the first is {next(iter(missing))}"
        if on_error == "raise" or not kept:
            raise DataError(root, f"{name}: {text}")
        warnings.warn(f"{name}: {text}; {len(kept)} of {len(samples)} clips remain", UserWarning, stacklevel=4)
    return kept, missing


def list_left_out(path: str | Path, clips: int, unreadable: Mapping[str, str], missing: Mapping[str, int]) -> str:
    """Write clips that are left out, of `clips`, as lines "id<TAB>reason"; returns one sentence with the counts.

    unreadable: {clip's id: reason}; missing: {file: clips lost with it}.
    """
    files = {file: f"there is no such file ({count} clip{'s' * (count > 1)})" for file, count in missing.items()}
    rows = [*unreadable.items(), *files.items()]
    atomic_write(path, "".join("\t".join(" ".join(str(cell).split()) for cell in row) + "\n" for row in rows))
    lost = sum(missing.values())
    return (f"{len(unreadable) + lost} of {clips + lost} clips are left out ({len(unreadable)} cannot be read, "
            f"{lost} have no file): {path}")


def _repeated(names):
    return next((name for name, count in Counter(names).items() if count > 1), None)
