"""The tables of book/benchmarks.md, made from what `bench_masks.py` measured; a test compares page and results.

    >>> ratios({"steps": {}, "whole": {}})
    {}
"""

from __future__ import annotations

from pathlib import Path

import harness

from interp.masks import Stop

PAGE = Path(__file__).resolve().parents[2] / "book" / "benchmarks.md"
RESULTS = Path(__file__).resolve().parent / "results" / "masks.json"
STEPS = 300
# name in the results: (start, stop, precision) of find_masks
SEARCHES = {"300 steps": ("central", None, "fp32"), "stopping": ("central", Stop(), "fp32"),
            "300 steps, best window": ("best-window", None, "fp32"),
            "stopping, best window": ("best-window", Stop(), "fp32"),
            "stopping, best window, bf16": ("best-window", Stop(), "bf16")}
STOPPED = ("stopping", "stopping, best window", "stopping, best window, bf16")
NETWORKS = {"i3d": "I3D", "clstm": "C-LSTM"}


def floor_ms(steps: dict) -> float:
    """The floor: both passes for one clip, at the best of the batches tried."""
    return min(value["ms"] for name, value in steps.items() if name.startswith("floor"))


def seconds(found: dict) -> dict[str, float]:
    """Seconds of this process for one clip's search of 300 steps, or of what stopping leaves of them."""
    steps, whole = found.get("steps", {}), found.get("whole", {})
    rows = {}
    if steps:
        rows["released"] = STEPS * steps["released"]["ms"] / 1e3
        rows["single"] = STEPS * steps["single"]["ms"] / 1e3
        rows["floor"] = STEPS * floor_ms(steps) / 1e3
        rows["ours"] = (STEPS * steps["ours"]["ms"] + steps["ours"]["fixed_ms"]) / 1e3
    rows |= {name: whole[name]["seconds"] for name in STOPPED if name in whole}
    return rows


def ratios(found: dict) -> dict[str, float]:
    """What the targets speak of."""
    rows = seconds(found)
    given = {}
    if "ours" in rows:
        given = {"released / ours": rows["released"] / rows["ours"], "single / ours": rows["single"] / rows["ours"],
                 "ours / floor": rows["ours"] / rows["floor"]}
    if "ours" in rows and "matrix_rate" in found:
        given["share of (b)"] = found["operations"] / (found["steps"]["single"]["ms"] / 1e3) / found["matrix_rate"]
    for name in STOPPED:
        if name in rows and "300 steps" in found["whole"]:
            stopped, all_steps = found["whole"][name], found["whole"]["300 steps"]
            # the floor as measured just before and after this search
            given[f"floor / {name}"] = STEPS * stopped["floor_ms"] / 1e3 / stopped["seconds"]
            given[f"loss above, {name}"] = stopped["loss"] / all_steps["loss"] - 1
            own = found["whole"].get("300 steps" + name.removeprefix("stopping").removesuffix(", bf16"), all_steps)
            given[f"loss above its own, {name}"] = stopped["loss"] / own["loss"] - 1
    return given


def table(header: list[str], rows: list[list[str]]) -> str:
    """In Markdown, numbers to the right."""
    lines = [header, ["---"] + ["---" if head == "verdict" else "---:" for head in header[1:]], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def speeds(results: dict) -> str:
    """The first table: clips a second."""
    found = {name: results["models"][name] for name in NETWORKS if name in results["models"]}
    words = {"released": "(a) the released loop, one step timed",
             "single": "(b) lean, one clip at a time, two steps timed",
             "floor": "(c) the floor, both passes", "ours": "`find_masks`, 300 steps",
             "stopping": "`find_masks(stop=True)`",
             "stopping, best window": "the same, `start=\"best-window\"`",
             "stopping, best window, bf16": "the same, its steps in bfloat16"}
    rows = []
    for key, text in words.items():
        row = [text]
        for one in found.values():
            taken = seconds(one).get(key)
            row += [f"{1 / taken:.3g}", f"{taken:.3g}"] if taken else ["–", "–"]
        rows.append(row)
    header = [""] + [f"{NETWORKS[name]} {unit}" for name in found for unit in ("clips/s", "s/clip")]
    return table(header, rows)


def targets(results: dict) -> str:
    """The second table: ratios against their aims."""
    found = {name: results["models"][name] for name in NETWORKS if name in results["models"]}
    words = {"released / ours": ("faster than (a)", "≥ 30×", "{:.1f}×"),
             "single / ours": ("faster than (b)", "≥ 3×", "{:.1f}×"),
             "share of (b)": ("(b)'s share of the rate of matrix products", "", "{:.0%}"),
             "ours / floor": ("time against (c), 300 steps", "≤ 1.15", "{:.2f}"),
             **{f"{key}{name}": (text + words, aim, form) for name, words in (
                 ("stopping", ""), ("stopping, best window", ", best window"),
                 ("stopping, best window, bf16", ", best window, bfloat16")) for key, text, aim, form in (
                 ("floor / ", "stopping faster than (c)", "≥ 3×", "{:.1f}×"),
                 ("loss above, ", "its mean final loss against the paper's 300 steps", "≤ +1 %", "{:+.1%}"),
                 ("loss above its own, ", "against 300 steps from the same start", "", "{:+.1%}"))}}
    rows = []
    for key, (text, aim, form) in words.items():
        rows.append([text, aim, *(form.format(ratios(one)[key]).replace("%", " %") if key in ratios(one) else "–"
                                  for one in found.values())])
    return table(["", "aim", *(NETWORKS[name] for name in found)], rows)


def ideas(results: dict) -> str:
    """The third table: what each idea alone does to the cost of a step."""
    found = {name: results["models"][name]["steps"] for name in NETWORKS
             if results["models"].get(name, {}).get("steps")}
    words = {
        "ours": ("the first convolution answered once (the search as it is)", "kept"),
        "ours, no stem": ("the search without it", ""),
        "autograd": ("the same, the recurrence left to autograd", "replaced"),
        "channels last": ("both passes, clips in channels-last memory", "not kept: taken as they come"),
        "folded norms": ("both passes, normalisation folded into the convolutions, on a copy", "not kept"),
        "bfloat16": ("both passes in bfloat16", "kept, where asked for: `precision=\"bf16\"`"),
        "floor 4": ("both passes, 4 clips at once", "kept for networks without 1×1 convolutions"),
        "floor 8": ("both passes, 8 clips at once", "filled up to 16 on one thread, where there are 1×1 convolutions"),
        "floor 16": ("both passes, 16 clips at once", ""),
        "floor 32": ("both passes, 32 clips at once", "at most 32 at once"),
    }
    rows = [[text, *(f"{steps[key]['ms'] / floor_ms(steps):.2f}" if key in steps else "–"
                     for steps in found.values()), verdict] for key, (text, verdict) in words.items()]
    return table(["", *(NETWORKS[name] for name in found), "verdict"], rows)


def machine(results: dict) -> str:
    """One sentence a network: where, when, beside what."""
    lines = []
    for name, one in results["models"].items():
        here = one["machine"]
        known = ", ".join(here["instructions"]) or "no AVX"
        lines.append(
            f"- **{NETWORKS[name]}** (weights {one['sha256'][:8]}), {one['date']}: {here['processor']}, "
            f"{here['cores']} cores ({known}), {here['memory_gib']} GiB, {here['system']}, Python "
            f"{here['python']}, torch {here['torch']}, {here['threads']} thread{'s' * (here['threads'] > 1)}, "
            f"{len(one['ids'])} validation clips"
            + (f", medians of {one['rounds']} rounds" if "rounds" in one else "")
            + f". Load average {here['load'][0]} before, {here['load_after'][0]} after"
            + (f"; {here['note']}" if here["note"] else "") + ".\n")
    return "".join(lines)


def blocks(results: dict) -> dict[str, str]:
    """What stands between the marks of the page."""
    if not results.get("models"):
        none = "Not measured yet: `make benchmarks` fills this page.\n"
        return {"machine": none, "speeds": "", "targets": "", "ideas": ""}
    return {"machine": machine(results), "speeds": speeds(results), "targets": targets(results),
            "ideas": ideas(results)}


def write_page(results: dict) -> None:
    """Puts the tables into the page."""
    harness.fill(PAGE, blocks(results))
