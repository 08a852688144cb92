"""Measuring side by side: every candidate in turn, round after round, medians, and what the machine was doing.

On a machine that others use too, wall time depends on how busy they are. With one thread, the time that the process
itself was given (`time.process_time`) is what the work costs; both are kept.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interp import io


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds of this process, seconds on the wall, and what the work returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def alternate(works: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, dict[str, float]]:
    """Each work once to warm up, then all in turn, `rounds` times: the median seconds of each, "cpu" and "wall"."""
    taken = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            taken[name].append(timed(work)[:2])
    return {name: dict(zip(("cpu", "wall"), map(statistics.median, zip(*pairs[1:], strict=True)), strict=True))
            for name, pairs in taken.items()}


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
    """Write the results."""
    io.atomic_write(path, json.dumps(results, indent=1) + "\n")


def between(text: str, mark: str, content: str) -> str:
    """The page with what stands between <!-- mark --> and <!-- /mark --> replaced by `content`."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the page has no {begin.strip()} ... {end}; put both where the table belongs")
    head, rest = text.split(begin, 1)
    return head + begin + content + end + rest.split(end, 1)[1]


def fill(page: Path, blocks: Mapping[str, str]) -> None:
    """Put each block between its marks on the page."""
    text = page.read_text(encoding="utf-8")
    for mark, content in blocks.items():
        text = between(text, mark, content)
    io.atomic_write(page, text)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def describe(machine: Mapping) -> str:
    """The machine in words: "AMD EPYC, 2 cores (avx2), torch 2.14, 1 thread; load average 1.4 before, 1.1 after"."""
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] > 1)}"
    note = f"; {machine['note']}" if machine["note"] else ""
    return (f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['instructions']) or 'no AVX'}), "
            f"torch {machine['torch']}, {threads}; load average {machine['load'][0]} before, "
            f"{machine['load_after'][0]} after{note}")


def arguments(description: str, results: Path) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=results)
    parser.add_argument("--note", default="", help="what else the machine was doing, for the page")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page from the results")
    return parser


def add_root(parser: argparse.ArgumentParser) -> None:
    """The option of a benchmark that takes clips of the generated dataset."""
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("INTERP_DATA", ".cache/motion")))
