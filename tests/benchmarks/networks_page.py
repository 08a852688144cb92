"""The table of book/tables/networks.md, made from what `bench_networks.py` measured."""

from pathlib import Path

from interp import io

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
    baseline = "reference, forward" if way.endswith("forward") else "reference"
    return rate(rows[way], device) / rate(rows[baseline], device)


def machine(results: dict, device: str) -> str:
    """One sentence: where, when, how fast it multiplies matrices."""
    row = results["machine"]
    name = row.get("gpu") or f"{row['processor']}, {row['cores']} cores, {row['threads']} of them used"
    rates = " and ".join(f"{value / 1e9:,.0f} GFLOP/s in {precision}" for precision, value in results["rates"].items())
    return (f"{results['date']}: {name}, torch {row['torch']}; matrix products at {rates}; medians of "
            f"{results['rounds']} rounds, load average {row['load'][0]} before and {row['load_after'][0]} after"
            + (f"; {row['note']}" if row["note"] else "") + ".\n")


def table_of(results: dict) -> str:
    """The page: for each device a sentence and a table."""
    text = ""
    for device, measured in results.items():
        text += machine(measured, device) + "\n| | clips/s | times | MiB a step | share of the matrix rate |\n"
        text += "| --- | ---: | ---: | ---: | ---: |\n"
        for size, networks in measured["sizes"].items():
            for kind, rows in networks.items():
                first = next(iter(rows.values()))
                text += f"| **{NETWORKS[kind]}, {SIZES[size]}**, {first['batch']} clips at once | | | | |\n"
                for way in (way for way in WAYS if way in rows):
                    row = rows[way]
                    share = rate(row, device) * row["operations"] / measured["rates"][row["precision"]]
                    text += (f"| {WAYS[way][kind]} | {rate(row, device):.3g} | {times(rows, way, device):.2f}× | "
                             f"{row['memory_mib']:,.0f} | {share:.0%} |\n").replace("%", " %")
        text += "\n"
    return text.rstrip("\n") + "\n" if text else "Not measured yet: `make benchmarks` fills this table.\n"


def write_page(results: dict) -> None:
    """Write the page."""
    io.atomic_write(PAGE, table_of(results))
