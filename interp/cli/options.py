"""What several commands share: their options, the model and the dataset that these name, and printing."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

SHIPPED = ("i3d", "clstm")
KINDS = ("motion", "something", "kth", "folder")


def add_machine(parser: argparse.ArgumentParser, workers: int, batch_size: bool = True) -> Any:
    """The options about the machine; returns their group."""
    group = parser.add_argument_group("machine")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    group.add_argument("--threads", type=positive, metavar="N", help="threads of the CPU that the model uses")
    group.add_argument("--workers", type=int, default=workers, help="processes or threads that decode (%(default)s)")
    if batch_size:
        group.add_argument("--batch-size", type=positive, metavar="N", help="clips at once in the model")
        group.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the search's steps")
    return group


def add_fields(group: Any, fields: dict[str, dict]) -> None:
    """An option for each field of a recipe: None unless given, and then it replaces the recipe's value."""
    for name, settings in fields.items():
        group.add_argument(f"--{name.replace('_', '-')}", default=None, **settings)


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"is {value}; expected at least 1")
    return value


def choose_device(args: argparse.Namespace) -> str:
    """The device of --device: for "auto" a GPU where there is one, under torchrun one for each process."""
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
    return "cpu" if args.device == "auto" else args.device


def load_models(name: str, device: str) -> dict:
    """The models of --model by the names that their files get. ValueError where there is none."""
    from interp.models import weights

    if name == "both" or name in SHIPPED:
        models = {model: weights.load(model) for model in (SHIPPED if name == "both" else (name,))}
    elif name.endswith(".safetensors"):
        models = {Path(name).stem: weights.read(name)}
    else:
        raise ValueError(f"--model is {name!r}; expected i3d, clstm, both, or a .safetensors file")
    try:
        return {label: model.to(device) for label, model in models.items()}
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def open_split(args: argparse.Namespace, split: str, num_frames: int | None, size: Any) -> Any:
    """The VideoDataset of --data and --root. Files that are listed but absent are counted in its `missing`."""
    from interp.data import open_dataset

    options = {"on_error": args.on_error}
    if args.split_pattern is not None:
        if args.data != "folder":
            raise ValueError(f"--split-pattern is for --data folder; {args.data} has a split of its own")
        options["split_pattern"] = args.split_pattern
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*listed videos are absent", UserWarning)
        return open_dataset(args.data, args.root, split, num_frames, size, **options)


def say(text: str, stream=None) -> None:
    """Print text that may hold characters which the terminal's encoding lacks."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
