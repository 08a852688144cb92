"""``python -m interp check RUN``: sanity checks of a results folder; should its explanations be believed?

    python -m interp check runs/mine --model runs/mine/best.safetensors --root /data/motion --only random

Writes RUN/checks/checks.json (or into --out) after each check. The same command continues an interrupted one.
"""

import argparse
import contextlib
from pathlib import Path

from interp.cli import model_options, options
from interp.study import results, sample, sanity

HELP = "sanity checks of a results folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; what is not given is taken from the folder's run.json."""
    parser.add_argument("folder", metavar="RUN", help="a results folder, as explain --data writes it")
    parser.add_argument("--only", nargs="+", choices=tuple(sanity.CHECKS), help="some of the checks (all)")
    parser.add_argument("--clips", type=int, default=24, metavar="N", help="the classes taking turns (%(default)s)")
    parser.add_argument("--out", metavar="DIR", help="where the checks go (RUN/checks)")
    model_options.add_model(parser, default="")
    parser.add_argument("--root", metavar="DIR", help="the dataset's folder, if it has moved")
    options.add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Make the checks and print their verdicts. ValueError for wrong options."""
    about, out = results.read_run(args.folder), args.out or Path(args.folder) / "checks"
    args.model = args.model or about["model"]["name"]
    (model,) = model_options.load_models(args).values()
    data, size = about["data"], about["data"]["size"]
    args.data, args.root, args.on_error = data.get("kind"), args.root or data.get("root"), "skip"
    vars(args).update({name: data.get(name) for name in ("split_pattern", "split_groups", "fold")})
    shape = data["num_frames"], tuple(size) if isinstance(size, list) else size
    if (model.sample.num_frames, model.sample.size) == shape:
        shape = *shape, model.sample  # as `interp explain` took the frames
    dataset, train_set = options.open_split(args, data.get("split", "validation"), *shape), None
    with contextlib.suppress(ValueError):  # not every dataset has a training split
        train_set = options.open_split(args, "train", *shape)
    clips = sample.open_run(args.folder, model, dataset, clips=args.clips, train=train_set)
    report = sanity.run(clips, out, args.only, progress=True, workers=args.workers)
    for name, check in report["checks"].items():
        print(*(f"{name:13} {part:5}  {verdict['word']}" for part, verdict in check["verdicts"].items()), sep="\n")
    for name, reason in report["left_out"].items():
        print(f"{name:13} left out: {reason}")
    print(f"{len(report['checks'])} checks of {len(clips.ids)} clips, in {out}")
    return 0
