"""One training loop for both networks, from one CPU process to several GPUs under torchrun.

The order of the clips, their augmentation and the dropout masks are functions of seed, epoch and step. So a run that is
stopped and resumed repeats the interrupted epoch and ends, on a CPU, with the same weights, bit for bit.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler

from interp import recipes
from interp.core.inference import tf32
from interp.data.dataset import list_left_out, to_clip
from interp.data.loader import ClipLoader
from interp.models import build, weights

from . import log
from .augment import augment_clips, derive_seed, draw
from .distributed import World, choose_precision, world
from .evaluate import evaluate

CHECK_EVERY = 50  # steps between looks at the losses, for each of which the GPU is waited for
LAST, BEST, LOG, UNREADABLE = "last.safetensors", "best.safetensors", "log.jsonl", "unreadable.txt"
_ADVICE = f"{LAST} is from before; try a lower learning rate, clip_norm or fp32"


class TrainingError(RuntimeError):
    """The run cannot go on (loss not finite, disk full); the last checkpoint is intact."""


def train(recipe: recipes.TrainRecipe, train_set: Any, validation_set: Any, out: str | Path, *, resume: bool = False,
          device: str | torch.device = "auto", workers: int = 0, seed: int = 0, compile: bool = False,
          precision: str = "auto", keep: str = "auto", micro_batch: int | None = None, on_error: str = "skip",
          progress: bool | None = None, model: nn.Module | None = None, command: str = "") -> dict[str, Any]:
    """Train `recipe` and write out/log.jsonl, out/last.safetensors and out/best.safetensors.

    Args:
        train_set, validation_set: as VideoDataset; for augmentation with `mirror` and `flip` (class -> class).
        resume: continue after the last whole epoch in `out`, if there is one; so always after torchrun restarted.
        device, workers, keep: as in `pick` and ClipLoader. seed: of weights, order, augmentation and dropout.
        precision: "bf16", "tf32" (float32 rounded to 10 bits in a GPU's convolutions and products), "fp32", or "auto":
            bf16 where the hardware computes in it, else fp32. Evaluations do not use tf32.
        micro_batch: clips at once in one process, by gradient accumulation. None: the process's share of the batch.
        on_error: "skip" leaves clips out that cannot be read and lists them in out/unreadable.txt; "raise" stops.
        progress: None: bars on a terminal, and one line an epoch. False: silence.
        model: train this one instead of building the recipe's. command: kept in the log and beside the weights.

    Returns:
        The best epoch's scores (see `evaluate`; "reversed": with the clips played backwards), "epoch", "parameters".

    Raises:
        ValueError: arguments that do not fit together, or `out` holds another run.
        TrainingError: the loss is not finite (names the clips), or a file cannot be written.
    """
    out, resume = Path(out), resume or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if list(train_set.classes) != list(validation_set.classes):
        raise ValueError("the training and the validation set do not have the same classes in the same order")
    with (world(device) as group, torch.random.fork_rng([group.device] if group.device.type == "cuda" else []),
          tf32((precision := choose_precision(precision, group.device)) == "tf32")):
        options = {"workers": workers, "keep": keep, "on_error": on_error, "progress": progress is None}
        loaders = [ClipLoader(clips, group.device, **options) for clips in (train_set, validation_set)]
        loader, num_classes = loaders[0], len(train_set.classes)
        batch = min(recipe.batch_size, len(loader) // group.size * group.size)  # few clips: all of them
        share, micro = batch // group.size, micro_batch or batch // group.size
        if batch < 1 or batch % group.size or micro < 1 or share % micro:
            raise ValueError(f"a batch of {batch} clips cannot be divided among {group.size} processes in "
                             f"micro-batches of {micro_batch}; choose numbers whose product divides it")
        steps = len(loader) // batch  # the clips left over are used in another epoch
        shown = progress is None and group.rank == 0
        torch.manual_seed(derive_seed(seed))
        model = (build(recipe.config(num_classes)) if model is None else model).to(group.device)
        network = group.wrap(torch.compile(model) if compile else model)
        optimizer = make_optimizer(recipe, model)
        by_step, by_epoch = schedulers = make_schedulers(recipe, optimizer, steps)
        mirrors = [torch.tensor([classes.get(label, -1) for label in range(num_classes)], device=group.device)
                   for classes in (getattr(train_set, name, None) or {} for name in ("mirror", "flip"))]
        about = {"recipe": recipes.asdict(recipe), "versions": log.versions(), "command": command, "seed": seed,
                 "precision": precision, "parameters": sum(p.numel() for p in model.parameters()),
                 "data": {split: {"name": str(getattr(clips, "name", "")), "clips": len(clips), "classes": num_classes}
                          for split, clips in (("train", train_set), ("validation", validation_set))},
                 "initial": getattr(model, "record", None)}  # of weights that are not drawn
        identity = about["recipe"] | {"seed": seed, "clips": len(loader), "batch": batch,
                                      "config": getattr(model, "config", None)}
        first, best, lines, header = 0, {}, [], about | {"machine": log.machine()}
        if (out / LAST).exists():
            first, best = _restore(out, identity if resume else None, model, optimizer, schedulers)
            header, lines = log.header(out / LOG), log.read(out / LOG)[:first]
        _list_unreadable(out, loaders, group)
        if shown:
            print(f"{recipe.name}: {recipe.epochs} epochs of {steps} batches of {batch} clips on {group.device}")

        for epoch in range(first, recipe.epochs):
            order = torch.randperm(len(loader), generator=torch.Generator().manual_seed(derive_seed(seed, epoch)))
            order = order[: steps * batch].view(steps, group.size, share)[:, group.rank]
            draws = draw(seed, epoch, len(loader))
            sums = torch.zeros(3, dtype=torch.float64, device=group.device)  # loss, right predictions, clips
            recent, loader.waited, begin = [], 0.0, time.perf_counter()
            network.train()
            title = f"epoch {epoch + 1}/{recipe.epochs}"
            for step, (frames, labels, indices) in enumerate(loader(order.tolist(), title if shown else None)):
                clips, labels = (augment_clips(frames, labels, draws[indices], *mirrors) if recipe.augment
                                 else (to_clip(frames), labels))
                losses = []
                for number, (part, targets) in enumerate(zip(clips.split(micro), labels.split(micro), strict=True)):
                    torch.manual_seed(derive_seed(seed, epoch, step, number * group.size + group.rank))  # dropout
                    waits = group.size > 1 and (number + 1) * micro < share
                    with network.no_sync() if waits else contextlib.nullcontext():
                        with torch.autocast(group.device.type, torch.bfloat16, enabled=precision == "bf16"):
                            logits = network(part)
                        loss = F.cross_entropy(logits.float(), targets, reduction="none", ignore_index=-1,
                                               label_smoothing=recipe.label_smoothing)
                        (loss.sum() * (group.size / batch)).backward()  # DDP divides by the number of processes
                    losses.append(loss.detach())
                    known = targets >= 0
                    sums += torch.stack([losses[-1].sum(), ((logits.argmax(1) == targets) & known).sum(), known.sum()])
                norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm or math.inf)
                recent.append((step, indices, torch.cat(losses), norm))
                rate = optimizer.param_groups[0]["lr"]
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                by_step.step()
                if len(recent) == CHECK_EVERY or step + 1 == steps:
                    _check_finite(recent, epoch, loader.ids, group)
                    recent = []

            seconds, waited = time.perf_counter() - begin, loader.waited
            loss, right, count = group.total(sums).tolist()
            group.share_buffers(model)
            options = {"batch_size": micro, "precision": precision, "world": group}
            scores, backwards = (evaluate(model, loaders[1], reverse, **options) for reverse in (False, True))
            lines.append({
                "epoch": epoch, "train_loss": loss / max(count, 1), "train_accuracy": right / max(count, 1),
                **{f"val_{key}": scores[key] for key in ("loss", "top1", "top5", "macro_f1")},
                "val_top1_reversed": backwards["top1"], "lr": rate, "seconds": round(seconds, 3),
                "clips_per_second": round(steps * batch / seconds, 2), "waiting": round(waited / seconds, 4)})
            if by_epoch:
                by_epoch.step(scores["top1"])
            is_best = not best or (scores["top1"], -scores["loss"]) > (best["top1"], -best["loss"])
            if is_best:
                best = {key: value for key, value in scores.items() if key != "confusion"}  # K*K numbers
                best["reversed"] = {key: backwards[key] for key in ("top1", "top5", "macro_f1")}
                best |= {"epoch": epoch, "parameters": about["parameters"]}
            if not all(p.isfinite().all() for p in model.parameters()):
                raise TrainingError(f"the weights are not finite after epoch {epoch + 1}; {_ADVICE}")
            if group.rank == 0:
                with _writing(out):
                    if is_best:
                        weights.save(out / BEST, model, loader.classes, about | {"metrics": best})
                    log.write(out / LOG, header, lines)
                    _save(out, identity, epoch + 1, best, model, optimizer, schedulers)
            _list_unreadable(out, loaders, group)
            if shown:
                minutes = (recipe.epochs - epoch - 1) * seconds / 60
                print(f"{title}  loss {loss / max(count, 1):.3f}  validation {scores['top1']:.3f} "
                      f"(reversed {backwards['top1']:.3f})  {steps * batch / seconds:.1f} clips/s, "
                      f"waiting {waited / seconds:.0%}, {minutes:.0f} minutes of training left", flush=True)
        return best


def make_optimizer(recipe: recipes.TrainRecipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer. AdamW decays matrices and kernels only, Adam and SGD everything, as the paper's code."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    options = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, **options)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    matrices, others = ({"params": [p for p in parameters if (p.dim() > 1) == many]} for many in (True, False))
    return torch.optim.AdamW([matrices, others | {"weight_decay": 0.0}], **options)


def make_schedulers(recipe: recipes.TrainRecipe, optimizer: torch.optim.Optimizer, steps: int) -> tuple:
    """The scheduler of every step (warm-up, cosine) and of every epoch, which takes the score (plateau, else None)."""
    warmup = min(round(recipe.warmup_epochs * steps), recipe.epochs * steps)
    linear = lr_scheduler.LinearLR(optimizer, 1 / max(warmup, 1), total_iters=max(warmup - 1, 0))
    if recipe.schedule == "plateau":
        return linear, lr_scheduler.ReduceLROnPlateau(optimizer, "max", 0.5, patience=1, threshold=0,
                                                      threshold_mode="abs", eps=0)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, max(1, recipe.epochs * steps - warmup))
    return (lr_scheduler.SequentialLR(optimizer, [linear, cosine], [warmup]) if warmup else cosine), None


def _save(out: Path, identity, epoch: int, best, model: nn.Module, optimizer, schedulers) -> None:
    """Write model, optimizer and schedulers after `epoch` epochs to one safetensors file."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in entry.items() if isinstance(value, Tensor)}
    state = {"identity": identity, "epoch": epoch, "best": best, "rates": [g["lr"] for g in optimizer.param_groups],
             "schedulers": [scheduler.state_dict() for scheduler in schedulers if scheduler]}
    weights.write_tensors(out / LAST, tensors, interp=state)


def _restore(out: Path, identity: Mapping | None, model: nn.Module, optimizer, schedulers) -> tuple[int, dict]:
    """Load what `_save` wrote; how many epochs are done, and the best scores. ValueError if it is another run's."""
    if identity is None:
        raise ValueError(f"{out} holds a run already; add --resume to continue it, or choose another folder")
    tensors, metadata = weights.read_tensors(out / LAST)
    if "interp" not in metadata:
        raise ValueError(f"{out / LAST} is not a checkpoint of a training run; choose another folder")
    state, identity = json.loads(metadata["interp"]), json.loads(json.dumps(identity))
    if changed := [f"{key} was {was!r}, is {value!r}" for key, value in identity.items()
                   if (was := state["identity"].get(key)) != value]:
        raise ValueError(f"{out} holds another run ({'; '.join(changed)}); resume it as it was, or change the folder")
    model.load_state_dict({name: tensors[f"model.{name}"] for name in model.state_dict()})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            if value.dim():  # in the parameter's memory format
                value = torch.empty_like(parameters[int(index)], dtype=value.dtype).copy_(value)
            entries.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    for group, rate in zip(optimizer.param_groups, state["rates"], strict=True):
        group["lr"] = rate
    for scheduler, schedule in zip(filter(None, schedulers), state["schedulers"], strict=True):
        scheduler.load_state_dict(schedule)
    return state["epoch"], state["best"]


def _check_finite(recent: list[tuple], epoch: int, ids: list[str], group: World) -> None:
    """TrainingError with the clips of the first step whose gradient is not finite, all processes together."""
    norms = torch.stack([norm for *_, norm in recent])  # the gradient is shared, so all find the same step
    for at in (~norms.isfinite()).nonzero().flatten().tolist():
        step, indices, losses, _ = recent[at]
        guilty = sum(group.gather(indices[~losses.cpu().isfinite()].tolist()), [])
        clips = guilty or sum(group.gather(indices.tolist()), [])
        raise TrainingError(f"the loss or its gradient is not finite in epoch {epoch + 1}, step {step + 1}, clips: "
                            f"{', '.join(ids[i] for i in sorted(clips))}. {_ADVICE}")


def _list_unreadable(out: Path, loaders: list[ClipLoader], group: World) -> None:
    """Write the clips that cannot be read, as far as they are known, and say so once on stderr."""
    met = [(loader, *row) for loader in loaders for row in
           sorted(row for part in group.gather(loader.unreadable) for row in part.items())]
    named = {loader.ids[index]: reason for loader, index, reason in met}
    missing = {file: count for loader in loaders for file, count in loader.missing.items()}
    if group.rank == 0 and (named or missing):
        is_new = not (out / UNREADABLE).exists()
        with _writing(out):
            sentence = list_left_out(out / UNREADABLE, sum(map(len, loaders)), named, missing)
        if is_new:
            print(sentence, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"cannot write in {out} ({error}); free some space or choose another folder, then start "
                            "again with --resume: the last checkpoint is intact") from error
