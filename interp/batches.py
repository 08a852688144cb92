"""Batches of clips from a dataset: decoded once into memory or onto the disk, or anew by worker processes.

Source: this project's own. Axes: frames (B,T,H,W,3) uint8, labels (B,) int64 with -1 for "no label" and for a
clip that cannot be read, indices (B,). The batches are the caller's lists of indices, so that their order is
not a matter of how they are loaded.

>>> batches = Batches(dataset, "cpu")                                    # doctest: +SKIP
>>> for frames, labels, indices in batches([[0, 1], [2, 3]]): ...        # doctest: +SKIP
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

CACHES = ("auto", "memory", "disk", "none")
AHEAD = 2  # batches that are read from a cache on disk before they are asked for
MEMORY_LIMIT = 2 * 1024**3  # bytes of decoded frames that "auto" keeps


class Batches:
    """Loads lists of clips of ``dataset`` onto ``device``.

    Args:
        dataset: ``[i]`` -> (uint8 (T,H,W,3), label, i), with ``classes``, and ``ids`` if clips have names.
        workers: processes that decode, or threads that decode once for "disk"; 0 decodes in this one.
        cache: "memory" keeps all decoded clips; "disk" keeps them in a folder for all runs and processes (see
            ``interp.data.cache``); "none" decodes each time; "auto" keeps up to 2 GiB in memory.
        cache_dir: where the folders of "disk" are; None: ``interp.data.cache.default_folder``.
        strict: stop at the first clip that cannot be read, instead of leaving it out.
    Attributes:
        unreadable: {index: reason} of the clips met so far that cannot be read.
        missing: {file: number of clips lost with it} of the files that the dataset lists and has not.
        waited: seconds spent waiting for frames since ``waited`` was last set to 0.
    """

    def __init__(
        self,
        dataset: Any,
        device: str | torch.device,
        *,
        workers: int = 0,
        cache: str = "none",
        cache_dir: str | Path | None = None,
        strict: bool = False,
        progress: bool = False,
    ) -> None:
        if cache not in CACHES:
            raise ValueError(f"cache is {cache!r}; choose one of {', '.join(CACHES)}")
        if not len(dataset):
            raise ValueError("the dataset has no clips")
        if cache == "disk":
            from interp.data.cache import cached

            shown = progress and _terminal()
            dataset = cached(dataset, cache_dir, workers=workers, strict=strict, progress=shown)
        self.mapped = getattr(dataset, "mapped", False)  # a cache on disk
        self.dataset, self.device, self.workers = _Guarded(dataset, strict), torch.device(device), workers
        self.classes = list(dataset.classes)
        self.ids = [str(i) for i in getattr(dataset, "ids", range(len(dataset)))]
        known = getattr(dataset, "unreadable", {})  # of a cache
        self.unreadable = {i: _told(known[name]) for i, name in enumerate(self.ids) if name in known}
        self.missing: dict[str, int] = dict(getattr(dataset, "missing", {}))
        self.waited = 0.0
        self.frames: Tensor | None = None
        looks = (self.dataset[i][0] for i in range(min(len(dataset), 64)))
        self.shape = next((frames.shape for frames in looks if frames is not None), None)
        size = len(dataset) * int(np.prod(self.shape)) if self.shape else 0
        if cache == "memory" or (cache == "auto" and 0 < size <= MEMORY_LIMIT):
            self._decode("decode" if progress else None)

    def __len__(self) -> int:
        return len(self.ids)

    def describe(self) -> dict[str, Any]:
        """Name, number of clips and classes, JSON-able."""
        source = self.dataset.dataset
        name = str(getattr(source, "name", type(source).__name__))
        return {"name": name, "clips": len(self), "classes": len(self.classes)}

    def __call__(
        self, order: Sequence[Sequence[int]], progress: str | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """One (frames, labels, indices) on the device for every list of indices in ``order``."""
        source = self._loaded(order) if self.frames is None else self._remembered(order)
        bar = tqdm(total=len(order), desc=progress, leave=False, disable=progress is None or not _terminal())
        with bar:
            iterator = iter(source)
            while True:
                start = time.perf_counter()
                batch = next(iterator, None)
                self.waited += time.perf_counter() - start
                if batch is None:
                    return
                yield batch
                bar.update()

    def _remembered(self, order: Iterable[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for indices in order:
            chosen = torch.as_tensor(indices, dtype=torch.int64)
            there = chosen.to(self.device)
            yield self.frames[there], self.labels[there], chosen

    def _loaded(self, order: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        on_gpu = self.device.type == "cuda"
        for frames, labels, indices in self._ahead(order) if self.mapped else self._decoded(order):
            if on_gpu:
                frames, labels = frames.pin_memory(), labels.pin_memory()
            yield (
                frames.to(self.device, non_blocking=True),
                labels.to(self.device, non_blocking=True),
                indices,
            )

    def _decoded(self, order: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """By worker processes, or in this one."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=order,
            num_workers=self.workers,
            collate_fn=list,
            generator=torch.Generator(),  # else the loader draws from the model's own random numbers
        )
        yield from map(self._batch, loader)

    def _ahead(self, order: Iterable[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """From a cache on disk, by a thread that copies the next batch: from another process it takes longer."""

        def load(indices):
            return self._batch([self.dataset[i] for i in indices])

        with ThreadPoolExecutor(1) as pool:
            coming: deque = deque()
            for indices in order:
                coming.append(pool.submit(load, indices))
                if len(coming) > AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def _batch(self, rows: list[tuple]) -> tuple[Tensor, Tensor, Tensor]:
        labels, indices = ([row[place] for row in rows] for place in (1, 2))
        return torch.from_numpy(self._stack(rows)), torch.tensor(labels), torch.tensor(indices)

    def _stack(self, rows: list[tuple]) -> np.ndarray:
        """(B,T,H,W,3); a clip that cannot be read is black, and its label is -1 already."""
        for frames, _, index, reason in rows:
            if reason is not None:
                self.unreadable[index] = reason
            elif self.shape is None:
                self.shape = frames.shape
            elif frames.shape != self.shape:
                raise ValueError(
                    f"clip {self.ids[index]} is {frames.shape}, others are {self.shape}; give a size"
                )
        if self.shape is None:
            raise ValueError(
                f"no clip of the first batch can be read; {next(iter(self.unreadable.values()))}"
            )
        black = np.zeros(self.shape, np.uint8)
        return np.stack([black if reason is not None else frames for frames, _, _, reason in rows])

    def _decode(self, progress: str | None) -> None:
        count = len(self.ids)
        chunks = [list(range(i, min(i + 16, count))) for i in range(0, count, 16)]
        device, self.device = self.device, torch.device("cpu")
        kept, labels = None, torch.full((count,), -1)
        for chunk, (frames, targets, _) in zip(chunks, self(chunks, progress), strict=True):
            if kept is None:
                kept = torch.empty((count, *self.shape), dtype=torch.uint8)
            kept[chunk], labels[chunk] = frames, targets
        self.device, self.waited = device, 0.0
        self.frames, self.labels = kept.to(device), labels.to(device)


class _Guarded(Dataset):
    """The dataset with a fourth value: None, or why this clip cannot be read (then its label is -1)."""

    def __init__(self, dataset: Any, strict: bool) -> None:
        self.dataset, self.strict = dataset, strict

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray | None, int, int, str | None]:
        try:
            frames, label, _ = self.dataset[index]
        except Exception as error:
            if self.strict or not _about_a_video(error):
                raise
            return None, -1, index, _told(error)
        return np.asarray(frames), int(label) if label is not None else -1, index, None


def _about_a_video(error: Exception) -> bool:
    """VideoError and errors of the file system; anything else is a mistake in a program, to be seen."""
    return isinstance(error, OSError) or any(kind.__name__ == "VideoError" for kind in type(error).__mro__)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)


def _terminal() -> bool:
    return sys.stderr.isatty()
