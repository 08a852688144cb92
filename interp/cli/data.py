"""``python -m interp data KIND DIR``: write a generated dataset as video files.

    python -m interp data motion data/motion --train 12000 --validation 1200
"""

import argparse

from interp.data import motion
from interp.data.motion import kth

HELP = "write a generated dataset as video files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two kinds, each with its options."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    something = kinds.add_parser("motion", help="twelve classes in Something-Something V2's layout")
    something.add_argument("--train", type=int, default=1000, metavar="N", help="training clips (%(default)s)")
    something.add_argument("--validation", type=int, default=240, metavar="N", help="validation clips (%(default)s)")
    something.add_argument("--size", type=int, default=64, help="side of the frame in pixels, 32 to 224 (%(default)s)")
    people = kinds.add_parser("kth", help="six actions of drawn people in KTH's layout")
    people.add_argument("--subjects", type=int, default=25, metavar="N", help="16 of 25 for training (%(default)s)")
    people.add_argument("--settings", type=int, nargs="+", default=kth.SETTINGS, metavar="N", help="of 1 to 4 (all)")
    people.add_argument("--repetitions", type=int, default=4, metavar="N", help="sequences in a video (%(default)s)")
    people.add_argument("--size", type=int, nargs=2, default=kth.SIZE, metavar=("H", "W"), help="in pixels (120 160)")
    for kind in (something, people):
        kind.add_argument("dir", metavar="DIR", help="the folder to fill; clips already there are kept")
        kind.add_argument("--seed", type=int, default=0)
        kind.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
        kind.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the clips and print where they are."""
    common = {"seed": args.seed, "size": args.size, "workers": args.workers, "progress": not args.quiet}
    if args.kind == "motion":
        root = motion.generate(args.dir, args.train, args.validation, **common)
        print(f"{args.train} training and {args.validation} validation clips in {root}")
    else:
        root = kth.generate(args.dir, args.subjects, args.settings, args.repetitions, **common)
        print(f"{args.repetitions} sequences in each video of {args.subjects} subjects in {root}")
    return 0
