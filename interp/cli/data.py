"""``python -m interp data KIND DIR``: write a generated dataset as video files.

    python -m interp data motion data/motion --train 12000 --validation 1200
    python -m interp data kth data/motion_kth --subjects 8 --settings 1 4 --repetitions 2 --size 60 80
"""

from __future__ import annotations

import argparse

HELP = "write a generated dataset as video files"
# the options of each kind with their defaults
OPTIONS = {
    "motion": {"train": 1000, "validation": 240, "size": [64]},
    "kth": {"subjects": 25, "settings": [1, 2, 3, 4], "repetitions": 4, "size": [120, 160]},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both kinds."""
    parser.add_argument("kind", choices=tuple(OPTIONS),
                        help="motion: twelve classes in Something-Something V2's layout; "
                             "kth: six actions of drawn people in KTH's")  # fmt: skip
    parser.add_argument("dir", metavar="DIR", help="the folder to fill; clips already there are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, nargs="+", metavar="PIXELS",
                        help="motion: side of the frame, 32 to 224 (64); kth: height, width (120 160)")  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    motion = parser.add_argument_group("motion")
    motion.add_argument("--train", type=int, metavar="N", help="training clips (1000)")
    motion.add_argument("--validation", type=int, metavar="N", help="validation clips (240)")
    kth = parser.add_argument_group("kth")
    kth.add_argument("--subjects", type=int, metavar="N", help="people, 16 of 25 for training (25)")
    kth.add_argument("--settings", type=int, nargs="+", metavar="N", help="of 1 to 4 (1 2 3 4)")
    kth.add_argument("--repetitions", type=int, metavar="N", help="sequences in a video (4)")


def run(args: argparse.Namespace) -> int:
    """Write the clips and print where they are. ValueError for an option of the other kind."""
    options = dict(OPTIONS[args.kind])
    for name in sorted(set().union(*OPTIONS.values())):
        if getattr(args, name) is None:
            continue
        if name not in options:
            expected = ", ".join(f"--{option}" for option in options)
            raise ValueError(f"--{name} does not belong to {args.kind}; expected {expected}")
        options[name] = getattr(args, name)
    if len(options["size"]) != len(OPTIONS[args.kind]["size"]):
        raise ValueError(f"--size is {options['size']}; expected as for the default, {OPTIONS[args.kind]['size']}")
    common = {"seed": args.seed, "workers": args.workers, "progress": not args.quiet}
    if args.kind == "motion":
        from interp.data import motion

        train, validation = options["train"], options["validation"]
        root = motion.generate(args.dir, train, validation, size=options["size"][0], **common)
        print(f"{train} training and {validation} validation clips in {root}")
    else:
        from interp.data.motion import kth

        root = kth.generate(args.dir, options["subjects"], options["settings"], options["repetitions"],
                            size=tuple(options["size"]), **common)  # fmt: skip
        print(f"{options['repetitions']} sequences in each video of {options['subjects']} subjects in {root}")
    return 0
