"""``python -m interp train``: train I3D or C-LSTM by a recipe, alone or under torchrun.

    python -m interp train --model i3d --data motion --root motion --out runs/i3d
    python -m interp train --model clstm --data something --root DIR --recipe paper --out runs/clstm
    torchrun --standalone --nproc_per_node=4 --max-restarts=1 -m interp train --model i3d ...
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import Any

from interp import recipes
from interp.cli import options

HELP = "train I3D or C-LSTM"
# the recipe's fields that an option can replace
FIELDS = {
    **{name: {"type": int} for name in ("epochs", "num_frames")},
    "batch_size": {"type": int, "help": "over all processes together"},
    **{name: {"type": float} for name in ("learning_rate", "weight_decay", "dropout", "momentum", "warmup_epochs",
                                          "label_smoothing", "clip_norm")},
    "optimizer": {"choices": recipes.OPTIMIZERS},
    "schedule": {"choices": recipes.SCHEDULES},
    "size": {"type": int, "nargs": 2, "metavar": ("H", "W")},
    "augment": {"action": argparse.BooleanOptionalAction},
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; those of the recipe replace its values."""
    parser.add_argument("--model", choices=recipes.MODELS, required=True)
    parser.add_argument("--data", choices=options.KINDS, default="motion")
    parser.add_argument("--root", required=True, metavar="DIR", help="the dataset's folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="where log and weights go")
    parser.add_argument("--recipe", metavar="NAME", help=f"paper, or one of {', '.join(recipes.RECIPES)}")
    parser.add_argument("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on-error", choices=("skip", "raise"), default="skip", help="for clips that cannot be read")
    machine = options.add_machine(parser, workers=2, batch_size=False)
    machine.add_argument("--keep", choices=("auto", "memory", "none"), default="auto",
                         help="keep decoded clips in memory (auto: up to 2 GiB)")  # fmt: skip
    machine.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    machine.add_argument("--compile", action="store_true", help="use torch.compile")
    machine.add_argument("--micro-batch", type=int, metavar="N", help="clips at once in a process")
    fields = parser.add_argument_group("instead of the recipe's values")
    options.add_fields(fields, FIELDS)
    fields.add_argument("--model-arg", action="append", default=[], metavar="NAME=JSON",
                        help="an argument of the model, as width=0.5 or pools=[2,2,2]")  # fmt: skip


def choose_recipe(args: argparse.Namespace) -> recipes.TrainRecipe:
    """The recipe that the options name, with their values. ValueError where there is none."""
    default = "paper" if args.data in ("something", "kth") else f"{args.model}_motion"
    recipe = recipes.find(args.recipe or default, args.model, args.data)
    if recipe.model != args.model:
        raise ValueError(f"recipe {recipe.name} is for {recipe.model}, but --model is {args.model}")
    fields: dict[str, Any] = {name: getattr(args, name) for name in FIELDS if getattr(args, name) is not None}
    model_args = {}
    for pair in args.model_arg:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--model-arg is {pair!r}; expected NAME=JSON, as in width=0.5")
        try:
            model_args[name] = json.loads(value)
        except json.JSONDecodeError:
            model_args[name] = value  # a bare word
    if model_args:
        fields["model_args"] = model_args
    return recipes.change(recipe, data=args.data, **fields)


def run(args: argparse.Namespace) -> int:
    """Train and print the best epoch's scores."""
    recipe = choose_recipe(args)
    import torch

    from interp.training import train

    if args.threads:
        torch.set_num_threads(args.threads)
    sets = [options.open_split(args, split, recipe.num_frames, recipe.size) for split in ("train", "validation")]
    names = ("resume", "device", "workers", "seed", "compile", "precision", "keep", "micro_batch", "on_error")  # fmt: skip
    metrics = train(recipe, *sets, args.out, command="python -m interp " + shlex.join(sys.argv[1:]),
                    **{name: getattr(args, name) for name in names})  # fmt: skip
    scores = {key: metrics[key] for key in ("epoch", "top1", "top5", "macro_f1")}
    scores["top1_reversed"] = metrics["reversed"]["top1"]
    if not int(os.environ.get("RANK", 0)):  # under torchrun once
        print(json.dumps({key: round(value, 4) for key, value in scores.items()}))
    return 0
