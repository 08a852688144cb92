"""Opens a dataset for a command: the options that `train` and `explain` share.

Source: this project's own. No tensor axes.

>>> dataset = open_split(args, "validation", 16, (64, 64))    # doctest: +SKIP
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any


def add_cache_dir(add: Any) -> None:
    """The option that says where a cache on disk is."""
    add("--cache-dir", metavar="DIR", help="for --cache disk (default: $INTERP_CACHE, else ~/.cache/interp)")


def open_split(args: argparse.Namespace, split: str, num_frames: int | None, size: Any) -> Any:
    """The VideoDataset of --data, --root, --split-pattern and --strict. ValueError for what does not fit.

    Files that are listed but absent are in its ``missing``, to be told together with those that cannot be read.
    """
    from interp.data import open_dataset

    options: dict[str, Any] = {"strict": args.strict}
    if args.split_pattern is not None:
        if args.data != "folder":
            raise ValueError(f"--split-pattern is for --data folder; {args.data} has a split of its own")
        options["split_pattern"] = args.split_pattern
    if args.cache_dir is not None and args.cache != "disk":
        raise ValueError(f"--cache-dir is for --cache disk; --cache is {args.cache}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*listed videos are absent", UserWarning)
        return open_dataset(args.data, args.root, split, num_frames, size, **options)
