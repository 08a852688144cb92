"""Clips a second of the two networks, forward and in training, against plain forms of themselves.

    python tests/benchmarks/bench_networks.py                     both networks, the shipped sizes and the paper's
    python tests/benchmarks/bench_networks.py --size small --rounds 5
    python tests/benchmarks/bench_networks.py --device cuda       a GPU's rows beside the CPU's
    python tests/benchmarks/bench_networks.py --page              only book/tables/networks.md, from the results

C-LSTM's baseline convolves gate by gate and step by step (`reference.py`), in float32 and the default memory
format; I3D's is I3D itself in float32 and the default memory format. Both take turns in one process. Beside clips a
second: the most memory that a step takes above what was there before, and the share that the network's own
arithmetic has of the rate at which this machine multiplies large matrices in the same precision.
"""

import copy
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import harness  # noqa: E402
import reference  # noqa: E402

from interp import recipes  # noqa: E402
from interp.models import build  # noqa: E402

# size: {network: (recipe, classes, batch on a CPU, batch on a GPU)}
SIZES = {
    "small": {"clstm": (recipes.CLSTM_MOTION, 12, 16, 128), "i3d": (recipes.I3D_MOTION, 12, 32, 128)},
    "paper": {"clstm": (recipes.CLSTM_SOMETHING, 174, 2, 16), "i3d": (recipes.I3D_SOMETHING, 174, 2, 16)},
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NETWORKS = {"clstm": "C-LSTM", "i3d": "I3D"}
SIZE_WORDS = {"small": "16 × 64 × 64, the shipped network", "paper": "16 × 224 × 224, the paper's network"}
WAYS = {
    "reference, forward": {"clstm": "forward: a convolution for each gate and step"},
    "ours, forward": {"clstm": "forward: ours"},
    "reference": {"clstm": "training: a convolution for each gate and step",
                  "i3d": "training: float32, default format"},
    "default format": {"clstm": "training: ours, float32, default memory format"},
    "ours": {"clstm": "training: ours, float32", "i3d": "training: float32, channels last"},
    "bf16": {"i3d": "training: bfloat16, default format"},
    "ours, bf16": {"clstm": "training: ours, bfloat16", "i3d": "training: bfloat16, channels last"},
    "ours, bf16, compiled": {"clstm": "the same, compiled", "i3d": "the same, compiled"},
}  # fmt: skip


def matrix_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a product of two large matrices, the best of several."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.rand(side, side, device=device, dtype=DTYPES[precision]) for _ in range(2))

    def product():
        (a @ b)[0, 0].item()  # waits for a GPU

    product()
    return 2 * side**3 / min(harness.timed(product)[1] for _ in range(8))


def task(model, clips, labels=None, precision="fp32"):
    """A forward pass, or with labels a training step; on a GPU with the wait for its end."""

    def work():
        low = torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16")
        with torch.set_grad_enabled(labels is not None), low:
            logits = model(clips)
        if labels is not None:
            F.cross_entropy(logits.float(), labels).backward()
            model.zero_grad()
        if clips.is_cuda:
            torch.cuda.synchronize()

    return work


def measure(kind: str, recipe, classes: int, batch: int, device: torch.device, rounds: int, compiled: bool) -> dict:
    """Rows for one network at one size: {way: clips/s, memory, operations, precision}."""
    torch.manual_seed(0)
    ours = build(recipe.config(classes)).to(device).train()
    default = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
    clips = torch.rand(batch, 3, recipe.num_frames, *recipe.size, device=device)
    labels = torch.arange(batch, device=device) % classes
    if kind == "clstm":
        per_gate = reference.with_layers(ours, reference.PerGate).train()
        ways = {"reference, forward": task(per_gate, clips), "ours, forward": task(ours, clips),
                "reference": task(per_gate, clips, labels), "default format": task(default, clips, labels)}  # fmt: skip
    else:
        ways = {"reference": task(default, clips, labels), "bf16": task(default, clips, labels, "bf16")}
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    ways |= {"ours": task(ours, clips, labels), "ours, bf16": task(ours, clips, labels, "bf16")}
    if compiled:
        ways["ours, bf16, compiled"] = task(torch.compile(ours), clips, labels, "bf16")
    operations = {}
    for forward in (True, False):
        with FlopCounterMode(display=False) as counter:
            task(ours, clips, None if forward else labels)()
        operations[forward] = counter.get_total_flops()
    seconds, rows = harness.alternate(ways, rounds), {}
    for way, work in ways.items():
        rows[way] = {"clips_per_second": batch / seconds[way]["wall"],
                     "clips_per_cpu_second": batch / seconds[way]["cpu"],
                     "memory_mib": harness.memory(work, device) / 2**20,
                     "operations": operations["forward" in way] / batch,
                     "precision": "bf16" if "bf16" in way else "fp32", "batch": batch}  # fmt: skip
        print(kind, recipe.size, way, rows[way], flush=True)
    return rows


def measure_all(args) -> dict:
    device, results = torch.device(args.device), harness.read("networks")
    row = results.setdefault(device.type, {})
    row["machine"] = harness.machine(args.note)
    if device.type == "cuda":
        row["machine"]["gpu"] = torch.cuda.get_device_name(device)
    row["rates"] = {precision: matrix_rate(device, precision) for precision in DTYPES}
    row |= {"rounds": args.rounds, "date": time.strftime("%Y-%m-%d")}
    for size in args.size or SIZES:
        for kind in args.network or NETWORKS:
            recipe, classes, *batches = SIZES[size][kind]
            rows = measure(kind, recipe, classes, batches[device.type == "cuda"], device, args.rounds, args.compile)
            row.setdefault("sizes", {}).setdefault(size, {})[kind] = rows
    row["machine"]["load_after"] = harness.load()
    return results


def text_of(results: dict) -> str:
    """The page: for each device a sentence and a table; the times are forward against forward, else training."""
    text = ""
    for device, measured in results.items():
        key = "clips_per_cpu_second" if device == "cpu" else "clips_per_second"
        lines = []
        for size, networks in measured["sizes"].items():
            for kind, rows in networks.items():
                first = next(iter(rows.values()))
                lines.append([f"**{NETWORKS[kind]}, {SIZE_WORDS[size]}**, {first['batch']} clips at once", *[""] * 4])
                for way in (way for way in WAYS if way in rows):
                    row, baseline = rows[way], rows["reference, forward" if "forward" in way else "reference"]
                    share = row[key] * row["operations"] / measured["rates"][row["precision"]]
                    lines.append([WAYS[way][kind], f"{row[key]:.3g}", f"{row[key] / baseline[key]:.2f}×",
                                  f"{row['memory_mib']:,.0f}", f"{100 * share:.0f} %"])  # fmt: skip
        header = ["", "clips/s", "times", "MiB a step", "share of the matrix rate"]
        rates = " and ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in measured["rates"].items())
        text += (f"{measured['date']}: {harness.describe(measured['machine'])}; medians of {measured['rounds']} "
                 f"rounds; matrix products at {rates}.\n\n{harness.table(header, lines)}\n")
    return text.rstrip("\n") + "\n"


if __name__ == "__main__":
    harness.main(__doc__, "networks", measure_all, text_of,
                 size={"choices": SIZES, "action": "append"}, network={"choices": NETWORKS, "action": "append"},
                 device={"default": "cpu"}, compile={"action": "store_true", "help": "a row with torch.compile"})
