"""Clips a second of a 300-step freeze search at 16x64x64, against the released loop, its lean form and the floor.

    python tests/benchmarks/bench_masks.py --root .cache/motion            both shipped networks, then the page
    python tests/benchmarks/bench_masks.py --model i3d --clips 24 --rounds 5
    python tests/benchmarks/bench_masks.py --page                          only book/benchmarks.md, from the JSON

Rivals take turns in one process (`harness.alternate`); what is too slow for 300 steps is timed on fewer and said
so. Results go to tests/benchmarks/results/masks.json, a model at a time; the page's tables are made from it.
`--step-cost` measures the ideas for one step; `--whole` only the searches with all their steps.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import bench_networks  # noqa: E402
import harness  # noqa: E402
import masks_page  # noqa: E402
import networks_reference  # noqa: E402
import reference  # noqa: E402

import interp  # noqa: E402
from interp import borrow, masks, recipes, search  # noqa: E402
from interp.data import open_dataset, to_clip  # noqa: E402
from interp.models import CLSTM  # noqa: E402

RECIPE = recipes.SOMETHING_MASK
FEW, MANY = 2, 8  # steps of the two short searches whose difference is the cost of a step
BATCH = 16  # the released batch, and the least with which I3D is fast on one thread


def clips_of(root: Path, count: int) -> tuple[torch.Tensor, list[str]]:
    """`count` validation clips, the classes in turn."""
    dataset = open_dataset("motion", root, "validation", 16, 64)
    own: dict[int, list[int]] = {}
    for index, sample in enumerate(dataset.samples):
        own.setdefault(sample.label, []).append(index)
    order = [index for row in zip(*own.values(), strict=False) for index in row][:count]
    return torch.stack([to_clip(dataset[i][0]) for i in order]), [dataset.samples[i].id for i in order]


@contextmanager
def replaced(room, **names):
    """A room's names replaced for a while: an idea switched off."""
    before = {name: getattr(room, name) for name in names}
    try:
        for name, value in names.items():
            setattr(room, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(room, name, value)


def folded(model: nn.Module) -> nn.Module:
    """A copy of an I3D with its batch normalisations folded into the convolutions before them."""
    class Shift(nn.Module):
        def __init__(self, bias):
            super().__init__()
            self.bias = bias[:, None, None, None]

        def forward(self, x):
            return x + self.bias

    model = copy.deepcopy(model)
    for unit in [module for module in model.modules() if hasattr(module, "batch_norm")]:
        norm = unit.batch_norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        unit.conv_3d.weight.data *= scale.detach()[:, None, None, None, None]
        unit.batch_norm = Shift((norm.bias - norm.running_mean * scale).detach())
    return model


def step_cost(model: nn.Module, clips: torch.Tensor, rounds: int) -> dict[str, dict]:
    """Milliseconds of a step for one clip: rivals and ideas, in turn."""
    clips = clips.repeat(-(-32 // len(clips)), 1, 1, 1, 1)[:32]
    with torch.no_grad():
        targets = model(clips).argmax(1)
    start, sixteen, some = torch.full((16,), 5.0), clips[:BATCH], targets[:BATCH]

    def searched(steps, off_model=model, **off):
        def work():
            with replaced(search, **off):
                masks.find_masks(off_model, sixteen, some, dataclasses.replace(RECIPE, iterations=steps))
        return work

    def bf16(batch):
        with torch.autocast("cpu", torch.bfloat16):
            reference.both_passes(model, batch, targets[: len(batch)])

    last = sixteen.contiguous(memory_format=torch.channels_last_3d)
    target, no_stem = int(targets[0]), {"stem_of": lambda *_: None}
    works = {
        "released": (1, lambda: reference.released(model, sixteen, 0, target, start, 1)),
        "single": (2, lambda: reference.single(model, sixteen, 0, target, start, 2)),
        "floor 16": (16, lambda: reference.both_passes(model, sixteen, some)),
        "floor 32": (32, lambda: reference.both_passes(model, clips, targets)),
        "floor 4": (4, lambda: reference.both_passes(model, clips[:4], targets[:4])),
        "floor 8": (8, lambda: reference.both_passes(model, clips[:8], targets[:8])),
        "few": (1, searched(FEW)), "many": (1, searched(MANY)),
        "few, no stem": (1, searched(FEW, **no_stem)), "many, no stem": (1, searched(MANY, **no_stem)),
        "channels last": (16, lambda: reference.both_passes(model, last, some)),
        "bfloat16": (16, lambda: bf16(sixteen)),
    }
    if any(hasattr(module, "batch_norm") for module in model.modules()):
        lean = folded(model)
        works["folded norms"] = (16, lambda: reference.both_passes(lean, sixteen, some))
    if isinstance(model, CLSTM):
        plain = networks_reference.with_layers(model, networks_reference.ByAutograd, torch.channels_last)
        works |= {"few, autograd": (1, searched(FEW, plain)), "many, autograd": (1, searched(MANY, plain))}
    found = harness.alternate({name: work for name, (_, work) in works.items()}, rounds)
    cost = {name: {"ms": 1e3 * found[name]["cpu"] / units, "wall_ms": 1e3 * found[name]["wall"] / units}
            for name, (units, _) in works.items()}
    for name, end in (("ours", ""), ("ours, no stem", ", no stem"), ("autograd", ", autograd")):
        if f"few{end}" not in cost:
            continue
        for kind in ("ms", "wall_ms"):
            few, many = cost[f"few{end}"][kind], cost[f"many{end}"][kind]
            step = (many - few) / (MANY - FEW) / BATCH
            cost.setdefault(name, {})[kind] = step
            cost[name][f"fixed_{kind}"] = few / BATCH - FEW * step  # the start, and the scores at both ends
    return {name: value for name, value in cost.items() if not name.startswith(("few", "many"))}


def whole(model: nn.Module, clips: torch.Tensor, searches: dict[str, tuple], rounds: int) -> dict[str, dict]:
    """Searches with all their steps: seconds a clip, and the mean of the final losses."""
    sixteen = clips[:BATCH]
    with torch.no_grad():
        targets = model(sixteen).argmax(1)

    def floor():
        return reference.both_passes(model, sixteen, targets)

    floors, found = [], {}
    floor()
    for name, (start, stop, precision) in searches.items():
        floors.append(statistics.median(harness.timed(floor)[0] for _ in range(rounds)))
        cpu, wall, result = harness.timed(lambda a=start, b=stop, c=precision: masks.find_masks(
            model, clips, recipe=RECIPE, start=a, stop=b, precision=c))
        floors.append(statistics.median(harness.timed(floor)[0] for _ in range(rounds)))
        found[name] = {"seconds": cpu / len(clips), "wall_seconds": wall / len(clips), "clips": len(clips),
                       "loss": result.final_losses.double().mean().item(),
                       "steps": result.steps.double().mean().item(),
                       "floor_ms": 1e3 * statistics.mean(floors[-2:]) / BATCH}
        print(name, {key: round(value, 4) for key, value in found[name].items()}, flush=True)
    return found


def main() -> int:
    parser = harness.arguments(__doc__.splitlines()[0], masks_page.RESULTS)
    harness.add_clips(parser, 24)
    parser.add_argument("--model", choices=("i3d", "clstm"), action="append")
    parser.add_argument("--step-cost", action="store_true", help="only the cost of a step")
    parser.add_argument("--whole", action="store_true", help="only the searches with all their steps")
    parser.add_argument("--rate", action="store_true", help="only the machine's rate and the network's operations")
    args = parser.parse_args()
    if not args.page:
        torch.set_num_threads(args.threads)
        clips, ids = clips_of(args.root, args.clips)
        for name in args.model or ("i3d", "clstm"):
            model, here = interp.load(name, "motion"), harness.machine()
            parts = {}
            with borrow.borrowed(model):
                parts["matrix_rate"] = bench_networks.matrix_rate(torch.device("cpu"), "fp32")
                two = clips[:2].clone().requires_grad_()
                with FlopCounterMode(display=False) as counter:  # the floor; the counter wants backward()
                    model(two).sum().backward()
                parts["operations"] = counter.get_total_flops() / 2  # for one clip
                if not args.whole and not args.rate:
                    parts |= {"steps": step_cost(model, clips, args.rounds), "rounds": args.rounds}
                if not args.step_cost and not args.rate:
                    parts["whole"] = whole(model, clips, masks_page.SEARCHES, args.rounds)
            here["load_after"] = [round(value, 1) for value in os.getloadavg()]
            here["note"] = args.note
            results = harness.read(args.out)
            results.setdefault("models", {}).setdefault(name, {}).update(
                parts, **({} if args.rate else dict(
                    ids=ids, sha256=model.record["sha256"], machine=here, date=time.strftime("%Y-%m-%d"))))
            harness.write(args.out, results)
    masks_page.write_page(harness.read(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
