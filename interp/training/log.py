"""The log of a training run: a line {"header": {...}}, then one JSON line an epoch; which logs ship; versions.

An epoch has train_loss, train_accuracy, val_loss, val_top1, val_top5, val_macro_f1, val_top1_reversed, lr (of its last
step), seconds (of training), clips_per_second and waiting (share of the seconds spent on loading).
"""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from interp import __version__
from interp.io import atomic_write
from interp.models.weights import shipped


def versions() -> dict[str, str]:
    """The versions of Python, PyTorch and this package."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "interp": __version__}


def machine() -> str:
    """The processor, its cores, and the first GPU where there is one, in words."""
    cpuinfo = Path("/proc/cpuinfo")  # of Linux, where platform.processor says little
    models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text(errors="replace")) if cpuinfo.exists() else []
    name, threads = [*models, platform.processor() or platform.machine()][0], torch.get_num_threads()
    words = f"{name}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}"
    return words + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "")


def write(path: str | Path, header: Mapping[str, Any], epochs: Iterable[Mapping[str, Any]]) -> None:
    """Write the whole log."""
    atomic_write(path, "".join(json.dumps(line) + "\n" for line in ({"header": header}, *epochs)))


def header(path: str | Path) -> dict[str, Any]:
    """The first line of a log: recipe, versions, command, data, parameters, machine."""
    return json.loads(Path(path).read_text(encoding="utf-8").splitlines()[0])["header"]


def read(path: str | Path) -> list[dict[str, Any]]:
    """The epochs of a log, in order, without its header."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()[1:]]


def shipped_log(name: str, data: str = "motion", seed: int = 0) -> Path:
    """The log of the run that made the shipped weights of "i3d" or "clstm"; ValueError if there is none."""
    return shipped(name, data, seed, ".jsonl")


def facts(log: str | Path) -> dict[str, Any]:
    """A run in one dict: command, clips, epochs, minutes (without validation), machine, scores of its best epoch."""
    head, epochs = header(log), read(log)
    if not epochs:
        raise ValueError(f"{log} has no epoch yet; train for at least one")
    best, data = max(epochs, key=lambda line: (line["val_top1"], -line["val_loss"])), head.get("data", {})
    return {
        "command": head["command"] or "(called from Python)", "training clips": data.get("train", {}).get("clips"),
        "validation clips": data.get("validation", {}).get("clips"), "parameters": head.get("parameters"),
        "epochs": f"{len(epochs)} of {head['recipe']['epochs']}",
        "minutes of training": round(sum(line["seconds"] for line in epochs) / 60, 1),
        "machine": head["machine"], "precision": head.get("precision"),
        "versions": ", ".join(f"{name} {version}" for name, version in head.get("versions", {}).items()),
        "best epoch, from 0": best["epoch"], "top-1": round(best["val_top1"], 3), "top-5": round(best["val_top5"], 3),
        "top-1, input reversed": round(best["val_top1_reversed"], 3)}
