"""``python -m interp record``: gather finished results folders in one table, the record that the book reads.

    python -m interp record runs/i3d runs/clstm --out record.parquet
"""

import argparse
from pathlib import Path

from interp.study import record

HELP = "gather results folders of several networks and seeds in one table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folders, and where the table goes."""
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a finished results folder: one network, one seed")
    parser.add_argument("--out", required=True, metavar="FILE", help="the table, a Parquet file of at most 3 MB")
    parser.add_argument("--onto", metavar="FILE", help="an earlier table, whose runs are kept")


def run(args: argparse.Namespace) -> int:
    """Write the table and print what is in it. ValueError where the folders do not fit together."""
    table = record.write(args.folders, args.out, record.read(args.onto) if args.onto else None).table
    for (flavour, model, seed), rows in table.groupby(["flavour", "model", "seed"], sort=False):
        bad, right = int(rows["error"].notna().sum()), (rows["P"] == rows["label_name"]).mean()
        failures = f", {bad} could not be explained" if bad else ""
        print(f"{flavour:10} {model:6} seed {seed}: {len(rows)} clips, right {right:.3f}{failures}")
    print(f"{len(table)} rows, {Path(args.out).stat().st_size} bytes, in {args.out}")
    return 0
