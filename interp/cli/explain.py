"""``python -m interp explain``: when and where a network looks in your own video, or in every clip of a dataset.

    python -m interp explain holiday.mp4 --model torchvision:r2plus1d_18 --top 5
    python -m interp explain --data something --root DIR --model runs/i3d/best.safetensors --out RUN

A video gives NAME_MODEL.gif for each model and one NAME.json; a dataset a results folder, see `interp.study.results`.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from interp import io, recipes
from interp.cli import model_options, options
from interp.cli.inspect import print_cost
from interp.core import masks, perturb
from interp.core.explanation import DEFAULT_METHOD, explain
from interp.core.windows import score_masks
from interp.data import Sampling, VideoError, probe, to_clip
from interp.data.dataset import list_left_out
from interp.data.video import read_with_notes
from interp.show import figure
from interp.show.timeline import timeline
from interp.study import results
from interp.training.log import versions

HELP = "show when and where a network looks in a video"
LONGEST_NAME = 180  # bytes; file systems allow 255, and our files add an ending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options for videos and for a dataset."""
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="a video file: mp4, webm, avi, mkv, mov, ...")
    model_options.add_model(parser, default="both")
    parser.add_argument("--out", default="explanations", metavar="DIR", help="where the files go (%(default)s)")
    parser.add_argument("--target", metavar="CLASS", help="the name of the video's true class; gives CS")
    parser.add_argument("--format", choices=("gif", "webp", "mp4"), default="gif", help="of the moving figure")
    parser.add_argument("--method", choices=masks.METHODS, default=DEFAULT_METHOD, help="of the search (%(default)s)")
    parser.add_argument("--perturbation", choices=perturb.names(), default="freeze", help="what the mask does")
    parser.add_argument("--budget", type=int, default=2000, metavar="N", help="exact: clips to score")
    parser.add_argument("--start", choices=masks.STARTS, help="gradient: start of the search")
    parser.add_argument("--stop", action="store_true", help="gradient: end a clip's search once it has converged")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to print (%(default)s)")
    parser.add_argument("--clip-start", type=float, metavar="SECONDS", help="where the clip begins (its middle)")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="explain a clip at each such step of the video")
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
    models, stems, code = model_options.load_models(args), set(), 0
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
    info, warnings, records, out = probe(video), set(), {}, Path(args.out)
    seconds, size = info.num_frames / (info.fps or 1), (info.height, info.width * info.pixel_aspect)
    print(f"{video}  ({info.num_frames} frames, {info.width}x{info.height}, {seconds:.1f} s)")
    for name, model in models.items():
        starts, rows = [args.clip_start], []
        if args.every:
            length, first = model.sample.seconds(info.fps), args.clip_start or 0
            starts = np.arange(first, max(seconds - length, first) + 1e-6, args.every).tolist()
        for number, start in enumerate(starts):
            frames, notes = read_with_notes(video, model.sample, at=start)
            warnings.update(notes)
            clip = to_clip(frames)[None]
            if not number:
                print_cost(name, model, clip, args.method, args.budget, recipe, len(starts))
            target = None if args.target is None else model.classes.index(args.target)
            (explanation,) = explain(model, clip, target, recipe, ids=[stem], name=name, progress=None,
                                     batch_size=args.batch_size, **search)
            rows.append((start, explanation))
            ending = f"_{start:06.1f}s" if args.every else ""
            film = figure.three_panel(explanation, read_with_notes(video, model.sample.enlarged(*size), at=start)[0])
            path = figure.write(out / f"{stem}_{name}{ending}.{args.format}", film)
            _print(model, explanation, clip, path, args.top)
            records[f"{name}{ending}"] = explanation.to_dict() | {
                "description": figure.describe(explanation), "figure": path.name, "clip": list(clip.shape[2:]),
                "start": start, "sample": dataclasses.asdict(model.sample), "layer": model.gradcam_layer,
                "weights_sha256": model.record.get("sha256"), "trained_with": model.record.get("recipe")}
        if args.every:
            print(f"  {timeline(out / f'{stem}_{name}.png', rows, length)}")
    print(*(f"warning: {video}: {warning}\n" for warning in sorted(warnings)), sep="", end="", file=sys.stderr)
    report = {"video": str(video), "frames": info.num_frames, "fps": info.fps, "size": [info.height, info.width],
              "pixel_aspect": info.pixel_aspect, "recipe": recipes.asdict(recipe), "search": search,
              "versions": versions(), "models": records}
    io.atomic_write(out / f"{stem}.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(f"  {out / f'{stem}.json'}")


def _print(model, explanation, clip, path, top: int) -> None:
    """The classes with their scores, the mask as a bar of characters, and what it does."""
    bar = "".join(".#"[on] for on in explanation.binary_mask.int().tolist())
    proof = {None: "", True: "proven", False: f"gap {explanation.gap or 0:.3f}"}[explanation.proven]
    rest = (~explanation.binary_mask).to(clip)[None]
    kept = float(score_masks(model, clip, rest, torch.tensor([explanation.explained]), explanation.recipe))
    print(f"  {path}  mask {bar}  {proof}\n    {figure.describe(explanation)}")
    print(f"    FS {explanation.FS:.3f}  RS {explanation.RS:.3f}  kept {kept:.3f} (with all other frames frozen)")
    print(*(f"    {score:.3f}  {name}" for name, score in explanation.top(top)), sep="\n")


def _explain_dataset(args, models, recipe, search) -> int:
    """Explain a dataset into a results folder and print the means over its clips."""
    if len(models) > 1 or args.target is not None:
        raise ValueError("--data takes one --model and no --target; a dataset knows the classes of its clips")
    ((name, model),) = models.items()
    dataset = options.open_split(args, args.split, model.sample.num_frames, model.sample.size, model.sample)
    source = {"kind": args.data, "root": args.root, "split": args.split, "split_pattern": args.split_pattern}
    source |= {name: value for name in ("split_groups", "fold") if (value := getattr(args, name))}
    source |= {"sample": repr(at)} if (at := dataset.sampling) != Sampling(at.num_frames, at.size) else {}
    same = {key: getattr(args, key) for key in ("limit", "seed", "batch_size", "workers", "on_error")}
    run = results.write(args.out, model, dataset, recipe, layer=args.layer and model.gradcam_layer, name=name,
                        source=source, progress=sys.stderr.isatty(), **same, **search)
    if run is None:  # another process of torchrun
        return 0
    bad, good = (run.table[run.table["error"].notna() == wrong] for wrong in (True, False))
    means = "  ".join(f"{key} {good[key].mean():.3f}" for key in ("OS", "FS", "RS", "loss"))
    print(f"{len(good)} of {len(run.table)} clips explained, in {args.out}\n  means  {means}")
    if len(bad) or dataset.missing:
        print(list_left_out(Path(args.out) / "unreadable.txt", len(run.table), dict(bad[["id", "error"]].to_numpy()),
                            dataset.missing), file=sys.stderr)
    return 0
