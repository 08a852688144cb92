"""``python -m interp explain``: what a network sees in your own video, or in every clip of a dataset.

Source: the figure and scores of Mänttäri, Broomé et al., ACCV 2020. Axes: frames (T,H,W,3) uint8, clips
(B,C,T,H,W).

    python -m interp explain holiday.mp4 --model both --out explanations
    python -m interp explain a.webm b.webm --model runs/i3d/best.safetensors --iterations 100
    python -m interp explain --data something --root DIR --split validation --model i3d --out RUN
    torchrun --standalone --nproc_per_node=4 --max-restarts=1 -m interp explain --data ... --out RUN

For every video: NAME_MODEL.gif for each model and one NAME.json. A file that cannot be read gets one line on
stderr; the others are still explained, and the exit code is 2. For a dataset: a results folder (`runs`). The
same command again continues one that was interrupted; a clip that cannot be read is a row with its error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from interp.commands.open_data import add_cache_dir

HELP = "show when and where a network looks in a video"
SHIPPED = ("i3d", "clstm")
KINDS = ("something", "kth", "folder", "motion")
PANEL = (224, 320)  # a panel is at most this high and wide
TOO_LONG = 180  # bytes of a file's name; systems allow 255, and ours get an ending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from interp import perturb, recipes

    add = parser.add_argument
    add("videos", nargs="*", metavar="VIDEO", help="a video file: mp4, webm, avi, mkv, mov, ...")
    add("--model", default="both", metavar="MODEL",
        help="i3d, clstm, both (the shipped ones; default), or a .safetensors checkpoint")  # fmt: skip
    add("--out", metavar="DIR", help="where the files go (explanations)")
    add("--target", metavar="CLASS", help="the true class, by name or number; gives CS")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    add = parser.add_argument_group("search and map").add_argument
    add("--recipe", choices=tuple(recipes.MASKS), help="the paper's mask recipes (something; kth for kth)")
    add("--iterations", type=int, metavar="N", help="steps of the search, instead of the recipe's")
    add("--perturbation", choices=perturb.names(), default="freeze", help="what the mask does")
    add("--weights", choices=("clip", "frame"), default="clip", help="Grad-CAM's channel weights")
    add("--start", choices=("central", "random", "best-window"), default="central", help="of the search")
    add("--stop", action="store_true", help="end a clip's search once it has converged")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the search's steps")
    add("--chunk", type=int, metavar="N", help="clips at once in the model (what the memory holds)")
    add = parser.add_argument_group("a dataset instead of videos").add_argument
    add("--data", choices=KINDS, help="explain every clip of a dataset into a results folder, --out")
    add("--root", metavar="DIR", help="the dataset's folder")
    add("--split", default="validation", help="%(default)s, train, ...")
    add("--split-pattern", metavar="REGEX", help="folder: file names of the validation clips")
    add("--limit", type=int, metavar="N", help="only N clips, as equally over the classes as it goes")
    add("--seed", type=int, default=0, help="draws the clips of --limit, and random starts")
    add("--parts", type=int, metavar="N",
        help="score only windows that begin and end where a clip is cut in N parts (all)")
    add("--no-regret", action="store_true", help="do not score all windows")
    add("--no-maps", action="store_true", help="do not keep the Grad-CAM maps")
    add("--shard-size", type=int, default=32, metavar="N", help="clips written together (%(default)s)")
    add("--workers", type=int, default=2, help="threads that decode (%(default)s)")
    add("--strict", action="store_true", help="stop at a clip that cannot be read")
    add("--cache", choices=("none", "disk"), default="none", help="keep the split's decoded clips on disk")
    add_cache_dir(add)
    add = parser.add_argument_group("figure").add_argument
    add("--format", choices=("gif", "webp", "mp4"), default="gif")
    add("--fps", type=float, default=6.0, help="frames a second of the figure (%(default)g)")
    add("--palette", choices=("safe", "paper"), default="safe", help="colours of bar and map")


def run(args: argparse.Namespace) -> int:
    """Explains every video, or a dataset; returns 0, or 2 when a video could not be read.

    ValueError for wrong options.
    """
    import dataclasses

    from interp import recipes
    from interp.data import VideoError

    if bool(args.videos) == bool(args.data):
        raise ValueError("give video files or --data, one of the two")
    if not args.fps > 0:
        raise ValueError(f"--fps is {args.fps:g}; expected a number above 0")
    if args.iterations is not None and args.iterations < 1:
        raise ValueError(f"--iterations is {args.iterations}; expected at least 1")
    if args.out is None and args.data:
        raise ValueError("--data needs --out, the folder of its results")
    args.out = args.out or "explanations"
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out is {out}, which is a file; name a folder")
    recipe = recipes.MASKS[args.recipe or ("kth" if args.data == "kth" else "something")]
    if args.iterations is not None:
        recipe = dataclasses.replace(recipe, iterations=args.iterations)
    if args.data:
        from interp.commands.explain_dataset import run_dataset

        return run_dataset(args, recipe)
    models = load_models(args.model, chosen_device(args.device))
    targets = [target_of(args.target, model) for model in models.values()]
    failed, taken = 0, set()
    for video in args.videos:
        try:
            lines = explain_video(video, models, targets, recipe, args, taken)
        except VideoError as error:
            _say(f"{error.path}: {error.reason}", sys.stderr)
            failed += 1
            continue
        _say("\n".join(lines))
    if failed and len(args.videos) > 1:
        _say(f"{failed} of {len(args.videos)} videos could not be read", sys.stderr)
    return 2 if failed else 0


def chosen_device(name: str) -> str:
    """The device to use: for "auto" the GPU where there is one; under torchrun each process has its own."""
    import torch

    if name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
    return "cpu" if name == "auto" else name


def load_models(name: str, device: str) -> dict:
    """The models asked for under the names their files get; ValueError where there is none."""
    from interp.models import weights

    if name == "both" or name in SHIPPED:
        models = {one: weights.load(one) for one in (SHIPPED if name == "both" else (name,))}
    elif name.endswith(".safetensors"):
        models = {Path(name).stem: weights.read(name)}
    else:
        raise ValueError(f"--model is {name!r}; expected i3d, clstm, both, or a .safetensors file")
    try:
        return {label: model.to(device) for label, model in models.items()}
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def target_of(wanted: str | None, model) -> int | None:
    """The number of the class that `wanted` names, or None; ValueError where the model does not know it."""
    classes = list(getattr(model, "classes", None) or [])
    if wanted is None:
        return None
    if wanted in classes:
        return classes.index(wanted)
    if wanted.isdecimal() and int(wanted) < (len(classes) or int(wanted) + 1):
        return int(wanted)
    known = "; ".join(classes) or "not named"
    raise ValueError(f"--target is {wanted!r}, which the model does not know; its classes: {known}")


def explain_video(
    video: str, models: dict, targets: list, recipe, args: argparse.Namespace, taken: set
) -> list[str]:
    """Explain one file with every model, write its figures and its JSON; returns the lines to print."""
    import torch

    from interp import figures, recipes, whole
    from interp.data import probe, to_clip
    from interp.data.video import read_with_notes
    from interp.explain import clip_shape, describe, explain
    from interp.train_log import versions

    info = probe(video)
    stem, out, warned = output_name(video, taken), Path(args.out), set()
    records = {}
    for (label, model), target in zip(models.items(), targets, strict=True):
        num_frames, *size = clip_shape(model)
        frames, notes = read_with_notes(video, num_frames, tuple(size))
        for note in sorted(set(notes) - warned):
            _say(f"warning: {video}: {note}", sys.stderr)
        warned.update(notes)
        search = {"start": args.start, "stop": args.stop, "precision": args.precision}
        generator = torch.Generator().manual_seed(args.seed)  # of a random start
        record = explain(model, to_clip(frames)[None], target, recipe, args.perturbation, args.weights,
                         [stem], name=label, progress=sys.stderr.isatty(), chunk=args.chunk,
                         generator=generator, **search)[0]  # fmt: skip
        shown, _ = read_with_notes(video, num_frames, panel_size(info.height, info.width))
        film = figures.three_panel(record, shown, palette=args.palette)
        figure = figures.write(out / f"{stem}_{label}.{args.format}", film, args.fps)
        known = getattr(model, "record", None) or {}
        records[label] = record.to_dict() | {
            "description": describe(record), "figure": figure.name, "clip": [num_frames, *size],
            "weights_sha256": known.get("sha256"), "trained_with": known.get("recipe")}  # fmt: skip
    report = {"video": str(video), "frames": info.num_frames, "fps": info.fps,
              "size": [info.height, info.width], "recipe": recipes.asdict(recipe), "search": search,
              "versions": versions(),
              "models": records}  # fmt: skip
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    written = whole.write(out / f"{stem}.json", text.encode("utf-8", "surrogateescape"))
    lines = [f"{video}  ({info.num_frames} frames, {info.width}x{info.height})", *table(records)]
    return [*lines, f"  written: {written}, {', '.join(one['figure'] for one in records.values())}"]


def table(records: dict[str, dict]) -> list[str]:
    """The scores as lines of text, one a model under a head; in the mask # is an on-frame."""
    names = max(5, *map(len, records))
    masks = max(4, *(len(record["mask"]) for record in records.values()))
    lines = [f"  {'model':{names}}     OS     FS     RS     CS  {'mask':{masks}}  guess"]
    for label, record in records.items():
        values = [record[key] for key in ("OS", "FS", "RS", "CS")]
        scores = "".join("      -" if value is None else f"{value:7.3f}" for value in values)
        bar = "".join(".#"[on] for on in record["snapped"])
        lines.append(f"  {label:{names}}{scores}  {bar:{masks}}  {record['P']}")
    return lines


def output_name(video: str, taken: set[str]) -> str:
    """The video's name without its ending, cut to what file systems take, numbered where it is taken."""
    stem = os.fsdecode(os.fsencode(Path(video).stem)[:TOO_LONG].decode("utf-8", "ignore"))
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a panel: the video's own, in proportion made smaller where larger than PANEL."""
    scale = min(1, PANEL[0] / height, PANEL[1] / width)
    return tuple(max(2, 2 * round(scale * side / 2)) for side in (height, width))


def _say(text: str, stream=None) -> None:
    """Print what may hold names that the terminal's encoding lacks."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
