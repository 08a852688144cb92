"""The first convolution, answered once: a mask then mixes its answers to the frames, not the frames themselves.

Mixing in time commutes with a convolution over space, and a convolution over space and time is a sum of those,
one for each tap of its kernel in time. The answers U[d, s] of tap d to frame s of a clip stay the same in a
search; for the mixed clip W x the layer answers, at step t, the sum over d and s of W[stride t + d - before, s]
U[d, s], plus what it answers to a clip of zeros. No step computes the convolution, nor its slow way back to
three channels. The identity is elementary; used on CPUs, where it was measured faster.

Axes: clips (B,C,T,H,W), W (B,T,T), answers (B, T*taps, cells*F).

    >>> from interp.models import CLSTM
    >>> model, clips = CLSTM(5, size=32, padding="same").eval(), torch.rand(2, 3, 16, 32, 32)
    >>> stem, still = stem_of(model, clips), torch.eye(16).expand(2, 16, 16)
    >>> torch.allclose(stem.logits(stem.mix(still, stem.answers(clips))), model(clips), atol=1e-5)
    True
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from interp.models import CLSTM, I3D
from interp.models.i3d import same_padding

MOST_BYTES = 32 * 2**20  # of one clip's answers; to read more would take longer than the convolution


class _Answered(TorchFunctionMode):
    """While on, the convolution with this very weight gives the answer held ready; all else runs as it is."""

    def __init__(self, convolution, weight: Tensor, answer: Tensor):
        super().__init__()
        self.convolution, self.weight, self.answer, self.asked = convolution, weight, answer, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is self.convolution and args[1] is self.weight:
            self.asked += 1
            return self.answer
        return function(*args, **(kwargs or {}))


class Stem:
    """A network's first convolution for clips of one shape: `answers` once, `mix` and `logits` at every step."""

    def __init__(self, model: I3D | CLSTM, clips: Tensor):
        self.model, self.shape = model, clips.shape[1:]  # (C, T, H, W)
        size = clips.shape[2:]
        if isinstance(model, I3D):
            layer = model.Conv3d_1a_7x7.conv_3d
            self.convolution, self.weight, bias = F.conv3d, layer.weight, None
            self.stride, pads = layer.stride, same_padding(size, layer.kernel_size, layer.stride)
        else:
            layer = model.layers[0]
            self.convolution, self.weight, bias = F.conv2d, layer.weight_input, layer.bias
            self.stride, pads = (1, *layer.stride), [(0, 0)] * 3
            if layer.padding == "same":
                pads[1:] = same_padding(size[1:], layer.kernel_size, layer.stride)
        kernel = self.weight.detach()
        kernel = kernel if kernel.dim() == 5 else kernel[:, :, None]  # (F, C, k, kh, kw)
        self.taps, self.before_after = kernel.shape[2], pads[0]
        self.around = (*pads[2], *pads[1])  # as F.pad wants it: columns, then rows
        self.kernels = kernel.permute(2, 0, 1, 3, 4).flatten(0, 1)  # (k*F, C, kh, kw): all taps at once
        low, high = model.config["pixel_range"]
        self.range = high - low  # the offset is in the answer to zeros
        with torch.no_grad():
            nothing = clips.new_full((1, *self.shape), low)
            zero = F.conv3d(F.pad(nothing, (*self.around, *pads[0])), kernel, bias, self.stride)
        self.filters, self.cells = zero.shape[1], zero.shape[3:]
        # channels last for I3D, first for C-LSTM: (1, T', cells*F)
        self.zero = zero.permute(0, 2, 3, 4, 1).flatten(2) if isinstance(model, I3D) else (
            zero.transpose(1, 2).flatten(2))

    @property
    def bytes(self) -> int:
        """What the answers to one clip take."""
        return self.shape[1] * self.taps * self.zero.shape[2] * self.zero.element_size()

    @torch.no_grad()
    def answers(self, clips: Tensor) -> Tensor:
        """Each tap's answers to each frame of the clips: (B, T*taps, cells*F)."""
        parts = []
        for clip in clips:
            frames = F.pad(clip.transpose(0, 1) * self.range, self.around)  # (T, C, H, W)
            found = F.conv2d(frames, self.kernels, None, self.stride[1:])
            found = found.unflatten(1, (self.taps, self.filters))  # (T, k, F, h, w)
            if self.convolution is F.conv3d:
                found = found.permute(0, 1, 3, 4, 2)
            parts.append(found.reshape(self.shape[1] * self.taps, -1))
        return torch.stack(parts)

    def mix(self, mixing: Tensor, answers: Tensor) -> Tensor:
        """What the first convolution answers to the clips mixed by W (B,T,T), in the layout that it gives.

        answers: of B clips, or of one clip for all B.
        """
        rows = F.pad(mixing.to(answers.dtype), (0, 0, *self.before_after)).unfold(1, self.taps, self.stride[0])
        rows = rows.flatten(2)  # (B, T', T*k)
        if len(answers) < len(rows):  # one clip under many masks: one product of matrices
            first = (rows.flatten(0, 1) @ answers[0]).unflatten(0, rows.shape[:2]).add_(self.zero)
        else:
            first = torch.baddbmm(self.zero, rows, answers)
        if self.convolution is F.conv3d:
            return first.unflatten(2, (*self.cells, self.filters)).permute(0, 4, 1, 2, 3)  # (B, F, T', h, w)
        return first.unflatten(2, (self.filters, *self.cells)).transpose(0, 1).flatten(0, 1)  # (T*B, F, h, w)

    def logits(self, first: Tensor) -> Tensor:
        """The model's logits (B,K) where its first convolution answers `first`; the rest of it runs as it is."""
        batch = len(first) if self.convolution is F.conv3d else len(first) // self.shape[1]
        stand_in = first.new_empty((batch, *self.shape), device="meta")  # looked at for its shape alone
        with _Answered(self.convolution, self.weight, first) as answered:
            logits = self.model(stand_in)
        assert answered.asked == 1
        return logits


def stem_of(model: nn.Module, clips: Tensor) -> Stem | None:
    """The stem of an I3D or C-LSTM on a CPU for clips like these; None where there is none or it would not pay."""
    if type(model) not in (I3D, CLSTM) or clips.device.type != "cpu" or clips.dtype.itemsize < 4:
        return None
    layer = model.Conv3d_1a_7x7.conv_3d if type(model) is I3D else model.layers[0]
    name = "weight" if type(model) is I3D else "weight_input"
    weight = layer._parameters.get(name)  # None where it is computed anew at every use
    if weight is None or weight.device.type != "cpu":
        return None
    stem = Stem(model, clips)
    return stem if stem.bytes <= MOST_BYTES else None
