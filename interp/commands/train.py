"""``python -m interp train``: trains I3D or C-LSTM by a recipe, alone or under torchrun.

Source: this project's own. No tensor axes.

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

from interp.commands.open_data import add_cache_dir, open_split

HELP = "train I3D or C-LSTM"
# the options that replace a value of the recipe
OVERRIDES = """epochs batch_size learning_rate weight_decay dropout optimizer momentum schedule warmup_epochs
label_smoothing clip_norm num_frames size augment""".split()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; those of the recipe are None unless given, and then replace the recipe's value."""
    from interp import recipes

    parser.add_argument("--model", choices=recipes.MODELS, required=True)
    parser.add_argument("--data", choices=("motion", "something", "kth", "folder"), default="motion")
    parser.add_argument("--root", required=True, metavar="DIR", help="the dataset's folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="where log and weights go")
    parser.add_argument("--recipe", metavar="NAME", help=f"paper, or one of {', '.join(recipes.RECIPES)}")
    parser.add_argument("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    parser.add_argument("--seed", type=int, default=0)
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    machine.add_argument("--workers", type=int, default=2, help="processes that decode videos")
    machine.add_argument("--threads", type=int, help="threads of the CPU that the model uses")
    machine.add_argument("--cache", choices=("auto", "memory", "disk", "none"), default="auto",
                         help="keep decoded clips in memory (auto: up to 2 GiB), or on disk for all runs")  # fmt: skip
    add_cache_dir(machine.add_argument)
    machine.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    machine.add_argument("--channels-last", action="store_true", help="channels innermost in memory")
    machine.add_argument("--compile", action="store_true", help="use torch.compile")
    machine.add_argument("--micro-batch", type=int, metavar="N", help="clips at once in a process")
    machine.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    machine.add_argument("--strict", action="store_true", help="stop at a clip that cannot be read")
    recipe = parser.add_argument_group("instead of the recipe's values")
    recipe.add_argument("--epochs", type=int)
    recipe.add_argument("--batch-size", type=int, help="over all processes together")
    recipe.add_argument("--learning-rate", type=float)
    recipe.add_argument("--weight-decay", type=float)
    recipe.add_argument("--dropout", type=float)
    recipe.add_argument("--optimizer", choices=recipes.OPTIMIZERS)
    recipe.add_argument("--momentum", type=float)
    recipe.add_argument("--schedule", choices=recipes.SCHEDULES)
    recipe.add_argument("--warmup-epochs", type=float)
    recipe.add_argument("--label-smoothing", type=float)
    recipe.add_argument("--clip-norm", type=float)
    recipe.add_argument("--num-frames", type=int, metavar="T")
    recipe.add_argument("--size", type=int, nargs=2, metavar=("H", "W"))
    recipe.add_argument("--augment", action=argparse.BooleanOptionalAction, default=None)
    recipe.add_argument("--model-arg", action="append", default=[], metavar="NAME=JSON",
                        help="an argument of the model, as width=0.5 or pools=[2,2,2]")  # fmt: skip


def choose(args: argparse.Namespace) -> Any:
    """The recipe that the arguments ask for. Raises ValueError."""
    from interp import recipes

    default = "paper" if args.data in ("something", "kth") else f"{args.model}_motion"
    recipe = recipes.find(args.recipe or default, args.model, args.data)
    if recipe.model != args.model:
        raise ValueError(f"recipe {recipe.name} is for {recipe.model}, but --model is {args.model}")
    fields = {name: getattr(args, name) for name in OVERRIDES if getattr(args, name) is not None}
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
    """Trains, prints the best epoch's scores, returns 0."""
    recipe = choose(args)
    import torch

    from interp import train

    if args.threads:
        torch.set_num_threads(args.threads)
    sets = [open_split(args, split, recipe.num_frames, recipe.size) for split in ("train", "validation")]
    metrics = train.train(
        recipe,
        *sets,
        args.out,
        resume=args.resume,
        device=args.device,
        workers=args.workers,
        seed=args.seed,
        compile=args.compile,
        precision=args.precision,
        cache=args.cache,
        cache_dir=args.cache_dir,
        channels_last=args.channels_last,
        micro_batch=args.micro_batch,
        checkpoint_every=args.checkpoint_every,
        strict=args.strict,
        command="python -m interp " + shlex.join(sys.argv[1:]),
    )
    scores = {key: metrics[key] for key in ("epoch", "top1", "top5", "macro_f1")}
    scores["top1_reversed"] = metrics["reversed"]["top1"]
    if not int(os.environ.get("RANK", 0)):  # under torchrun once
        print(json.dumps({key: round(value, 4) for key, value in scores.items()}))
    return 0
