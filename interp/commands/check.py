"""``python -m interp check RUN``: sanity checks of a results folder; should its explanations be believed?

Source: Adebayo et al., NeurIPS 2018, and this project's own; see `interp.checks`. No tensor axes.

    python -m interp check runs/i3d
    python -m interp check runs/i3d --only random rivals soft --clips 12
    python -m interp check runs/mine --model runs/mine/best.safetensors --root /data/motion --out checks/mine

Writes NAME.json and NAME.png for each check into RUN/checks (or --out), and checks.json with all of them. The same
command again goes on after what is finished.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from interp.commands.explain import _say, chosen_device, load_models
from interp.commands.open_data import add_cache_dir, open_split

HELP = "sanity checks of a results folder"
NAMES = ("layers", "labels", "random", "rivals", "starts", "lambdas", "perturbations", "soft")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; what is not given is taken from the folder's run.json."""
    add = parser.add_argument
    add("folder", metavar="RUN", help="a results folder, as explain --data writes it")
    add("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"some of {', '.join(NAMES)} (all)")
    add("--clips", type=int, default=24, metavar="N", help="as equally over the classes as it goes (%(default)s)")
    add("--out", metavar="DIR", help="where the checks go (RUN/checks)")
    add("--seed", type=int, default=0, help="draws the clips, and all that is random")
    add = parser.add_argument_group("where things have moved").add_argument
    add("--model", metavar="MODEL", help="the weights that RUN was made with: a .safetensors file, i3d or clstm")
    add("--root", metavar="DIR", help="the dataset's folder")
    add("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    add = parser.add_argument_group("machine").add_argument
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    add("--threads", type=int, metavar="N", help="threads of the CPU that the model uses")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the searches' steps")
    add("--chunk", type=int, metavar="N", help="clips at once in the model (what the memory holds)")
    add("--workers", type=int, default=0, help="processes that decode the training clips (%(default)s)")
    add("--cache", choices=("none", "disk"), default="none", help=argparse.SUPPRESS)
    add_cache_dir(add)
    add = parser.add_argument_group("labels").add_argument
    add("--epochs", type=int, help="passes over the clips with permuted labels (40)")
    add("--train-clips", type=int, metavar="N", help="how many clips to learn by heart (240)")
    add("--permuted", metavar="FILE", help="a network that has learned them already")


def run(args: argparse.Namespace) -> int:
    """Makes the checks and prints their verdicts; returns 0, or 130 when interrupted. ValueError for wrong options."""
    import torch

    from interp import checks
    from interp.models import weights
    from interp.runs_table import Folder

    for option in ("clips", "threads", "chunk", "epochs", "train_clips"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ValueError(f"--{option.replace('_', '-')} is {value}; expected at least 1")
    if args.threads:
        torch.set_num_threads(args.threads)
    told = Folder(args.folder).read_run()
    device = chosen_device(args.device)
    model = _model(args, told, device)
    sets = _open(args, told)
    labels = {"clips": args.train_clips, "epochs": args.epochs, "workers": args.workers or None}
    labels = {key: value for key, value in labels.items() if value is not None}
    if args.permuted:
        labels["permuted_model"] = weights.read(args.permuted).to(device)
    out = Path(args.out or Path(args.folder) / "checks")
    subject = checks.open_run(args.folder, model, sets[0], clips=args.clips, seed=args.seed, train=sets[1],
                              precision=args.precision, chunk=args.chunk)  # fmt: skip
    try:
        found = checks.run(subject, out, args.only, progress=True, **labels)
    except KeyboardInterrupt:
        _say(f"interrupted: {out} holds what is finished; the same command continues", sys.stderr)
        return 130
    for name, record in found["checks"].items():
        for of, verdict in record["verdicts"].items():
            _say(f"{name:13} {of:5}  {verdict['word']}")
    for name in found["left_out"]:
        _say(f"{name:13} left out")
    _say(f"{len(found['checks'])} checks of {len(subject.ids)} clips, in {out}")
    return 0


def _model(args: argparse.Namespace, told: dict, device: str):
    """The network of the run: what --model names, or the shipped one whose file has the hash that run.json tells."""
    about = told.get("model") or {}
    path = shipped_file(about.get("file"))
    if not args.model and path is None:
        raise ValueError(f"{args.folder} was made with the model {about.get('name')!r}, which is none of the shipped "
                         "ones; name its .safetensors file with --model")
    (model,) = load_models(args.model or str(path), device).values()
    return model


def shipped_file(digest: str | None) -> Path | None:
    """The shipped weights whose file has this SHA-256, or None."""
    import hashlib

    from interp.models.weights import SHIPPED

    return next((path for path in sorted(SHIPPED.glob("*.safetensors"))
                 if digest and hashlib.sha256(path.read_bytes()).hexdigest() == digest), None)


def _open(args: argparse.Namespace, told: dict) -> list:
    """The run's clips, and the training clips of the same data, None where there are none."""
    from interp.data import DataError

    data = told.get("data") or {}
    kind, root = data.get("kind"), args.root or data.get("root")
    if kind is None or root is None:
        raise ValueError(f"{args.folder}/run.json does not say which data it is about; it was written without a source")
    if not Path(root).is_dir():
        raise ValueError(f"the data of {args.folder} was in {root}, which is not there; name its folder with --root")
    options = argparse.Namespace(**{**vars(args), "data": kind, "root": root, "strict": False,
                                    "split_pattern": args.split_pattern or data.get("split_pattern")})
    size = data.get("size")
    size = tuple(size) if isinstance(size, list) else size
    own = open_split(options, data.get("split", "validation"), data.get("num_frames"), size)
    try:
        train = open_split(options, "train", data.get("num_frames"), size)
    except (DataError, ValueError):
        train = None
    return [own, train]
