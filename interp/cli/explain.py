"""``python -m interp explain``: when and where a network looks in your own video, or in every clip of a dataset.

    python -m interp explain holiday.mp4 --model both --out explanations
    python -m interp explain a.webm b.webm --model runs/i3d/best.safetensors --iterations 100
    python -m interp explain --data something --root DIR --split validation --model i3d --out RUN
    torchrun --standalone --nproc_per_node=4 -m interp explain --data ... --out RUN

A video gives NAME_MODEL.gif for each model and one NAME.json. A file that cannot be read gets one line on stderr; the
others are still explained, and the exit code is 2. A dataset gives a results folder (`interp.study.results`); the same
command continues an interrupted one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from interp import io, recipes
from interp.cli import options

HELP = "show when and where a network looks in a video"
PANEL = (224, 320)  # a panel is at most this high and wide
LONGEST_NAME = 180  # bytes; file systems allow 255, and our files add an ending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options for videos and for a dataset."""
    from interp.core import perturb

    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="a video file: mp4, webm, avi, mkv, mov, ...")
    parser.add_argument("--model", default="both", help="i3d, clstm, both (the shipped ones; default), or a "
                                                        ".safetensors checkpoint")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="where the files go (explanations)")
    parser.add_argument("--target", metavar="CLASS", help="the true class, by name or number; gives CS")
    search = parser.add_argument_group("mask and map")
    search.add_argument("--method", choices=("exact", "gradient"), help="the best mask with a proof, or the paper's "
                                                                        "gradient search")  # fmt: skip
    search.add_argument("--budget", type=options.positive, metavar="N", help="exact: forward passes a clip (2000)")
    search.add_argument("--recipe", choices=tuple(recipes.MASKS), help="the paper's mask recipes (something; kth)")
    search.add_argument("--perturbation", choices=perturb.names(), default="freeze", help="what the mask does")
    search.add_argument("--weights", choices=("clip", "frame"), default="clip", help="Grad-CAM's channel weights")
    search.add_argument("--iterations", type=options.positive, metavar="N", help="gradient: steps of the search")
    search.add_argument("--start", choices=("central", "random", "best-window"), help="gradient: start of the search")
    search.add_argument("--stop", action="store_true", help="gradient: end a clip's search once it has converged")
    options.add_machine(parser, workers=2)
    data = parser.add_argument_group("a dataset instead of videos")
    data.add_argument("--data", choices=options.KINDS, help="explain a dataset into a results folder, --out")
    data.add_argument("--root", metavar="DIR", help="the dataset's folder")
    data.add_argument("--split", default="validation", help="%(default)s, train, ...")
    data.add_argument("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    data.add_argument("--limit", type=int, metavar="N", help="only N clips, as equally over the classes as possible")
    data.add_argument("--seed", type=int, default=0, help="draws the clips of --limit, and random starts")
    data.add_argument("--parts", type=int, metavar="N", help="score only windows that begin and end where a clip is "
                                                             "cut in N parts (all)")  # fmt: skip
    data.add_argument("--no-regret", action="store_true", help="do not score all windows")
    data.add_argument("--no-maps", action="store_true", help="do not keep the Grad-CAM maps")
    data.add_argument("--shard-size", type=int, default=32, metavar="N", help="clips written together (%(default)s)")
    data.add_argument("--on-error", choices=("skip", "raise"), default="skip", help="for clips that cannot be read")
    figure = parser.add_argument_group("figure")
    figure.add_argument("--format", choices=("gif", "webp", "mp4"), default="gif")
    figure.add_argument("--fps", type=float, default=6.0, help="frames a second of the figure (%(default)g)")
    figure.add_argument("--palette", choices=("safe", "paper"), default="safe", help="colours of bar and map")


def run(args: argparse.Namespace) -> int:
    """Explain every video, or a dataset. Returns 2 when a video could not be read. ValueError for wrong options."""
    from interp.data import VideoError

    if bool(args.videos) == bool(args.data):
        raise ValueError("expected video files or --data, one of the two")
    if not args.fps > 0:
        raise ValueError(f"--fps is {args.fps:g}; expected a number above 0")
    if args.out is None and args.data:
        raise ValueError("--data needs --out, the folder of its results")
    out = Path(args.out or "explanations")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out is {out}, which is a file; give a folder")
    recipe = recipes.MASKS[args.recipe or ("kth" if args.data == "kth" else "something")]
    if args.iterations is not None:
        recipe = dataclasses.replace(recipe, iterations=args.iterations)
    if args.data:
        return _explain_dataset(args, recipe)
    models = options.load_models(args.model, options.choose_device(args))
    targets = [_target(args.target, model) for model in models.values()]
    failures, names = 0, set()
    for video in args.videos:
        try:
            lines = _explain_video(video, models, targets, recipe, args, out, names)
        except VideoError as error:
            options.say(f"{error.path}: {error.reason}", sys.stderr)
            failures += 1
            continue
        options.say("\n".join(lines))
    if failures and len(args.videos) > 1:
        options.say(f"{failures} of {len(args.videos)} videos could not be read", sys.stderr)
    return 2 if failures else 0


def _search(args: argparse.Namespace) -> dict:
    """The options of the mask search that were given, as arguments of `explain` and `results.write`."""
    search = {name: getattr(args, name) for name in ("method", "budget", "start")}
    search["stop"] = args.stop or None
    return {key: value for key, value in search.items() if value is not None}


def _target(name: str | None, model) -> int | None:
    """The number of the class `name`, or None. ValueError where the model does not know it."""
    classes = list(getattr(model, "classes", None) or [])
    if name is None:
        return None
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < (len(classes) or int(name) + 1):
        return int(name)
    known = "; ".join(classes) or "not named"
    raise ValueError(f"--target is {name!r}, which the model does not know; its classes: {known}")


def _explain_video(video, models, targets, recipe, args, out, names) -> list[str]:
    """Explain one file with every model, write its figures and its JSON; returns the lines to print."""
    import torch

    from interp.core.explanation import explain
    from interp.core.inference import clip_shape
    from interp.data import probe, to_clip
    from interp.data.video import read_with_notes
    from interp.show import figure
    from interp.training.log import versions

    info, stem, warned, records = probe(video), _output_name(video, names), set(), {}
    for (label, model), target in zip(models.items(), targets, strict=True):
        num_frames, *size = clip_shape(model)
        frames, notes = read_with_notes(video, num_frames, tuple(size))
        for note in sorted(set(notes) - warned):
            options.say(f"warning: {video}: {note}", sys.stderr)
        warned.update(notes)
        generator = torch.Generator().manual_seed(args.seed)  # of a random start
        (explanation,) = explain(model, to_clip(frames)[None], target, recipe, args.perturbation, args.weights, [stem],
                                 name=label, progress=sys.stderr.isatty(), batch_size=args.batch_size,
                                 precision=args.precision, generator=generator, **_search(args))  # fmt: skip
        shown, _ = read_with_notes(video, num_frames, _panel_size(info.height, info.width))
        film = figure.three_panel(explanation, shown, palette=args.palette)
        path = figure.write(out / f"{stem}_{label}.{args.format}", film, args.fps)
        known = getattr(model, "record", None) or {}
        records[label] = explanation.to_dict() | {
            "description": figure.describe(explanation), "figure": path.name, "clip": [num_frames, *size],
            "weights_sha256": known.get("sha256"), "trained_with": known.get("recipe")}  # fmt: skip
    report = {"video": str(video), "frames": info.num_frames, "fps": info.fps, "size": [info.height, info.width],
              "recipe": recipes.asdict(recipe), "search": _search(args), "versions": versions(),
              "models": records}  # fmt: skip
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    written = io.atomic_write(out / f"{stem}.json", text.encode("utf-8", "surrogateescape"))
    lines = [f"{video}  ({info.num_frames} frames, {info.width}x{info.height})", *_score_lines(records)]
    return [*lines, f"  written: {written}, {', '.join(record['figure'] for record in records.values())}"]


def _score_lines(records: dict[str, dict]) -> list[str]:
    """A line of scores for each model; in the mask # is a frame that is on."""
    names = max(5, *map(len, records))
    masks = max(4, *(len(record["mask"]) for record in records.values()))
    lines = [f"  {'model':{names}}     OS     FS     RS     CS  {'mask':{masks}}  best mask   guess"]
    for label, record in records.items():
        values = [record[key] for key in ("OS", "FS", "RS", "CS")]
        scores = "".join("      -" if value is None else f"{value:7.3f}" for value in values)
        bar = "".join(".#"[on] for on in record["binary_mask"])
        proof = {None: "not proven", True: "proven", False: f"gap {record['gap'] or 0:.3f}"}[record["proven"]]
        lines.append(f"  {label:{names}}{scores}  {bar:{masks}}  {proof:10}  {record['P']}")
    return lines


def _output_name(video: str, names: set[str]) -> str:
    """The video's name without its ending, cut to what file systems take, numbered where it is in `names`."""
    stem = os.fsdecode(os.fsencode(Path(video).stem)[:LONGEST_NAME].decode("utf-8", "ignore"))
    name, number = stem, 1
    while name.casefold() in names:
        number += 1
        name = f"{stem}-{number}"
    names.add(name.casefold())
    return name


def _panel_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a panel: the video's own, scaled down in proportion where larger than PANEL."""
    scale = min(1, PANEL[0] / height, PANEL[1] / width)
    return tuple(max(2, 2 * round(scale * side / 2)) for side in (height, width))


def _explain_dataset(args: argparse.Namespace, recipe) -> int:
    """Explain a dataset into a results folder and print the means over its clips."""
    from interp.core.inference import clip_shape
    from interp.data.dataset import list_left_out
    from interp.study import results

    if args.root is None:
        raise ValueError("--data needs --root, the folder of the dataset")
    if args.model == "both":
        raise ValueError("--data takes one --model: i3d, clstm or a .safetensors file; run it once for each")
    if args.target is not None:
        raise ValueError("--target is for videos; a dataset knows the classes of its clips")
    ((name, model),) = options.load_models(args.model, options.choose_device(args)).items()
    num_frames, *size = clip_shape(model)
    dataset = options.open_split(args, args.split, num_frames, tuple(size))
    source = {"kind": args.data, "root": str(args.root), "split": args.split}
    if args.split_pattern is not None:
        source["split_pattern"] = args.split_pattern
    same = ("perturbation", "weights", "precision", "parts", "limit", "seed", "shard_size", "batch_size", "workers",
            "on_error")  # fmt: skip
    try:
        run = results.write(args.out, model, dataset, recipe, certify=not args.no_regret, maps=not args.no_maps,
                            progress=sys.stderr.isatty(), name=name, source=source,
                            **{key: getattr(args, key) for key in same}, **_search(args))  # fmt: skip
    except KeyboardInterrupt:
        if not int(os.environ.get("RANK", 0)):
            options.say(f"interrupted: {results.progress_message(args.out)}; the same command continues", sys.stderr)
        return 130
    if run is None:  # another process of torchrun
        return 0
    good, bad = run.table[run.table["error"].isna()], run.table[run.table["error"].notna()]
    options.say(f"{len(good)} of {len(run.table)} clips explained, in {args.out}")
    if len(bad) or dataset.missing:
        unreadable = dict(zip(bad["id"], bad["error"], strict=True))
        path = Path(args.out) / "unreadable.txt"
        options.say(list_left_out(path, len(run.table), unreadable, dataset.missing), sys.stderr)
    if len(good):
        known = good[good["target"].notna()]
        right = f"right {(known['guess'] == known['target']).mean():.3f}  " if len(known) else ""
        columns = [key for key in ("OS", "FS", "RS", "regret") if good[key].notna().any()]
        options.say(f"  {right}{'  '.join(f'{key} {good[key].mean():.3f}' for key in columns)}  (means)")
    return 0
