"""The folder of a training run: its log, its last checkpoint, its best weights, its list of unreadable clips.

Source: this project's own. No tensor axes. Every file is written whole or not at all; only the first process
writes.

>>> folder = RunFolder("runs/i3d")
>>> folder.last.name, folder.best.name, folder.log.name
('last.safetensors', 'best.safetensors', 'log.jsonl')
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from interp import checkpoint, train_log
from interp.batches import Batches
from interp.data.dataset import list_left_out


class TrainingError(RuntimeError):
    """The run cannot go on (loss not finite, disk full); the last checkpoint is intact."""


class RunFolder:
    """Names the files of a run and writes them. Raises TrainingError where one cannot be written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.last, self.best = self.path / "last.safetensors", self.path / "best.safetensors"
        self.log, self.unreadable = self.path / "log.jsonl", self.path / "unreadable.txt"
        self.listed, self.told = 0, False

    def holds_run(self, resume: bool, identity: Mapping[str, Any]) -> bool:
        """Whether there is a checkpoint to continue. ValueError: there is one, but not to be continued, or of
        a run that differs in ``identity`` (recipe, seed, data, model)."""
        if not self.last.exists():
            return False
        if not resume:
            raise ValueError(
                f"{self.path} holds a run already; add --resume to continue it, or choose another folder"
            )
        there = checkpoint.peek(self.last)["identity"]
        differing = [key for key in identity if identity[key] != there.get(key)]
        if differing:
            pairs = "; ".join(f"{key} was {there.get(key)!r}, is {identity[key]!r}" for key in differing)
            raise ValueError(
                f"{self.path} holds another run ({pairs}); resume it as it was, or choose another folder"
            )
        return True

    def open(self, about: dict[str, Any], epoch: int) -> None:
        """Makes the folder and its log; ``about`` goes into the log's header and beside the best weights."""
        self.about = about
        with self._writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.writer = train_log.Log(self.log, about, epoch)

    def log_epoch(self, line: dict[str, Any]) -> None:
        """Adds a line to the log."""
        with self._writing(self.log):
            self.writer.add(line)

    def save_best(self, model: nn.Module, classes: Sequence[str], metrics: dict[str, Any]) -> None:
        """The weights to keep, with all that made them."""
        from interp.models import weights

        with self._writing(self.best):
            weights.save(self.best, model, classes, {**self.about, "metrics": metrics})

    def save_last(self, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """The checkpoint that --resume takes up."""
        with self._writing(self.last):
            checkpoint.write(self.last, model, optimizer, state)

    def list_left_out(self, sets: Sequence[Batches], unreadable: Sequence[Mapping[int, str]]) -> None:
        """Writes unreadable.txt, if there is anything new to list, and says so in one line.

        ``unreadable`` are the clips of each set that cannot be read, {index: reason}, as far as they are known.
        What a later epoch adds goes into the list alone.
        """
        named = [(clips.ids[i], found[i]) for clips, found in zip(sets, unreadable, strict=True) for i in sorted(found)]
        missing = {file: count for clips in sets for file, count in clips.missing.items()}
        if len(named) + len(missing) <= self.listed:
            return
        self.listed = len(named) + len(missing)
        with self._writing(self.unreadable):
            sentence = list_left_out(self.unreadable, sum(map(len, sets)), dict(named), missing)
        if not self.told:
            print(sentence, file=sys.stderr, flush=True)
        self.told = bool(named)

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"cannot write {path} ({error}); free some space or choose another folder, then start again "
                f"with --resume: the last checkpoint is intact"
            ) from error
