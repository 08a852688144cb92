"""What I3D and C-LSTM share: the record of how they were built, the check of their clips, TensorFlow's padding."""

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from interp.core.inference import attribute
from interp.recipes import check

from .stem import MOST_BYTES, Stem

VALID = (  # names of constructor arguments, what is valid, and the same in words
    ("num_classes in_channels num_frames", lambda value: value >= 1, "at least 1"),
    ("dropout", lambda value: 0 <= value < 1, "a probability from 0 to below 1"),
    ("pixel_range", lambda value: len(value) == 2 and value[0] < value[1], "(low, high) with low < high"),
    ("width", lambda value: value > 0, "a factor above 0 on the channel counts"),
    ("temporal_strides", lambda value: len(value) == 3 and _are_counts(value), "3 integers of at least 1"),
    ("spatial_strides", lambda value: len(value) == 5 and _are_counts(value), "5 integers of at least 1"),
    ("size kernel_size stride", lambda value: len(value) == 2 and _are_counts(value),
     "an integer of at least 1, or a pair (rows, columns)"),
    ("padding", lambda value: value in ("valid", "same"), "one of valid, same"),
    ("gate", lambda value: value in ("hard_sigmoid", "sigmoid"), "one of hard_sigmoid, sigmoid"),
    ("batch_norm", lambda value: value in (True, "shared", False), "one of True, shared, False"),
    ("classifier", lambda value: value in ("sequence", "last"), "one of sequence, last"),
)


def _are_counts(values: Sequence[int]) -> bool:
    return all(int(value) == value >= 1 for value in values)


class VideoNetwork(nn.Module):
    """Base of both networks, from clips (B,C,T,H,W) in [0,1] to logits (B,K)."""

    config: dict  # constructor arguments as JSON values, and "model"; `interp.models.build(config)` makes a new network
    classes: list[str] | None = None  # K names, once weights are read
    record: dict | None = None  # how the network was trained, once weights are read
    gradcam_layer: str  # name of the module that Grad-CAM reads by default

    def __init__(self, model: str, arguments: Mapping):
        """arguments: the constructor's, as locals() holds them at its start."""
        super().__init__()
        arguments = {name: value for name, value in arguments.items() if name not in ("self", "__class__")}
        check(arguments, VALID)
        self.config = {"model": model} | {
            name: list(value) if isinstance(value, list | tuple) else value for name, value in arguments.items()}

    def stem_for(self, clips: Tensor) -> Stem | None:
        """The first convolution of clips that are to be mixed in time many times; None where it does not pay."""
        first = self.first_convolution(tuple(clips.shape[2:]))
        on_cpu = clips.device.type == first.weight.device.type == "cpu" and clips.dtype.itemsize >= 4
        if not on_cpu or not isinstance(first.weight, nn.Parameter):  # parametrised weights: a new tensor at each use
            return None
        stem = Stem(self, clips, first)
        return stem if stem.bytes_per_clip <= MOST_BYTES else None

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
    config, record = (attribute(model, name, Mapping) or {} for name in ("config", "record"))
    known = {"num_frames": 16, "size": (64, 64), **(record.get("recipe") or {}), **config}
    return int(known["num_frames"]), *map(int, known["size"])


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
