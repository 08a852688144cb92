"""Grad-CAM for video: where, in every frame, the target's score rests, from any layer with maps over time.

Source: Selvaraju et al., "Grad-CAM" (ICCV 2017), for video as in Mänttäri et al. (ACCV 2020):
L[t,i,j] = ReLU(sum over k of w[k] A[k,t,i,j]), with A the layer's activations (B,F,T',H',W') and w their mean gradient
over t, i, j ("clip", the paper's code for I3D) or over i, j ("frame", for C-LSTM). Pads move what a cell looks at:
with TensorFlow's, I3D's cell k of 8 looks at pixel 8k+7 of 64, not 8k+3.5 (Alsallakh et al., "Mind the Pad", 2021).
"""

import math
import warnings
import weakref
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from interp.core import inference
from interp.core.inference import check_clips, check_finite, check_ids, check_targets, frozen_eval

DEFAULT_ALIGN = "field"
MEANS = {"clip": (2, 3, 4), "frame": (3, 4)}  # the axes of (B,F,T',H',W') that a gradient is averaged over
CHOICES = {"weights": ("clip", "frame"), "score": ("logit", "probability"), "align": ("field", "corners"),
           "output": ("logits", "probabilities")}
_FIELDS: weakref.WeakKeyDictionary[nn.Module, dict] = weakref.WeakKeyDictionary()  # (layer, clip) -> receptive field


def grad_cam(model: nn.Module, clips: Tensor, targets: Tensor | Sequence[int] | int | None = None,
             layer: str | nn.Module | None = None, weights: str = "clip", upsample: bool = True, *,
             score: str = "logit", align: str = DEFAULT_ALIGN, output: str = "logits",
             reshape: Callable[[Tensor], Tensor] | None = None, ids: Sequence[str] | None = None) -> Tensor:
    """Grad-CAM maps (B,T,H,W), unscaled and never negative, of clips (B,C,T,H,W) in [0,1].

    Args:
        model: clips to logits (B,K). targets: the classes (B,), one for all, or None for the predicted ones.
        layer: a module, its name, or None for model.gradcam_layer. It gives (B,F,T',H',W') or (B,T',H',W',F) once,
            (B*T',F,H',W') once, in either order of clips and frames, or (B,F,H',W') once a time step.
        weights: "clip" or "frame", see above. upsample: linearly to the clip's T, H, W; else maps are (B,T',H',W').
        score: what is differentiated: the target's "logit", or its softmax "probability".
        align: "field" draws a cell at the centre of its receptive field (a recurrent one at its own time step, though
            the shipped C-LSTM looks back 3.1 frames), "corners" all evenly over the clip, as the paper does.
        output: "probabilities" if the model ends in a softmax; a "logit" is then the probability's logarithm.
        reshape: from the activation to (B,F,T',H',W'); None for model.gradcam_reshape, else the layouts above.
        ids: the clips' names, for messages.

    Raises:
        ValueError: the layer does not exist, is not called, gives no maps (tokens, attention weights) or does not reach
            the target's score; the model ends in a softmax; a map is not finite. A map of zeros is a warning.
    """
    clips, names = check_clips(model, clips), check_ids(ids, len(clips))
    with frozen_eval(model) as device:
        maps = compute_maps(model, clips.to(device or clips.device), targets, layer, weights, upsample, score, align,
                            output, reshape)
    check_finite(maps, names, "in its Grad-CAM")
    empty = [name for name, zero in zip(names, maps.flatten(1).eq(0).all(1).tolist(), strict=True) if zero]
    if empty:
        warnings.warn(f"Grad-CAM is zero everywhere for clip {', '.join(empty)}: nothing in this layer speaks for the "
                      "target; look at another layer or target", stacklevel=2)
    return maps.to(clips.device)


def compute_maps(model, clips, targets, layer=None, weights="clip", upsample=True, score="logit", align=DEFAULT_ALIGN,
                 output="logits", reshape=None) -> Tensor:
    """`grad_cam` of checked clips on the device of a model in `frozen_eval`, without the checks of its result."""
    for name, value in {"weights": weights, "score": score, "align": align, "output": output}.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name}: expected {CHOICES[name][0]!r} or {CHOICES[name][1]!r}, got {value!r}")
    name, module = _find(model, layer)
    reshape, calls = reshape or getattr(model, "gradcam_reshape", None), []
    # A recorded activation begins the graph. In a recurrent layer the later calls depend on the earlier ones.
    with module.register_forward_hook(lambda *call: _record(call[-1], calls, name)):
        logits = inference.logits(model, clips)
    if output == "probabilities":
        logits = logits.clamp_min(torch.finfo(logits.dtype).tiny).log()
    elif logits.shape[1] > 1 and are_shares(logits):
        raise ValueError('model: expected logits, got rows that sum to 1; return logits, or say output="probabilities"')
    classes = check_targets(targets, logits.detach())
    scores = (logits if score == "logit" else logits.softmax(dim=1)).gather(1, classes[:, None])[:, 0]
    if not scores.requires_grad:
        kind = "the target's score does not depend on it, or its gradient is cut (no_grad, detach)"
        raise ValueError(f"layer {name!r}: {kind if calls else 'it was not called in the forward pass'}; take a layer "
                         "on the way to the logits")
    slopes = torch.autograd.grad(scores.sum(), calls, retain_graph=True, materialize_grads=True)
    time_first = _is_time_first(scores[0], calls, len(clips), name, reshape)
    with torch.no_grad():
        activations, slopes = (as_maps(parts, len(clips), clips.shape[2:], name, reshape, time_first)
                               for parts in (calls, slopes))
        if activations.dtype != torch.float64:
            activations, slopes = activations.float(), slopes.float()
        maps = (slopes.mean(dim=MEANS[weights], keepdim=True) * activations).sum(dim=1).relu()  # (B, T', H', W')
    field = _receptive_field(model, name, clips) if upsample and align == "field" else None
    return _upsample(maps, clips.shape[2:], field) if upsample else maps


def normalise(maps: Tensor, per: str = "clip") -> Tensor:
    """Maps (...,T,H,W) divided by their highest value per "clip" or "frame"; ValueError for negative or NaN ones."""
    if per not in MEANS:
        raise ValueError(f'per: expected "clip" or "frame", got {per!r}')
    if maps.dim() < 3 or not maps.is_floating_point() or not bool(((maps >= 0) & maps.isfinite()).all()):
        raise ValueError("maps: expected finite floats (...,T,H,W) of at least 0, as grad_cam gives them; "
                         f"got {maps.dtype} {tuple(maps.shape)} or NaN, infinite or negative values")
    highest = maps.amax(dim=(-3, -2, -1) if per == "clip" else (-2, -1), keepdim=True)
    return maps / torch.where(highest > 0, highest, 1)


def _find(model: nn.Module, layer: str | nn.Module | None) -> tuple[str, nn.Module]:
    """The layer's name and module."""
    layer = inference.attribute(model, "gradcam_layer", str) if layer is None else layer
    modules = {name: module for name, module in model.named_modules() if name}
    for name, module in modules.items():
        if layer is module or layer == name:
            return name, module
    maps = [name for name, module in modules.items() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    raise ValueError(f"layer: expected a module of {type(model).__name__} or its name, such as {maps[-3:]}, "
                     f"got {layer!r}; None takes model.gradcam_layer")


def _record(output, calls: list[Tensor], name: str):
    """Note the first tensor of a layer's output; returns the output with a copy in that tensor's place."""
    tensor = next(iter(tree_leaves(output)), None)
    if not torch.is_tensor(tensor) or not tensor.is_floating_point():
        raise ValueError(f"layer {name!r}: expected a tensor or a tuple that starts with one, "
                         f"got {type(tensor).__name__}; take a layer that gives (B,F,T',H',W')")
    calls.append(tensor if tensor.requires_grad else tensor.detach().requires_grad_())
    copy = calls[-1].clone()  # the next layer may write into it
    return tree_map(lambda part: copy if part is tensor else part, output)


def are_shares(rows: Tensor) -> bool:
    """Whether no value is negative and all rows sum to 1, as after a softmax."""
    return bool((rows >= 0).all()) and bool(((rows.sum(-1) - 1).abs() < 1e-2).all())


def _is_time_first(score: Tensor, calls: list[Tensor], batch: int, name: str, reshape: Callable | None) -> bool:
    """Whether the rows of (B*T',F,H',W') are sorted by frame, then clip: on which of them clip 0's score depends."""
    rows = len(calls[0])
    usual = len(calls) == 1 and calls[0].dim() == 4 and batch not in (1, rows) and rows % batch == 0
    if not usual or (reshape and reshape(calls[0].detach()) is not None):
        return False
    gradient = torch.autograd.grad(score, calls[0], retain_graph=True, materialize_grads=True)[0]
    seen = gradient.flatten(1).any(1).nonzero()[:, 0]
    time_first = bool((seen >= rows // batch).any())
    if time_first and bool((seen % batch).any()):
        raise ValueError(f"layer {name!r}: clip 0 depends on rows {seen.tolist()} of {tuple(calls[0].shape)}, so the "
                         "order of clips and frames is unclear; give reshape= a function to (B,F,T',H',W')")
    return time_first


def as_maps(calls: Sequence[Tensor], batch: int, clip_shape: Sequence[int], name: str = "",
             reshape: Callable | None = None, time_first: bool = False) -> Tensor:
    """The calls of one layer as (B,F,T',H',W')."""
    first, maps, once = calls[0], None, len(calls) == 1
    rows, axes = len(first), first.dim()
    kind = "no map over time" if axes > 3 else "tokens or vectors, without axes of time and space"
    if once and reshape is not None and (maps := reshape(first)) is not None:
        pass
    elif axes > 3 and first.shape[-1] == first.shape[-2] > 1 and are_shares(first):
        kind = "attention weights (rows sum to 1)"
    elif axes == 5 and once and rows == batch:
        maps = _channels_first(first, clip_shape)
    elif axes == 4 and once and rows % batch == 0:
        maps = _channels_first(first, clip_shape[1:]).unflatten(0, (-1, batch) if time_first else (batch, -1))
        maps = maps.movedim(0, 2) if time_first else maps.transpose(1, 2)
    elif axes == 4 and rows == batch and all(call.shape == first.shape for call in calls):
        maps = torch.stack([_channels_first(call, clip_shape[1:]) for call in calls], dim=2)
    if maps is not None and (maps.dim() != 5 or any(map(int.__gt__, maps.shape[2:], clip_shape))):
        maps, kind = None, f"more cells than the clip's {tuple(clip_shape)} frames, rows and columns"
    if maps is None:
        raise ValueError(f"layer {name!r} gives {kind}: {len(calls)} call(s), the first of shape {tuple(first.shape)}, "
                         f"for {batch} clip(s); take one that gives (B,F,T',H',W'): a convolution, a block of them, a "
                         "transformer's embedding of patches")
    return maps


def _channels_first(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """The channels as axis 1: they are last if the other axes then fit the clip (and its proportions) better."""
    def misfit(cells: Sequence[int]) -> float:
        fits = all(n <= most for n, most in zip(cells, sizes, strict=True))
        return abs(math.log(sizes[-1] * cells[-2] / (sizes[-2] * cells[-1]))) if fits else math.inf

    return tensor.movedim(-1, 1) if misfit(tensor.shape[1:-1]) + math.log(1.5) < misfit(tensor.shape[2:]) else tensor


def _upsample(maps: Tensor, size: Sequence[int], field: Sequence[tuple[int, float]] | None) -> Tensor:
    """Maps (B,T',H',W') drawn linearly on (T,H,W): cell k at step*k + start, without a field evenly over the clip."""
    for axis, num_pixels in enumerate(size):
        num_cells = maps.shape[1 + axis]
        step, start = field[axis] if field else (0, 0)
        if not 2 / 3 * num_cells * step < num_pixels < 2 * num_cells * step:  # some step on the way was not followed
            step, start = num_pixels / num_cells, (num_pixels / num_cells - 1) / 2
        position = ((torch.arange(num_pixels, dtype=torch.float64) - start) / step).clamp(0, num_cells - 1)
        shares = (1 - (position[:, None] - torch.arange(num_cells)).abs()).clamp(min=0).to(maps)  # (pixels, cells)
        maps = torch.tensordot(maps, shares, dims=([1 + axis], [1])).movedim(-1, 1 + axis)
    return maps


def _receptive_field(model: nn.Module, layer: str, clips: Tensor) -> list[tuple[int, float]]:
    """(step, start) for time, rows and columns: what the autograd graph says of the way from the clip to the layer."""
    known, key = _FIELDS.setdefault(model, {}), (layer, clips.shape[1:], clips.dtype)
    if key in known:
        return known[key]
    outputs, field = [], [(1, 0, 0)] * 3  # step from cell to cell, first and last pixel that cell 0 sees, pads included
    with model.get_submodule(layer).register_forward_hook(lambda *call: outputs.append(call[-1])):
        model(clips[:1].detach().clone().requires_grad_())
    node = tree_leaves(outputs[0])[0].grad_fn
    fields = {node: field} if node else {}
    while fields:  # the node made last comes first, as all that it leads to was made before; the clip, a leaf, is last
        node = max(fields, key=lambda node: node._sequence_nr() if node.next_functions else -1)
        # At stride 1 an even kernel counts as the odd one below: a trained network makes up for half a cell of pad.
        # (Measured on I3D's 2x2 pooling: its cells respond most at 8k+7, where the geometry says 8k+11.)
        field = [(step * stride, low * stride - pad, high * stride - pad + kernel - 1 - (stride == 1 > kernel % 2))
                 for (step, low, high), kernel, stride, pad in zip(fields.pop(node), *_window(node), strict=True)]
        for child, _ in node.next_functions:
            if child is not None:  # branches that meet again: a cell sees what any of them sees
                fields[child] = [(max(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]))
                                 for a, b in zip(fields.get(child, field), field, strict=True)]
    return known.setdefault(key, [(step, (low + high) / 2) for step, low, high in field])


def _window(node) -> list[list[int]]:
    """Kernel, stride and pad before over time, rows and columns, of one node of the autograd graph."""
    kind, kernel, stride, pad = node.name(), [], [], []
    if kind.startswith("ConvolutionBackward") and not node._saved_transposed:
        kernel = [(k - 1) * d + 1 for k, d in zip(node._saved_weight.shape[2:], node._saved_dilation, strict=True)]
        stride, pad = node._saved_stride, node._saved_padding
    elif "Pool" in kind and hasattr(node, "_saved_kernel_size"):
        kernel, pad = node._saved_kernel_size, node._saved_padding
        stride = node._saved_stride or kernel
    elif kind.startswith("ConstantPadNd"):
        pad = list(node._saved_pad[::2])[::-1]
    return [[neutral] * (3 - len(values)) + [*values][-3:] for values, neutral in ((kernel, 1), (stride, 1), (pad, 0))]
