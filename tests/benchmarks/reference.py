"""Baselines: the released loop of the mask search, and two plain forms of the ConvLSTM layer.

The loop is rebuilt from its description, with the defects that the book lists: Mänttäri, Broomé et al., ACCV 2020, the
loss and the freeze. The layer has the equations of Shi et al., "Convolutional LSTM Network", NeurIPS 2015, without
peepholes. Axes: clips (B,C,T,H,W), masks (T,), a layer's input (B,C,T,H,W) and output (B,F,T,H',W').
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interp.models.network import pad, same_padding
from interp.recipes import SOMETHING_MASK


def frozen(clips: Tensor, mask: Tensor) -> Tensor:
    """Freeze, frame after frame as it is defined: p[t] = (1-m[t]) x[t] + m[t] p[t-1]."""
    frames = [clips[:, :, 0]]
    for t in range(1, clips.shape[2]):
        frames.append((1 - mask[t]) * clips[:, :, t] + mask[t] * frames[-1])
    return torch.stack(frames, dim=2)


def released(model: nn.Module, clips: Tensor, place: int, target: int, start: Tensor, steps: int) -> list[float]:
    """The losses of one clip's search: all clips forwarded, gradients to all weights, anomaly detection, no stop."""
    recipe, logits = SOMETHING_MASK, start.clone().requires_grad_()
    adam, losses = torch.optim.Adam([logits], lr=recipe.learning_rate), []
    model.requires_grad_(True)
    try:
        for _ in range(steps):
            with torch.autograd.detect_anomaly(check_nan=True):
                mask = logits.sigmoid()
                edges = mask.diff().abs() ** recipe.beta
                score = model(frozen(clips, mask)).softmax(1)[place, target]
                loss = recipe.lambda1 * mask.sum() + recipe.lambda2 * (edges[:-1].sum() + edges[1:].sum()) + score
                adam.zero_grad()
                loss.backward()
            adam.step()
            losses.append(loss.item())
    finally:
        for weight in model.parameters():
            weight.grad = None
            weight.requires_grad_(False)
    return losses


def padded(x: Tensor, layer, stride) -> Tensor:
    """x with TensorFlow's "same" padding for this layer's kernel."""
    return pad(x, same_padding(x.shape[-2:], layer.kernel_size, stride))


def advance(layer, gates, cell: Tensor | None) -> tuple[Tensor, Tensor]:
    """The next hidden state and cell."""
    squash = torch.sigmoid if layer.gate == "sigmoid" else (lambda z: (0.2 * z + 0.5).clamp(0, 1))
    i, f, o = map(squash, gates[:3])
    cell = i * gates[3].tanh() if cell is None else f * cell + i * gates[3].tanh()
    return o * cell.tanh(), cell


class PerGate(nn.Module):
    """The same layer as `ConvLSTM2d`, its weights copied gate by gate: eight convolutions a step."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer_of = [layer]  # for its settings alone; not a submodule
        self.input, self.recurrent, self.bias = (
            nn.ParameterList(part.clone(memory_format=torch.contiguous_format) for part in whole.detach().chunk(4))
            for whole in (layer.weight_input, layer.weight_recurrent, layer.bias))

    def forward(self, x: Tensor) -> Tensor:
        (layer,), cell, states = self.layer_of, None, []
        for frame in x.unbind(2):
            frame = padded(frame, layer, layer.stride) if layer.padding == "same" else frame
            gates = [F.conv2d(frame, weight, bias, layer.stride)
                     for weight, bias in zip(self.input, self.bias, strict=True)]
            before = padded(states[-1] if states else torch.zeros_like(gates[0]), layer, (1, 1))
            gates = [gate + F.conv2d(before, weight) for gate, weight in zip(gates, self.recurrent, strict=True)]
            hidden, cell = advance(layer, gates, cell)
            states.append(hidden)
        return torch.stack(states, dim=2)


def with_layers(model: nn.Module, kind: type[nn.Module], memory_format=torch.contiguous_format) -> nn.Module:
    """A copy of a C-LSTM whose recurrent layers are of another kind."""
    model = copy.deepcopy(model).to(memory_format=memory_format)
    model.layers = nn.ModuleList(kind(layer) for layer in model.layers)
    return model
