"""``python -m interp data motion DIR``: writes the embedded dataset (see ``interp.data.motion``).

Source: this project's own. No tensor axes.

    python -m interp data motion data/motion --train 12000 --validation 1200
"""

from __future__ import annotations

import argparse

HELP = "write the embedded dataset as video files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the one dataset that can be made here."""
    parser.add_argument("kind", choices=("motion",), help="twelve classes in Something-Something V2's layout")
    parser.add_argument("dir", metavar="DIR", help="the folder to fill; clips already there are kept")
    parser.add_argument("--train", type=int, default=1000, metavar="N", help="training clips (default 1000)")
    parser.add_argument("--validation", type=int, default=240, metavar="N", help="validation (default 240)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64, metavar="PIXELS", help="side of the frame, 32 to 224")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Writes the clips, says where they are, returns 0."""
    from interp.data import motion

    root = motion.generate(args.dir, args.train, args.validation, seed=args.seed, size=args.size,
                           workers=args.workers, progress=not args.quiet)  # fmt: skip
    print(f"{args.train} training and {args.validation} validation clips in {root}")
    return 0
