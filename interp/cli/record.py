"""``python -m interp record``: explain generated clips with all networks that ship, and gather them in one table.

    python -m interp record --out record.parquet                    what the book reads, made again
    python -m interp record runs/i3d runs/clstm --out record.parquet    of your own results folders
"""

import argparse
import sys
from pathlib import Path

import torch

from interp.cli.inspect import passes_of, seconds_of
from interp.study import record, results

HELP = "explain clips with several networks and seeds, and gather all in one table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folders, or what is to be made, and where the table goes."""
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="a finished results folder: one network, one seed")
    parser.add_argument("--out", required=True, metavar="FILE", help="the table, a Parquet file of at most 3 MB")
    parser.add_argument("--onto", metavar="FILE", help="an earlier table, whose runs are kept")
    made = parser.add_argument_group("without folders, the runs of the networks that ship, continued if stopped")
    made.add_argument("--runs", default="runs/record", metavar="DIR", help="where they go (%(default)s)")
    made.add_argument("--flavours", nargs="+", choices=record.FLAVOURS, default=[*record.FLAVOURS], help="of the data")
    made.add_argument("--clips", type=int, metavar="N", help=f"of each flavour ({record.CLIPS})")
    made.add_argument("--gradient", type=int, default=48, metavar="N", help="of them by gradient too (%(default)s)")
    made.add_argument("--budget", type=int, metavar="N", help=f"clips to score for a mask ({record.BUDGET})")


def run(args: argparse.Namespace) -> int:
    """Write the table and print what is in it. ValueError where the folders do not fit together."""
    folders = args.folders or _make(args)
    table = record.write(folders, args.out, record.read(args.onto) if args.onto else None).table
    for (flavour, model, seed), rows in table.groupby(["flavour", "model", "seed"], sort=False):
        bad, right = int(rows["error"].notna().sum()), (rows["P"] == rows["label_name"]).mean()
        failures = f", {bad} could not be explained" if bad else ""
        proven = f", proven {rows['proven'].mean():.3f}" if rows["proven"].notna().any() else ""
        print(f"{flavour:10} {model:6} seed {seed}: {len(rows)} clips, right {right:.3f}{proven}{failures}")
    print(f"{len(table)} rows, {Path(args.out).stat().st_size} bytes, in {args.out}")
    return 0


def _make(args: argparse.Namespace) -> list[Path]:
    """Make the runs that are not finished, and say beforehand how long that takes."""
    jobs = record.plan(args.runs, flavours=args.flavours, clips=args.clips, gradient=args.gradient, budget=args.budget)
    todo, hours = [job for job in jobs if not (job["folder"] / "results.parquet").exists()], 0.0
    for job in todo:
        frames, budget = job["dataset"].num_frames, job.get("budget", 0)  # no budget: by gradient
        passes = passes_of(job.get("method", "exact"), frames, budget, job["recipe"])
        passes += passes_of("windows", frames, budget, job["recipe"]) * job.get("curves", False)
        hours += job["limit"] * passes * seconds_of(job["model"], torch.rand(1, 3, frames, *job["dataset"].size)) / 3600
    print(f"{len(todo)} of {len(jobs)} runs to make, at most about {hours:.1f} hours", file=sys.stderr)
    for job in jobs:  # the finished ones too: they are compared with what is asked for
        results.write(**job, progress=True)
    return [job["folder"] for job in jobs]
