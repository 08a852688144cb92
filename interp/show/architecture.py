"""A network stage by stage: the size of its maps and its parameters, from shapes alone (PyTorch's "meta" device)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from interp.models import build
from interp.models.clstm import ConvLSTM2d
from interp.models.i3d import Logits, MaxPool3dSame, Mixed, Unit3d

KINDS = {Unit3d: "convolution", MaxPool3dSame: "max pooling", Mixed: "Inception", ConvLSTM2d: "ConvLSTM",
         Logits: "classifier", nn.Linear: "classifier", nn.BatchNorm2d: "pooling, normalisation"}


@dataclass(frozen=True)
class Stage:
    """One step of a network. Sizes are (F,T',H',W') for one clip; of a classifier's output only F remains."""

    name: str
    kind: str  # a value of KINDS
    before: tuple[int, ...]
    after: tuple[int, ...]
    parameters: int
    kernel: tuple[int, ...] | None
    stride: tuple[int, ...] | None


def layer_summary(config: Mapping, clip_size: Sequence[int] | None = None) -> list[Stage]:
    """List the stages of the network that `interp.models.build` makes of `config`, in the order of `forward`.

    clip_size: (C,T,H,W) of one clip; None for the size that a C-LSTM is built for. I3D takes any size and needs one.
    """
    if clip_size is None:
        if "size" not in config or "num_frames" not in config:
            raise ValueError(f"{config.get('model')} takes clips of any size; give clip_size, (C,T,H,W)")
        clip_size = (config.get("in_channels", 3), config["num_frames"], *config["size"])
    stages: list[Stage] = []

    def record(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        inner = getattr(module, "conv_3d", module)
        stages.append(Stage(
            names[module], KINDS[type(module)], _map_size(inputs[0].shape, clip_size[1]),
            _map_size(output.shape, clip_size[1]), sum(weight.numel() for weight in module.parameters()),
            getattr(module, "kernel", getattr(inner, "kernel_size", None)), getattr(inner, "stride", None)))

    with torch.device("meta"):
        model = build(config).eval()
        names = {module: name for name, module in model.named_modules()}
        parts: set[nn.Module] = set()  # modules inside a stage are not stages themselves
        for module in names:
            if type(module) in KINDS and module not in parts:
                parts.update(module.modules())
                module.register_forward_hook(record)
        model(torch.empty(1, *clip_size))
    return stages


def stage_rows(stages: Sequence[Stage]) -> list[dict[str, str]]:
    """Rows of a table: kernel, stride, maps and parameters of each stage, and at the end their sum."""
    rows = []
    for stage in stages:
        axes = stage.kernel or (), stage.stride or (), stage.after[1:]
        kernel, stride, size = ("×".join(map(str, lengths)) for lengths in axes)
        rows.append({"stage": stage.name, "kind": stage.kind, "kernel": kernel, "stride": stride,
                     "channels": f"{stage.after[0]:,}", "steps × rows × columns": size,
                     "parameters": f"{stage.parameters:,}" if stage.parameters else "–"})
    total = f"{sum(stage.parameters for stage in stages):,}"
    return [*rows, dict.fromkeys(rows[0], "") | {"stage": "all", "parameters": total}]


def differences(first: Mapping, second: Mapping) -> list[tuple[str, object, object]]:
    """(argument, value, value) for each constructor argument, defaults included, in which two configs differ."""
    if first.get("model") != second.get("model"):
        raise ValueError(f"expected one kind of network, got a {first.get('model')} and a {second.get('model')}")
    with torch.device("meta"):
        full = [build(config).config for config in (first, second)]
    return [(key, full[0][key], full[1][key]) for key in full[0] if full[0][key] != full[1][key]]


def _map_size(shape: tuple[int, ...], steps: int) -> tuple[int, ...]:
    """The shape without its clip axis; frames that a layer takes as pictures, (T·1,F,H,W), become (F,T,H,W)."""
    return (shape[1], steps, *shape[2:]) if len(shape) == 4 else tuple(shape[1:])
