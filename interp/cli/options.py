"""What several commands share: their options, and the models and the dataset that these name."""

import argparse
import json
import typing
import warnings

from torch import nn

from interp import recipes
from interp.data import KINDS, VideoDataset, open_dataset
from interp.data.loader import ON_ERROR
from interp.study import wrap
from interp.training.distributed import pick

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


def add_model(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """The options that name a model, and what it takes of a video."""
    words = f"{wrap.FORMS}; both: i3d and clstm. Of FILE.py, which is run, NAME is a module or makes one"
    parser.add_argument("--model", default=default, required=default is None, help=words)
    parser.add_argument("--pretrained", metavar="FILE", help="a state dict; torchvision: also default or none")
    parser.add_argument("--classes", metavar="FILE", help="text, the name of a class in each line")
    parser.add_argument("--layer", help="for Grad-CAM (see interp inspect)")
    sampling = parser.add_argument_group("instead of the frames and pixels that the model takes by itself")
    sampling.add_argument("--frames", type=int, metavar="N", help="frames of a clip")
    rate = sampling.add_mutually_exclusive_group()
    rate.add_argument("--fps", type=float, help="frames a second (our own networks: spread over the video)")
    rate.add_argument("--stride", type=float, help="every so many-th frame")
    sampling.add_argument("--crop", choices=("center", "none", "resize"), help="the middle, all, or all squeezed")


def load_models(args: argparse.Namespace) -> dict[str, nn.Module]:
    """The models of --model, each with its Sampling as `sample`, by the names that their files get."""
    sample = {"num_frames": args.frames, "fps": args.fps, "stride": args.stride}
    sample = {key: value for key, value in sample.items() if value is not None} | ({"fps": None} if args.stride else {})
    models = [wrap.load_by_name(name, pretrained=args.pretrained, classes=args.classes, layer=args.layer or "auto",
                                sample=sample, crop=args.crop)
              for name in (recipes.MODELS if args.model == "both" else (args.model,))]
    return {name: model.to(pick(args.device)) for name, model in models}


def open_split(args: argparse.Namespace, split: str, num_frames: int, size) -> VideoDataset:
    """The dataset of --data and --root. Files that are listed but absent are counted in its `missing`."""
    special = {"split_pattern": "folder", "split_groups": "folder", "fold": "ucf101"}
    given = {name: value for name in special if (value := getattr(args, name, None))}
    if wrong := [name for name in given if special[name] != args.data]:
        raise ValueError(f"--{wrong[0].replace('_', '-')} is for --data {special[wrong[0]]}; {args.data} has a split "
                         "of its own")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*listed videos are absent", UserWarning)
        return open_dataset(args.data, args.root, split, num_frames, size, on_error=args.on_error, **given)
