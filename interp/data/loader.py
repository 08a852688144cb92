"""Batches of clips: decoded once and kept in memory, or decoded again each time by worker processes."""

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
        dataset: `dataset[i]` is (uint8 (T,H,W,3), label, i); it has `classes`, and `ids` if clips have names.
        device: where the frames and labels go.
        workers: processes that decode; 0 decodes in this one.
        keep: "memory" decodes every clip once and keeps it on the device, "none" decodes each time, "auto" keeps
            datasets of up to 2 GiB.
        on_error: "skip" makes a clip that cannot be read black with the label -1, "raise" stops at it.
        progress: show a bar while clips are decoded for `keep`.

    Attributes:
        unreadable: {index: reason} of the unreadable clips met so far.
        missing: {file: number of clips lost with it} of files that the dataset lists but that are absent.
        waited: seconds spent waiting for frames; the caller may set it to 0.
    """

    def __init__(self, dataset: Dataset, device: str | torch.device, *, workers: int = 0, keep: str = "auto",
                 on_error: str = "skip", progress: bool = False):
        for name, value, choices in (("keep", keep, KEEP), ("on_error", on_error, ON_ERROR)):
            if value not in choices:
                raise ValueError(f"expected {name} to be one of {', '.join(choices)}, got {value!r}")
        if not len(dataset):
            raise ValueError("expected a dataset with clips, got an empty one")
        self.dataset, self.device, self.workers = _Guarded(dataset, on_error), torch.device(device), workers
        self.classes, self.missing = list(dataset.classes), dict(getattr(dataset, "missing", {}))
        self.ids = [str(i) for i in getattr(dataset, "ids", range(len(dataset)))]
        self.unreadable: dict[int, str] = {}
        self.waited, self._kept = 0.0, None
        first = (self.dataset[i][0] for i in range(min(len(dataset), 64)))
        self._shape = next((frames.shape for frames in first if frames is not None), None)
        size = len(dataset) * int(np.prod(self._shape or 0))
        if keep == "memory" or (keep == "auto" and 0 < size <= MEMORY_LIMIT):
            self._keep_all("decode" if progress else None)

    def __len__(self) -> int:
        return len(self.ids)

    def describe(self) -> dict:
        """The dataset's name, its number of clips and of classes."""
        name = getattr(self.dataset.dataset, "name", type(self.dataset.dataset).__name__)
        return {"name": str(name), "clips": len(self), "classes": len(self.classes)}

    def __call__(self, batches: Sequence[Sequence[int]],
                 progress: str | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each list of indices: frames (B,T,H,W,3) uint8, labels (B,) int64 (-1: none), indices (B,) on the CPU.

        progress: title of a bar that a terminal shows.
        """
        source = self._load(batches) if self._kept is None else self._recall(batches)
        with tqdm(total=len(batches), desc=progress, leave=False, disable=None if progress else True) as bar:
            start = time.perf_counter()
            for batch in source:
                self.waited += time.perf_counter() - start
                yield batch
                bar.update()
                start = time.perf_counter()

    def _recall(self, batches):
        for indices in map(torch.as_tensor, batches):
            yield *(kept[indices.to(self.device)] for kept in self._kept), indices

    def _load(self, batches):
        generator = torch.Generator()  # else the loader draws from the model's own random numbers
        for rows in DataLoader(self.dataset, batch_sampler=batches, num_workers=self.workers, collate_fn=list,
                               generator=generator):
            *tensors, indices = self._stack(rows)
            if self.device.type == "cuda":
                tensors = [tensor.pin_memory() for tensor in tensors]
            yield *(tensor.to(self.device, non_blocking=True) for tensor in tensors), indices

    def _stack(self, rows: list[tuple]) -> tuple[Tensor, Tensor, Tensor]:
        for frames, _, index, reason in rows:
            if reason is not None:
                self.unreadable[index] = reason
                continue
            self._shape = self._shape or frames.shape
            if frames.shape != self._shape:
                raise ValueError(f"clip {self.ids[index]} is {frames.shape}, others are {self._shape}; give a size")
        if self._shape is None:
            raise ValueError(f"no clip of the first batch can be read; {next(iter(self.unreadable.values()))}")
        black = np.zeros(self._shape, np.uint8)
        frames = np.stack([black if frames is None else frames for frames, *_ in rows])
        return torch.from_numpy(frames), *(torch.tensor([row[column] for row in rows]) for column in (1, 2))

    def _keep_all(self, progress: str | None) -> None:
        device, self.device = self.device, torch.device("cpu")
        kept = None
        for *parts, indices in self(torch.arange(len(self)).split(16), progress):
            kept = kept or [part.new_empty(len(self), *part.shape[1:]) for part in parts]
            for whole, part in zip(kept, parts, strict=True):
                whole[indices] = part
        self.device, self.waited, self._kept = device, 0.0, [whole.to(device) for whole in kept]


class _Guarded(Dataset):
    """The dataset with a fourth value: None, or why this clip cannot be read (its frames are None then)."""

    def __init__(self, dataset: Dataset, on_error: str):
        self.dataset, self.on_error = dataset, on_error

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray | None, int, int, str | None]:
        index = int(index)
        try:
            frames, label, _ = self.dataset[index]
        except (OSError, VideoError) as error:  # anything else is a mistake in a program, not in a file
            if self.on_error == "raise":
                raise
            reason = f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
            return None, -1, index, reason
        return np.asarray(frames), -1 if label is None else int(label), index, None
