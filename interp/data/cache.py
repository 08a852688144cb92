"""Decoded clips kept on disk: each video is decoded once, and then read as pixels through a memory map.

Source: this project's own. Axes: frames (T,H,W,3) uint8; frames.npy is (N,T,H,W,3) uint8. A cache is a folder
of its own, in $INTERP_CACHE, else in ~/.cache/interp, and may be deleted at any time:

    DATASET-KEY/frames.npy    all clips, in the order of the dataset; black where one cannot be read
    DATASET-KEY/index.json    what it was made of, and why clips cannot be read; once it is there, all is
    DATASET-KEY/part.*        a cache that is being built, or was when its process was stopped

The key stands for all that decides the frames: the clips' ids, paths and ranges, their files' sizes and times
of change, frames and size asked for, the versions of what decodes. When one of them changes, a new cache is
built; nothing is deleted. Many processes may ask at once: one builds, the others wait for it and share its
pages of memory. A build that was stopped goes on where it was.

>>> from interp.data import open_dataset
>>> from interp.data.cache import cached
>>> train = cached(open_dataset("kth", "data/kth", "train", size=64), workers=2)    # doctest: +SKIP
>>> frames, label, index = train[0]                                                 # doctest: +SKIP
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import decord
import numpy as np
import torch
from tqdm import tqdm

from interp import whole
from interp.data.dataset import VideoDataset
from interp.data.video import VideoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT = 1  # of the folder; a change of how `video` chooses or resizes frames counts it up too
CHUNK = 64  # clips written together, which is what a kill can lose
POLL = 0.2  # seconds between looks at another process's build


class CachedDataset(VideoDataset):
    """A dataset whose clips come from a cache; `unreadable` is {id: error} of those that cannot be read."""

    mapped = True  # reading a clip is copying memory: worker processes would only carry it about

    def __init__(self, dataset, folder):
        self.__dict__.update(vars(dataset))
        self.folder, index = Path(folder), _read_index(folder)
        paths, reasons = {sample.id: sample.path for sample in self.samples}, index["unreadable"]
        self.unreadable = {name: VideoError(paths[name], reason) for name, reason in reasons.items()}
        self.notes = index["notes"]
        self.rows = {name: row for row, name in enumerate(self.ids)}
        self._frames = None

    def _read(self, sample):
        """As the dataset's own, the frames a copy that may be changed."""
        if sample.id in self.unreadable:
            raise self.unreadable[sample.id]
        if self._frames is None:  # in each process its own map of the same pages
            self._frames = np.load(self.folder / "frames.npy", mmap_mode="r", allow_pickle=False)
        return np.array(self._frames[self.rows[sample.id]]), self.notes.get(sample.id, [])

    def __getstate__(self):
        return vars(self) | {"_frames": None}  # else a worker process would be sent all the frames


def default_folder():
    """Where caches go: $INTERP_CACHE, else interp in $XDG_CACHE_HOME, else ~/.cache/interp."""
    if os.environ.get("INTERP_CACHE"):
        return Path(os.environ["INTERP_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interp"


def cached(dataset, folder=None, *, workers=0, strict=False, progress=False):
    """The CachedDataset of a VideoDataset, built first if it is not there.

    Args:
        folder: where the cache's own folder is made; None is `default_folder`.
        workers: threads that decode while it is built; 0 is one.
        strict: the first clip that cannot be read raises its VideoError. Else it is remembered, with the
            reason, until its file changes.
        progress: show a bar while building.

    Raises ValueError where the clips differ in size, none can be read, or the disk has too little room;
    OSError where it cannot be written.
    """
    if not isinstance(dataset, VideoDataset):
        kind = type(dataset).__name__
        raise ValueError(f"got a {kind}; only clips that come from files (a VideoDataset) are cached on disk")
    if isinstance(dataset, CachedDataset):
        return dataset
    if not len(dataset):
        raise ValueError(f"{dataset.name} has no clips")
    key = hashlib.sha256(json.dumps(_about(dataset)).encode()).hexdigest()[:20]
    name = re.sub(r"[^\w.-]+", "-", dataset.name)[:40].strip("-.")
    place = Path(folder or default_folder()) / f"{name}-{key}"
    if not _whole(place):
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place, progress) as tag:
            if not _whole(place):  # else another process has built it while this one waited
                _build(dataset, place, tag, max(1, workers), strict, progress)
    clips = CachedDataset(dataset, place)
    if strict and clips.unreadable:
        raise next(iter(clips.unreadable.values()))
    return clips


def _about(dataset):
    """All that decides the frames, JSON-able."""
    rows, known = [], {}
    for sample in dataset.samples:
        path = os.path.abspath(sample.path)
        if path not in known:
            try:
                info = os.stat(path)
                known[path] = [info.st_size, info.st_mtime_ns, os.access(path, os.R_OK)]
            except (OSError, ValueError):
                known[path] = None
        rows.append([sample.id, path, sample.start, sample.end, sample.meta.get("short"), known[path]])
    size = dataset.size if dataset.size is None or np.isscalar(dataset.size) else list(dataset.size)
    decoder = {"decord": decord.__version__, "torch": torch.__version__}  # torch resizes
    return {"format": FORMAT, **decoder, "num_frames": dataset.num_frames, "size": size, "clips": rows}


def _read_index(place):
    return json.loads((Path(place) / "index.json").read_text(encoding="utf-8"))


def _whole(place):
    """Whether the cache is complete; what was cut short or deleted in part is built again."""
    try:
        frames = np.load(place / "frames.npy", mmap_mode="r", allow_pickle=False)
        return list(frames.shape) == _read_index(place)["shape"]
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def _alone(place, progress):
    """Waits until no other process builds in `place`, and gives the name for the parts.

    Who holds the lock takes up what another left. Where there are no locks each process has parts of its own.
    """
    with open(place / "part.lock", "a") as file:
        locked, told = False, not progress
        while fcntl and not locked:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                if not told:
                    print(f"another process is decoding to {place}; waiting for it", file=sys.stderr)
                told = True
                time.sleep(POLL)
            except OSError:  # a file system without locks
                break
        yield "part" if locked else f"part-{os.getpid()}"


class _Parts:
    """A cache being built: the frames so far, and a line of JSON for each clip that is done."""

    def __init__(self, place, tag, count):
        self.frames, self.log = place / f"{tag}.npy", place / f"{tag}.jsonl"
        self.place, self.count, self.shape, self.done = place, count, None, {}
        with contextlib.suppress(OSError, ValueError):  # as where nothing is there, or no more than a beginning
            with open(self.frames, "rb") as file:
                np.lib.format.read_magic(file)
                self.shape = np.lib.format.read_array_header_1_0(file)[0]
                self.offset = file.tell()
            for line in self.log.read_text(encoding="utf-8").splitlines():
                told = json.loads(line)
                self.done[told["row"]] = told
        self.file = open(self.frames, "r+b" if self.shape else "w+b")
        if self.shape:
            self.file.truncate(self.offset + int(np.prod(self.shape)))
        else:
            self.log.unlink(missing_ok=True)

    def begin(self, shape):
        """Makes room for all clips of this shape (T,H,W,3)."""
        needed = self.count * int(np.prod(shape))
        if shutil.disk_usage(self.place).free < needed:
            raise ValueError(
                f"{needed / 2**30:.1f} GiB of decoded clips do not fit on the disk of {self.place}; "
                f"choose another folder, a smaller size, or no cache"
            )
        self.shape = (self.count, *shape)
        about = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, about)
        self.offset = self.file.tell()
        self.file.truncate(self.offset + needed)

    def add(self, found):
        """Writes some clips, [(frames or None, line), ...]; the lines last, so that they never lie."""
        for frames, line in found:
            if frames is not None:  # written, not mapped: on a full disk an error, and not a crash
                self.file.seek(self.offset + line["row"] * frames.nbytes)
                self.file.write(np.ascontiguousarray(frames).data)
        self.file.flush()
        os.fsync(self.file.fileno())
        lines = [line for _, line in found]
        with open(self.log, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        self.done |= {line["row"]: line for line in lines}

    def finish(self, index):
        """Puts everything in its place."""
        self.file.close()
        try:
            os.replace(self.frames, self.place / "frames.npy")
            whole.write_json(self.place / "index.json", index)
        except PermissionError:  # Windows, where another process may have built the same and reads it by now
            if not _whole(self.place):
                raise
        for path in (self.frames, self.log):
            path.unlink(missing_ok=True)


def _build(dataset, place, tag, workers, strict, progress):
    """Decodes what is not there yet."""

    def look(row):
        try:
            frames, notes = dataset._read(dataset.samples[row])
            return frames, {"row": row, "notes": notes}
        except VideoError as error:
            if strict:
                raise
            return None, {"row": row, "error": error.reason or str(error)}

    parts = _Parts(place, tag, len(dataset))
    left = [row for row in range(len(dataset)) if row not in parts.done]
    bar = tqdm(total=len(dataset), initial=len(parts.done), unit="clip", disable=not progress,
               desc=f"decoding {dataset.name}")  # fmt: skip
    with parts.file, bar, ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(left), CHUNK):
            found = []
            for frames, line in pool.map(look, left[first : first + CHUNK]):
                if frames is not None and parts.shape is None:
                    parts.begin(frames.shape)
                if frames is not None and frames.shape != parts.shape[1:]:
                    name, others = dataset.ids[line["row"]], parts.shape[1:]
                    raise ValueError(f"clip {name} is {frames.shape}, others are {others}; give a size")
                found.append((frames, line))
                bar.update()
            parts.add(found)
        if parts.shape is None:
            reason = parts.done[0]["error"]
            raise ValueError(f"{dataset.name}: no clip can be read; the first, {dataset.ids[0]!r}: {reason}")
        lines = [(dataset.ids[row], parts.done[row]) for row in sorted(parts.done)]
        index = {"name": dataset.name, "shape": list(parts.shape), "decord": decord.__version__}
        index["unreadable"] = {name: line["error"] for name, line in lines if "error" in line}
        index["notes"] = {name: line["notes"] for name, line in lines if line.get("notes")}
        parts.finish(index)
