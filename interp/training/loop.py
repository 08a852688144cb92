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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.optim import lr_scheduler

from interp import recipes
from interp.data.dataset import list_left_out
from interp.data.loader import ClipLoader
from interp.io import atomic_write
from interp.models import build, weights

from . import log
from .augment import Augment, derive_seed, draw, to_float
from .distributed import World, autocast, choose_precision, world
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
        recipe: every hyperparameter.
        train_set, validation_set: as VideoDataset; for augmentation with `mirror` and `flip` (class -> class).
        resume: continue after the last whole epoch in `out`, if there is one; so always after torchrun restarted.
        device, workers, keep: as in `pick` and ClipLoader.
        seed: of the weights, the order, the augmentation and dropout.
        precision: "bf16", "fp32" or "auto": bf16 where the hardware computes in it.
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
    with world(device) as group, torch.random.fork_rng([group.device] if group.device.type == "cuda" else []):
        options = {"workers": workers, "keep": keep, "on_error": on_error, "progress": progress is None}
        loaders = [ClipLoader(clips, group.device, **options) for clips in (train_set, validation_set)]
        loader, num_classes = loaders[0], len(train_set.classes)
        batch = min(recipe.batch_size, len(loader) // group.size * group.size)  # few clips: all of them
        share, micro = batch // group.size, micro_batch or batch // group.size
        if batch < 1 or batch % group.size or micro < 1 or share % micro:
            raise ValueError(f"a batch of {batch} clips cannot be divided among {group.size} processes in "
                             f"micro-batches of {micro_batch}; choose numbers whose product divides it")
        steps = len(loader) // batch  # the clips left over are used in another epoch
        precision, shown = choose_precision(precision, group.device), progress is None and group.rank == 0
        torch.manual_seed(derive_seed(seed))
        model = (build(recipe.config(num_classes)) if model is None else model).to(group.device)
        network = group.wrap(torch.compile(model) if compile else model)
        optimizer = make_optimizer(recipe, model)
        by_step, by_epoch = schedulers = make_schedulers(recipe, optimizer, steps)
        reversals = [getattr(train_set, name, None) for name in ("mirror", "flip")]
        augment = Augment(num_classes, *reversals) if recipe.augment else None
        about = {"recipe": recipes.asdict(recipe), "versions": log.versions(), "command": command, "seed": seed,
                 "precision": precision, "parameters": sum(p.numel() for p in model.parameters()),
                 "data": {"train": loader.describe(), "validation": loaders[1].describe()},
                 "initial": getattr(model, "record", None)}  # of weights that are not drawn
        identity = about["recipe"] | {"seed": seed, "clips": len(loader), "batch": batch,
                                      "config": getattr(model, "config", None)}
        first, best = 0, {}
        if (out / LAST).exists():
            first, best = _restore(out, identity if resume else None, model, optimizer, schedulers)
        if group.rank == 0:
            with _writing(out):
                log.start(out / LOG, about, first)
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
            bar = f"epoch {epoch + 1}/{recipe.epochs}" if shown else None
            for step, (frames, labels, indices) in enumerate(loader(order.tolist(), progress=bar)):
                clips, labels = augment(frames, labels, draws[indices]) if augment else (to_float(frames), labels)
                losses = []
                for number, (part, targets) in enumerate(zip(clips.split(micro), labels.split(micro), strict=True)):
                    torch.manual_seed(derive_seed(seed, epoch, step, number * group.size + group.rank))  # dropout
                    waits = group.size > 1 and (number + 1) * micro < share
                    with network.no_sync() if waits else contextlib.nullcontext():
                        with autocast(group.device, precision):
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
                    recent, so_far = [], time.perf_counter() - begin
                    if shown and epoch == first and step < CHECK_EVERY:
                        minutes = so_far / (step + 1) * (recipe.epochs - first) * steps / 60
                        print(f"about {minutes:.0f} minutes of training, without validation", flush=True)

            loss, right, count = group.total(sums).tolist()
            waiting = loader.waited / so_far
            group.share_buffers(model)
            options = {"batch_size": micro, "precision": precision, "world": group}
            scores, backwards = (evaluate(model, loaders[1], reverse, **options) for reverse in (False, True))
            line = {"epoch": epoch, "train_loss": loss / max(count, 1), "train_accuracy": right / max(count, 1),
                    **{f"val_{key}": scores[key] for key in ("loss", "top1", "top5", "macro_f1")},
                    "val_top1_reversed": backwards["top1"], "lr": rate, "seconds": round(so_far, 3),
                    "clips_per_second": round(steps * batch / so_far, 2), "waiting": round(waiting, 4)}
            if by_epoch:
                by_epoch.step(scores["top1"])
            is_best = not best or (scores["top1"], -scores["loss"]) > (best["top1"], -best["loss"])
            if is_best:
                best = {key: value for key, value in scores.items() if key != "confusion"}  # K*K numbers
                best["reversed"] = {key: backwards[key] for key in ("top1", "top5", "macro_f1")}
                best |= {"epoch": epoch, "parameters": about["parameters"]}
            if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
                raise TrainingError(f"the weights are not finite after epoch {epoch + 1}; {_ADVICE}")
            if group.rank == 0:
                with _writing(out):
                    if is_best:
                        weights.save(out / BEST, model, loader.classes, about | {"metrics": best})
                    log.append(out / LOG, line)
                    _save(out, identity, epoch + 1, best, model, optimizer, schedulers)
            _list_unreadable(out, loaders, group)
            if shown:
                print(f"epoch {epoch + 1}/{recipe.epochs}  loss {loss / max(count, 1):.3f}  validation "
                      f"{scores['top1']:.3f} (reversed {line['val_top1_reversed']:.3f})  "
                      f"{line['clips_per_second']:.1f} clips/s, waiting {waiting:.0%}", flush=True)
        return best


def make_optimizer(recipe: recipes.TrainRecipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer. AdamW decays matrices and kernels only, Adam and SGD everything, as the paper's code."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    kernels, others = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate)


def make_schedulers(recipe: recipes.TrainRecipe, optimizer: torch.optim.Optimizer, steps: int) -> tuple:
    """The scheduler of every step, and that of every epoch (None for the cosine), which takes the validation score.

    Linear warm-up; then a cosine to 0, or the rate halved when the score has not improved for two epochs.
    """
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
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    state = {"identity": identity, "epoch": epoch, "best": best, "rates": [g["lr"] for g in optimizer.param_groups],
             "schedulers": [scheduler.state_dict() for scheduler in schedulers if scheduler]}
    atomic_write(out / LAST, to_bytes(tensors, {"interp": json.dumps(state)}))


def _restore(out: Path, identity: Mapping | None, model: nn.Module, optimizer, schedulers) -> tuple[int, dict]:
    """Load what `_save` wrote; how many epochs are done, and the best scores. ValueError if it is another run's."""
    if identity is None:
        raise ValueError(f"{out} holds a run already; add --resume to continue it, or choose another folder")
    try:
        with safe_open(out / LAST, "pt") as file:
            state = json.loads(file.metadata()["interp"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        saved, rates, schedules = state["identity"], state["rates"], state["schedulers"]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{out / LAST} is not a checkpoint of a training run ({error})") from error
    if changed := [f"{key} was {saved.get(key)!r}, is {value!r}"
                   for key, value in json.loads(json.dumps(identity)).items() if saved.get(key) != value]:
        raise ValueError(f"{out} holds another run ({'; '.join(changed)}); resume it as it was, or change the folder")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    values, entries = {}, {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "model":
            values[rest] = value
            continue
        index, _, key = rest.partition(".")
        if value.shape == parameters[int(index)].shape:  # in the parameter's memory format
            value = torch.empty_like(parameters[int(index)], dtype=value.dtype).copy_(value)
        entries.setdefault(int(index), {})[key] = value
    model.load_state_dict(values)
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for scheduler, schedule in zip(filter(None, schedulers), schedules, strict=True):
        scheduler.load_state_dict(schedule)
    return state["epoch"], state["best"]


def _check_finite(recent: list[tuple], epoch: int, ids: list[str], group: World) -> None:
    """TrainingError with the clips of the first step whose gradient is not finite, all processes together."""
    norms = torch.stack([norm for *_, norm in recent]).tolist()  # the gradient is shared, so all find the same step
    for (step, indices, losses, _), norm in zip(recent, norms, strict=True):
        if math.isfinite(norm):
            continue
        guilty = sum(group.gather(indices[~torch.isfinite(losses.cpu())].tolist()), [])
        clips = guilty or sum(group.gather(indices.tolist()), [])
        raise TrainingError(f"the loss or its gradient is not finite in epoch {epoch + 1}, step {step + 1}, clips: "
                            f"{', '.join(ids[i] for i in sorted(clips))}. {_ADVICE}")


def _list_unreadable(out: Path, loaders: list[ClipLoader], group: World) -> None:
    """Write the clips that cannot be read, as far as they are known, and say so once on stderr."""
    met = [{i: reason for part in group.gather(each.unreadable) for i, reason in part.items()} for each in loaders]
    named = {each.ids[i]: part[i] for each, part in zip(loaders, met, strict=True) for i in sorted(part)}
    missing = {file: count for each in loaders for file, count in each.missing.items()}
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
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write in {out} ({error}); free some space or choose another folder, then start "
                            "again with --resume: the last checkpoint is intact") from error
