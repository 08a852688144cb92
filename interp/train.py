"""One training loop for both networks, from one CPU process to many GPUs under torchrun.

Source: the paper's training table and released code (ACCV 2020); see ``recipes``. Axes: frames (B,T,H,W,3)
uint8 from the dataset, clips (B,C,T,H,W) in [0,1] into the model, logits (B,K) out.

Exact by design. What a step computes is a function of (seed, epoch, step) and of the weights: the order of
the clips, their augmentation and the dropout masks come from generators seeded by these, never from a running
one. So a run that is killed and resumed ends, on a CPU, with the same weights, bit for bit; and W processes
with micro-batch m take the steps of one process with micro-batch m, to rounding (running statistics are the
first process's).

>>> from interp import recipes, train
>>> recipe = recipes.change(recipes.I3D_MOTION, epochs=2)
>>> metrics = train.train(recipe, train_set, validation_set, "runs/i3d")           # doctest: +SKIP

On four GPUs: ``torchrun --standalone --nproc_per_node=4 -m interp train --model i3d --data motion ...``. All
processes must see the same ``out`` folder.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from interp import augment, checkpoint, distributed, optimise, recipes, train_log
from interp.batches import Batches
from interp.evaluate import autocast, channels_innermost, choose_precision, evaluate
from interp.train_folder import RunFolder, TrainingError


def train(
    recipe: recipes.TrainRecipe,
    train_set: Any,
    validation_set: Any,
    out: str | Path,
    *,
    resume: bool = False,
    device: str | torch.device = "auto",
    workers: int = 0,
    seed: int = 0,
    compile: bool = False,
    precision: str = "auto",
    cache: str = "auto",
    cache_dir: str | Path | None = None,
    channels_last: bool = False,
    micro_batch: int | None = None,
    checkpoint_every: int = 100,
    strict: bool = False,
    progress: bool | None = None,
    model: nn.Module | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Trains ``recipe`` and writes out/log.jsonl, out/last.safetensors and out/best.safetensors.

    Args:
        train_set, validation_set: ``[i]`` -> (uint8 (T,H,W,3), label, i), with ``classes``, ``ids``, and for
            augmentation ``mirror`` and ``flip`` (class -> class). See ``interp.data``.
        resume: continue from out/last.safetensors if there is one; so always after torchrun restarted.
        workers: processes that decode, where the clips are not kept in memory.
        compile: use torch.compile (slow start, faster steps on a GPU).
        precision: "bf16" | "fp32" | "auto": bf16 where the hardware computes in it.
        cache, cache_dir: "memory" | "disk" | "none" | "auto", and where "disk" is; see ``Batches``.
        channels_last: keep activations with the channels innermost in memory.
        micro_batch: clips at once in one process; the rest of the batch follows by gradient accumulation.
            Default: the batch shared among the processes, at once.
        checkpoint_every: steps between checkpoints inside an epoch; there is one after every epoch too.
        strict: stop at a clip that cannot be read. Else it is left out; out/unreadable.txt lists all such clips.
        progress: None: bars on a terminal, else one line an epoch. False: silence.
        model: train this one instead of building the recipe's.
        command: kept in the log and beside the weights.

    Returns:
        The scores of the best epoch (see ``evaluate``; "reversed" holds top1, top5, macro_f1 with the clips
        played backwards), with "epoch" and "parameters".
    Raises:
        ValueError: arguments that do not fit together, or ``out`` holds another run.
        TrainingError: the loss is not finite (names the clips), or a file cannot be written.
    """
    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every is {checkpoint_every}; it must be at least 1 step")
    if list(train_set.classes) != list(validation_set.classes):
        raise ValueError("the training and the validation set do not have the same classes in the same order")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    with distributed.world(device) as world, _own_random(world.device):
        loading = {"workers": workers, "cache": cache, "cache_dir": cache_dir, "strict": strict}
        loading["progress"] = progress is None
        sets = [Batches(each, world.device, **loading) for each in (train_set, validation_set)]
        run = _Run(recipe, *sets, Path(out), world, seed, model)
        run.precision = choose_precision(precision, world.device)
        run.every, run.shown = checkpoint_every, progress is None and world.main
        run.prepare(compile, channels_last, micro_batch)
        run.start(any(world.gather(resume or world.restarts > 0)), command)
        while run.epoch < recipe.epochs:
            run.train_epoch()
            run.finish_epoch()
        return run.best


def _own_random(device: torch.device) -> contextlib.AbstractContextManager:
    """The caller's random numbers go on afterwards as if nothing had been drawn."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


class _Run:
    """The state of a run: epoch and step say what is done; everything else follows from them or is saved."""

    def __init__(self, recipe, train_set, validation_set, out, world, seed, model) -> None:
        self.recipe, self.train_set, self.validation_set = recipe, train_set, validation_set
        self.folder, self.world, self.seed = RunFolder(out), world, seed
        self.epoch, self.step = 0, 0
        self.sums = torch.zeros(3, dtype=torch.float64)  # loss, right answers, clips: of epoch and process
        self.best: dict[str, Any] = {}
        torch.manual_seed(optimise.mixed(seed))
        if model is None:
            from interp.models import build

            model = build(recipe.config(len(train_set.classes)))
        self.network = model.to(world.device)
        self.parameters = sum(p.numel() for p in model.parameters())
        source = train_set.dataset.dataset
        reversals = getattr(source, "mirror", None), getattr(source, "flip", None)
        self.augment = augment.Augment(len(train_set.classes), *reversals) if recipe.augment else None

    def prepare(self, compiled: bool, channels_last: bool, micro_batch: int | None) -> None:
        """Batch sizes, memory layout, optimizer."""
        size = self.world.size
        self.batch = min(self.recipe.batch_size, len(self.train_set) // size * size)  # few clips: all of them
        if self.batch < 1:
            raise ValueError(
                f"{len(self.train_set)} training clips for {size} processes; use fewer processes"
            )
        self.micro = micro_batch or max(1, self.batch // size)
        if self.micro < 1 or self.batch % (self.micro * size):
            raise ValueError(
                f"a batch of {self.batch} cannot be shared by {size} processes in "
                f"micro-batches of {self.micro}; choose sizes whose product divides it"
            )
        self.steps = len(self.train_set) // self.batch  # what is left over gets its turn in another epoch
        self.channels_last = channels_last
        if channels_last:
            for p in self.network.parameters():
                p.data = channels_innermost(p.data)
        self.optimizer = optimise.make_optimizer(self.recipe, self.network)
        self.schedule = optimise.Schedule(self.recipe, self.steps)
        self.module = self.world.wrap(torch.compile(self.network) if compiled else self.network)

    def start(self, resume: bool, command: str) -> None:
        """Takes up the run in ``out``, or begins one there."""
        train_set, validation_set = self.train_set, self.validation_set
        config = getattr(self.network, "config", None)
        self.identity = {"seed": self.seed, "clips": len(train_set), "batch": self.batch, "config": config}
        self.identity = json.loads(json.dumps(recipes.asdict(self.recipe) | self.identity))
        about = {
            "recipe": recipes.asdict(self.recipe),
            "versions": train_log.versions(),
            "command": command,
            "seed": self.seed,
            "precision": self.precision,
            "parameters": self.parameters,
            "data": {"train": train_set.describe(), "validation": validation_set.describe()},
            "initial": getattr(self.network, "record", None),  # of weights that are not drawn
        }
        if self.folder.holds_run(resume, self.identity):
            state = checkpoint.restore(self.folder.last, self.network, self.optimizer)
            self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
            self.schedule.load(state["schedule"])
            if self.world.main:
                self.sums += torch.tensor(state["sums"], dtype=torch.float64)
        if self.world.main:
            self.folder.open(about, self.epoch)
            sets = train_set, validation_set
            self.folder.list_left_out(sets, [each.unreadable for each in sets])
        self.world.wait()

    def train_epoch(self) -> None:
        """The steps of this epoch that are not done yet."""
        generator = torch.Generator().manual_seed(optimise.mixed(self.seed, self.epoch))
        order = torch.randperm(len(self.train_set), generator=generator)
        parts = order[: self.steps * self.batch].view(self.steps, -1, self.world.size, self.micro)
        mine = parts[:, :, self.world.rank]  # (steps, accumulation, micro)
        accumulation = mine.shape[1]
        todo = [part.tolist() for step in mine[self.step :] for part in step]
        shown = f"epoch {self.epoch + 1}/{self.recipe.epochs}" if self.shown else None
        self.train_set.waited, start, first = 0.0, time.perf_counter(), self.step
        self.module.train()
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        for frames, labels, indices in self.train_set(todo, progress=shown):
            last = len(seen) == accumulation - 1
            part = len(seen) * self.world.size + self.world.rank
            seen.append((indices, self._micro_step(frames, labels, indices, part, last)))
            if last:
                self._update(seen)
                seen = []
                self.step += 1
                if self.step % self.every == 0 and self.step < self.steps:
                    self._save()
        seconds = time.perf_counter() - start
        self.timing = {
            "seconds": round(seconds, 3),
            "clips_per_second": round((self.step - first) * self.batch / max(seconds, 1e-9), 2),
            "waiting": round(self.train_set.waited / max(seconds, 1e-9), 4),
        }

    def _micro_step(self, frames, labels, indices, part: int, last: bool) -> torch.Tensor:
        """Adds the gradient of some of the batch's clips; their losses (micro,)."""
        if self.augment:
            clips, labels = self.augment(
                frames, labels, augment.draw(self.seed, self.epoch, indices.tolist())
            )
        else:
            clips = augment.to_float(frames)
        if self.channels_last:
            clips = channels_innermost(clips)
        torch.manual_seed(optimise.mixed(self.seed, self.epoch, self.step, part))  # dropout
        wait = self.module.no_sync() if self.world.size > 1 and not last else contextlib.nullcontext()
        with wait:
            with autocast(clips.device, self.precision):
                logits = self.module(clips)
            logits = logits.float()
            options = {"ignore_index": -1, "label_smoothing": self.recipe.label_smoothing}
            losses = functional.cross_entropy(logits, labels, reduction="none", **options)
            (
                losses.sum() * (self.world.size / self.batch)
            ).backward()  # DDP divides by the number of processes
        known = labels >= 0
        losses = losses.detach()
        self.sums += torch.stack(
            [losses.sum(), ((logits.argmax(1) == labels) & known).sum(), known.sum()]
        ).cpu()
        return losses

    def _update(self, seen: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """One step of the optimizer, unless the gradient is not finite."""
        parameters = list(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm or float("inf"))
        if not torch.isfinite(norm):  # in all processes, for they share the gradient
            bad = [i for indices, losses in seen for i in indices[~torch.isfinite(losses.cpu())].tolist()]
            self._stop(bad, [i for indices, _ in seen for i in indices.tolist()])
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.epoch * self.steps + self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.latest = [i for indices, _ in seen for i in indices.tolist()]

    def _stop(self, guilty: list[int], batch: list[int]) -> None:
        """Raises TrainingError with all processes' guilty clips; where none is, with the whole batch."""
        guilty, batch = (sorted(sum(self.world.gather(part), [])) for part in (guilty, batch))
        names = ", ".join(self.train_set.ids[i] for i in guilty or batch)
        raise TrainingError(
            f"loss, gradient or weights are not finite in epoch {self.epoch + 1}, step {self.step + 1}, "
            f"clips: {names}. {self.folder.last} is from before; try a lower learning rate, clip_norm or fp32"
        )

    def finish_epoch(self) -> None:
        """Validates, keeps the best weights, logs, saves."""
        sums = self.world.total(self.sums).tolist()
        self.world.align(self.network)
        settings = {"world": self.world, "precision": self.precision, "batch_size": self.micro}
        settings["channels_last"] = self.channels_last
        scores = evaluate(self.network, self.validation_set, **settings)
        backwards = evaluate(self.network, self.validation_set, reverse=True, **settings)
        rate = self.schedule.rate((self.epoch + 1) * self.steps - 1)
        line = train_log.line(self.epoch, sums, scores, backwards, rate) | self.timing
        self.schedule.report(scores["top1"])
        is_best = not self.best or (scores["top1"], -scores["loss"]) > (self.best["top1"], -self.best["loss"])
        if is_best:
            del scores["confusion"]  # K*K numbers; ``evaluate`` gives them at any time
            scores["reversed"] = {key: backwards[key] for key in ("top1", "top5", "macro_f1")}
            self.best = {**scores, "epoch": self.epoch, "parameters": self.parameters}
        sets = self.train_set, self.validation_set
        met = [self.world.gather(each.unreadable) for each in sets]  # for each set, by all processes
        if self.world.main:
            if is_best:
                self.folder.save_best(self.network, self.train_set.classes, self.best)
            self.folder.log_epoch(line)
            self.folder.list_left_out(sets, [{i: why for part in of for i, why in part.items()} for of in met])
            if self.shown:
                print(train_log.sentence(line, self.recipe.epochs), flush=True)
        self.epoch, self.step = self.epoch + 1, 0
        self.sums.zero_()
        self._save()

    def _save(self) -> None:
        """The checkpoint. Weights that are not finite never replace good ones."""
        if not all(bool(torch.isfinite(p).all()) for p in self.network.parameters()):
            self._stop([], self.latest)
        sums = self.world.total(self.sums)  # by all, before the others leave
        if self.world.main:
            state = {"identity": self.identity, "epoch": self.epoch, "step": self.step, "sums": sums.tolist()}
            state |= {"schedule": self.schedule.state(), "best": self.best}
            self.folder.save_last(self.network, self.optimizer, state)
