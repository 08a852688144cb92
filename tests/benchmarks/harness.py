"""Measuring side by side: every candidate in turn, round after round, medians, and what the machine was doing.

On a machine that others use too, wall time depends on how busy they are. With one thread, the time that the process
itself was given (`time.process_time`) is what the work costs; both are kept.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import re
import statistics
import time
from pathlib import Path

import torch

from interp import io

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results"
TABLES = ROOT / "book" / "tables"


def timed(work) -> tuple[float, float, object]:
    """Seconds of this process, seconds on the wall, and what the work returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def alternate(works: dict, rounds: int) -> dict:
    """Each work once to warm up, then all in turn, `rounds` times: the median seconds of each, "cpu" and "wall"."""
    taken = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            taken[name].append(timed(work)[:2])
    return {name: dict(zip(("cpu", "wall"), map(statistics.median, zip(*pairs[1:], strict=True)), strict=True))
            for name, pairs in taken.items()}


def load() -> list[float]:
    return [round(value, 1) for value in os.getloadavg()]


def machine(note: str) -> dict:
    """The processor, its cores, torch, the threads used, and how busy it is now."""
    info = Path("/proc/cpuinfo")
    rows = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line] if info.exists() else []
    found = {key.strip(): value.strip() for key, value in rows}
    words, flags = ("avx2", "avx512f", "avx512_bf16", "amx_bf16"), found.get("flags", "").split()
    return {
        "processor": found.get("model name") or platform.processor() or platform.machine(),
        "instructions": [word for word in words if word in flags],
        "cores": os.cpu_count(), "torch": torch.__version__, "threads": torch.get_num_threads(), "load": load(),
        "note": note,
    }  # fmt: skip


def describe(machine: dict) -> str:
    """The machine in words: "AMD EPYC, 2 cores (avx2), torch 2.14, 1 thread; load average 1.4 before, 1.1 after"."""
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] > 1)}"
    note = f"; {machine['note']}" if machine["note"] else ""
    name = f"{machine['gpu']}, {machine['processor']}" if "gpu" in machine else machine["processor"]
    return (f"{name}, {machine['cores']} cores ({', '.join(machine['instructions']) or 'no AVX'}), "
            f"torch {machine['torch']}, {threads}; load average {machine['load'][0]} before, "
            f"{machine['load_after'][0]} after{note}")


def memory(work, device: torch.device) -> int:
    """The most bytes that the work holds at once, above what was held before. On Linux, or on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def status(field):
        return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text()).group(1))

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, or it would not be counted again
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
    work()
    return status("VmHWM") - before


def read(name: str) -> dict:
    """The results kept so far, or none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(description: str, name: str, measure, text_of, **options: dict) -> None:
    """A benchmark's command: `measure(args)` gives the results to keep, `text_of(results)` the page's table."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("INTERP_DATA", ".cache/motion")))
    parser.add_argument("--note", default="", help="what else the machine was doing, for the page")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the table from the results")
    for option, settings in options.items():
        parser.add_argument(f"--{option}", **settings)
    args = parser.parse_args()
    if not args.page:
        torch.set_num_threads(args.threads)
        io.atomic_write(RESULTS / f"{name}.json", json.dumps(measure(args), indent=1) + "\n")
    io.atomic_write(TABLES / f"{name}.md", text_of(read(name)))
