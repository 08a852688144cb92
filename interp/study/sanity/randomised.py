"""Random weights and permuted labels: an explanation that stays the same is not about what was learned.

After Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018. Explanations are compared by Spearman's rank
correlation: masks (B,T), maps (B,T',H',W') flattened.
"""

import contextlib
import copy
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from interp import recipes, training
from interp.core.inference import predict
from interp.models import build, weights
from interp.study import import_extra, measures, results
from interp.study.sanity.sample import EvaluationSample, Missing, load_clips, seeded
from interp.training.evaluate import evaluate

SIMILAR = 0.5  # a rank correlation of one half leaves three quarters of the ranks' variance unexplained
SEARCHES = 3  # stages of random weights for which masks are searched too, from the first to the last
FITTED = 0.95  # accuracy from which on permuted labels count as learned


def random_layers(sample: EvaluationSample) -> tuple[dict, dict, dict]:
    """Compare with the explanations after random weights, from the classifier down, for the same class."""
    trained = {"masks": sample.unchanged, "maps": sample.maps().flatten(1)}
    names = stages(sample.model, sample.clips[:1])[::-1]
    searched = {round(i * (len(names) - 1) / (SEARCHES - 1)) for i in range(SEARCHES)}
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
            flat[kind][depth] = np.mean(np.ptp(_rounded(values), axis=1) == 0)
    chance = {kind: between_clip_correlation(values) for kind, values in trained.items()}
    return ({"stages": names, "median": median, "flat": flat, "chance": chance},
            {kind: torch.stack(rows, dim=1) for kind, rows in clips.items()},
            {kind: _differs(median[kind][-1]) for kind in trained})


def permuted_labels(sample: EvaluationSample, folder: str | Path, clips: int = 240, epochs: int = 40,
                    workers: int = 0, permuted_model: nn.Module | None = None) -> tuple[dict, dict, dict]:
    """Compare with the explanations of a model that fits permuted labels, on clips that both models were trained on.

    Each model explains its predicted class. The second one is trained into `folder`, or is `permuted_model`.
    """
    if sample.train is None:
        raise Missing("expected a training set, got none; give the folder that holds it as --root")
    original, permuted = permute_labels(sample.train, clips, sample.seed)
    if permuted_model is None:
        permuted_model = fit_permuted_labels(sample.model, permuted, folder, epochs, sample.seed, workers)
    models = {"true": sample.model, "permuted": permuted_model.to(next(sample.model.parameters()).device)}
    accuracy = evaluate(models["permuted"], permuted)["top1"]
    shown = original.subset(results.choose(original, len(sample.ids), sample.seed))
    frames, known = load_clips(shown)
    sample = dataclasses.replace(sample, clips=frames, ids=shown.ids,
                                 classes=[shown.classes[row.label] for row in shown.samples])
    explanations, values = {"masks": [], "maps": []}, {}
    for name, model in models.items():
        targets = predict(model, frames, sample.batch_size, sample.ids).argmax(dim=1)
        masks = sample.search(model=model, targets=targets)
        explanations["masks"].append(masks)
        explanations["maps"].append(sample.maps(model, targets).flatten(1))
        values[f"{name}_length"] = measures.length(masks)
        if known is not None:
            values[f"{name}_agreement"] = measures.agreement(masks, known)
            values[f"{name}_chance"] = measures.chance_agreement(masks, known)
    values |= {kind: rank_correlation(*pair) for kind, pair in explanations.items()}
    medians = {kind: values[kind].nanquantile(0.5) for kind in explanations}
    numbers = sample.means(values) | {
        "accuracy": accuracy, "train_clips": len(permuted), "median": medians,
        "chance": {kind: between_clip_correlation(pair[0]) for kind, pair in explanations.items()}}
    passed = {kind: _differs(median) if accuracy >= FITTED else None for kind, median in medians.items()}
    return numbers, {"ids": shown.ids, **values}, passed


def stages(model: nn.Module, clip: Tensor) -> list[str]:
    """Names of the model's blocks with weights, in the order in which a clip (1,C,T,H,W) passes them."""
    names = []
    hooks = [block.register_forward_pre_hook(lambda *_, name=name: names.append(name))
             for name, block in _blocks("", model, True).items()]
    try:
        predict(model, clip)
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(names))


def _blocks(name: str, module: nn.Module, opened: bool) -> dict[str, nn.Module]:
    """The children of the first module that has several; lists of modules are opened."""
    children = {key: child for key, child in module.named_children() if any(True for _ in child.parameters())}
    if not children or module._parameters or not (opened or isinstance(module, nn.Sequential | nn.ModuleList)):
        return {name: module}
    return {path: block for key, child in children.items()
            for path, block in _blocks(f"{name}.{key}".lstrip("."), child, len(children) == 1).items()}


def randomise(model: nn.Module, names: Sequence[str], clips: Tensor, seed: int = 0) -> nn.Module:
    """A copy of the model in which the values within each weight tensor of the named stages are shuffled.

    Batch normalisations in these stages take their statistics from the clips, or the signal would die.
    """
    model = copy.deepcopy(model).eval()
    norms = [module for name in names for module in model.get_submodule(name).modules()
             if isinstance(module, _BatchNorm)]
    with torch.no_grad():
        for name in names:
            generator = seeded(seed, f"weights:{name}")
            for weight in model.get_submodule(name).parameters():
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))
        for norm in norms:
            norm.train().reset_running_stats()
            norm.momentum = None  # the mean over all batches
        for batch in clips.split(16) if norms else ():
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
    config, record = (getattr(model, key, None) or {} for key in ("config", "record"))
    if "model" not in config or not record.get("recipe"):
        raise Missing(f"{type(model).__name__} does not say how it was trained; give a trained model as --permuted")
    recipe = recipes.from_dict(record["recipe"])
    recipe = recipes.change(recipe, name=f"{recipe.name}_permuted", epochs=epochs, augment=False, dropout=0.0,
                            label_smoothing=0.0, weight_decay=0.0, batch_size=min(16, recipe.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = build(config | {"dropout": 0.0, "num_classes": len(train_set.classes)})
    watched = train_set.subset(range(min(48, len(train_set))))
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for verdicts
        training.train(recipe, train_set, watched, folder, resume=True, device=next(model.parameters()).device,
                       workers=workers, seed=seed, model=new)
    return weights.read(Path(folder) / "best.safetensors")


def rank_correlation(first, second) -> Tensor:
    """Spearman's rank correlation (B,) of the rows of two arrays (B,N), rounded to hundredths first.

    nan where the first row is constant: there is nothing to compare with. 0 where only the second one is.
    """
    ranks = [import_extra("scipy.stats").rankdata(_rounded(values), axis=1) for values in (first, second)]
    first, second = (torch.from_numpy(rows - rows.mean(axis=1, keepdims=True)) for rows in ranks)
    norms = first.norm(dim=1), second.norm(dim=1)
    return torch.where(norms[0] == 0, torch.nan, (first * second).sum(dim=1) / (norms[0] * norms[1]).clamp(min=1e-9))


def between_clip_correlation(values) -> float:
    """The median rank correlation of different rows of (B,N): what explanations of two clips share anyway."""
    rows = [rank_correlation(values, np.roll(values, shift, axis=0)) for shift in range(1, len(values))]
    return float(torch.cat(rows).nanquantile(0.5)) if rows else float("nan")


def _rounded(values) -> np.ndarray:
    """As float64, to hundredths: smaller differences cannot be seen, and give no order."""
    return np.asarray(values, dtype=np.float64).round(2)


def _differs(median: Tensor) -> bool | None:
    return None if median.isnan() else bool(median < SIMILAR)
