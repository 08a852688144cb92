"""One clip and one model to one Explanation: scores OS, FS, RS, CS and P, temporal mask, Grad-CAM map.

After Mänttäri et al., ACCV 2020, section 3: mask and map are about the class that the model predicts, and the same
mask freezes (FS) and reverses (RS) the clip. Clips are floats (B,C,T,H,W) in [0,1].
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interp import recipes
from interp.core import gradcam, inference, masks
from interp.core.windows import score_masks

DEFAULT_METHOD = "exact"


@dataclass(frozen=True)
class Explanation:
    """What a decision of one model on one clip rests on. Scores are softmax scores; every tensor is on the CPU."""

    id: str  # name of the clip
    model: str  # name of the model
    clip: Tensor  # (C, T, H, W), as given
    classes: tuple[str, ...] | None  # names of the K classes, where the model knows them
    target: int | None  # the true class, where it was given
    guess: int  # the predicted class
    explained: int  # the class that mask, map and scores are about
    OS: float  # score of the explained class on the original clip
    FS: float  # the same with the mask used to freeze
    RS: float  # the same with the mask used to reverse
    CS: float | None  # score of the true class on the original clip where the guess is wrong, else None
    probabilities: Tensor  # (K,), of the original clip
    mask: Tensor  # (T,), 1 = perturbed; soft from a gradient search, binary from an exact one
    map: Tensor  # (T, H, W), Grad-CAM in [0, 1]
    losses: Tensor  # (steps,), of the gradient search; of an exact one the best loss
    steps: int  # steps, or forward passes of an exact search
    perturbation: str  # what the mask was searched with
    recipe: recipes.MaskRecipe
    weights: str  # how Grad-CAM weighed the channels: "clip" or "frame"
    seconds: float  # time for this clip; a batch's time is shared equally
    bound: float | None = None  # exact: no binary mask has a lower loss
    proven: bool | None = None  # exact: the mask is the best of all; None after a gradient search

    P = property(lambda self: self.class_name(self.guess), doc="Name of the predicted class.")
    binary_mask = property(lambda self: self.mask > self.recipe.snap, doc="The mask at the display threshold (T,).")
    gap = property(lambda self: None if self.bound is None else float(self.losses[-1]) - self.bound,
                   doc="By how much another binary mask could be better; None after a gradient search.")

    def class_name(self, index: int) -> str:
        """Name of class `index`, or "class 7" where the model has no names."""
        return self.classes[index] if self.classes else f"class {index}"

    def top(self, num: int = 5) -> list[tuple[str, float]]:
        """The `num` classes of the highest score on the original clip, best first."""
        best = self.probabilities.argsort(descending=True)[:num].tolist()
        return [(self.class_name(index), float(self.probabilities[index])) for index in best]

    def to_dict(self) -> dict:
        """Everything that is short, for JSON: no clip, no map, of the losses the first and the last."""
        same = ("id", "model", "P", "guess", "target", "explained", "OS", "FS", "RS", "CS", "perturbation", "steps",
                "bound", "gap", "proven")
        return {key: getattr(self, key) for key in same} | {
            "target_name": None if self.target is None else self.class_name(self.target),
            "explained_name": self.class_name(self.explained), "recipe": recipes.asdict(self.recipe),
            "top": [{"class": name, "score": score} for name, score in self.top()],
            "mask": self.mask.tolist(), "binary_mask": self.binary_mask.int().tolist(), "gradcam_weights": self.weights,
            "first_loss": float(self.losses[0]), "last_loss": float(self.losses[-1]), "seconds": round(self.seconds, 3)}


def explain(model: nn.Module, clips: Tensor, targets=None, recipe: recipes.MaskRecipe | None = None,
            perturbation: str = "freeze", weights: str = "clip", ids: Sequence[str] | None = None, *,
            explained_class: str = "predicted", layer=None, per: str = "clip", name: str | None = None,
            align: str = gradcam.DEFAULT_ALIGN, method: str = DEFAULT_METHOD, batch_size: int | None = None,
            **search) -> list[Explanation]:
    """Explain every clip of a batch; a clip's result does not depend on its neighbours.

    Args:
        model: any module from clips (B,C,T,H,W) to logits (B,K); restored afterwards.
        clips: floats (B,C,T,H,W) in [0,1].
        targets: true classes, int or (B,), negative where unknown; they give CS.
        recipe, perturbation: of the mask; `recipes.SOMETHING_MASK` by default.
        weights, layer, align: as in `grad_cam`. per: the map is scaled to [0,1] per "clip" or per "frame".
        explained_class: mask and map are about the class "predicted", as in the paper, or the "target".
        ids, name: names of the clips and of the model.
        method: "exact" or "gradient"; `search` holds further arguments of `find_masks`.

    Raises:
        ValueError: clips, targets or options of a wrong form.
    """
    started = time.perf_counter()
    if explained_class not in ("predicted", "target"):
        raise ValueError(f"explained_class: expected 'predicted' or 'target', got {explained_class!r}")
    clips, ids = inference.check_clips(model, clips), inference.check_ids(ids, len(clips))
    recipe = recipe or recipes.SOMETHING_MASK
    masks.check_search(clips, perturbation, method, **search)
    given = torch.as_tensor(-1 if targets is None else targets)

    def draw(part, classes):
        return gradcam.compute_maps(model, part, classes, layer, weights, align=align)

    with inference.frozen_eval(model):
        original = inference.predict(model, clips, batch_size, ids)  # (B, K)
        guesses = original.argmax(dim=1)
        known = inference.check_targets(given.clamp(min=0), original)
        known = known.masked_fill((given < 0).to(known.device), -1)  # (B,)
        explained = torch.where(known >= 0, known, guesses) if explained_class == "target" else guesses
        scores = original.gather(1, explained[:, None])[:, 0]
        result = masks.search(model, clips, explained, scores, recipe, perturbation, ids=ids, method=method,
                              batch_size=batch_size, **search)
        perturbed = {kind: result.scores if kind == perturbation else
                     score_masks(model, clips, result.masks, explained, recipe, kind, batch_size)
                     for kind in ("freeze", "reverse")}
        maps = inference.map_batches(model, draw, clips, explained, batch_size=batch_size)
    maps, classes = gradcam.normalise(maps, per=per).float().cpu(), inference.attribute(model, "classes", list | tuple)
    shared = {"model": name or inference.model_name(model), "perturbation": perturbation, "recipe": recipe,
              "classes": tuple(classes) if classes is not None and len(classes) == original.shape[1] else None,
              "weights": weights, "seconds": (time.perf_counter() - started) / len(clips)}
    exact, explanations = method == "exact", []
    for i, (guess, target) in enumerate(zip(guesses.tolist(), known.tolist(), strict=True)):
        steps = int((result.forwards if exact else result.steps)[i])
        proof = {"bound": float(result.bounds[i]), "proven": bool(result.proven[i])} if exact else {}
        explanations.append(Explanation(
            id=ids[i], clip=clips[i].cpu(), target=target if target >= 0 else None, guess=guess,
            explained=int(explained[i]), OS=float(scores[i]), FS=float(perturbed["freeze"][i]),
            RS=float(perturbed["reverse"][i]), CS=float(original[i, target]) if 0 <= target != guess else None,
            probabilities=original[i].cpu(), mask=result.masks[i].float().cpu(), map=maps[i], steps=steps,
            losses=(result.losses[i : i + 1] if exact else result.losses[i, :steps]).cpu(), **shared, **proof))
    return explanations
