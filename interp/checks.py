"""Sanity checks: should the explanations of a run be believed? Each gives numbers, a picture and a verdict.

Sources: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, for random weights and permuted labels; the
others are this project's own, of the masks of Mänttäri, Broomé et al., ACCV 2020. Axes: masks (B,T), 1 = perturbed.

    >>> subject = open_run("runs/i3d", interp.load("i3d"), validation, clips=24, train=training)
    >>> results = run(subject, "runs/i3d/checks")
    >>> results["checks"]["random"]["verdicts"]["masks"]["sentence"]

In the folder, each file whole as soon as it is finished: NAME.json and NAME.png for every check, parts/ with what a
killed run goes on from, and checks.json, all results in one file, which `read` reads and a chapter needs nothing else
than. A folder holds the checks of one network on the same clips.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp import checks_labels, checks_layers, checks_plots, checks_rivals, checks_variants, recipes, whole
from interp.checks_labels import Missing
from interp.checks_numbers import Outcome
from interp.checks_parts import Parts, plain
from interp.checks_subject import Subject, of_rows, open_run
from interp.train_log import versions

__all__ = ["CHECKS", "Missing", "Subject", "compare", "of_rows", "one", "open_run", "read", "run", "shipped"]

FORMAT = 1  # of the files
AGREES = 0.05  # two machines add in another order; a score near a tie may fall on its other side
SHIPPED = Path(__file__).parent / "record_data"


@dataclass(frozen=True)
class Check:
    """One sanity check: what it asks, how it is measured, the function that does, and what not to conclude where it
    fails."""

    question: str
    measure: str
    make: Callable[..., Outcome]
    caution: str


CHECKS = {
    "layers": Check("Does the explanation depend on the network's weights?",
                    "Weights made random block by block, from the classifier down: rank correlation of masks and maps "
                    "with the trained network's, the median over clips.", checks_layers.layers,
        "it says nothing about this network: do not read it at all"),
    "labels": Check("Does it depend on what the network has learned?",
                    "A network trained on permuted labels until it knows them by heart: rank correlation of its masks "
                    "and maps with the true network's, on training clips of both.", checks_labels.labels,
        "it shows how such a network is built, not what it has learned"),
    "random": Check("Does the mask find better frames than luck does?",
                    f"{checks_rivals.DRAWN} scattered masks and as many single runs of the same length for each clip: "
                    "the share whose score is higher.", checks_rivals.by_lot,
        "other frames would do as well: do not call these the decisive ones"),
    "rivals": Check("Does it do better than masks that know nothing of the network?",
                    "Score, loss and agreement of the untouched central start, the best window, and the frames of the "
                    "largest frame difference.", checks_rivals.rivals,
        "the search has found no more than a rule that is blind to the network"),
    "starts": Check("Is the mask the same wherever its search begins?",
                    f"{checks_variants.STARTS} random starts: overlap of their masks, spread of their losses.",
                    checks_variants.starts,
        "it is one mask of several: do not say that other frames do not matter"),
    "lambdas": Check("Is it the same when the weights of the loss change?",
                     "λ₁ and λ₂ halved and doubled: change of length, overlap with the mask unchanged.",
                     checks_variants.lambdas,
        "its length is a choice of the loss: compare lengths under one recipe only"),
    "perturbations": Check("Is it the same however frames are perturbed?",
                           "Masks searched by freezing, reversing, shuffling and blurring: overlap with freezing's.",
                           checks_variants.perturbations,
        "it tells when freezing hurts, not when the network looks"),
    "soft": Check("Is the mask that is shown the one whose scores are told?",
                  "The soft mask against the snapped one: how much of the drop is left.", checks_rivals.soft,
        "the bar that is shown is not the mask whose scores are told"),
}  # fmt: skip


def run(subject: Subject, out: str | Path, only: Sequence[str] | None = None, *, progress: bool = False,
        **labels: Any) -> dict[str, Any]:
    """Make the checks named in `only` (all) into the folder `out`, going on after those that are finished.

    labels: options of `checks_labels.labels`. A check that cannot be made from what is at hand is told, and left out.
    Gives what checks.json holds. ValueError for an unknown name, or a folder of other checks, naming what differs.
    """
    wanted = list(CHECKS) if only is None else list(only)
    unknown = [name for name in wanted if name not in CHECKS]
    if unknown:
        raise ValueError(f"there is no check {unknown[0]!r}; expected some of {', '.join(CHECKS)}")
    out = Path(out)
    _claim(out, subject, labels)
    left_out, known = {}, {}
    for name in (name for name in CHECKS if name in wanted):
        path = out / f"{name}.json"
        if not path.exists():
            begun = time.perf_counter()
            part = _told(name, begun, progress)
            parts = Parts(out / "parts" / name, part, known)
            options = {"folder": out / "parts" / "training", **labels} if name == "labels" else {}
            try:
                found = one(name, subject, parts, **options)
            except Missing as missing:
                left_out[name] = str(missing)
                part(str(missing))
                continue
            whole.write(path, json.dumps({**_head(subject), **found}, indent=1, ensure_ascii=False) + "\n")
        record = _json(path)
        picture = path.with_suffix(".png")
        if not picture.exists():
            whole.write(picture, _picture(name, record, subject))
        if progress:
            for of, verdict in record["verdicts"].items():
                print(f"{name} ({of}, {record['seconds']:.0f} s): {verdict['sentence']}", file=sys.stderr, flush=True)
    return _gather(out, subject, left_out)


def one(name: str, subject: Subject, parts: Parts | None = None, **options: Any) -> dict[str, Any]:
    """One check's record: question, measure, numbers, values of each clip, verdicts, settings, seconds."""
    check, begun = CHECKS[name], time.perf_counter()
    outcome = check.make(subject, parts or Parts(), **options)
    told = {key: value for key, value in options.items() if isinstance(value, int | float | str)}
    return plain({"check": name, "question": check.question, "measure": check.measure, "numbers": outcome.numbers,
                  "clips": {"id": subject.ids, "class": subject.classes, **outcome.clips}, "verdicts": outcome.verdicts,
                  "settings": {**_settings(subject), **told}, "seconds": round(time.perf_counter() - begun, 1)})


def read(path: str | Path) -> dict[str, Any]:
    """The checks of a results folder, of a folder of checks, or of a checks.json: {"about", "checks": {name: record},
    "left_out": {name: reason}}. ValueError where there are none, or the file is damaged."""
    path = Path(path)
    for place in (path / "checks" / "checks.json", path / "checks.json"):
        if place.exists():
            path = place
    if not path.is_file():
        raise ValueError(f"there are no finished checks in {path}; python -m interp check makes them")
    found = _json(path)
    whole_one = isinstance(found.get("checks"), dict) and "clips" in (found.get("about") or {})
    if found.get("format") != FORMAT or not whole_one:
        raise ValueError(f"{path} holds no checks of this package (format {FORMAT})")
    return found


def shipped(data: str = "motion") -> dict[str, dict[str, Any]]:
    """The checks of the recorded runs that ship with the package, {"i3d": ..., "clstm": ...}; a network whose checks
    have not been made is not among them."""
    paths = {name: SHIPPED / f"checks_{name}_{data}.json" for name in recipes.MODELS}
    return {name: read(path) for name, path in paths.items() if path.exists()}


def compare(again: Mapping[str, Any], record: Mapping[str, Any], tolerance: float = AGREES) -> int:
    """Hold a check made again, of some of the clips, against its record: how many values of single clips agree.

    ValueError names the first clip and value that lie more than `tolerance` apart, and a clip the record has not.
    """
    places, values = {name: i for i, name in enumerate(record["clips"]["id"])}, 0
    for key, own in again["clips"].items():
        for name, new in zip(again["clips"]["id"], own, strict=True):
            if name not in places:
                raise ValueError(f"the record has no clip {name!r}")
            old = record["clips"][key][places[name]]
            same = new == old if new is None or old is None or isinstance(new, str) else abs(new - old) <= tolerance
            if not same:
                raise ValueError(f"{record['check']}: {key} of clip {name} was recorded as {old}, now it is {new}; the "
                                 "network, the clips or the code have changed since")
            values += not isinstance(new, str)
    return values


def _settings(subject: Subject) -> dict[str, Any]:
    return {"seed": subject.seed, "stop": dataclasses.asdict(subject.stop), "precision": subject.precision}


def _head(subject: Subject) -> dict[str, Any]:
    about = {key: value for key, value in subject.about.items() if key != "clips"}
    return {"format": FORMAT, **about, "versions": versions()}


def _claim(out: Path, subject: Subject, labels: Mapping[str, Any]) -> None:
    """Mark the folder as this subject's, or refuse one of another's."""
    path = out / "settings.json"
    options = {key: value for key, value in labels.items() if key in ("clips", "epochs")}
    here = plain({"weights": subject.about.get("model", {}).get("weights"), "recipe": recipes.asdict(subject.recipe),
                  "clips": subject.ids, "labels": options, **_settings(subject)})
    if path.exists():
        there = _json(path)
        differing = [f"{key} was {there.get(key)}, is {here[key]}" for key in here if there.get(key) != here[key]]
        if differing:
            raise ValueError(f"{out} holds other checks: {'; '.join(one[:200] for one in differing)}. Make them as "
                             "they were begun, or choose another folder with --out")
        return
    if out.exists() and any(not one.name.startswith(whole.PREFIX) for one in out.iterdir()):
        raise ValueError(f"{out} holds files and no settings.json, so it is no folder of checks; name an empty one")
    whole.write_json(path, here)


def _told(name: str, begun: float, progress: bool) -> Callable[[str], None]:
    def say(words: str) -> None:
        if progress:
            print(f"{name}: {time.perf_counter() - begun:.0f} s, {words}", file=sys.stderr, flush=True)

    return say


def _picture(name: str, record: Mapping[str, Any], subject: Subject) -> bytes:
    target = io.BytesIO()
    label = subject.about.get("model", {}).get("name", type(subject.model).__name__)
    checks_plots.draw(name, {label: record}).savefig(target, format="png", dpi=150)
    return target.getvalue()


def _gather(out: Path, subject: Subject, left_out: Mapping[str, str]) -> dict[str, Any]:
    """checks.json from all checks that are finished."""
    done = {name: _json(out / f"{name}.json") for name in CHECKS if (out / f"{name}.json").exists()}
    keys = ("check", "question", "measure", "numbers", "clips", "verdicts", "settings", "seconds")
    rows = [{**row, "mask": [round(float(one), 4) for one in row["mask"]]} for row in subject.about.get("clips", [])]
    told = {name: {key: own[key] for key in keys} for name, own in done.items()}
    made, *later = [own["versions"] for own in done.values()] or [versions()]
    later = [one for place, one in enumerate(later) if one not in (made, *later[:place])]
    found = {"format": FORMAT, "about": {**subject.about, "clips": rows}, "checks": told, "left_out": dict(left_out),
             "versions": made, **({"continued_with": later} if later else {})}  # fmt: skip
    whole.write(out / "checks.json", json.dumps(plain(found), ensure_ascii=False, separators=(",", ":")))
    return _json(out / "checks.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}; remove it to make it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no object; remove it to make it again")
    return found
