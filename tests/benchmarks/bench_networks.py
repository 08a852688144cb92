"""Clips a second of the two networks, forward and in training, against plain forms of themselves.

    python tests/benchmarks/bench_networks.py                     both networks, the shipped sizes and the paper's
    python tests/benchmarks/bench_networks.py --size small --rounds 5
    python tests/benchmarks/bench_networks.py --device cuda       a GPU's rows beside the CPU's
    python tests/benchmarks/bench_networks.py --page              only the page, from the JSON

C-LSTM's baseline convolves gate by gate and step by step (`networks_reference`), in float32 and the default memory
format; I3D's is I3D itself in float32 and the default memory format. Both take turns in one process. Beside clips a
second: the most memory that a step takes above what was there before, and the share that the network's own
arithmetic has of the rate at which this machine multiplies large matrices in the same precision.
"""

import copy
import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import harness  # noqa: E402
import networks_page  # noqa: E402
import networks_reference  # noqa: E402

from interp import recipes  # noqa: E402
from interp.models import build  # noqa: E402
from interp.training.distributed import autocast  # noqa: E402

# size: {network: (recipe, classes, batch on a CPU, batch on a GPU)}
SIZES = {
    "small": {"clstm": (recipes.CLSTM_MOTION, 12, 16, 128), "i3d": (recipes.I3D_MOTION, 12, 32, 128)},
    "paper": {"clstm": (recipes.CLSTM_SOMETHING, 174, 2, 16), "i3d": (recipes.I3D_SOMETHING, 174, 2, 16)},
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def waited(device: torch.device, work):
    """The work, and the wait for a GPU to finish it."""
    if device.type == "cpu":
        return work

    def timed():
        work()
        torch.cuda.synchronize()
    return timed


def matrix_rate(device: torch.device, precision: str, side: int = 2048) -> float:
    """Floating-point operations a second of a product of two large matrices, the best of several."""
    side *= 4 if device.type == "cuda" else 1
    a, b = (torch.rand(side, side, device=device, dtype=DTYPES[precision]) for _ in range(2))
    product = waited(device, lambda: a @ b)
    product()
    return 2 * side**3 / min(harness.timed(product)[1] for _ in range(8))


def arithmetic(model: nn.Module, clips: torch.Tensor, labels: torch.Tensor | None) -> int:
    """Operations of one forward pass, or with labels of a training step, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        if labels is None:
            with torch.no_grad():
                model(clips)
        else:
            F.cross_entropy(model(clips), labels).backward()
    model.zero_grad()
    return counter.get_total_flops()


def forward(model, clips):
    def work():
        with torch.no_grad():
            model(clips)
    return work


def step(model, clips, labels, precision="fp32"):
    def work():
        with autocast(clips.device, precision):
            logits = model(clips)
        F.cross_entropy(logits.float(), labels).backward()
        model.zero_grad()
    return work


def measure(kind: str, recipe, classes: int, batch: int, device: torch.device, rounds: int, compiled: bool) -> dict:
    """Rows for one network at one size: {way: clips/s, memory, operations, precision}."""
    torch.manual_seed(0)
    ours = build(recipe.config(classes)).to(device).train()
    clips = torch.rand(batch, 3, recipe.num_frames, *recipe.size, device=device)
    labels = torch.arange(batch, device=device) % classes
    ways = {}  # way: (work, training, precision)
    if kind == "clstm":
        per_gate = networks_reference.with_layers(ours, networks_reference.PerGate).train()
        plain = networks_reference.with_layers(ours, networks_reference.ByAutograd, torch.channels_last).train()
        default = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
        ways |= {"reference, forward": (forward(per_gate, clips), False, "fp32"),
                 "ours, forward": (forward(ours, clips), False, "fp32"),
                 "reference": (step(per_gate, clips, labels), True, "fp32"),
                 "autograd": (step(plain, clips, labels), True, "fp32"),
                 "default format": (step(default, clips, labels), True, "fp32")}
    else:
        default = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
        ways |= {"reference": (step(default, clips, labels), True, "fp32"),
                 "bf16": (step(default, clips, labels, "bf16"), True, "bf16")}
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    ways |= {"ours": (step(ours, clips, labels), True, "fp32"),
             "ours, bf16": (step(ours, clips, labels, "bf16"), True, "bf16")}
    if compiled:
        ways["ours, bf16, compiled"] = (step(torch.compile(ours), clips, labels, "bf16"), True, "bf16")
    operations = {training: arithmetic(ours, clips, labels if training else None) for training in (False, True)}
    seconds = harness.alternate({way: waited(device, work) for way, (work, _, _) in ways.items()}, rounds)
    rows = {}
    for way, (work, training, precision) in ways.items():
        rows[way] = {"clips_per_second": batch / seconds[way]["wall"],
                     "clips_per_cpu_second": batch / seconds[way]["cpu"],
                     "memory_mib": harness.memory(waited(device, work), device) / 2**20,
                     "operations": operations[training] / batch, "precision": precision, "batch": batch}
        print(kind, recipe.size, way, {k: v if isinstance(v, str) else round(v, 2) for k, v in rows[way].items()},
              flush=True)
    return rows


def main() -> int:
    parser = harness.arguments(__doc__.splitlines()[0], networks_page.RESULTS)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--network", choices=("clstm", "i3d"), action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="a row with torch.compile")
    args = parser.parse_args()
    if not args.page:
        device = torch.device(args.device)
        torch.set_num_threads(args.threads)
        results = harness.read(args.out)
        row = results.setdefault(device.type, {})
        row["machine"] = harness.machine() | {"note": args.note}
        if device.type == "cuda":
            row["machine"]["gpu"] = torch.cuda.get_device_name(device)
        row["rates"] = {precision: matrix_rate(device, precision) for precision in DTYPES}
        row |= {"rounds": args.rounds, "date": time.strftime("%Y-%m-%d")}
        for size in args.size or SIZES:
            for kind in args.network or ("clstm", "i3d"):
                recipe, classes, *batches = SIZES[size][kind]
                rows = measure(kind, recipe, classes, batches[device.type == "cuda"], device, args.rounds, args.compile)
                row.setdefault("sizes", {}).setdefault(size, {})[kind] = rows
        row["machine"]["load_after"] = [round(value, 1) for value in os.getloadavg()]
        harness.write(args.out, results)
    networks_page.write_page(harness.read(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
