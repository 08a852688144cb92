"""Sanity checks of a results folder: should its explanations be believed?

Every check takes a sample and returns its numbers, the values of each clip, and whether masks and maps pass. Random
weights and permuted labels are after Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.
"""

import contextlib
import copy
import dataclasses
import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from interp import io, recipes, training
from interp.core.inference import attribute, predict
from interp.core.windows import best_windows, penalty, score_table
from interp.data.dataset import read_json
from interp.models import build, weights
from interp.study import import_extra, measures, results
from interp.study.sample import EvaluationSample, Missing, load_clips, plain, seeded
from interp.training.evaluate import evaluate
from interp.training.log import versions

FORMAT = 2  # of checks.json
WORDS = {True: "passed", False: "failed", None: "not decided"}
SIMILAR = 0.5  # a rank correlation of one half leaves three quarters of the ranks' variance unexplained
CONTAINED = 0.75  # of the shorter of two masks: three frames of four
SEARCHES = 3  # stages of random weights for which masks are searched too, from the first to the last
FITTED = 0.95  # accuracy from which on permuted labels count as learned
DRAWN = 100  # random masks of each kind for a clip
KINDS = ("scattered", "runs")  # of random masks
JUDGES = ("freeze", "blur")  # what masks of one length are compared under: that of the search, and another one
# Changed searches by name: factors of the recipe's prices, and the perturbation.
LAMBDAS = {f"{key} {word}": ({key: factor}, "freeze") for key in ("lambda1", "lambda2")
           for word, factor in (("halved", 0.5), ("doubled", 2.0))}
PERTURBATIONS = {kind: ({}, kind) for kind in ("freeze", "reverse", "shuffle", "blur")}


def random_layers(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """Compare with the explanations after random weights, from the classifier down, for the same class."""
    trained = {"masks": sample.unchanged, "maps": sample.maps().flatten(1)}
    names = stages(sample.model, sample.clips[:1])[::-1]
    searched = np.linspace(0, len(names) - 1, SEARCHES).round()
    median, flat = ({kind: [None] * len(names) for kind in trained} for _ in range(2))  # None: no masks were searched
    clips = {"masks": [], "maps": []}
    for depth in range(len(names)):
        model = randomise(sample.model, names[:depth + 1], sample.clips, sample.seed)
        changed = {"maps": sample.maps(model).flatten(1)}
        if depth in searched:
            changed["masks"] = sample.search(model=model)
        for kind, values in changed.items():
            clips[kind].append(rank_correlation(trained[kind], values))
            median[kind][depth] = clips[kind][-1].nanquantile(0.5)
            flat[kind][depth] = np.mean(np.ptp(np.asarray(values).round(2), axis=1) == 0)
    chance = {kind: between_clip_correlation(values) for kind, values in trained.items()}
    last = sample.means({kind: rows[-1] for kind, rows in clips.items()})
    return ({"stages": names, "median": median, "flat": flat, "chance": chance, "correlation": last},
            {kind: torch.stack(rows, dim=1) for kind, rows in clips.items()},
            {kind: decide(number, most=SIMILAR) for kind, number in last.items()})


def permuted_labels(sample: EvaluationSample, folder: str | Path, clips: int = 240, epochs: int = 40,
                    workers: int = 0) -> tuple[dict, dict, dict]:
    """Compare with a model trained into `folder` to fit permuted labels; each explains its prediction of its clips."""
    if sample.train is None:
        raise Missing("expected a training set, got none; give the folder that holds it as --root")
    original, permuted = permute_labels(sample.train, clips, sample.seed)
    models = {"true": sample.model,
              "permuted": fit_permuted_labels(sample.model, permuted, folder, epochs, sample.seed, workers)}
    accuracy = evaluate(models["permuted"], permuted)["top1"]
    shown = original.subset(results.choose(original, len(sample.ids), sample.seed))
    frames, known = load_clips(shown)
    sample = dataclasses.replace(sample, clips=frames, ids=shown.ids, known=known,
                                 classes=[shown.classes[row.label] for row in shown.samples])
    explanations, values = {"masks": [], "maps": []}, {}
    for name, model in models.items():
        targets = predict(model, frames, sample.batch_size, sample.ids).argmax(dim=1)
        masks = sample.search(model=model, targets=targets)
        explanations["masks"].append(masks)
        explanations["maps"].append(sample.maps(model, targets).flatten(1))
        values |= {f"{name}_{key}": value for key, value in sample.describe(masks).items()}
    values |= {kind: rank_correlation(*pair) for kind, pair in explanations.items()}
    numbers = sample.means(values)
    passed = {kind: decide(numbers[kind], most=SIMILAR) if accuracy >= FITTED else None for kind in explanations}
    numbers |= {
        "accuracy": accuracy, "train_clips": len(permuted),
        "chance": {kind: between_clip_correlation(pair[0]) for kind, pair in explanations.items()}}
    return numbers, {"ids": shown.ids, **values}, passed


def random_masks_test(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """The share of masks as long as the found one whose score is higher, beside that share for a random network.

    No window as long as a proven mask can have a lower score by freezing, whatever the network. So masks are also
    compared by blurring, which chose none of them, and with the runs as long that freezing chooses in a network that
    knows nothing, where mostly no mask pays.
    """
    model = randomise(sample.model, stages(sample.model, sample.clips[:1]), sample.clips, sample.seed)
    guesses = predict(model, sample.clips, sample.batch_size).argmax(dim=1)
    chosen = []
    for clip, guess, mask in zip(sample.clips, guesses, sample.binary_masks, strict=True):
        runs = measures.single_runs(len(mask), int(mask.sum()))
        scores = score_table(model, clip[None], runs, guess[None], sample.recipe, batch_size=sample.batch_size)
        chosen.append(runs[scores.argmin()])
    random = dataclasses.replace(sample, model=model, explained=guesses, masks=torch.stack(chosen))
    shares, of_random = shares_beaten(sample), shares_beaten(random)
    values = {**shares, **{f"random_{key}": share for key, share in of_random.items()},
              **{f"gap_{key}": share - of_random[key] for key, share in shares.items()}}
    numbers = sample.means(values)
    passed = decide(*(numbers[f"gap_{kind}_blur"] for kind in KINDS), least=0)
    return numbers | {"drawn": DRAWN}, values, {"masks": passed}


def baselines(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """The binary mask beside the best window and a window round the largest change, which knows no network."""
    change = measures.largest_change(sample.clips)
    masks = {"found": sample.binary_masks, "window": best_windows(**sample.arguments).masks,
             "change": measures.change_windows(sample.binary_masks, change)}
    values = {}
    if sample.known is not None:
        values["chance_agreement"] = measures.chance_agreement(sample.binary_masks, sample.known)
    for name, rows in masks.items():
        scores = sample.scores(rows)
        values |= {f"{name}_score": scores, f"{name}_loss": least_penalty(rows, sample.recipe) + scores,
                   f"{name}_length": measures.length(rows)}
        if sample.known is not None:
            values[f"{name}_agreement"] = measures.agreement(rows, sample.known)
    gaps = {f"{key}_to_{name}": values[f"found_{key}"] - values[f"{name}_{key}"]
            for name in ("window", "change") for key in ("score", "loss", "agreement") if f"{name}_{key}" in values}
    numbers = sample.means(values | gaps)
    passed = decide(numbers["score_to_change"], most=0)
    if sample.known is not None:
        passed = decide(numbers["agreement_to_change"], least=0)
    return numbers, values, {"masks": passed}


def compare_searches(sample: EvaluationSample, changes: dict[str, tuple]) -> tuple[dict, dict, dict]:
    """Each changed search beside the unchanged one; passed where the shorter of two masks lies in the other.

    Lengths alone keep the overlap of a short and a long mask small, so what counts is the share of the shorter one.
    """
    unchanged, numbers = sample.unchanged, {}
    clips = {"length": measures.length(unchanged)}
    for name, (factors, perturbation) in changes.items():
        prices = {key: factor * getattr(sample.recipe, key) for key, factor in factors.items()}
        masks = unchanged if name == "freeze" else sample.search(
            recipe=dataclasses.replace(sample.recipe, **prices), perturbation=perturbation)
        values = {"contained": containment(masks, unchanged), "overlap": overlap(masks, unchanged),
                  "change": measures.length(masks) - clips["length"],
                  "drop": sample.originals - sample.scores(masks, perturbation),
                  "strangers": chance_containment(masks, unchanged), **sample.describe(masks)}
        clips |= {f"{name}: {key}": value for key, value in values.items()}
        numbers[name] = sample.means(values)
    passed = decide(*(number["contained"] for name, number in numbers.items() if name != "freeze"), least=CONTAINED)
    return numbers | sample.means({"length": clips["length"]}), clips, {"masks": passed}


CHECKS = {"layers": random_layers, "labels": permuted_labels, "random": random_masks_test, "baselines": baselines,
          "lambdas": partial(compare_searches, changes=LAMBDAS),
          "perturbations": partial(compare_searches, changes=PERTURBATIONS)}


def run(sample: EvaluationSample, out: str | Path, only: Sequence[str] | None = None, progress: bool = False,
        **labels: Any) -> dict[str, Any]:
    """Make checks into `out`/checks.json, which is written after each of them; finished ones are not made again.

    only: names from CHECKS; all by default. progress: print the name of each check. labels: options of
    `permuted_labels`. Returns what `read` does; "left_out" says which material a check lacks. ValueError for an
    unknown name, or a folder of other checks.
    """
    if unknown := set(only or ()) - set(CHECKS):
        raise ValueError(f"only: expected names from {', '.join(CHECKS)}, got {', '.join(unknown)}")
    path, about = Path(out, "checks.json"), plain(sample.about)
    report = {"format": FORMAT, "about": about, "checks": {}, "left_out": {}, "versions": versions()}
    if path.exists() and (report := read(path))["about"] != about:
        raise ValueError(f"{out} holds checks of another run, or with another seed; choose another folder")
    for name in only or CHECKS:
        if name in report["checks"]:
            continue
        if progress:
            print(name, file=sys.stderr, flush=True)
        start, options = time.perf_counter(), {**labels, "folder": Path(out, "training")} if name == "labels" else {}
        report["left_out"].pop(name, None)
        try:
            numbers, clips, passed = CHECKS[name](sample, **options)
            report["checks"][name] = plain({
                "check": name, "numbers": numbers, "clips": {"id": sample.ids, "class": sample.classes, **clips},
                "verdicts": {kind: {"word": WORDS[value]} for kind, value in passed.items()},
                "seconds": time.perf_counter() - start, "versions": versions()})
        except Missing as error:
            report["left_out"][name] = str(error)
        io.atomic_write_json(path, report)
    return read(path)


def read(path: str | Path) -> dict[str, Any]:
    """Read {"about", "checks": {name: record}, "left_out": {name: reason}, "versions"}.

    path: a results folder with checks/, a folder of checks, or a checks.json. ValueError where it holds no checks.
    """
    places = Path(path, "checks", "checks.json"), Path(path, "checks.json"), Path(path)
    if not (path := next((place for place in places if place.is_file()), None)):
        raise ValueError(f"expected finished checks in {places[-1]}, got none; python -m interp check makes them")
    report = read_json(path)
    if report.get("format") != FORMAT or not {"about", "checks"} <= set(report):
        raise ValueError(f"{path}: expected checks of this package (format {FORMAT}), got other content")
    return report | {"checks": {name: report["checks"][name] for name in CHECKS if name in report["checks"]}}


def shipped(data: str = "motion") -> dict[str, dict[str, Any]]:
    """The checks of the recorded runs, {"i3d": ..., "clstm": ...}, without models that have none."""
    folder = Path(__file__).parent / "record_data"
    return {name: read(path) for name in recipes.MODELS if (path := folder / f"checks_{name}_{data}.json").exists()}


def stages(model: nn.Module, clip: Tensor) -> list[str]:
    """Names of the model's blocks with weights, in the order in which a clip (1,C,T,H,W) passes them."""
    names = []
    with contextlib.ExitStack() as hooks:
        for name, block in _blocks("", model, True).items():
            hooks.enter_context(block.register_forward_pre_hook(lambda *_, name=name: names.append(name)))
        predict(model, clip)
    return list(dict.fromkeys(names))


def _blocks(name: str, module: nn.Module, opened: bool) -> dict[str, nn.Module]:
    """The children of the first module that has several; lists of modules are opened."""
    children = {key: child for key, child in module.named_children() if any(True for _ in child.parameters())}
    if not children or module._parameters or not (opened or isinstance(module, nn.Sequential | nn.ModuleList)):
        return {name: module}
    return {path: block for key, child in children.items()
            for path, block in _blocks(f"{name}.{key}".lstrip("."), child, len(children) == 1).items()}


@torch.no_grad()
def randomise(model: nn.Module, names: Sequence[str], clips: Tensor, seed: int = 0) -> nn.Module:
    """A copy of the model in which the values within each weight tensor of the named stages are shuffled.

    Their batch normalisations take the clips' statistics, or the signal would die.
    """
    model = copy.deepcopy(model).eval()
    for name in names:
        generator = seeded(seed, f"weights:{name}")
        for weight in model.get_submodule(name).parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
        for module in model.get_submodule(name).modules():
            if isinstance(module, _BatchNorm):
                module.train().reset_running_stats()
                module.momentum = None  # the mean over all batches
    for batch in clips.split(16):
        model(batch.to(next(model.parameters()).device))
    return model.eval()


def permute_labels(dataset: Any, count: int, seed: int = 0) -> tuple[Any, Any]:
    """`count` clips of a dataset, the classes taking turns, with their labels and with the same labels shuffled."""
    original = dataset.subset(results.choose(dataset, count, seed))
    labels = [sample.label for sample in original.samples]
    if None in labels:
        raise Missing(f"expected a label for every clip of {dataset.name}, got some without")
    permuted, order = copy.copy(original), torch.randperm(len(labels), generator=seeded(seed, "labels"))
    permuted.name = f"{dataset.name}, labels permuted"
    permuted.samples = [dataclasses.replace(sample, label=labels[i])
                        for sample, i in zip(original.samples, order, strict=True)]
    return original, permuted


def fit_permuted_labels(model: nn.Module, train_set: Any, folder: str | Path, epochs: int = 40, seed: int = 0,
                        workers: int = 0) -> nn.Module:
    """A new network of the model's kind, trained by its recipe without augmentation and regularisation."""
    config, record = (attribute(model, key, Mapping) or {} for key in ("config", "record"))
    if "model" not in config or not record.get("recipe"):
        raise Missing(f"expected a model that `interp train` made, got {type(model).__name__} without its recipe")
    recipe = recipes.from_dict(record["recipe"])
    recipe = recipes.change(recipe, name=f"{recipe.name}_permuted", epochs=epochs, augment=False, dropout=0.0,
                            label_smoothing=0.0, weight_decay=0.0, batch_size=min(16, recipe.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = build(config | {"dropout": 0.0, "num_classes": len(train_set.classes)})
    watched, device = train_set.subset(range(min(48, len(train_set)))), next(model.parameters()).device
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for verdicts
        training.train(recipe, train_set, watched, folder, resume=True, device=device, workers=workers, seed=seed,
                       model=new)
    return weights.read(Path(folder) / "best.safetensors").to(device)


def random_masks(mask: Tensor, generator: torch.Generator, count: int = DRAWN) -> tuple[Tensor, Tensor]:
    """Scattered masks and single runs, each (count,T), as long as a binary mask (T,) and different where possible."""
    length = int(mask.sum())
    if length in (0, len(mask)):
        return mask.expand(count, -1), mask.expand(count, -1)
    scattered = []
    while len(scattered) < count:
        frames = torch.randperm(len(mask), generator=generator)[:length]
        if not mask[frames].all():
            scattered.append(torch.zeros(len(mask)).index_fill(0, frames, 1))
    runs = measures.single_runs(len(mask), length)
    runs = runs[(runs != mask).any(dim=1)]
    return torch.stack(scattered), runs[torch.randint(len(runs), (count,), generator=generator)]


def shares_beaten(sample: EvaluationSample) -> dict[str, Tensor]:
    """{"KIND_JUDGE": the share (B,) of KINDS of random masks with a higher score; equal ones count half}.

    nan where all frames or none are on, and no other mask has this length.
    """
    masks, lengths, shares = sample.binary_masks, measures.length(sample.binary_masks), {}
    drawn = [random_masks(mask, seeded(sample.seed, f"random:{name}"))
             for mask, name in zip(masks, sample.ids, strict=True)]
    for judge in JUDGES:
        scores = sample.scores(masks, judge)[:, None]
        for kind, others in zip(KINDS, map(torch.stack, zip(*drawn, strict=True)), strict=True):
            share = (0.5 + 0.5 * (sample.scores(others, judge) - scores).sign()).mean(dim=1)
            shares[f"{kind}_{judge}"] = torch.where((lengths == 0) | (lengths == masks.shape[1]), torch.nan, share)
    return shares


def least_penalty(masks: Tensor, recipe: recipes.MaskRecipe) -> Tensor:
    """The cost (B,) of masks where frame 0, which changes no frozen clip, has the value that costs less."""
    first = torch.tensor([0])
    return torch.minimum(*(penalty(masks.index_fill(1, first, value), recipe) for value in (0, 1)))


def containment(first: Tensor, second: Tensor) -> Tensor:
    """The share (B,) of the shorter mask's frames that are on in the other one too; nan where a mask is empty."""
    both = measures.length(((first > 0.5) & (second > 0.5)).float())
    shorter = measures.length(first).minimum(measures.length(second))
    return torch.where(shorter > 0, both / shorter, torch.nan)


def chance_containment(masks: Tensor, others: Tensor) -> Tensor:
    """The mean (B,) of `containment` in the others over every place of one run as long as each mask."""
    runs = [measures.single_runs(masks.shape[1], number) for number in measures.length(masks).tolist()]
    return torch.stack([containment(rows, row.expand_as(rows)).mean() for rows, row in zip(runs, others, strict=True)])


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (B,) of the frames that are on; 1 for two masks without any."""
    empty = measures.length(first) + measures.length(second) == 0
    return torch.where(empty, 1.0, measures.agreement(first, second))


def rank_correlation(first, second) -> Tensor:
    """Spearman's rank correlation (B,) of the rows of two arrays (B,N), rounded to hundredths first.

    nan where the first row is constant: there is nothing to compare with. 0 where only the second one is.
    """
    rank = import_extra("scipy.stats").rankdata
    ranks = [rank(np.asarray(values, dtype=np.float64).round(2), axis=1) for values in (first, second)]
    first, second = (torch.from_numpy(rows - rows.mean(axis=1, keepdims=True)) for rows in ranks)
    return torch.where(first.any(dim=1), nn.functional.cosine_similarity(first, second), torch.nan)


def between_clip_correlation(values) -> float:
    """The median rank correlation of different rows of (B,N): what explanations of two clips share anyway."""
    rows = [rank_correlation(values, np.roll(values, shift, axis=0)) for shift in range(1, len(values))]
    return float(torch.cat(rows).nanquantile(0.5)) if rows else float("nan")


def decide(*numbers: Mapping[str, float], least: float = -math.inf, most: float = math.inf) -> bool | None:
    """Whether all numbers' intervals lie between least and most; False where one lies wholly outside, else None."""
    if all(number["low"] > least and number["high"] < most for number in numbers):
        return True
    return False if any(number["high"] < least or number["low"] > most for number in numbers) else None
