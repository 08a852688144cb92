"""The first convolution, computed once for a clip: each mask then mixes its responses instead of the frames.

Mixing in time commutes with a convolution over space, and a convolution over space and time is a sum of those, one
for each tap of its kernel in time. With U[d, s] the response of tap d to frame s, the layer's output for the mixed
clip W x at step t is the sum over d and s of W[stride t + d - before, s] U[d, s], plus its output for a black clip.
On CPUs a mask search with I3D is 1.6 to 1.8 times faster. Axes: W (B,T,T), responses (B, T*taps, cells*F).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

MOST_BYTES = 32 * 2**20  # of one clip's responses; to read more takes longer than the convolution


class FirstConvolution(NamedTuple):
    """The only convolution that sees a model's clips: conv3d, or conv2d with the frames of all clips, time first."""

    weight: Tensor  # (F,C,taps,kh,kw) or (F,C,kh,kw), the very parameter that the model uses
    bias: Tensor | None  # (F,)
    stride: tuple[int, int, int]  # t, h, w
    pads: list[tuple[int, int]]  # (before, after) of t, h, w


class Stem:
    """A first convolution for clips of one shape: `responses` once, `mix` and `logits` at every step."""

    def __init__(self, model: nn.Module, clips: Tensor, first: FirstConvolution):
        self.model, self.first, self.shape = model, first, clips.shape[1:]  # (C, T, H, W)
        self.volume, self.pixel_range = first.weight.dim() == 5, model.config["pixel_range"]
        kernel = first.weight.detach()
        kernel = kernel if self.volume else kernel[:, :, None]  # (F, C, k, kh, kw)
        self.taps, self.around = kernel.shape[2], (*first.pads[2], *first.pads[1])  # F.pad: columns, then rows
        self.kernels = kernel.permute(2, 0, 1, 3, 4).flatten(0, 1)  # (k*F, C, kh, kw)
        with torch.no_grad():
            black = F.pad(clips.new_full((1, *self.shape), self.pixel_range[0]), (*self.around, *first.pads[0]))
            black = F.conv3d(black, kernel, first.bias, first.stride)  # (1, F, T', h, w)
        self.filters, self.cells = black.shape[1], black.shape[3:]
        self.black = (black.permute(0, 2, 3, 4, 1) if self.volume else black.transpose(1, 2)).flatten(2)
        self.bytes_per_clip = self.shape[1] * self.taps * self.black[0, 0].nbytes

    @torch.no_grad()
    def responses(self, clips: Tensor) -> Tensor:
        """Each tap's responses to each frame of the clips: (B, T*taps, cells*F)."""
        low, high = self.pixel_range
        frames = F.pad(clips.transpose(1, 2).flatten(0, 1) * (high - low), self.around)  # `black` has the offset
        maps = F.conv2d(frames, self.kernels, None, self.first.stride[1:]).unflatten(1, (self.taps, self.filters))
        maps = maps.permute(0, 1, 3, 4, 2) if self.volume else maps  # from (B*T, k, F, h, w)
        return maps.reshape(len(clips), self.shape[1] * self.taps, -1)

    def mix(self, mixing: Tensor, responses: Tensor) -> Tensor:
        """The layer's output for the clips mixed by W (B,T,T), from the responses of B clips, or of one for all."""
        rows = F.pad(mixing.to(responses.dtype), (0, 0, *self.first.pads[0]))
        rows = rows.unfold(1, self.taps, self.first.stride[0]).flatten(2)  # (B, T', T*k)
        if len(responses) < len(rows):
            output = (rows.flatten(0, 1) @ responses[0]).unflatten(0, rows.shape[:2]).add_(self.black)
        else:
            output = torch.baddbmm(self.black, rows, responses)
        if self.volume:
            return output.unflatten(2, (*self.cells, self.filters)).permute(0, 4, 1, 2, 3)  # (B, F, T', h, w)
        return output.unflatten(2, (self.filters, *self.cells)).transpose(0, 1).flatten(0, 1)  # (T*B, F, h, w)

    def logits(self, output: Tensor) -> Tensor:
        """The model's logits (B,K) where its first convolution gives `output`; the rest of it runs as it is."""
        batch = len(output) if self.volume else len(output) // self.shape[1]
        clips = output.new_empty((batch, *self.shape), device="meta")  # only its shape is read
        with _Replaced(self.first.weight, output):
            return self.model(clips)


class _Replaced(TorchFunctionMode):
    """While on, the convolution with this very weight returns the given output."""

    def __init__(self, weight: Tensor, output: Tensor):
        super().__init__()
        self.weight, self.output = weight, output

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (F.conv2d, F.conv3d) and args[1] is self.weight:
            return self.output
        return function(*args, **(kwargs or {}))
