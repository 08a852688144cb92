"""``python -m interp record``: finished results folders become one table, the record that the book reads.

Source: this project's own. No tensor axes. What a folder must be, and what the table holds, is in `interp.record`.

    python -m interp explain --data motion --root motion --model i3d --start best-window --stop --out runs/i3d
    python -m interp record runs/i3d runs/clstm --out record.parquet
    python -m interp record runs/i3d_1 --onto record.parquet --out record.parquet
"""

from __future__ import annotations

import argparse

HELP = "gather results folders of several networks and seeds in one table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folders", nargs="+", metavar="FOLDER", help="a finished results folder: one network, one training seed")
    add("--out", required=True, metavar="FILE", help="the table, a Parquet file of at most 3 MB")
    add("--onto", metavar="FILE", help="a table that is there already, whose runs come along")
    add("--root", action="append", default=[], metavar="KIND=DIR",
        help="where the data of a kind lies (motion=DIR, kth=DIR), if no longer where the folder says")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Writes the table and says what is in it; returns 0. ValueError where the folders do not fit together."""
    from pathlib import Path

    from interp import record

    roots = dict(text.partition("=")[::2] for text in args.root)
    if unknown := sorted(set(roots) - set(record.FLAVOURS)):
        raise ValueError(f"--root {unknown[0]}: expected motion=DIR or kth=DIR")
    onto = record.read(args.onto) if args.onto else None
    found = record.write(args.folders, args.out, roots, onto)
    for (flavour, model, seed), rows in found.table.groupby(["flavour", "model", "seed"], sort=False):
        bad = int(rows["error"].notna().sum())
        right = (rows["P"] == rows["label_name"]).mean()
        print(f"{flavour:10} {model:6} seed {seed}: {len(rows)} clips, right {right:.3f}"
              + (f", {bad} could not be explained" if bad else ""))  # fmt: skip
    print(f"{len(found.table)} rows, {Path(args.out).stat().st_size} bytes, in {args.out}")
    return 0
