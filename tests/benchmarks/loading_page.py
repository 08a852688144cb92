"""The tables about loading in book/benchmarks.md, made from what `bench_loading.py` measured.

    >>> blocks({})["loading"]
    'Not measured yet: `make benchmarks` fills this section.\\n'
"""

from __future__ import annotations

from pathlib import Path

import harness
from masks_page import PAGE, table

RESULTS = Path(__file__).resolve().parent / "results" / "loading.json"
WAYS = {"every frame": "every frame with PyAV, then picked and resized",
        "only decoded": "every frame decoded, nothing taken out", "webm": "webm, as `read_clip` does",
        "cache": "the cache on disk"}
NETWORKS = {"i3d_motion": "I3D", "clstm_motion": "C-LSTM"}
LOADED = {"auto": "`--cache auto` (in memory)", "disk": "`--cache disk`", "none, 1 worker": "`--cache none`, 1 worker"}


def speeds(results: dict) -> str:
    """Clips a second; in brackets how many times the rival's with as many workers."""
    rows = []
    for kind, found in results["speeds"].items():
        rates = found["clips_per_second"]
        for way, words in WAYS.items():
            row = [f"{kind}: {words}"]
            for workers, rate in rates[way].items():
                times = rate / rates["every frame"][workers]
                row.append(_three(rate) + (f" ({_three(times)}×)" if way != "every frame" else ""))
            rows.append(row)
    return table(["clips/s", "no worker", "1 worker", "2 workers"], rows)


def _three(value: float) -> str:
    """Three digits, without powers of ten: 0.234, 12.3, 59,600."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def waiting(results: dict) -> str:
    """The share of a training's time that goes by in waiting for clips."""
    found = results["training"]["recipes"]
    rows = [[words, *(f"{one[way]['waiting']:.1%} of the time, {one[way]['clips_per_second']:.1f} clips/s"
                      .replace("%", " %") for one in found.values())] for way, words in LOADED.items()]
    return table(["waiting", *(NETWORKS[name] for name in found)], rows)


def machine(results: dict) -> str:
    """One sentence: where, when, beside what."""
    here, found = results["machine"], results["speeds"]
    one, s = next(iter(found.values())), "s" * (here["threads"] > 1)
    return (f"{results['date']}: {here['processor']}, {here['cores']} cores, torch {here['torch']}, {here['threads']} "
            f"thread{s}, {one['clips']} videos of each kind, medians of {one['rounds']} rounds; "
            f"{results['training']['clips']} clips to train. Load average {here['load'][0]} before, "
            f"{here['load_after'][0]} after" + (f"; {here['note']}" if here["note"] else "") + ".\n")


def blocks(results: dict) -> dict[str, str]:
    """What stands between the marks of the page."""
    if not results.get("speeds") or not results.get("training"):
        return {"loading": "Not measured yet: `make benchmarks` fills this section.\n"}
    return {"loading": f"{machine(results)}\n{speeds(results)}\n{waiting(results)}"}


def write_page(results: dict) -> None:
    """Puts the tables into the page."""
    harness.fill(PAGE, blocks(results))
