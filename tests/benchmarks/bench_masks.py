"""How long a mask takes and how good it is: the released loop, the paper's 300 steps, stopping early, the exact search.

    python tests/benchmarks/bench_masks.py --root .cache/motion      both shipped networks, then the page
    python tests/benchmarks/bench_masks.py --page                    only book/tables/masks.md, from the results

All search the same clips in one process. The loss is that of the binary mask, which is what is shown. The released
loop is timed on one step: it finds what 300 steps of `find_masks` find.
"""

import functools
import sys
import time
import warnings
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import harness  # noqa: E402
import reference  # noqa: E402

import interp  # noqa: E402
from interp.core.inference import frozen_eval  # noqa: E402
from interp.core.windows import penalty, score_masks  # noqa: E402
from interp.data import open_dataset, to_clip  # noqa: E402
from interp.recipes import SOMETHING_MASK as RECIPE  # noqa: E402

BATCH = 16  # clips that the released loop forwards
CLIPS = {"i3d": 16, "clstm": 8}  # on one thread I3D is slow on fewer than 16
NETWORKS = {"i3d": "I3D", "clstm": "C-LSTM"}
SEARCHES = {"300 steps": {}, "stopping": {"start": "best-window", "stop": True}, "exact": {"method": "exact"}}
WORDS = {"released": "the released loop, one step timed",
         "300 steps": "`find_masks(model, clips)`: the paper's 300 steps",
         "stopping": '`find_masks(..., start="best-window", stop=True)`', "exact": "`best_masks(model, clips)`"}


def load_clips(root: Path, count: int) -> tuple[torch.Tensor, list[str]]:
    """`count` validation clips, the classes in turn."""
    dataset = open_dataset("motion", root, "validation", 16, 64)
    by_class: dict[int, list[int]] = {}
    for index, sample in enumerate(dataset.samples):
        by_class.setdefault(sample.label, []).append(index)
    order = [index for row in zip(*by_class.values(), strict=False) for index in row][:count]
    return torch.stack([to_clip(dataset[i][0]) for i in order]), [dataset.ids[i] for i in order]


def binary_losses(model: torch.nn.Module, clips: torch.Tensor, result) -> torch.Tensor:
    """The losses (B,) of the binary masks; frame 0, which freezes nothing, has the value that costs less."""
    masks = result.binary_masks
    scores = score_masks(model, clips, masks, result.targets, RECIPE, "freeze")
    first = torch.zeros_like(masks)
    first[:, 0] = 1
    return scores + torch.minimum(penalty(masks * (1 - first), RECIPE), penalty(masks.maximum(first), RECIPE))


def measure_all(args) -> dict:
    return {name: measure(name, args.root, args.note) for name in NETWORKS}


def measure(name: str, root: Path, note: str) -> dict:
    """Seconds a clip and mean binary loss of each search."""
    model, (clips, ids) = interp.load(name, "motion"), load_clips(root, CLIPS[name])
    batch = clips.repeat(-(-BATCH // len(clips)), 1, 1, 1, 1)[:BATCH]
    searches, machine = {}, harness.machine(note)
    with frozen_eval(model), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of anomaly detection
        target = int(model(batch[:1]).argmax())
        one = harness.alternate({"step": lambda: reference.released(model, batch, 0, target, torch.zeros(16), 1)}, 1)
    searches["released"] = {"seconds": RECIPE.iterations * one["step"]["cpu"]}
    for key, options in SEARCHES.items():
        cpu, _, result = harness.timed(functools.partial(interp.find_masks, model, clips, recipe=RECIPE, **options))
        searches[key] = {"seconds": cpu / len(clips), "loss": float(binary_losses(model, clips, result).mean())}
        print(name, key, searches[key], flush=True)
    return {"searches": searches, "ids": ids, "proven": int(result.proven.sum()), "sha256": model.record["sha256"],
            "forwards": float(result.forwards.float().mean()), "date": time.strftime("%Y-%m-%d"),
            "machine": machine | {"load_after": harness.load()}}  # fmt: skip


def text_of(results: dict) -> str:
    """The table book/tables/masks.md."""
    text, rows = "", {key: [words] for key, words in WORDS.items()}
    for name, found in results.items():
        searches = found["searches"]
        text += (f"- **{NETWORKS[name]}** (weights {found['sha256'][:8]}), {found['date']}, {len(found['ids'])} "
                 f"validation clips: {found['proven']} masks proven, {found['forwards']:.0f} forward passes a clip. "
                 f"{harness.describe(found['machine'])}.\n")  # fmt: skip
        for key, row in rows.items():
            one = {"loss": searches["300 steps"]["loss"], **searches[key]}
            row += [f"{one['seconds']:.3g}", f"{one['seconds'] / searches['exact']['seconds']:.3g}×",
                    f"{one['loss']:.3f}"]  # fmt: skip
    header = ["", *(f"{NETWORKS[name]}: {column}" for name in results for column in ("s/clip", "time", "loss"))]
    return f"{text}\n{harness.table(header, list(rows.values()))}"


if __name__ == "__main__":
    harness.main(__doc__, "masks", measure_all, text_of)
