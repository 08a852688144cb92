"""What several commands share: their options, and the dataset that these name."""

import argparse
import dataclasses
import json
import typing
import warnings

from interp.data import KINDS, VideoDataset, open_dataset
from interp.data.loader import ON_ERROR

NO_OPTIONS = ("name", "model", "data", "chosen")  # fields of a recipe


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The options about the machine."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--workers", type=int, default=2, help="processes or threads that decode (%(default)s)")


def add_dataset(group: argparse._ActionsContainer, required: bool) -> None:
    """The options that name a dataset."""
    group.add_argument("--data", choices=KINDS, required=required, help="its layout")
    group.add_argument("--root", required=required, metavar="DIR", help="its folder")
    group.add_argument("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    group.add_argument("--split-groups", metavar="REGEX", help="folder: what clips of one scene share in their names")
    group.add_argument("--fold", type=int, choices=(1, 2, 3), help="ucf101: of its three splits (1)")
    group.add_argument("--on-error", choices=ON_ERROR, default="skip", help="for clips that cannot be read")


def add_fields(parser: argparse.ArgumentParser, recipe: type) -> None:
    """An option for each field of a recipe class; given, it replaces the recipe's value."""
    group = parser.add_argument_group("instead of the recipe's values")
    special = {"size": {"type": int, "nargs": 2, "metavar": ("H", "W")},
               "model_args": {"type": lambda text: dict(json.loads(text)), "metavar": '{"width": 0.5}'},
               "augment": {"action": argparse.BooleanOptionalAction}}
    for name, kind in typing.get_type_hints(recipe).items():
        if name not in NO_OPTIONS:
            group.add_argument(f"--{name.replace('_', '-')}", **special.get(name, {"type": kind}))


def given_fields(args: argparse.Namespace, recipe: type) -> dict:
    """The values of a recipe's fields that were given."""
    names = [name for name in typing.get_type_hints(recipe) if name not in NO_OPTIONS]
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def open_split(args: argparse.Namespace, split: str, num_frames: int, size, sampling=None) -> VideoDataset:
    """The dataset of --data and --root, with a Sampling too; absent files that are listed count in its `missing`."""
    special = {"split_pattern": "folder", "split_groups": "folder", "fold": "ucf101"}
    given = {name: value for name in special if (value := getattr(args, name, None))}
    if wrong := [name for name in given if special[name] != args.data]:
        raise ValueError(f"--{wrong[0].replace('_', '-')} is for --data {special[wrong[0]]}; {args.data} has a split "
                         "of its own")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*listed videos are absent", UserWarning)
        dataset = open_dataset(args.data, args.root, split, num_frames, size, on_error=args.on_error, **given)
    known = {"fps": None, "stride": None} if any("truth" in clip.meta for clip in dataset.samples) else {}
    dataset.sampling = dataclasses.replace(sampling or dataset.sampling, **known)  # truth is of the video, spread
    return dataset
