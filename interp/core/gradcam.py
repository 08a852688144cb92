"""Grad-CAM for video: where, in every frame, the target's score rests, from any layer with maps over time.

Source: Selvaraju et al., "Grad-CAM" (ICCV 2017), for video as in Mänttäri et al. (ACCV 2020):
L[t,i,j] = ReLU(sum over k of w[k] A[k,t,i,j]), with A the layer's activations and w their mean gradient over t, i, j
("clip", the paper's code for I3D) or over i, j ("frame", for C-LSTM). The two agree up to a factor where every time
step enters the score alike, as under global pooling. Axes: clips (B,C,T,H,W), activations (B,F,T',H',W').
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from interp.core import _field
from interp.core.inference import check_clips, check_finite, check_ids, check_targets, frozen_eval

DEFAULT_ALIGN = "corners"
MEANS = {"clip": (2, 3, 4), "frame": (3, 4)}  # the axes of (B,F,T',H',W') that a gradient is averaged over


def grad_cam(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
             layer: str | nn.Module | None = None, weights: str = "clip", upsample: bool = True, *,
             score: str = "logit", align: str = DEFAULT_ALIGN, output: str = "logits",
             reshape: Callable[[Tensor], Tensor] | None = None, ids: Sequence[str] | None = None) -> Tensor:
    """Grad-CAM maps (B,T,H,W), unscaled and never negative, of clips (B,C,T,H,W) in [0,1].

    Args:
        model: clips to logits (B,K); restored to its previous state.
        targets: the classes (B,), one for all, or None for the predicted ones.
        layer: a module, its name, or None for model.gradcam_layer. It gives (B,F,T',H',W') or (B,T',H',W',F) once a
            clip, (B,F,H',W') once a time step, or (B*T',F,H',W') once, in either order of clips and frames.
        weights: "clip" or "frame", see above.
        upsample: to the clip's T, H, W, linearly; without it the maps are (B,T',H',W').
        score: what is differentiated: the target's "logit", or its softmax "probability", in which the other classes
            count as well.
        align: where cells are drawn. "field": at the centre of their receptive field, followed through convolutions,
            poolings and pads (an axis that cannot be followed is drawn as with "corners"). "corners": evenly over the
            clip. In a recurrent network a cell is drawn at its own time step though it looks back (the shipped C-LSTM
            by 3.1 frames on average), so its heat says little about when.
        output: "probabilities" if the model ends in a softmax; a "logit" is then the probability's logarithm.
        reshape: from the layer's activation to (B,F,T',H',W'); None for model.gradcam_reshape, else the layouts above.
        ids: the clips' names, for messages.

    Raises:
        ValueError: the layer does not exist, is not called, gives no maps (tokens, attention weights) or does not reach
            the target's score; the model ends in a softmax; a map is not finite. A map of zeros is a warning.
    """
    clips, names = check_clips(model, clips), check_ids(ids, len(clips))
    with frozen_eval(model) as device:
        maps = compute_maps(model, clips.to(device or clips.device), targets, layer, weights, upsample=upsample,
                            score=score, align=align, output=output, reshape=reshape)
    check_finite(maps, names, "in its Grad-CAM")
    empty = [name for name, zero in zip(names, maps.flatten(1).eq(0).all(1).tolist(), strict=True) if zero]
    if empty:
        warnings.warn(f"Grad-CAM is zero everywhere for clip {', '.join(empty)}: nothing in this layer speaks for the "
                      "target; look at another layer or target", stacklevel=2)
    return maps.to(clips.device)


def compute_maps(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None,
                 layer: str | nn.Module | None = None, weights: str = "clip", *, upsample: bool = True,
                 score: str = "logit", align: str = DEFAULT_ALIGN, output: str = "logits",
                 reshape: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """`grad_cam` of checked clips on the model's device, without the checks of its result."""
    for argument, value, *choices in [("weights", weights, "clip", "frame"), ("score", score, "logit", "probability"),
                                      ("align", align, "field", "corners"),
                                      ("output", output, "logits", "probabilities")]:
        if value not in choices:
            raise ValueError(f'{argument}: expected "{choices[0]}" or "{choices[1]}", got {value!r}')
    name, module = _find(model, layer)
    reshape = reshape or getattr(model, "gradcam_reshape", None)
    batch, calls = len(clips), []
    with frozen_eval(model):
        hook = module.register_forward_hook(lambda _module, _inputs, result: _record(result, calls, name))
        try:
            # A recorded activation begins the graph, so nothing is kept of the layers before it. In a recurrent layer
            # the later calls depend on the earlier ones.
            logits = model(clips)
        finally:
            hook.remove()
        logits = _check_logits(logits, batch, output)
        if not calls:
            raise ValueError(f"layer {name!r} was not called in the forward pass; take one that is")
        classes = check_targets(targets, logits.detach())
        scores = (logits if score == "logit" else logits.softmax(dim=1)).gather(1, classes[:, None])[:, 0]
        gradients = [None]
        if scores.requires_grad:
            gradients = torch.autograd.grad(scores.sum(), calls, allow_unused=True, retain_graph=True)
        if all(gradient is None for gradient in gradients):
            raise ValueError(f"layer {name!r}: the target's score does not depend on this layer, or the model cuts the "
                             "gradient (no_grad, detach) behind it; take a layer on the way to the logits")
        gradients = [torch.zeros_like(call) if gradient is None else gradient  # a step without effect on the score
                     for call, gradient in zip(calls, gradients, strict=True)]
        time_first = reshape is None and len(calls) == 1 and _time_first(scores[0], calls[0], batch, name)
        with torch.no_grad():
            activations, slopes = (_as_maps(parts, batch, clips.shape[2:], name, reshape, time_first)
                                   for parts in (calls, gradients))
            if activations.dtype != torch.float64:
                activations, slopes = activations.float(), slopes.float()
            maps = (slopes.mean(dim=MEANS[weights], keepdim=True) * activations).sum(dim=1).relu()  # (B, T', H', W')
            if upsample:
                field = align == "field"
                places = _field.places(model, name, clips, maps.shape[1:]) if field else [None] * 3
                maps = _field.upsample(maps, clips.shape[2:], places)
    return maps


def normalise(maps: Tensor, per: str = "clip") -> Tensor:
    """Maps (...,T,H,W) of at least 0, divided by their highest value per "clip" or per "frame": 0 to 1.

    A clip or frame without any positive value stays zero. ValueError for negative or non-finite maps.
    """
    if per not in ("clip", "frame"):
        raise ValueError(f'per: expected "clip" or "frame", got {per!r}')
    if not torch.is_tensor(maps) or maps.dim() < 3 or not maps.is_floating_point():
        raise ValueError(f"maps: expected floats (...,T,H,W), got {type(maps).__name__} "
                         f"{getattr(maps, 'dtype', '')} {tuple(getattr(maps, 'shape', ()))}")
    if not bool(torch.isfinite(maps).all()) or bool((maps < 0).any()):
        raise ValueError("maps: expected finite values of at least 0, as grad_cam gives them; "
                         "got NaN, infinite or negative ones")
    highest = maps.amax(dim=(-3, -2, -1) if per == "clip" else (-2, -1), keepdim=True)
    return maps / torch.where(highest > 0, highest, 1)


def readable_map(activation: Tensor, batch: int, clip_shape: Sequence[int]) -> Tensor | None:
    """What `grad_cam` reads in an activation, (B,F,T',H',W'), for clips of (T,H,W); None where it would raise."""
    try:
        return _as_maps([activation], batch, clip_shape, "")
    except ValueError:
        return None


def _find(model: nn.Module, layer: str | nn.Module | None) -> tuple[str, nn.Module]:
    """The layer's name for messages, and the module."""
    layer = getattr(model, "gradcam_layer", None) if layer is None else layer
    modules = dict(model.named_modules())
    maps = [name for name, module in modules.items() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    hint = f"give layer= a module or its name, for instance {', '.join(map(repr, maps[-3:])) or 'a convolution'}"
    if layer is None:
        raise ValueError(f"grad_cam: {type(model).__name__} has no gradcam_layer; {hint}")
    if isinstance(layer, nn.Module):
        name = next((name for name, module in modules.items() if module is layer), None)
        if name is None:
            raise ValueError(f"layer: this {type(layer).__name__} is no part of the model; {hint}")
        return name, layer
    if layer not in modules or layer == "":
        raise ValueError(f"layer: {type(model).__name__} has no layer {layer!r}; {hint}")
    return layer, modules[layer]


def _record(result, calls: list[Tensor], name: str):
    """Note the first tensor of a layer's output and return the output with a copy in that tensor's place."""
    tensor = result
    while isinstance(tensor, (tuple, list)) and tensor:
        tensor = tensor[0]
    if not torch.is_tensor(tensor) or not tensor.is_floating_point():
        raise ValueError(f"layer {name!r}: expected a tensor or a tuple that starts with one, "
                         f"got {type(tensor).__name__}; take a layer that gives (B,F,T',H',W')")
    calls.append(tensor if tensor.requires_grad else tensor.detach().requires_grad_())
    return _replace(result, tensor, calls[-1].clone())  # the next layer may write into it


def _replace(result, old: Tensor, new: Tensor):
    if result is old:
        return new
    if isinstance(result, (tuple, list)):
        parts = [_replace(part, old, new) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def _check_logits(logits, batch: int, output: str) -> Tensor:
    if not torch.is_tensor(logits) or logits.dim() != 2 or len(logits) != batch:
        kind = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
        raise ValueError(f"model: expected logits ({batch}, K), got {kind}; wrap it to return logits alone")
    if output == "probabilities":
        return logits.clamp_min(torch.finfo(logits.dtype).tiny).log()
    if logits.shape[1] > 1 and bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        raise ValueError("model: expected logits, got probabilities (no negative value, rows sum to 1); return the "
                         'logits, or say output="probabilities"')
    return logits


def _time_first(score: Tensor, call: Tensor, batch: int, name: str) -> bool:
    """Whether the rows of (B*T',F,H',W') go through the clips before the frames: clip 0's score depends on its rows."""
    if call.dim() != 4 or batch == 1 or len(call) == batch or len(call) % batch:
        return False
    gradient = torch.autograd.grad(score, call, retain_graph=True, allow_unused=True)[0]
    rows = [] if gradient is None else gradient.flatten(1).any(1).nonzero()[:, 0].tolist()
    if all(row < len(call) // batch for row in rows):
        return False
    if any(row % batch for row in rows):
        raise ValueError(f"layer {name!r}: clip 0 depends on rows {rows} of {tuple(call.shape)}, so the order of clips "
                         "and frames is unclear; give reshape= a function to (B,F,T',H',W')")
    return True


def _as_maps(parts: Sequence[Tensor], batch: int, clip_shape: Sequence[int], name: str,
             reshape: Callable | None = None, time_first: bool = False) -> Tensor:
    """The calls of one layer as (B,F,T',H',W')."""
    shapes = sorted({tuple(part.shape) for part in parts})
    first, maps = parts[0], None
    if len(parts) == 1 and reshape is not None:
        maps = reshape(first)
    elif len(parts) == 1 and first.dim() == 5 and len(first) == batch:
        maps = _channels_first(first, clip_shape)
    elif len(parts) == 1 and first.dim() == 4 and len(first) % batch == 0:
        first = _channels_first(first, clip_shape[1:])
        maps = (first.unflatten(0, (-1, batch)).movedim(0, 2) if time_first
                else first.unflatten(0, (batch, -1)).transpose(1, 2))
    elif len(shapes) == 1 and first.dim() == 4 and len(first) == batch:
        maps = torch.stack([_channels_first(part, clip_shape[1:]) for part in parts], dim=2)
    kind = "tokens or vectors, without axes of time and space" if first.dim() < 4 else "no map over time"
    if maps is not None and (maps.dim() != 5 or any(map(int.__gt__, maps.shape[2:], clip_shape))):
        maps, kind = None, f"more cells than the clip's {tuple(clip_shape)} frames, rows and columns"
    square = first.dim() > 3 and first.shape[-1] == first.shape[-2] > 1 and reshape is None
    if square and bool((first >= 0).all()) and bool(((first.sum(-1) - 1).abs() < 1e-2).all()):
        maps, kind = None, "attention weights (rows sum to 1)"
    if maps is None:
        raise ValueError(f"layer {name!r} gives {kind}: {len(parts)} call(s) of shape {shapes} for "
                         f"{batch} clip(s); expected (B,F,T',H',W') once, or (B,F,H',W') once a time step. Take "
                         "a convolution or a block of them; in a transformer that is the embedding of patches")
    return maps


def _channels_first(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """The channels as axis 1: they are last if the other axes then fit the clip (and its proportions) better."""
    def misfit(cells: Sequence[int]) -> float:
        if any(n > most for n, most in zip(cells, sizes, strict=True)):
            return math.inf
        return abs(math.log(sizes[-1] * cells[-2] / (sizes[-2] * cells[-1])))

    return tensor.movedim(-1, 1) if misfit(tensor.shape[1:-1]) + math.log(1.5) < misfit(tensor.shape[2:]) else tensor
