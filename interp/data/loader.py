"""Batches of clips: decoded once and kept in memory, or decoded again each time by worker processes."""

import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from interp.data.video import VideoError

KEEP = ("auto", "memory", "none")
ON_ERROR = ("skip", "raise")
MEMORY_LIMIT = 2 * 1024**3  # bytes of decoded frames that "auto" keeps


class ClipLoader:
    """Loads clips of a dataset in the batches and the order that the caller gives.

    Args:
        dataset: ``dataset[i]`` is (uint8 (T,H,W,3), label, i); it has ``classes``, and ``ids`` if clips have names.
        device: where the frames and labels go.
        workers: processes that decode; 0 decodes in this one.
        keep: "memory" decodes every clip once and keeps it on the device, "none" decodes each time, "auto" keeps
            datasets of up to 2 GiB.
        on_error: "skip" makes a clip that cannot be read black with the label -1, "raise" stops at it.
        progress: show a bar while clips are decoded for ``keep``.

    Attributes:
        unreadable: {index: reason} of the unreadable clips met so far.
        missing: {file: number of clips lost with it} of files that the dataset lists but that are absent.
        waited: seconds spent waiting for frames; the caller may set it to 0.
    """

    def __init__(
        self, dataset: Dataset, device: str | torch.device, *, workers: int = 0, keep: str = "auto",
        on_error: str = "skip", progress: bool = False,
    ) -> None:
        if keep not in KEEP:
            raise ValueError(f"expected keep to be one of {', '.join(KEEP)}, got {keep!r}")
        if on_error not in ON_ERROR:
            raise ValueError(f"expected on_error to be one of {', '.join(ON_ERROR)}, got {on_error!r}")
        if not len(dataset):
            raise ValueError("expected a dataset with clips, got an empty one")
        self.dataset, self.device, self.workers = _Guarded(dataset, on_error), torch.device(device), workers
        self.classes = list(dataset.classes)
        self.ids = [str(i) for i in getattr(dataset, "ids", range(len(dataset)))]
        self.unreadable: dict[int, str] = {}
        self.missing: dict[str, int] = dict(getattr(dataset, "missing", {}))
        self.waited = 0.0
        self._kept: tuple[Tensor, Tensor] | None = None
        samples = (self.dataset[i][0] for i in range(min(len(dataset), 64)))
        self._shape = next((frames.shape for frames in samples if frames is not None), None)
        size = len(dataset) * int(np.prod(self._shape)) if self._shape else 0
        if keep == "memory" or (keep == "auto" and 0 < size <= MEMORY_LIMIT):
            self._decode_all("decode" if progress else None)

    def __len__(self) -> int:
        return len(self.ids)

    def describe(self) -> dict:
        """The dataset's name, its number of clips and of classes."""
        dataset = self.dataset.dataset
        name = str(getattr(dataset, "name", type(dataset).__name__))
        return {"name": name, "clips": len(self), "classes": len(self.classes)}

    def __call__(
        self, batches: Sequence[Sequence[int]], progress: str | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each list of indices: frames (B,T,H,W,3) uint8, labels (B,) int64 (-1: none), indices (B,) on the CPU.

        Args:
            batches: lists of clip indices.
            progress: title of a progress bar; None shows none.
        """
        source = self._load(batches) if self._kept is None else self._recall(batches)
        hidden = progress is None or not sys.stderr.isatty()
        with tqdm(total=len(batches), desc=progress, leave=False, disable=hidden) as bar:
            while True:
                start = time.perf_counter()
                batch = next(source, None)
                self.waited += time.perf_counter() - start
                if batch is None:
                    return
                yield batch
                bar.update()

    def _recall(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        frames, labels = self._kept
        for batch in batches:
            indices = torch.as_tensor(batch, dtype=torch.int64)
            on_device = indices.to(self.device)
            yield frames[on_device], labels[on_device], indices

    def _load(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        loader = DataLoader(
            self.dataset,
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=list,
            generator=torch.Generator(),  # else the loader draws from the model's own random numbers
        )
        for rows in loader:
            frames, labels, indices = self._stack(rows)
            if self.device.type == "cuda":
                frames, labels = frames.pin_memory(), labels.pin_memory()
            yield frames.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True), indices

    def _stack(self, rows: list[tuple]) -> tuple[Tensor, Tensor, Tensor]:
        for frames, _, index, reason in rows:
            if reason is not None:
                self.unreadable[index] = reason
            elif self._shape is None:
                self._shape = frames.shape
            elif frames.shape != self._shape:
                raise ValueError(f"clip {self.ids[index]} is {frames.shape}, others are {self._shape}; give a size")
        if self._shape is None:
            raise ValueError(f"no clip of the first batch can be read; {next(iter(self.unreadable.values()))}")
        black = np.zeros(self._shape, np.uint8)
        frames = np.stack([black if reason is not None else frames for frames, _, _, reason in rows])
        labels, indices = (torch.tensor([row[column] for row in rows]) for column in (1, 2))
        return torch.from_numpy(frames), labels, indices

    def _decode_all(self, progress: str | None) -> None:
        batches = [list(range(i, min(i + 16, len(self)))) for i in range(0, len(self), 16)]
        device, self.device = self.device, torch.device("cpu")
        frames, labels = None, torch.full((len(self),), -1)
        for part, targets, indices in self(batches, progress):
            if frames is None:
                frames = torch.empty((len(self), *part.shape[1:]), dtype=torch.uint8)
            frames[indices], labels[indices] = part, targets
        self.device, self.waited = device, 0.0
        self._kept = frames.to(device), labels.to(device)


class _Guarded(Dataset):
    """The dataset with a fourth value: None, or why this clip cannot be read (its label is -1 then)."""

    def __init__(self, dataset: Dataset, on_error: str) -> None:
        self.dataset, self.on_error = dataset, on_error

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray | None, int, int, str | None]:
        try:
            frames, label, _ = self.dataset[index]
        except (OSError, VideoError) as error:  # anything else is a mistake in a program, not in a file
            if self.on_error == "raise":
                raise
            reason = f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
            return None, -1, index, reason
        return np.asarray(frames), -1 if label is None else int(label), index, None
