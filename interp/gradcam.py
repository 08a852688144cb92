"""Grad-CAM for video: where, in every frame, the target's score rests, from any layer with maps over time.

Source: Selvaraju et al., "Grad-CAM" (ICCV 2017), for video as in Mänttäri et al. (ACCV 2020):
L[t,i,j] = ReLU(sum over k of w[k] A[k,t,i,j]), with A the layer's activations and w their mean gradient. The
paper's code takes that mean in two ways: over t, i, j for I3D ("clip": one weight a channel) and over i, j
for C-LSTM ("frame": one weight a channel and time step). They agree up to a factor when every time step
enters the score alike, as under global pooling; elsewhere the choice can change which frame looks important,
so both models get the same one.

Axes: clips (B,C,T,H,W), activations (B,F,T',H',W'), maps (B,T,H,W).

    >>> model = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3, padding=1), torch.nn.AdaptiveAvgPool3d(1),
    ...                             torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> maps = grad_cam(model, torch.rand(2, 3, 8, 16, 16), layer="0")
    >>> maps.shape, float(normalise(maps).max())
    (torch.Size([2, 8, 16, 16]), 1.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from interp.borrow import borrowed, checked_clips, checked_ids, checked_targets, require_finite

__all__ = ["grad_cam", "normalise"]

MEANS = {"clip": (2, 3, 4), "frame": (3, 4)}  # the axes of (B,F,T',H',W') that a gradient is averaged over


def grad_cam(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
             layer: str | nn.Module | None = None, weights: str = "clip", upsample: bool = True, *,
             score: str = "logit", ids: Sequence[str] | None = None) -> Tensor:
    """Grad-CAM maps (B,T,H,W), unscaled and never negative, of clips (B,C,T,H,W).

    targets: classes (B,), one class, or the model's own guesses for None. layer: a module, its name, or None
        for model.gradcam_layer. It gives (B,F,T',H',W') once a clip; or (B,F,H',W') once a time step, where
        all calls are stacked over time; or (B*T',F,H',W') once, with the frames of a clip together. Of a
        tuple the first is taken.
    weights: "clip" or "frame", see above. score: what is differentiated, the target's "logit" as in Grad-CAM,
        or its softmax "probability", which counts what speaks against the other classes as well.
    upsample: to the clip's T, H, W, linear in time and bilinear in space, cells at their centres
        (align_corners=False); without it the maps are (B,T',H',W').

    The model comes back as it was lent: no hook, gradient or change of mode stays. Raises ValueError for a
    layer that is not there, is not called, gives no maps (a transformer's tokens), or does not reach the
    target's score.
    """
    if weights not in MEANS or score not in ("logit", "probability"):
        raise ValueError(f'expected weights "clip" or "frame" and score "logit" or "probability", '
                         f"got {weights!r} and {score!r}")
    clips = checked_clips(model, clips)
    name, module = _find(model, layer)
    calls: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple, output):
        return _record(output, calls, name)

    with borrowed(model) as device:
        inputs = clips.to(device or clips.device)
        hook = module.register_forward_hook(keep)
        try:
            # One forward pass for targets and gradients. A recorded activation begins the graph, so that
            # nothing is kept of the layers before it; in a recurrent layer the later calls hang on the
            # earlier ones.
            answers = model(inputs)
        finally:
            hook.remove()
        _check_calls(calls, answers, name, len(clips))
        chosen = checked_targets(targets, answers.detach())
        answers = answers if score == "logit" else answers.softmax(dim=1)
        reached = answers.gather(1, chosen[:, None]).sum()
        if not reached.requires_grad:
            raise ValueError(_unreached(name))
        gradients = torch.autograd.grad(reached, calls, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise ValueError(_unreached(name))
        gradients = [torch.zeros_like(call) if gradient is None else gradient  # a step the score does not see
                     for call, gradient in zip(calls, gradients, strict=True)]
        with torch.no_grad():
            activations, slopes = (_over_time(parts, name, len(clips)) for parts in (calls, gradients))
            if activations.dtype != torch.float64:
                activations, slopes = activations.float(), slopes.float()
            shares = slopes.mean(dim=MEANS[weights], keepdim=True)  # (B, F, 1 or T', 1, 1)
            maps = (shares * activations).sum(dim=1).relu()  # (B, T', H', W')
            if upsample:
                size = clips.shape[2:]
                maps = interpolate(maps[:, None], size, mode="trilinear", align_corners=False)[:, 0]
    require_finite(maps, checked_ids(ids, len(clips)), "in its Grad-CAM")
    return maps.to(clips.device)


def normalise(maps: Tensor, per: str = "clip") -> Tensor:
    """Maps (...,T,H,W), none negative, divided by their highest value per "clip" or per "frame": 0 to 1.

    A clip or frame without any positive value stays zero; there is never a NaN. ValueError for negative or
    non-finite maps.
    """
    if per not in ("clip", "frame"):
        raise ValueError(f'per: expected "clip" or "frame", got {per!r}')
    if not torch.is_tensor(maps) or maps.dim() < 3 or not maps.is_floating_point():
        raise ValueError(f"maps: expected floats (...,T,H,W), got {type(maps).__name__} "
                         f"{getattr(maps, 'dtype', '')} {tuple(getattr(maps, 'shape', ()))}")
    if not bool(torch.isfinite(maps).all()) or bool((maps < 0).any()):
        raise ValueError("maps: expected finite values of at least 0, as grad_cam gives them; "
                         "found NaN, infinite or negative ones")
    highest = maps.amax(dim=(-3, -2, -1) if per == "clip" else (-2, -1), keepdim=True)
    return maps / torch.where(highest > 0, highest, 1)


def _find(model: nn.Module, layer: str | nn.Module | None) -> tuple[str, nn.Module]:
    """The layer's name for messages, and the module."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected an nn.Module, got {type(model).__name__}")
    if layer is None:
        layer = getattr(model, "gradcam_layer", None)
    named = dict(model.named_modules())
    maps = [name for name, module in named.items() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    examples = ", ".join(map(repr, maps[-3:])) or "a convolution"
    hint = f"give layer= a module or its name, for instance {examples}"
    if layer is None:
        raise ValueError(f"grad_cam: {type(model).__name__} has no gradcam_layer; {hint}")
    if isinstance(layer, nn.Module):
        name = next((name for name, module in named.items() if module is layer), None)
        if name is None:
            raise ValueError(f"layer: this {type(layer).__name__} is no part of the model; {hint}")
        return name, layer
    if layer not in named or layer == "":
        raise ValueError(f"layer: {type(model).__name__} has no layer {layer!r}; {hint}")
    return layer, named[layer]


def _record(output, calls: list[Tensor], name: str):
    """Note the first tensor of a layer's output and hand the output on with a copy in that tensor's place."""
    tensor = output
    while isinstance(tensor, (tuple, list)) and tensor:
        tensor = tensor[0]
    if not torch.is_tensor(tensor) or not tensor.is_floating_point():
        raise ValueError(f"layer {name!r}: expected a tensor or a tuple that starts with one, "
                         f"got {type(tensor).__name__}; take a layer that gives (B,F,T',H',W')")
    activation = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
    calls.append(activation)
    copy = activation.clone()  # the next layer may write into it
    return _replace(output, tensor, copy)


def _replace(output, old: Tensor, new: Tensor):
    if output is old:
        return new
    if isinstance(output, (tuple, list)):
        parts = [_replace(part, old, new) for part in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    return output


def _check_calls(calls: list[Tensor], answers: Tensor, name: str, batch: int) -> None:
    if not torch.is_tensor(answers) or answers.dim() != 2 or len(answers) != batch:
        got = tuple(answers.shape) if torch.is_tensor(answers) else type(answers).__name__
        raise ValueError(f"model: expected logits ({batch}, K), got {got}; wrap it to return logits alone")
    if not calls:
        raise ValueError(f"layer {name!r} was not called in the forward pass; take one that is")
    _over_time(calls, name, batch)


def _over_time(parts: Sequence[Tensor], name: str, batch: int) -> Tensor:
    """The calls of one layer as (B,F,T',H',W')."""
    shapes = {tuple(part.shape) for part in parts}
    first = parts[0]
    if len(shapes) == 1 and len(parts) == 1 and first.dim() == 5 and len(first) == batch:
        return first
    if len(shapes) == 1 and len(parts) == 1 and first.dim() == 4 and len(first) % batch == 0:
        return first.unflatten(0, (batch, -1)).transpose(1, 2)  # a frame network: (B*T',F,H',W')
    if len(shapes) == 1 and first.dim() == 4 and len(first) == batch:
        return torch.stack(tuple(parts), dim=2)
    kind = "tokens or vectors, without axes of time and space" if first.dim() < 4 else "no map over time"
    raise ValueError(f"layer {name!r} gives {kind}: {len(parts)} call(s) of shape {sorted(shapes)} for "
                     f"{batch} clip(s); expected (B,F,T',H',W') once, or (B,F,H',W') once a time step. Take "
                     "a convolution or a block of them; in a transformer that is the embedding of patches")


def _unreached(name: str) -> str:
    return (f"layer {name!r}: the target's score does not depend on what this layer gives, or the model cuts "
            "the gradient (no_grad, detach) behind it; take a layer on the way to the logits")
