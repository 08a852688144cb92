"""Where the cells of a feature map look: the centres of their receptive fields, and maps drawn there.

Cell k of a layer looks at pixel step*k + start. Both follow from the kernels, strides and pads between the clip and the
layer, which the autograd graph holds for any model. TensorFlow's "same" pads put more at the end: in I3D with maps of
8x8 cells cell k looks at pixel 8k+7, not 8k+3.5 (compare Alsallakh et al., "Mind the Pad", ICLR 2021).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FIELDS: weakref.WeakKeyDictionary[nn.Module, dict] = weakref.WeakKeyDictionary()  # (layer, clip) -> see `_follow`


class _Reached(Exception):
    """Ends a forward pass at the layer of interest."""


def upsample(maps: Tensor, size: Sequence[int], places: Sequence[tuple[float, float] | None]) -> Tensor:
    """Maps (B,T',H',W') drawn linearly on (T,H,W). An axis without (step, start) has its cells evenly over the clip."""
    for axis, (num_pixels, place) in enumerate(zip(size, places, strict=True), start=1):
        num_cells = maps.shape[axis]
        step, start = place or (num_pixels / num_cells, (num_pixels / num_cells - 1) / 2)
        position = ((torch.arange(num_pixels, dtype=torch.float64) - start) / step).clamp(0, num_cells - 1)
        shares = (1 - (position[:, None] - torch.arange(num_cells)).abs()).clamp(min=0).to(maps)  # (pixels, cells)
        maps = torch.tensordot(maps, shares, dims=([axis], [1])).movedim(-1, axis)
    return maps


def places(model: nn.Module, layer: str, clips: Tensor, cells: Sequence[int]) -> list[tuple[float, float] | None]:
    """(step, start) for time, rows and columns; None for an axis that cannot be followed back to the clip.

    model: in `frozen_eval`. Followed once for a layer and a shape of clips.
    """
    known, key = _FIELDS.setdefault(model, {}), (layer, clips.shape[1:], clips.dtype)
    if key not in known:
        outputs = []

        def stop(_module, _inputs, output):
            outputs.append(output)
            raise _Reached

        hook = model.get_submodule(layer).register_forward_hook(stop)
        try:
            with torch.enable_grad():
                model(clips[:1].detach().clone().requires_grad_())
        except _Reached:
            pass
        finally:
            hook.remove()
        while isinstance(outputs[0], (tuple, list)):
            outputs = outputs[0]
        known[key] = _follow(outputs[0].grad_fn)
    axes = zip(known[key], clips.shape[2:], cells, strict=True)
    # where the steps do not cover the clip, something that is not followed moved through this axis
    return [(step, (low + high) / 2) if 2 / 3 < size / (count * step) < 2 else None
            for (step, low, high), size, count in axes]


def _follow(node) -> list[tuple[int, int, int]]:
    """For each axis the step from cell to cell, and the first and the last pixel that cell 0 sees, pads included."""
    order, seen, stack = [], set(), [(node, False)]
    while stack:  # `order`: each node of the graph after all that it leads to
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            stack += [(node, True), *((child, False) for child, _ in node.next_functions)]
    field, fields = [(1, 0, 0)] * 3, {}
    for node in reversed(order):
        field = fields.pop(node, field)
        # At stride 1 an even kernel counts as the odd one below: half a cell of pad is what a trained network makes
        # up for. (Measured on I3D's 2x2 pooling: its cells respond most at 8k+7, where the geometry says 8k+11.)
        field = [(step * stride, low * stride - pad, high * stride - pad + kernel - 1 - (stride == 1 > kernel % 2))
                 for (step, low, high), kernel, stride, pad in zip(field, *_window(node), strict=True)]
        for child, _ in node.next_functions:
            if child is not None:  # branches that meet again: a cell sees what any of them sees
                fields[child] = [(max(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]))
                                 for a, b in zip(fields.get(child, field), field, strict=True)]
    return field


def _window(node) -> list[list[int]]:
    """Kernel, stride and pad before over time, rows and columns, of one node of the autograd graph."""
    kind, kernel, stride, pad = node.name() if node else "", [], [], []
    if kind.startswith("ConvolutionBackward") and not node._saved_transposed:
        kernel = [(k - 1) * d + 1 for k, d in zip(node._saved_weight.shape[2:], node._saved_dilation, strict=True)]
        stride, pad = node._saved_stride, node._saved_padding
    elif "Pool" in kind and hasattr(node, "_saved_kernel_size"):
        kernel, stride, pad = node._saved_kernel_size, node._saved_stride, node._saved_padding
        stride = stride or kernel
    elif kind.startswith("ConstantPadNd"):
        pad = list(node._saved_pad[::2])[::-1]
    return [[neutral] * (3 - len(values)) + [*values][-3:] for values, neutral in ((kernel, 1), (stride, 1), (pad, 0))]
