"""``python -m interp inspect --model MODEL``: what a model takes, its layers, and what an explanation of a clip costs.

    python -m interp inspect --model torchvision:r2plus1d_18 --pretrained none
"""

import argparse
import sys
import time

import torch
from torch import nn

from interp import recipes
from interp.cli import model_options, options
from interp.core import masks
from interp.core.inference import predict
from interp.study.wrap import VideoModel

HELP = "print what a model takes, its layers, and how long an explanation takes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the model."""
    model_options.add_model(parser)
    options.add_machine(parser)
    parser.add_argument("--budget", type=int, default=2000, metavar="N", help="exact: clips to score (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print it. ValueError for a model that is not there."""
    for name, model in model_options.load_models(args).items():
        model = model if isinstance(model, VideoModel) else VideoModel(
            model, model.sample, name=name, classes=model.classes, layer=args.layer or "auto")
        sample, clip = model.sample, torch.rand(1, 3, model.sample.num_frames, *model.sample.size)
        seconds = seconds_of(model, clip)
        rate = f"{sample.fps:g} a second" if sample.fps else f"every {sample.stride:g}th" if sample.stride else "spread"
        print(f"{name}: {sum(weight.numel() for weight in model.parameters()):,} parameters")
        print(f"  takes    {sample.num_frames} frames ({rate}) of {'x'.join(map(str, sample.size))} pixels, resized to "
              f"{sample.resize}, cropped to {sample.crop}; axes {model.layout}, {model.output}")
        print(f"  classes  {'; '.join((model.classes or ['without names'])[:5])}{' ...' if model.classes else ''}")
        print(f"  layer    {model.layer}" + (f", tokens {model.tokens}" if model.tokens else ""))
        print(*(f"  {'-> ' if key == model.gradcam_layer else '   '}{key.removeprefix('model.'):40} "
                f"{'x'.join(map(str, shape))} (T'xH'xW')" for key, shape in model.maps.items()), sep="\n")
        print(f"  a clip takes {seconds:.3f} s on {next(model.parameters()).device}; a mask at most about")
        for method in masks.METHODS:
            number = passes_of(method, sample.num_frames, args.budget, recipes.SOMETHING_MASK)
            print(f"    {method:9} {number * seconds:8.0f} s ({number} forward passes)")
    return 0


def print_cost(name: str, model: nn.Module, clip, method: str, budget: int, recipe: recipes.MaskRecipe, clips: int):
    """Say on stderr how long a search will take, where it is worth saying; ValueError as `seconds_of`."""
    seconds, passes = seconds_of(model, clip), passes_of(method, clip.shape[2], budget, recipe)
    if clips * passes * seconds > 10:
        print(f"  {name}: at most about {clips * passes * seconds:.0f} s ({clips} x {passes} forward passes of "
              f"{seconds:.2f} s)", file=sys.stderr)


def seconds_of(model: nn.Module, clip) -> float:
    """How long one forward pass of a clip (1,C,T,H,W) takes; ValueError where the model does not take it."""
    start = time.perf_counter()
    try:
        predict(model, clip)
    except RuntimeError as error:
        raise ValueError(f"the model takes no clip of {tuple(clip.shape[2:])} frames and pixels "
                         f"({' '.join(str(error).split())[:200]}); see --frames and --crop") from error
    return time.perf_counter() - start


def passes_of(method: str, num_frames: int, budget: int, recipe: recipes.MaskRecipe) -> int:
    """The most forward passes that a search of one clip takes; a gradient costs two more."""
    return {"windows": num_frames * (num_frames + 1) // 2, "exact": budget, "gradient": 3 * recipe.iterations}[method]
