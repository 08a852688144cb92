"""Sanity checks of a results folder: should its explanations be believed?"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp import io, recipes
from interp.study import read_json
from interp.study.sanity import compared, randomised
from interp.study.sanity.compared import baselines, difference_window, random_masks_test
from interp.study.sanity.randomised import between_clip_correlation, fit_permuted_labels, rank_correlation
from interp.study.sanity.sample import EvaluationSample, Missing, of_rows, open_run, plain
from interp.training.log import versions

__all__ = ["CHECKS", "EvaluationSample", "baselines", "between_clip_correlation", "difference_window",
           "fit_permuted_labels", "of_rows", "open_run", "random_masks_test", "rank_correlation", "read", "run",
           "shipped"]

FORMAT = 1  # of checks.json
# By their names in the files: from a sample to (numbers, values of each clip, whether masks and maps pass).
CHECKS = {"layers": randomised.random_layers, "labels": randomised.permuted_labels, "random": random_masks_test,
          "rivals": baselines, "lambdas": compared.lambdas, "perturbations": compared.perturbations,
          "soft": compared.binary_masks_test}
WORDS = {True: "passed", False: "failed", None: "not decided"}


def run(sample: EvaluationSample, out: str | Path, only: Sequence[str] | None = None, progress: bool = False,
        **labels: Any) -> dict[str, Any]:
    """Make checks into a folder: NAME.json for each, and checks.json with all. Finished ones are not made again.

    Args:
        sample: the clips, masks and model to check.
        out: the folder.
        only: names from CHECKS; all by default.
        progress: print the name of each check.
        labels: options of `permuted_labels`.

    Returns:
        What `read` gives; "left_out" has the reason for each check that lacks its material.

    Raises:
        ValueError: for an unknown name, or a folder of other checks.
    """
    if unknown := set(only or ()) - set(CHECKS):
        raise ValueError(f"only: expected names from {', '.join(CHECKS)}, got {', '.join(unknown)}")
    out, left_out = Path(out), {}
    labels["folder"] = out / "parts" / "training"
    settings = {"seed": sample.seed, "stop": dataclasses.asdict(sample.stop)}
    identity = plain({**settings, "about": sample.about})
    if (path := out / "settings.json").exists() and read_json(path) != identity:
        raise ValueError(f"{out} holds checks of another run, or with other settings; choose another folder")
    io.atomic_write_json(path, identity)
    for name in only or CHECKS:
        if (path := out / f"{name}.json").exists():
            continue
        if progress:
            print(name, file=sys.stderr, flush=True)
        start = time.perf_counter()
        try:
            numbers, clips, passed = CHECKS[name](sample, **(labels if name == "labels" else {}))
        except Missing as error:
            left_out[name] = str(error)
            continue
        io.atomic_write_json(path, plain({
            "check": name, "numbers": numbers, "clips": {"id": sample.ids, "class": sample.classes, **clips},
            "verdicts": {kind: {"word": WORDS[value]} for kind, value in passed.items()}, "settings": settings,
            "seconds": time.perf_counter() - start, "versions": versions()}))
    checks = {name: read_json(path) for name in CHECKS if (path := out / f"{name}.json").exists()}
    report = {"format": FORMAT, "about": sample.about, "checks": checks, "left_out": left_out, "versions": versions()}
    io.atomic_write_json(out / "checks.json", plain(report))
    return read(out)


def read(path: str | Path) -> dict[str, Any]:
    """Read {"about", "checks": {name: record}, "left_out": {name: reason}, "versions"}.

    path: a results folder with checks/, a folder of checks, or a checks.json. ValueError where it holds no checks.
    """
    places = [Path(path, "checks", "checks.json"), Path(path, "checks.json"), Path(path)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ValueError(f"expected finished checks in {places[-1]}, got none; python -m interp check makes them")
    report = read_json(path)
    if report.get("format") != FORMAT or not {"about", "checks"} <= set(report):
        raise ValueError(f"{path}: expected checks of this package (format {FORMAT}), got other content")
    report["checks"] = {name: check for name, check in report["checks"].items() if name in CHECKS}
    return report


def shipped(data: str = "motion") -> dict[str, dict[str, Any]]:
    """The checks of the recorded runs, {"i3d": ..., "clstm": ...}, without models that have none."""
    folder = Path(__file__).parents[1] / "record_data"
    return {name: read(path) for name in recipes.MODELS if (path := folder / f"checks_{name}_{data}.json").exists()}
