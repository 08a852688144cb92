"""One clip and one model to one Explanation: scores OS, FS, RS, CS and P, temporal mask, Grad-CAM map.

After Mänttäri, Broomé et al., ACCV 2020, section 3: the mask is found for the class the model guesses, and
the same mask is used to freeze (FS) and to reverse (RS). Clips are float in [0, 1], axes (B, C, T, H, W).

    import interp
    from interp.explain import describe
    model = interp.load("i3d", "motion")
    for record in interp.explain(model, clips, targets=labels):
        print(describe(record))
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interp import gradcam, masks, recipes
from interp.borrow import borrowed, capacity, checked_clips, checked_ids, checked_targets, even, probabilities
from interp.windows import score_masks


@dataclass(frozen=True)
class Explanation:
    """What one model sees in one clip. Scores are softmax probabilities; every tensor is on the CPU."""

    id: str  # the clip's name
    model: str  # the model's name
    clip: Tensor  # (C, T, H, W), as it was given
    classes: tuple[str, ...] | None  # names of the K classes, where the model knows them
    target: int | None  # the true class, where it was given
    guess: int  # the class of the highest score
    explained: int  # the class that mask, map and scores are about: the guess, unless asked otherwise
    OS: float  # score of the explained class on the original clip
    FS: float  # the same with the soft mask used to freeze
    RS: float  # the same with the soft mask used to reverse
    CS: float | None  # score of the true class on the original clip where the guess is wrong, else None
    probabilities: Tensor  # (K,), of the original clip
    mask: Tensor  # (T,), soft, 1 = perturbed
    map: Tensor  # (T, H, W), Grad-CAM in [0, 1]
    losses: Tensor  # (steps,), of the search
    steps: int  # steps the search took
    perturbation: str  # what the mask was searched with
    recipe: recipes.MaskRecipe
    weights: str  # how Grad-CAM weighed the channels: "clip" or "frame"
    seconds: float  # time for this clip; a batch's time is shared equally

    @property
    def P(self) -> str:
        """Name of the guessed class."""
        return self.class_name(self.guess)

    @property
    def snapped(self) -> Tensor:
        """The mask at the display threshold, bool (T,)."""
        return self.mask > self.recipe.snap

    def class_name(self, index: int) -> str:
        """Name of class `index`, or "class 7" where the model has no names."""
        return self.classes[index] if self.classes else f"class {index}"

    def top(self, num: int = 5) -> list[tuple[str, float]]:
        """The `num` classes of the highest score on the original clip, best first."""
        best = self.probabilities.topk(min(num, len(self.probabilities)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(self.class_name(index), score) for index, score in pairs]

    def to_dict(self) -> dict:
        """Everything that is short, for JSON: no clip, no map, of the losses the first and the last."""
        losses = self.losses.tolist()
        return {
            "id": self.id, "model": self.model, "P": self.P, "guess": self.guess, "target": self.target,
            "target_name": None if self.target is None else self.class_name(self.target),
            "explained": self.explained, "explained_name": self.class_name(self.explained),
            "OS": self.OS, "FS": self.FS, "RS": self.RS, "CS": self.CS,
            "top": [{"class": name, "score": score} for name, score in self.top()],
            "mask": self.mask.tolist(), "snapped": self.snapped.int().tolist(),
            "perturbation": self.perturbation, "recipe": recipes.asdict(self.recipe),
            "gradcam_weights": self.weights, "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None, "steps": self.steps,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def explain(model: nn.Module, clips: Tensor, targets=None, recipe: recipes.MaskRecipe | None = None,
            perturbation: str = "freeze", weights: str = "clip", ids: Sequence[str] | None = None, *,
            about: str = "guess", layer=None, per: str = "clip", name: str | None = None,
            **search) -> list[Explanation]:
    """Explain every clip of a batch; a clip's result does not depend on its neighbours.

    clips: float (B, C, T, H, W), in [0, 1] for the shown frames to look right.
    targets: true classes, int or (B,), negative where unknown; they give CS, and with about="target" also
        the class that mask and map are about (by default the model's own guess, as in the paper).
    recipe: a MaskRecipe, recipes.SOMETHING_MASK by default. perturbation: what the mask is searched with.
    weights, layer: see `gradcam.grad_cam`. per: the map is scaled to [0, 1] per "clip" or per "frame".
    search: further arguments of `masks.find_masks` (start, stop, chunk, generator, progress, precision).
    The model runs in eval mode and comes back as it was. ValueError for clips or targets of a wrong form.
    """
    started = time.perf_counter()
    if about not in ("guess", "target"):
        raise ValueError(f"about: expected 'guess' or 'target', got {about!r}")
    clips = checked_clips(model, clips)
    ids = checked_ids(ids, len(clips))
    recipe = recipe or recipes.SOMETHING_MASK
    with borrowed(model) as device:
        most = capacity(model, clips, device, search.get("chunk"))
        original = probabilities(model, clips, device, most, ids)  # (B, K)
        guesses = original.argmax(dim=1)
        known = _known(targets, original)  # (B,), -1 where unknown
        explained = torch.where(known >= 0, known, guesses) if about == "target" else guesses
        found = masks.find_masks(model, clips, explained, recipe, perturbation, ids=ids, **search)
        frozen, turned = (score_masks(model, clips, found.masks, explained, recipe, kind, device, most)
                          for kind in ("freeze", "reverse"))
        size = even(len(clips), most)
        parts = zip(clips.split(size), explained.split(size), strict=True)
        maps = [gradcam.grad_cam(model, *part, layer=layer, weights=weights) for part in parts]
        maps = gradcam.normalise(torch.cat(maps), per=per)  # (B, T, H, W)
    seconds = (time.perf_counter() - started) / len(clips)
    classes = getattr(model, "classes", None)
    classes = tuple(classes) if classes is not None and len(classes) == original.shape[1] else None
    config = getattr(model, "config", None) or {}
    name = name or config.get("model") or type(model).__name__
    records = []
    for i in range(len(clips)):
        guess, target, about_class = int(guesses[i]), int(known[i]), int(explained[i])
        steps = int(found.steps[i])
        records.append(Explanation(
            id=ids[i], model=name, clip=clips[i].cpu(), classes=classes,
            target=target if target >= 0 else None, guess=guess, explained=about_class,
            OS=float(original[i, about_class]), FS=float(frozen[i]), RS=float(turned[i]),
            CS=float(original[i, target]) if 0 <= target != guess else None,
            probabilities=original[i].cpu(), mask=found.masks[i].float().cpu(), map=maps[i].float().cpu(),
            losses=found.losses[i, :steps].cpu(), steps=steps, perturbation=perturbation, recipe=recipe,
            weights=weights, seconds=seconds))  # fmt: skip
    return records


def clip_shape(model: nn.Module) -> tuple[int, int, int]:
    """The clip a model was made for, (T, H, W): by its config, its training record, else 16x64x64."""
    config = getattr(model, "config", None) or {}
    record = (getattr(model, "record", None) or {}).get("recipe") or {}
    num_frames = config.get("num_frames") or record.get("num_frames") or 16
    height, width = config.get("size") or record.get("size") or (64, 64)
    return int(num_frames), int(height), int(width)


def describe(explanation: Explanation | Mapping) -> str:
    """Say in one sentence what an explanation (or its `to_dict()`) shows; the alternative text of its figure.

    Frames are counted from 1. Example: "I3D guesses 'Turning the camera left' with score 0.93; with frames
    3-8 of 16 frozen it gives 0.02, with the same frames reversed 0.41."
    """
    record = explanation if isinstance(explanation, Mapping) else explanation.to_dict()
    model = {"i3d": "I3D", "clstm": "C-LSTM"}.get(record["model"], record["model"])
    first = f"{model} guesses '{record['P']}'"
    explained = record.get("explained", record["guess"])
    if explained == record["guess"]:
        first += f" with score {record['OS']:.2f}"
    else:
        first += f" and gives '{record['explained_name']}' {record['OS']:.2f}"
    if record.get("CS") is not None:
        first += f", though it is '{record['target_name']}' (score {record['CS']:.2f})"
    snapped = record["snapped"]
    runs = frame_runs(snapped)
    if not runs:
        return (f"{first}; the mask found is on in none of {len(snapped)} frames at the display threshold; "
                f"softly frozen the clip scores {record['FS']:.2f}, reversed {record['RS']:.2f}.")
    spans = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    spans = " and ".join([", ".join(spans[:-1]), spans[-1]] if len(spans) > 1 else spans)
    noun = "frame" if sum(snapped) == 1 else "frames"
    return (f"{first}; with {noun} {spans} of {len(snapped)} frozen it gives {record['FS']:.2f}, "
            f"with the same {noun} reversed {record['RS']:.2f}.")


def frame_runs(snapped: Sequence[int]) -> list[tuple[int, int]]:
    """The runs of on-frames as (first, last), counted from 1: [0, 1, 1, 0, 1] gives [(2, 3), (5, 5)]."""
    runs: list[tuple[int, int]] = []
    for frame, on in enumerate(snapped, start=1):
        if on and runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        elif on:
            runs.append((frame, frame))
    return runs


def _known(targets, scores: Tensor) -> Tensor:
    """The true classes (B,), -1 where unknown; beyond that as `borrow.checked_targets`."""
    if targets is None:
        return torch.full((len(scores),), -1, device=scores.device)
    given = torch.as_tensor(targets)
    unknown = (given < 0).to(scores.device)
    return checked_targets(given.clamp(min=0), scores).masked_fill(unknown, -1)


class _Room(types.ModuleType):
    """Importing this room hides the function of its name behind it; so, called, it answers as that."""

    def __call__(self, *args, **kwargs):
        return self.explain(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
