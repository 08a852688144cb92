"""The table of book/tables/networks.md, made from what `bench_networks.py` measured.

    >>> table_of({})
    'Not measured yet: `make benchmarks` fills this table.\\n'
"""

from __future__ import annotations

from pathlib import Path

from interp import whole

HERE = Path(__file__).resolve()
PAGE = HERE.parents[2] / "book" / "tables" / "networks.md"
RESULTS = HERE.parent / "results" / "networks.json"
NETWORKS = {"clstm": "C-LSTM", "i3d": "I3D"}
SIZES = {"small": "16 × 64 × 64, the shipped network", "paper": "16 × 224 × 224, the paper's network"}
WAYS = {
    "reference, forward": {"clstm": "forward: a convolution for each gate and step"},
    "ours, forward": {"clstm": "forward: ours"},
    "reference": {"clstm": "training: a convolution for each gate and step",
                  "i3d": "training: float32, default format"},
    "autograd": {"clstm": "training: one convolution for all gates, autograd's backward pass"},
    "default format": {"clstm": "training: ours, float32, default memory format"},
    "ours": {"clstm": "training: ours, float32", "i3d": "training: float32, channels last"},
    "bf16": {"i3d": "training: bfloat16, default format"},
    "ours, bf16": {"clstm": "training: ours, bfloat16", "i3d": "training: bfloat16, channels last"},
    "ours, bf16, compiled": {"clstm": "the same, compiled", "i3d": "the same, compiled"},
}


def rate(row: dict, device: str) -> float:
    """Clips a second: of the process on one CPU thread, of the clock on a GPU."""
    return row["clips_per_cpu_second" if device == "cpu" else "clips_per_second"]


def times(rows: dict, way: str, device: str) -> float:
    """How many times the reference's rate, forward against forward."""
    rival = "reference, forward" if way.endswith("forward") else "reference"
    return rate(rows[way], device) / rate(rows[rival], device)


def machine(found: dict, device: str) -> str:
    """One sentence: where, when, how fast it multiplies matrices."""
    here = found["machine"]
    name = here.get("gpu") or f"{here['processor']}, {here['cores']} cores, {here['threads']} of them used"
    rates = " and ".join(f"{value / 1e9:,.0f} GFLOP/s in {precision}" for precision, value in found["rates"].items())
    return (f"{found['date']}: {name}, torch {here['torch']}; matrix products at {rates}; medians of "
            f"{found['rounds']} rounds, load average {here['load'][0]} before and {here['load_after'][0]} after"
            + (f"; {here['note']}" if here["note"] else "") + ".\n")


def table_of(results: dict) -> str:
    """The page: for each device a sentence and a table."""
    text = ""
    for device, found in results.items():
        text += machine(found, device) + "\n| | clips/s | times | MiB a step | share of the matrix rate |\n"
        text += "| --- | ---: | ---: | ---: | ---: |\n"
        for size, networks in found["sizes"].items():
            for kind, rows in networks.items():
                first = next(iter(rows.values()))
                text += f"| **{NETWORKS[kind]}, {SIZES[size]}**, {first['batch']} clips at once | | | | |\n"
                for way in (way for way in WAYS if way in rows):
                    row = rows[way]
                    share = rate(row, device) * row["operations"] / found["rates"][row["precision"]]
                    text += (f"| {WAYS[way][kind]} | {rate(row, device):.3g} | {times(rows, way, device):.2f}× | "
                             f"{row['memory_mib']:,.0f} | {share:.0%} |\n").replace("%", " %")
        text += "\n"
    return text.rstrip("\n") + "\n" if text else "Not measured yet: `make benchmarks` fills this table.\n"


def write_page(results: dict) -> None:
    """Writes the page whole."""
    whole.write(PAGE, table_of(results))
