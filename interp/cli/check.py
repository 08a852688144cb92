"""``python -m interp check RUN``: sanity checks of a results folder; should its explanations be believed?

    python -m interp check runs/i3d
    python -m interp check runs/i3d --only random baselines --clips 12
    python -m interp check runs/mine --model runs/mine/best.safetensors --root /data/motion --out checks/mine

Writes NAME.json for each check into RUN/checks (or --out), and checks.json with all of them. The same command
continues an interrupted one.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from interp.cli import options

HELP = "sanity checks of a results folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; what is not given is taken from the folder's run.json."""
    from interp.study.sanity import CHECKS

    names = tuple(CHECKS)
    parser.add_argument("folder", metavar="RUN", help="a results folder, as explain --data writes it")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"some of {', '.join(names)} (all)")
    parser.add_argument("--clips", type=options.positive, default=24, metavar="N",
                        help="as equally over the classes as possible (%(default)s)")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="where the checks go (RUN/checks)")
    parser.add_argument("--seed", type=int, default=0, help="draws the clips, and all that is random")
    moved = parser.add_argument_group("where things have moved")
    moved.add_argument("--model", help="the weights of RUN: a .safetensors file, i3d or clstm")
    moved.add_argument("--root", metavar="DIR", help="the dataset's folder")
    moved.add_argument("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    options.add_machine(parser, workers=0)
    labels = parser.add_argument_group("labels")
    labels.add_argument("--epochs", type=options.positive, help="passes over the clips with permuted labels (40)")
    labels.add_argument("--train-clips", type=options.positive, metavar="N", help="training clips (240)")
    labels.add_argument("--permuted", metavar="FILE", help="a network that fits the permuted labels already")


def run(args: argparse.Namespace) -> int:
    """Make the checks and print their verdicts. ValueError for wrong options."""
    from interp.models import weights
    from interp.study import results, sanity

    device, about = options.choose_device(args), results.read_run(args.folder)
    model = _model(args, about, device)
    dataset, train_set = _open(args, about)
    labels = {"clips": args.train_clips, "epochs": args.epochs, "workers": args.workers or None}
    labels = {key: value for key, value in labels.items() if value is not None}
    if args.permuted:
        labels["permuted_model"] = weights.read(args.permuted).to(device)
    out = Path(args.out or Path(args.folder) / "checks")
    sample = sanity.open_run(args.folder, model, dataset, clips=args.clips, seed=args.seed, train=train_set,
                             precision=args.precision, batch_size=args.batch_size)  # fmt: skip
    try:
        report = sanity.run(sample, out, args.only, progress=True, **labels)
    except KeyboardInterrupt:
        options.say(f"interrupted: {out} holds what is finished; the same command continues", sys.stderr)
        return 130
    for name, check in report["checks"].items():
        for part, verdict in check["verdicts"].items():
            options.say(f"{name:13} {part:5}  {verdict['word']}")
    for name in report["left_out"]:
        options.say(f"{name:13} left out")
    options.say(f"{len(report['checks'])} checks of {len(sample.ids)} clips, in {out}")
    return 0


def _model(args: argparse.Namespace, about: dict, device: str):
    """The network of the run: --model, or the shipped one whose file has the hash in run.json."""
    from interp.models.weights import SHIPPED

    known = about.get("model") or {}
    path = next((path for path in sorted(SHIPPED.glob("*.safetensors"))
                 if known.get("file") == hashlib.sha256(path.read_bytes()).hexdigest()), None)  # fmt: skip
    if not args.model and path is None:
        raise ValueError(f"{args.folder} was made with the model {known.get('name')!r}, which is not shipped; "
                         "give its .safetensors file as --model")  # fmt: skip
    (model,) = options.load_models(args.model or str(path), device).values()
    return model


def _open(args: argparse.Namespace, about: dict) -> list:
    """The run's dataset, and the training split of the same data or None."""
    from interp.data import DataError

    data = about.get("data") or {}
    kind, root = data.get("kind"), args.root or data.get("root")
    if kind is None or root is None:
        raise ValueError(f"{args.folder}/run.json does not name its data; the folder was written without a source")
    if not Path(root).is_dir():
        raise ValueError(f"the data of {args.folder} was in {root}, which does not exist; give its folder as --root")
    size = tuple(data["size"]) if isinstance(data.get("size"), list) else data.get("size")
    opened = argparse.Namespace(data=kind, root=root, on_error="skip",
                                split_pattern=args.split_pattern or data.get("split_pattern"))  # fmt: skip
    dataset = options.open_split(opened, data.get("split", "validation"), data.get("num_frames"), size)
    try:
        return [dataset, options.open_split(opened, "train", data.get("num_frames"), size)]
    except (DataError, ValueError):
        return [dataset, None]
