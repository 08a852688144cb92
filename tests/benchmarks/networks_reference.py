"""Baselines of the ConvLSTM layer: a convolution for every gate and step; the loop differentiated by autograd.

The equations of Shi et al., "Convolutional LSTM Network", NeurIPS 2015, without peepholes. Axes: x (B,C,T,H,W) to
(B,F,T,H',W').
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interp.models.network import pad, same_padding

SIDES = ("input", "recurrent")


def padded(x: Tensor, layer, stride) -> Tensor:
    """x with TensorFlow's "same" padding for this layer's kernel."""
    return pad(x, same_padding(x.shape[-2:], layer.kernel_size, stride))


class PerGate(nn.Module):
    """The same layer as `ConvLSTM2d`, its weights copied gate by gate: eight convolutions a step."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer_of = [layer]  # for its settings alone; not a submodule
        for side in SIDES:
            parts = getattr(layer, f"weight_{side}").detach().chunk(4)
            setattr(self, side, nn.ParameterList(part.clone(memory_format=torch.contiguous_format) for part in parts))
        self.bias = nn.ParameterList(part.clone() for part in layer.bias.detach().chunk(4))

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer_of[0]
        squash = torch.sigmoid if layer.gate == "sigmoid" else (lambda z: (0.2 * z + 0.5).clamp(0, 1))
        hidden = cell = None
        states = []
        for t in range(x.shape[2]):
            frame = x[:, :, t]
            if layer.padding == "same":
                frame = padded(frame, layer, layer.stride)
            gates = [F.conv2d(frame, weight, bias, layer.stride)
                     for weight, bias in zip(self.input, self.bias, strict=True)]
            if hidden is None:
                hidden = cell = torch.zeros_like(gates[0])
            before = padded(hidden, layer, (1, 1))
            gates = [gate + F.conv2d(before, weight) for gate, weight in zip(gates, self.recurrent, strict=True)]
            i, f, o = (squash(gate) for gate in gates[:3])
            cell = f * cell + i * gates[3].tanh()
            hidden = o * cell.tanh()
            states.append(hidden)
        return torch.stack(states, dim=2)


class ByAutograd(nn.Module):
    """The same layer with its own weights, one convolution for all gates, and autograd's backward pass."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer, frames = self.layer, x.permute(2, 0, 1, 3, 4).flatten(0, 1)
        squash = torch.sigmoid if layer.gate == "sigmoid" else (lambda z: (0.2 * z + 0.5).clamp(0, 1))
        if layer.padding == "same":
            frames = padded(frames, layer, layer.stride)
        inputs = F.conv2d(frames, layer.weight_input, layer.bias, layer.stride)
        hidden = cell = None
        states = []
        for gates in inputs.unflatten(0, (x.shape[2], -1)).unbind(0):
            if hidden is not None:
                rows, columns = ((k - 1) // 2 for k in layer.kernel_size)  # odd kernels alone
                gates = gates + F.conv2d(hidden, layer.weight_recurrent, padding=(rows, columns))
            opened, new = gates.split((3 * layer.filters, layer.filters), dim=1)
            i, f, o = squash(opened).chunk(3, dim=1)
            cell = i * new.tanh() if cell is None else f * cell + i * new.tanh()
            hidden = o * cell.tanh()
            states.append(hidden)
        return torch.stack(states).permute(1, 2, 0, 3, 4)


def with_layers(model: nn.Module, kind: type[nn.Module], memory_format=torch.contiguous_format) -> nn.Module:
    """A copy of a C-LSTM whose recurrent layers are of another kind."""
    model = copy.deepcopy(model).to(memory_format=memory_format)
    model.layers = nn.ModuleList(kind(layer) for layer in model.layers)
    return model
