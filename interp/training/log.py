"""The log of a training run: a line {"header": {...}}, then one JSON line an epoch; which logs ship; versions.

An epoch has train_loss, train_accuracy, val_loss, val_top1, val_top5, val_macro_f1, val_top1_reversed, lr (of its last
step), seconds (of training), clips_per_second and waiting (share of the seconds spent on loading).
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from interp import __version__
from interp.io import atomic_write
from interp.models.weights import SHIPPED


def versions() -> dict[str, str]:
    """The versions of Python, PyTorch and this package."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "interp": __version__}


def machine() -> str:
    """The processor, its cores, and the first GPU where there is one, in words."""
    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():  # on Linux, where platform.processor says little
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), name)
    threads = torch.get_num_threads()
    words = f"{name}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}"
    return words + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "")


def read(path: str | Path) -> list[dict[str, Any]]:
    """The epochs of a log, in order, without its header. A last line cut short by a kill is left out."""
    return [line for line in _lines(path) if "epoch" in line]


def header(path: str | Path) -> dict[str, Any]:
    """The first line of a log: recipe, versions, command, data, parameters, machine."""
    return next((line["header"] for line in _lines(path) if "header" in line), {})


def start(path: str | Path, about: Mapping[str, Any], epoch: int = 0) -> None:
    """Begin a log with `about` as its header, or continue one at an epoch: later lines are dropped."""
    old = _lines(path) if epoch and Path(path).exists() else []
    head = [line for line in old if "header" in line][:1] or [{"header": {**about, "machine": machine()}}]
    kept = head + [line for line in old if line.get("epoch", epoch) < epoch]
    atomic_write(path, "".join(json.dumps(line) + "\n" for line in kept))


def append(path: str | Path, line: Mapping[str, Any]) -> None:
    """Add an epoch."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def shipped_log(name: str, data: str = "motion", seed: int = 0) -> Path:
    """The log of the run that made the shipped weights of "i3d" or "clstm"; ValueError if there is none."""
    path = SHIPPED / f"{name}_{data}{f'_seed{seed}' if seed else ''}.jsonl"
    if not path.is_file():
        names = ", ".join(sorted(log.stem for log in SHIPPED.glob("*.jsonl"))) or "none"
        raise ValueError(f"no training log ships for {name!r} on {data!r}, seed {seed} (there are: {names})")
    return path


def facts(log: str | Path) -> dict[str, Any]:
    """A run in one dict: command, clips, epochs, minutes (without validation), machine, scores of its best epoch."""
    head, epochs = header(log), read(log)
    if not epochs:
        raise ValueError(f"{log} has no epoch yet; train for at least one")
    scores = {"top-1": "val_top1", "top-5": "val_top5", "top-1, input reversed": "val_top1_reversed"}
    best, data = max(epochs, key=lambda line: (line["val_top1"], -line["val_loss"])), head.get("data", {})
    return {
        "command": head.get("command") or "(called from Python)",
        "training clips": data.get("train", {}).get("clips"),
        "validation clips": data.get("validation", {}).get("clips"),
        "parameters": head.get("parameters"),
        "epochs": f"{len(epochs)} of {head.get('recipe', {}).get('epochs')}",
        "minutes of training": round(sum(line["seconds"] for line in epochs) / 60, 1),
        "machine": head.get("machine") or "not recorded",
        "precision": head.get("precision"),
        "versions": ", ".join(f"{name} {version}" for name, version in head.get("versions", {}).items()),
        "best epoch, from 0": best["epoch"],
        **{name: round(best[key], 3) for name, key in scores.items()},
    }


def _lines(path: str | Path) -> list[dict[str, Any]]:
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
