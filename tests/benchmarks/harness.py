"""Measuring side by side: every candidate in turn, round after round, medians, and what the machine was doing.

On a machine that others use too, wall time tells how busy they were. With one thread, the time that the process
itself was given (`time.process_time`) tells what the work costs; both are kept, and ratios of medians that were
taken alternately are what counts.

    >>> found = alternate({"a": lambda: sum(range(10)), "b": lambda: sum(range(1000))}, rounds=3)
    >>> found["a"]["cpu"] <= found["a"]["cpu_max"]
    True
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from interp import whole


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds of this process, seconds on the wall, and what the work gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    given = work()
    return time.process_time() - cpu, time.perf_counter() - wall, given


def alternate(works: Mapping[str, Callable[[], object]], rounds: int, warm: bool = True) -> dict[str, dict]:
    """Each work once to warm up, then all in turn, `rounds` times: median, least and most seconds of each."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(rounds + warm):
        for name, work in works.items():
            cpu, wall, _ = timed(work)
            if turn >= warm:
                taken[name].append((cpu, wall))
    found = {}
    for name, pairs in taken.items():
        cpu, wall = zip(*pairs, strict=True)
        found[name] = {"cpu": statistics.median(cpu), "cpu_min": min(cpu), "cpu_max": max(cpu),
                       "wall": statistics.median(wall), "rounds": rounds}
    return found


def machine() -> dict:
    """The processor, its cores, the memory, the versions, the threads used, and how busy it is now."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line for line in lines if line.startswith("flags")), "")
    meminfo = Path("/proc/meminfo")
    memory = int(meminfo.read_text().split()[1]) / 2**20 if meminfo.exists() else None
    return {
        "processor": name or platform.processor() or platform.machine(),
        "instructions": [word for word in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if word in flags],
        "cores": os.cpu_count(), "memory_gib": memory and round(memory),
        "system": f"{platform.system()} {platform.machine()}", "python": platform.python_version(),
        "torch": torch.__version__, "threads": torch.get_num_threads(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def read(path: Path) -> dict:
    """The results kept so far, or none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def memory(work: Callable[[], object], device) -> int:
    """The most bytes that the work holds at once, above what was held before. On Linux, or on a GPU."""
    import ctypes

    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, or it would not be counted again
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
    work()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def write(path: Path, results: dict) -> None:
    """Writes the results whole or not at all."""
    whole.write(path, json.dumps(results, indent=1) + "\n")


def between(text: str, mark: str, content: str) -> str:
    """The page with what stands between <!-- mark --> and <!-- /mark --> replaced by `content`."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the page has no {begin.strip()} ... {end}; put both where the table belongs")
    head, rest = text.split(begin, 1)
    return head + begin + content + end + rest.split(end, 1)[1]


def fill(page: Path, blocks: Mapping[str, str]) -> None:
    """Puts each block between its marks on the page."""
    text = page.read_text(encoding="utf-8")
    for mark, content in blocks.items():
        text = between(text, mark, content)
    whole.write(page, text)


def arguments(description: str, results: Path) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=results)
    parser.add_argument("--note", default="", help="what else the machine was doing, for the page")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page from the results")
    return parser


def add_clips(parser: argparse.ArgumentParser, count: int) -> None:
    """The options of a benchmark that takes clips of the embedded dataset."""
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("INTERP_DATA", ".cache/motion")))
    parser.add_argument("--clips", type=int, default=count)
