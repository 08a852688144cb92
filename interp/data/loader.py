"""Batches of clips: decoded once and kept in memory, or decoded again each time by worker processes."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from interp.data.video import VideoError

KEEP, ON_ERROR = ("auto", "memory", "none"), ("skip", "raise")
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
        self.dataset, self.device, self.workers, self.on_error = dataset, torch.device(device), workers, on_error
        self.classes, self.missing = list(dataset.classes), dict(getattr(dataset, "missing", {}))
        self.ids = [str(i) for i in getattr(dataset, "ids", range(len(dataset)))]
        self.unreadable: dict[int, str] = {}
        self.waited, self._kept = 0.0, None
        first = (self[i][0] for i in range(min(len(dataset), 64)))
        self._shape = next((frames.shape for frames in first if frames is not None), None)
        size = len(dataset) * int(np.prod(self._shape or 0))
        if keep == "memory" or (keep == "auto" and 0 < size <= MEMORY_LIMIT):
            kept, self.device = None, torch.device("cpu")
            for *parts, indices in self(torch.arange(len(self)).split(16), "decode" if progress else None):
                kept = kept or [part.new_empty(len(self), *part.shape[1:]) for part in parts]
                for whole, part in zip(kept, parts, strict=True):
                    whole[indices] = part
            self.device, self.waited, self._kept = torch.device(device), 0.0, [whole.to(device) for whole in kept]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[np.ndarray | None, int, int, str | None]:
        """Frames (T,H,W,3), label or -1, index, None; where the clip cannot be read None, -1, index, the reason."""
        index = int(index)
        try:
            frames, label, _ = self.dataset[index]
        except (OSError, VideoError) as error:  # anything else is a mistake in a program, not in a file
            if self.on_error == "raise":
                raise
            return None, -1, index, str(error) if isinstance(error, VideoError) else f"{type(error).__name__}: {error}"
        return np.asarray(frames), -1 if label is None else int(label), index, None

    def __call__(self, batches: Sequence[Sequence[int]],
                 progress: str | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each list of indices: frames (B,T,H,W,3) uint8, labels (B,) int64 (-1: none), indices (B,) on the CPU.

        progress: title of a bar that a terminal shows.
        """
        generator = torch.Generator()  # else the loader draws from the model's own random numbers
        source = batches if self._kept else DataLoader(self, batch_sampler=batches, num_workers=self.workers,
                                                       collate_fn=list, generator=generator)
        with tqdm(total=len(batches), desc=progress, leave=False, disable=None if progress else True) as bar:
            start = time.perf_counter()
            for batch in source:
                if self._kept:
                    indices = torch.as_tensor(batch)
                    tensors = [kept[indices.to(self.device)] for kept in self._kept]
                else:
                    *tensors, indices = self._stack(batch)
                self.waited += time.perf_counter() - start
                yield *tensors, indices
                bar.update()
                start = time.perf_counter()

    def _stack(self, rows: list[tuple]) -> tuple[Tensor, Tensor, Tensor]:
        self.unreadable |= {index: reason for *_, index, reason in rows if reason is not None}
        for frames, _, index, _ in rows:
            self._shape = self._shape or getattr(frames, "shape", None)
            if frames is not None and frames.shape != self._shape:
                raise ValueError(f"clip {self.ids[index]} is {frames.shape}, others are {self._shape}; give a size")
        if self._shape is None:
            raise ValueError(f"no clip of the first batch can be read; {next(iter(self.unreadable.values()))}")
        black = np.zeros(self._shape, np.uint8)
        frames = torch.from_numpy(np.stack([black if frames is None else frames for frames, *_ in rows]))
        labels, indices = (torch.tensor([row[column] for row in rows]) for column in (1, 2))
        tensors = [part.pin_memory() if self.device.type == "cuda" else part for part in (frames, labels)]
        return *(part.to(self.device, non_blocking=True) for part in tensors), indices
