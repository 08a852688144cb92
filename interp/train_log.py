"""The log of a training run: a header line, then one JSON line an epoch; and the record that goes with
weights.

Source: this project's own. No tensor axes. ``log.jsonl`` opens with {"header": {...}}; every further line is
an
epoch: epoch (0, 1, ...), train_loss, train_accuracy, val_loss, val_top1, val_top5, val_macro_f1,
val_top1_reversed, lr (of its last step), seconds (of training), clips_per_second, waiting (share of the
seconds spent on loading).

>>> from interp import train_log
>>> epochs = train_log.read("out/log.jsonl")                             # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import interp
from interp import whole


def versions() -> dict[str, str]:
    """Of Python, PyTorch and this package."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "interp": getattr(interp, "__version__", "unknown"),
    }


def machine() -> str:
    """The processor, its cores, and the first GPU where there is one, in words."""
    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():  # Linux; platform.processor says little there
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), name)
    threads = torch.get_num_threads()
    words = f"{name}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}"
    return words + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "")


def read(path: str | Path) -> list[dict[str, Any]]:
    """The epochs of a log, in order, without its header. A last line cut short by a kill is left out."""
    return [line for line in _lines(path) if "epoch" in line]


def header(path: str | Path) -> dict[str, Any]:
    """What the first line of a log says: recipe, versions, command, data, parameters, machine."""
    return next((line["header"] for line in _lines(path) if "header" in line), {})


def line(
    epoch: int,
    sums: Sequence[float],
    scores: Mapping[str, Any],
    reversed_scores: Mapping[str, Any],
    rate: float,
) -> dict[str, Any]:
    """An epoch for the log; ``sums`` are its training loss, right answers and clips."""
    return {
        "epoch": epoch,
        "train_loss": sums[0] / max(sums[2], 1),
        "train_accuracy": sums[1] / max(sums[2], 1),
        "val_loss": scores["loss"],
        "val_top1": scores["top1"],
        "val_top5": scores["top5"],
        "val_macro_f1": scores["macro_f1"],
        "val_top1_reversed": reversed_scores["top1"],
        "lr": rate,
    }


def sentence(line: dict[str, Any], epochs: int) -> str:
    """An epoch of the log in one line of words."""
    return (
        f"epoch {line['epoch'] + 1}/{epochs}  loss {line['train_loss']:.3f}  "
        f"accuracy {line['train_accuracy']:.3f}  validation {line['val_top1']:.3f} "
        f"(reversed {line['val_top1_reversed']:.3f})  {line['clips_per_second']:.1f} clips/s, "
        f"waiting {line['waiting']:.0%}"
    )


class Log:
    """Writes one. ``epoch`` is where the run stands: what an earlier run wrote beyond that is dropped."""

    def __init__(self, path: str | Path, header: dict[str, Any], epoch: int = 0) -> None:
        self.path = Path(path)
        old = _lines(self.path) if epoch and self.path.exists() else []
        new = {"header": {**header, "machine": machine()}}
        first = [line for line in old if "header" in line][:1] or [new]
        kept = first + [line for line in old if line.get("epoch", epoch) < epoch]
        whole.write(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, line: dict[str, Any]) -> None:
        """Appends an epoch. Raises OSError."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _lines(path: str | Path) -> list[dict[str, Any]]:
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
