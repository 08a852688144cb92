"""``python -m interp explain --data KIND``: a dataset to a results folder; the options are in `explain`.

Source: this project's own. Axes: those of `runs`.

    python -m interp explain --data motion --root motion --split validation --model i3d --limit 24 --out RUN
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from interp.commands.explain import _say, chosen_device, load_models
from interp.commands.open_data import open_split


def run_dataset(args: argparse.Namespace, recipe) -> int:
    """Explains, says in two lines what came out; returns 0, or 130 when interrupted. ValueError."""
    from interp import runs
    from interp.data.cache import cached
    from interp.explain import clip_shape

    if args.root is None:
        raise ValueError("--data needs --root, the folder of the dataset")
    if args.model == "both":
        raise ValueError("--data takes one --model: i3d, clstm or a .safetensors file; run it once for each")
    if args.target is not None:
        raise ValueError("--target is for videos; a dataset knows the classes of its clips")
    shown = sys.stderr.isatty()
    ((name, model),) = load_models(args.model, chosen_device(args.device)).items()
    num_frames, *size = clip_shape(model)
    dataset = open_split(args, args.split, num_frames, tuple(size))
    if args.cache == "disk":
        dataset = cached(dataset, args.cache_dir, workers=args.workers, strict=args.strict, progress=shown)
    source = {"kind": args.data, "root": str(args.root), "split": args.split}
    if args.split_pattern is not None:
        source["split_pattern"] = args.split_pattern
    try:
        results = runs.write(
            args.out, model, dataset, recipe, perturbation=args.perturbation, weights=args.weights,
            start=args.start, stop=args.stop, precision=args.precision, certify=not args.no_regret,
            parts=args.parts, maps=not args.no_maps, limit=args.limit, seed=args.seed, shard_size=args.shard_size,
            chunk=args.chunk, workers=args.workers, strict=args.strict, progress=shown, name=name, source=source,
        )  # fmt: skip
    except KeyboardInterrupt:
        if not int(os.environ.get("RANK", 0)):
            _say(f"interrupted: {runs.standing(args.out)}; the same command continues", sys.stderr)
        return 130
    if results is not None:
        _report(results, args.out, dataset.missing)
    return 0


def _report(results, out: str, missing: dict[str, int]) -> None:
    """The means over the clips; on stderr how many have none, listed in the results folder."""
    from interp.data.dataset import list_left_out

    table = results.table
    good, bad = table[table["error"].isna()], table[table["error"].notna()]
    _say(f"{len(good)} of {len(table)} clips explained, in {out}")
    if len(bad) or missing:
        unreadable = dict(zip(bad["id"], bad["error"], strict=True))
        _say(list_left_out(Path(out) / "unreadable.txt", len(table), unreadable, missing), sys.stderr)
    if len(good):
        known = good[good["target"].notna()]
        right = f"right {(known['guess'] == known['target']).mean():.3f}  " if len(known) else ""
        means = "  ".join(f"{key} {good[key].mean():.3f}" for key in ("OS", "FS", "RS", "regret")
                          if good[key].notna().any())
        _say(f"  {right}{means}  (means)")
