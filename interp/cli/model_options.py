"""--model and what goes with it: the options, and the models that they name."""

import argparse

from torch import nn

from interp import recipes
from interp.study import wrap
from interp.training.distributed import pick


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
