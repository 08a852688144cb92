"""A network stage by stage: the size of its maps and its parameters, from shapes alone (PyTorch's "meta" device)."""

from collections import namedtuple
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from interp.models import build
from interp.models.clstm import ConvLSTM2d
from interp.models.i3d import Logits, MaxPool3dSame, Mixed, Unit3d

KINDS = {Unit3d: "convolution", MaxPool3dSame: "max pooling", Mixed: "Inception", ConvLSTM2d: "ConvLSTM",
         Logits: "classifier", nn.Linear: "classifier", nn.BatchNorm2d: "pooling, normalisation"}


# One step of a network. kind: of KINDS; after: (F,T',H',W') for one clip, of a classifier's output (F); kernel, stride:
# tuples or None.
Stage = namedtuple("Stage", "name kind after parameters kernel stride")


def layer_summary(config: Mapping, clip_size: Sequence[int] | None = None) -> list[Stage]:
    """List the stages of the network that `interp.models.build` makes of `config`, in the order of `forward`.

    clip_size: (C,T,H,W) of one clip; None for the size that a C-LSTM is built for. I3D takes any size and needs one.
    """
    if clip_size is None and "size" not in config:
        raise ValueError(f"{config.get('model')} takes clips of any size; give clip_size, (C,T,H,W)")
    clip_size = clip_size or (config.get("in_channels", 3), config["num_frames"], *config["size"])
    stages: list[Stage] = []

    def record(module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        inner, size = getattr(module, "conv_3d", module), tuple(output.shape[1:])
        if output.ndim == 4:  # a layer that takes frames as pictures, (T·1,F,H,W)
            size = size[0], clip_size[1], *size[1:]
        kernel = getattr(module, "kernel", getattr(inner, "kernel_size", None))
        parameters, stride = sum(weight.numel() for weight in module.parameters()), getattr(inner, "stride", None)
        stages.append(Stage(names[module], KINDS[type(module)], size, parameters, kernel, stride))

    with torch.device("meta"):
        model = build(config).eval()
        names, parts = {module: name for name, module in model.named_modules()}, set()
        for module in names:  # modules inside a stage, its parts, are not stages themselves
            if type(module) in KINDS and module not in parts:
                parts.update(module.modules())
                module.register_forward_hook(record)
        model(torch.empty(1, *clip_size))
    return stages


def stage_rows(stages: Sequence[Stage]) -> list[dict[str, str]]:
    """Rows of a table: kernel, stride, maps and parameters of each stage, and at the end their sum."""
    rows = []
    for stage in stages:
        kernel, stride, size = ("×".join(map(str, n or ())) for n in (stage.kernel, stage.stride, stage.after[1:]))
        rows.append({"stage": stage.name, "kind": stage.kind, "kernel": kernel, "stride": stride,
                     "channels": f"{stage.after[0]:,}", "steps × rows × columns": size,
                     "parameters": f"{stage.parameters:,}" if stage.parameters else "–"})
    total = {"stage": "all", "parameters": f"{sum(stage.parameters for stage in stages):,}"}
    return [*rows, dict.fromkeys(rows[0], "") | total]
