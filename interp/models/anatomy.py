"""What a network does to a clip, stage by stage: the size of its maps and its parameters, nothing computed.

Source: this project's own; PyTorch's forward hooks and its "meta" device, on which tensors have a shape and
no values, so that the largest network takes no time. Axes: maps (F,T',H',W'), F channels.

    >>> stages = anatomy({"model": "i3d", "num_classes": 12, "width": 0.25}, (3, 16, 64, 64))
    >>> stages[-2].name, stages[-2].after
    ('Mixed_5c', (256, 8, 2, 2))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from . import build
from .clstm import ConvLSTM2d
from .i3d import Logits, MaxPool3dSame, Mixed, Unit3d

KINDS = {Unit3d: "convolution", MaxPool3dSame: "max pooling", Mixed: "Inception", ConvLSTM2d: "ConvLSTM",
         Logits: "classifier", nn.Linear: "classifier", nn.BatchNorm2d: "pooling, normalisation"}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One step of a network. Sizes are (F,T',H',W') for one clip; of a classifier's output only F is left."""

    name: str
    kind: str  # a value of KINDS
    before: tuple[int, ...]
    after: tuple[int, ...]
    parameters: int
    kernel: tuple[int, ...] | None
    stride: tuple[int, ...] | None


def anatomy(config: Mapping, clip: Sequence[int] | None = None) -> list[Stage]:
    """The stages of the network that `interp.models.build` makes of `config`, in the order of `forward`.

    clip: the size (C,T,H,W) of one clip; None takes what a C-LSTM is built for. I3D takes clips of any size,
    so that it wants one: else ValueError.
    """
    if clip is None:
        if "size" not in config or "num_frames" not in config:
            raise ValueError(f"{config.get('model')} takes clips of any size; give the clip's (C,T,H,W)")
        clip = (config.get("in_channels", 3), config["num_frames"], *config["size"])
    found: list[Stage] = []
    with torch.device("meta"):
        model = build(config).eval()
        named = {module: name for name, module in model.named_modules()}
        inside: set[nn.Module] = set()  # what is part of a stage is no stage of its own
        for module in named:
            if type(module) in KINDS and module not in inside:
                inside.update(module.modules())
                module.register_forward_hook(
                    lambda m, given, out: found.append(_stage(named[m], m, given[0], out))
                )
        model(torch.empty(1, *clip))
    steps = clip[1]
    return [Stage(s.name, s.kind, _sizes(s.before, steps), _sizes(s.after, steps), *_rest(s)) for s in found]


def _stage(name: str, module: nn.Module, given: torch.Tensor, out: torch.Tensor) -> Stage:
    inner = getattr(module, "conv_3d", module)
    kernel, stride = (getattr(inner, key, None) for key in ("kernel_size", "stride"))
    kernel = getattr(module, "kernel", kernel)
    parameters = sum(p.numel() for p in module.parameters())
    return Stage(name, KINDS[type(module)], tuple(given.shape), tuple(out.shape), parameters, kernel, stride)


def _rest(stage: Stage) -> tuple:
    return stage.parameters, stage.kernel, stage.stride


def _sizes(shape: tuple[int, ...], steps: int) -> tuple[int, ...]:
    """Without the clip's axis; frames that a layer takes as pictures, (T·1,F,H,W), become (F,T,H,W)."""
    return (shape[1], steps, *shape[2:]) if len(shape) == 4 else shape[1:]


def differences(first: Mapping, second: Mapping) -> list[tuple[str, object, object]]:
    """(argument, value, value) for each constructor argument in which two networks of one kind differ.

    ValueError where they are of two kinds.
    """
    if first.get("model") != second.get("model"):
        raise ValueError(
            f"got a {first.get('model')} and a {second.get('model')}; expected one kind of network"
        )
    with torch.device("meta"):
        full = [build(config).config for config in (first, second)]  # with the defaults
    return [(key, full[0][key], full[1][key]) for key in full[0] if full[0][key] != full[1][key]]
