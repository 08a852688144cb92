"""``python -m interp train``: train I3D or C-LSTM by a recipe, alone or under torchrun.

    python -m interp train --model clstm --data something --root DIR --recipe paper --out runs/clstm
    torchrun --standalone --nproc_per_node=4 --max-restarts=1 -m interp train --model i3d ...
"""

import argparse
import json
import os
import shlex
import sys

from interp import recipes, training
from interp.cli import options
from interp.data.loader import KEEP
from interp.training.distributed import PRECISIONS

HELP = "train I3D or C-LSTM"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; those of the recipe replace its values."""
    parser.add_argument("--model", choices=recipes.MODELS, required=True)
    options.add_dataset(parser, required=True)
    parser.add_argument("--out", required=True, metavar="DIR", help="where log and weights go")
    parser.add_argument("--recipe", metavar="NAME", help=f"paper, or one of {', '.join(recipes.RECIPES)}")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    parser.add_argument("--seed", type=int, default=0)
    options.add_machine(parser)
    parser.add_argument("--keep", choices=KEEP, default="auto", help="decoded clips in memory (auto: up to 2 GiB)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--micro-batch", type=int, metavar="N", help="clips at once in a process")
    options.add_fields(parser, recipes.TrainRecipe)


def run(args: argparse.Namespace) -> int:
    """Train and print the best epoch's scores."""
    default = "paper" if args.data in ("something", "kth") else f"{args.model}_motion"
    recipe = recipes.find(args.recipe or default, args.model, args.data)
    if recipe.model != args.model:
        raise ValueError(f"recipe {recipe.name} is for {recipe.model}, but --model is {args.model}")
    recipe = recipes.change(recipe, data=args.data, **options.given_fields(args, recipes.TrainRecipe))
    sets = [options.open_split(args, split, recipe.num_frames, recipe.size) for split in ("train", "validation")]
    names = ("resume", "device", "workers", "seed", "compile", "precision", "keep", "micro_batch", "on_error")
    metrics = training.train(recipe, *sets, args.out, command="python -m interp " + shlex.join(sys.argv[1:]),
                             **{name: getattr(args, name) for name in names})
    scores = {key: metrics[key] for key in ("epoch", "top1", "top5", "macro_f1")}
    scores |= {"top1_reversed": metrics["reversed"]["top1"]}
    if not int(os.environ.get("RANK", 0)):  # under torchrun once
        print(json.dumps({key: round(value, 4) for key, value in scores.items()}))
    return 0
