"""``python -m interp explain``: when and where a network looks in your own video, or in every clip of a dataset.

    python -m interp explain holiday.mp4 --model both --out explanations
    python -m interp explain --data something --root DIR --model runs/i3d/best.safetensors --out RUN

A video gives NAME_MODEL.gif for each model and one NAME.json; a dataset a results folder, see `interp.study.results`.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from interp import io, recipes
from interp.cli import options
from interp.core import masks, perturb
from interp.core.explanation import DEFAULT_METHOD, explain
from interp.data import VideoError, probe, to_clip
from interp.data.dataset import list_left_out
from interp.data.video import read_with_notes
from interp.models.network import clip_shape
from interp.show import figure
from interp.study import results
from interp.training.log import versions

HELP = "show when and where a network looks in a video"
LONGEST_NAME = 180  # bytes; file systems allow 255, and our files add an ending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options for videos and for a dataset."""
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="a video file: mp4, webm, avi, mkv, mov, ...")
    parser.add_argument("--model", default="both", help="i3d, clstm, both (the shipped ones), or a .safetensors file")
    parser.add_argument("--out", default="explanations", metavar="DIR", help="where the files go (%(default)s)")
    parser.add_argument("--target", metavar="CLASS", help="the name of the video's true class; gives CS")
    parser.add_argument("--format", choices=("gif", "webp", "mp4"), default="gif", help="of the moving figure")
    parser.add_argument("--method", choices=masks.METHODS, default=DEFAULT_METHOD, help="of the search (%(default)s)")
    parser.add_argument("--perturbation", choices=perturb.names(), default="freeze", help="what the mask does")
    parser.add_argument("--budget", type=int, default=2000, metavar="N", help="exact: clips to score")
    parser.add_argument("--start", choices=masks.STARTS, help="gradient: start of the search")
    parser.add_argument("--stop", action="store_true", help="gradient: end a clip's search once it has converged")
    parser.add_argument("--seed", type=int, default=0, help="draws the clips of --limit")
    options.add_machine(parser)
    parser.add_argument("--batch-size", type=int, metavar="N", help="clips at once")
    data = parser.add_argument_group("a dataset instead of videos")
    options.add_dataset(data, required=False)
    data.add_argument("--split", default="validation", help="%(default)s, train, ...")
    data.add_argument("--limit", type=int, metavar="N", help="only N clips, as equally over the classes as possible")
    options.add_fields(parser, recipes.MaskRecipe)


def run(args: argparse.Namespace) -> int:
    """Explain every video, or a dataset. Returns 2 when a video could not be read. ValueError for wrong options."""
    if bool(args.videos) == bool(args.data) or bool(args.data) != bool(args.root):
        raise ValueError("expected video files, or --data with --root")
    recipe = recipes.KTH_MASK if args.data == "kth" else recipes.SOMETHING_MASK
    recipe = dataclasses.replace(recipe, **options.given_fields(args, recipes.MaskRecipe))
    search = {name: getattr(args, name) for name in ("perturbation", "method", "budget", "start", "stop")}
    models, stems, code = options.load_models(args.model, args.device), set(), 0
    if args.data:
        return _explain_dataset(args, models, recipe, search)
    for model in models.values():
        if args.target not in (None, *(classes := model.classes or ())):
            raise ValueError(f"--target is {args.target!r}, which is none of the classes: {'; '.join(classes)}")
    for video in args.videos:
        stem = os.fsencode(Path(video).stem)[:LONGEST_NAME].decode(errors="ignore")
        while stem.casefold() in stems:
            stem += "-2"
        stems.add(stem.casefold())
        try:
            _explain_video(args, video, stem, models, recipe, search)
        except VideoError as error:
            print(f"{error.path}: {error.reason}", file=sys.stderr)
            code = 2
    return code


def _explain_video(args, video, stem, models, recipe, search) -> None:
    """Explain one file with every model: a figure for each, one JSON file, and lines on stdout."""
    info, warnings, records = probe(video), set(), {}
    print(f"{video}  ({info.num_frames} frames, {info.width}x{info.height})")
    sides = info.height, info.width * info.pixel_aspect
    scale = min(1, 224 / sides[0], 320 / sides[1])  # a panel is no larger
    panel = tuple(max(2, 2 * round(scale * side / 2)) for side in sides)
    for name, model in models.items():
        num_frames, *size = clip_shape(model)
        frames, notes = read_with_notes(video, num_frames, tuple(size))
        warnings.update(notes)
        target = None if args.target is None else model.classes.index(args.target)
        (explanation,) = explain(model, to_clip(frames)[None], target, recipe, ids=[stem], name=name, progress=None,
                                 batch_size=args.batch_size, **search)
        film = figure.three_panel(explanation, read_with_notes(video, num_frames, panel)[0])
        path = figure.write(Path(args.out) / f"{stem}_{name}.{args.format}", film)
        bar = "".join(".#"[on] for on in explanation.binary_mask.int().tolist())
        proof = {None: "", True: "proven", False: f"gap {explanation.gap or 0:.3f}"}[explanation.proven]
        print(f"  {path.name}  mask {bar}  {proof}\n    {figure.describe(explanation)}")
        records[name] = explanation.to_dict() | {
            "description": figure.describe(explanation), "figure": path.name, "clip": [num_frames, *size],
            "weights_sha256": model.record.get("sha256"), "trained_with": model.record.get("recipe")}
    for warning in sorted(warnings):
        print(f"warning: {video}: {warning}", file=sys.stderr)
    report = {"video": str(video), "frames": info.num_frames, "fps": info.fps, "size": [info.height, info.width],
              "pixel_aspect": info.pixel_aspect,
              "recipe": recipes.asdict(recipe), "search": search, "versions": versions(), "models": records}
    io.atomic_write(Path(args.out) / f"{stem}.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def _explain_dataset(args, models, recipe, search) -> int:
    """Explain a dataset into a results folder and print the means over its clips."""
    if len(models) > 1 or args.target is not None:
        raise ValueError("--data takes one --model and no --target; a dataset knows the classes of its clips")
    ((name, model),) = models.items()
    num_frames, *size = clip_shape(model)
    dataset = options.open_split(args, args.split, num_frames, tuple(size))
    source = {"kind": args.data, "root": args.root, "split": args.split, "split_pattern": args.split_pattern}
    same = {key: getattr(args, key) for key in ("limit", "seed", "batch_size", "workers", "on_error")}
    run = results.write(args.out, model, dataset, recipe, progress=sys.stderr.isatty(), name=name, source=source,
                        **same, **search)
    if run is None:  # another process of torchrun
        return 0
    bad, good = (run.table[run.table["error"].notna() == wrong] for wrong in (True, False))
    means = "  ".join(f"{key} {good[key].mean():.3f}" for key in ("OS", "FS", "RS", "loss"))
    print(f"{len(good)} of {len(run.table)} clips explained, in {args.out}\n  means  {means}")
    if len(bad) or dataset.missing:
        print(list_left_out(Path(args.out) / "unreadable.txt", len(run.table), dict(bad[["id", "error"]].to_numpy()),
                            dataset.missing), file=sys.stderr)
    return 0
