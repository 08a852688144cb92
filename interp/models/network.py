"""What I3D and C-LSTM share: the record of how they were built, the check of their clips, TensorFlow's padding."""

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .stem import Stem, stem_of


class VideoNetwork(nn.Module):
    """Base of both networks, from clips (B,C,T,H,W) in [0,1] to logits (B,K).

    Attributes:
        config: constructor arguments as JSON values, with "model"; `interp.models.build(config)` makes a new network.
        classes: K names, None until weights are read.
        record: how the network was trained, None until weights are read.
        gradcam_layer: name of the module that Grad-CAM reads by default.
    """

    gradcam_layer: str

    def __init__(self, model: str, arguments: Mapping):
        """arguments: the constructor's, as locals() holds them at its start."""
        super().__init__()
        arguments = {name: value for name, value in arguments.items() if name not in ("self", "__class__")}
        for name in ("num_classes", "in_channels", "num_frames"):
            if arguments.get(name, 1) < 1:
                raise ValueError(f"{name}: expected at least 1, got {arguments[name]}")
        dropout, pixel_range = arguments["dropout"], arguments["pixel_range"]
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a probability from 0 to below 1, got {dropout}")
        if len(pixel_range) != 2 or not pixel_range[0] < pixel_range[1]:
            raise ValueError(f"pixel_range: expected (low, high) with low < high, got {tuple(pixel_range)}")
        plain = {name: list(value) if isinstance(value, list | tuple) else value for name, value in arguments.items()}
        self.config = {"model": model, **plain}
        self.classes: list[str] | None = None
        self.record: dict | None = None

    def stem_for(self, clips: Tensor) -> Stem | None:
        """The first convolution of clips that are to be mixed in time many times; None where it does not pay."""
        return stem_of(self, clips)

    def prepare(self, clips: Tensor, axes: Sequence[int | str]) -> Tensor:
        """The clips in `pixel_range`; ValueError unless their axes after B are `axes` (a letter: any size)."""
        sizes = tuple(clips.shape[1:])
        fits = len(sizes) == len(axes) and 0 not in sizes and clips.is_floating_point()
        if not fits or any(size != axis for size, axis in zip(sizes, axes, strict=True) if isinstance(axis, int)):
            expected = f"{type(self).__name__}: expected float clips (B,{','.join(map(str, axes))}) in [0,1]"
            raise ValueError(f"{expected}, got {clips.dtype} {tuple(clips.shape)}; make them with interp.data.to_clip")
        low, high = self.config["pixel_range"]
        return clips if (low, high) == (0.0, 1.0) else clips * (high - low) + low


def clip_shape(model: nn.Module) -> tuple[int, int, int]:
    """The clip (T,H,W) that a model was made for: by its config, its training record, else 16x64x64."""
    config, record = (value if isinstance(value := getattr(model, name, None), Mapping) else {}
                      for name in ("config", "record"))
    recipe = record.get("recipe") or {}
    num_frames = config.get("num_frames") or recipe.get("num_frames") or 16
    height, width = config.get("size") or recipe.get("size") or (64, 64)
    return int(num_frames), int(height), int(width)


def same_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """(before, after) for each axis, so that the output has ceil(size / stride) steps; an odd rest goes after."""
    totals = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, kernel, stride, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], pads: Sequence) -> Tensor:
    """A convolution over the last axes, two or three, padded by (before, after) each."""
    if any(before != after for before, after in pads):
        x, pads = pad(x, pads), [(0, 0)] * len(pads)
    function = F.conv3d if weight.dim() == 5 else F.conv2d
    return function(x, weight, bias, stride, [before for before, _ in pads])


def pad(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with its last axes padded by (before, after) each, in the order of the axes."""
    return F.pad(x, [amount for pair in reversed(pads) for amount in pair], value=value)
