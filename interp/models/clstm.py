"""Convolutional LSTM: stacked recurrent layers over feature maps, which the paper compares with I3D.

After Shi et al., "Convolutional LSTM Network", NeurIPS 2015 (arXiv 1506.04214), in the form of Keras' ConvLSTM2D (no
peepholes; the stride acts on the input only); sizes from Mänttäri, Broomé et al., ACCV 2020 (arXiv 2002.00367).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interp.recipes import check

from .network import VALID, VideoNetwork, convolve, same_padding
from .stem import FirstConvolution


class ConvLSTM2d(nn.Module):
    """One recurrent layer: (B,C,T,H,W) to its hidden state at every step, (B,F,T,H',W').

    The four gates are concatenated in the first axis of `weight_input` (4F,C,k,k), `weight_recurrent` (4F,F,k,k) and
    `bias` (4F,): input, forget, output, cell.

    Args:
        in_channels, filters: C and F.
        kernel_size: an integer or (rows, columns), of the input and of the recurrent convolution.
        stride, padding: of the input convolution, "valid" or "same" as in TensorFlow; the recurrent one is (1, "same").
        gate: "sigmoid", or "hard_sigmoid" = clip(0.2 x + 0.5, 0, 1), the default of TensorFlow 1.
    """

    def __init__(self, in_channels: int, filters: int, kernel_size: int | Sequence[int],
                 stride: int | Sequence[int] = 1, padding: str = "valid", gate: str = "hard_sigmoid"):
        super().__init__()
        self.in_channels, self.filters = in_channels, filters
        self.kernel_size, self.stride, self.padding, self.gate = _pair(kernel_size), _pair(stride), padding, gate
        check(vars(self), VALID)
        self.weight_input = nn.Parameter(torch.empty(4 * filters, in_channels, *self.kernel_size))
        self.weight_recurrent = nn.Parameter(torch.empty(4 * filters, filters, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(4 * filters))
        nn.init.xavier_uniform_(self.weight_input)
        kernel = torch.empty(*self.kernel_size, filters, 4 * filters)  # Keras' axes
        nn.init.orthogonal_(kernel.view(-1, 4 * filters))
        with torch.no_grad():  # Keras' start, of the gates too: the forget bias is 1, the others 0
            self.weight_recurrent.copy_(kernel.permute(3, 2, 0, 1))
            self.bias.zero_()[filters : 2 * filters] = 1.0

    def pads(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """(before, after) of rows and columns for an input of (H,W)."""
        return same_padding(size, self.kernel_size, self.stride) if self.padding == "same" else [(0, 0), (0, 0)]

    def input_gates(self, frames: Tensor) -> Tensor:
        """The input's part of the gates: (N,C,H,W) to (N,4F,H',W')."""
        return convolve(frames, self.weight_input, self.bias, self.stride, self.pads(frames.shape[-2:]))

    def forward(self, x: Tensor) -> Tensor:
        gates = self.input_gates(_by_frame(x)).unflatten(0, (x.shape[2], -1))  # (T, B, 4F, H', W')
        state, hidden = None, []
        for now in gates:
            state = self.step(now, state)
            hidden.append(state[0])
        return torch.stack(hidden).permute(1, 2, 0, 3, 4)  # keeps the frames' memory format

    def step(self, gates: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """(hidden, cell), each (B,F,H',W'), from the input's part of the gates and the state before, None for zeros."""
        if state is not None:
            pads = same_padding(state[0].shape[-2:], self.kernel_size, (1, 1))
            gates = gates + convolve(state[0], self.weight_recurrent.to(gates.dtype), None, (1, 1), pads)
        squashed, new = gates.split((3 * self.filters, self.filters), dim=1)
        squashed = squashed.sigmoid() if self.gate == "sigmoid" else (0.2 * squashed + 0.5).clamp(0, 1)
        i, f, o = squashed.unflatten(1, (3, -1)).unbind(1)
        cell = i * new.tanh() if state is None else f * state[1] + i * new.tanh()
        return o * cell.tanh(), cell


class CLSTM(VideoNetwork):
    """Stack of ConvLSTM2d, each followed by max pooling and batch normalisation, then a linear classifier.

    Clips (B,C,T,H,W) in [0,1] of exactly num_frames and size (H,W), to logits (B,K). The last ConvLSTM2d is the layer
    for Grad-CAM.

    Args:
        num_classes, in_channels, num_frames, size: K, C, T and (H,W).
        kernel_size, padding, gate: as in ConvLSTM2d, for all layers.
        filters, strides, pools: one entry a layer.
        batch_norm: True (one a layer), "shared" (one for all layers, as in the paper's parameter count) or False.
        classifier: "sequence" sees the flattened maps of all steps, "last" those of the last step.
        dropout: probability of dropping, before the classifier.
        bn_momentum: share of the newest batch in the running statistics.
        pixel_range: clips are mapped from [0,1] to this range; the released code used (0, 255).
    """

    preferred_batch_size = 8  # clips at once on a CPU: with gradients 34 ms a clip, against 37 among 4 or 32

    def __init__(self, num_classes: int, in_channels: int = 3, *, num_frames: int = 16,
                 size: int | Sequence[int] = (224, 224), filters: Sequence[int] = (32, 32, 32),
                 kernel_size: int | Sequence[int] = 5, strides: Sequence[int] = (2, 2, 2),
                 pools: Sequence[int] = (2, 2, 2), padding: str = "valid", gate: str = "hard_sigmoid",
                 batch_norm: bool | str = True, classifier: str = "sequence", dropout: float = 0.0,
                 bn_momentum: float = 0.01, pixel_range: Sequence[float] = (0.0, 1.0)):
        size, kernel_size = _pair(size), _pair(kernel_size)
        super().__init__("clstm", locals())
        if not len(filters) == len(strides) == len(pools) > 0 or min(*filters, *pools) < 1:
            raise ValueError("filters, strides, pools: expected one entry of at least 1 a layer, "
                             f"got {tuple(filters)}, {tuple(strides)}, {tuple(pools)}")
        if batch_norm == "shared" and len(set(filters)) > 1:
            raise ValueError(f"batch_norm='shared': expected equal filters in all layers, got {tuple(filters)}")
        channels, num_norms = (in_channels, *filters), {True: len(filters), "shared": 1, False: 0}[batch_norm]
        self.layers = nn.ModuleList(ConvLSTM2d(before, after, kernel_size, stride, padding, gate)
                                    for before, after, stride in zip(channels, filters, strides, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, 1e-3, bn_momentum) for width in filters[:num_norms])
        for number, (layer, pool) in enumerate(zip(self.layers, pools, strict=True)):
            sides = zip(size, layer.pads(size), layer.kernel_size, layer.stride, strict=True)
            size = [((n + before + after - k) // s + 1) // pool for n, (before, after), k, s in sides]
            if min(size) < 1:
                raise ValueError(f"layer {number} and its pooling leave nothing of the frames: give larger frames, "
                                 "padding='same', smaller strides or pools")
        steps = num_frames if classifier == "sequence" else 1
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(steps * filters[-1] * size[0] * size[1], num_classes)
        # A tenth of Keras' start, whose large random logits kept training at chance for 6,400 clips.
        nn.init.xavier_uniform_(self.classifier.weight, gain=0.1)
        nn.init.zeros_(self.classifier.bias)
        self.gradcam_layer = f"layers.{len(filters) - 1}"
        self.to(memory_format=torch.channels_last)  # measured faster; outputs follow the kernels

    def first_convolution(self, size: tuple[int, int, int]) -> FirstConvolution:
        """The convolution that sees clips of `size` (T,H,W)."""
        layer = self.layers[0]
        return FirstConvolution(layer.weight_input, layer.bias, (1, *layer.stride), [(0, 0), *layer.pads(size[1:])])

    def forward(self, clips: Tensor) -> Tensor:
        c = self.config
        x = self.prepare(clips, (c["in_channels"], c["num_frames"], *c["size"]))
        for number, layer in enumerate(self.layers):
            frames = self._pool(_by_frame(layer(x)), number)
            x = frames.unflatten(0, (c["num_frames"], -1)).permute(1, 2, 0, 3, 4)  # (T·B, F, H, W) to (B, F, T, H, W)
        return self.classify(x.transpose(1, 2))

    def step(self, frames: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One frame of each clip (N,C,H,W), in evaluation mode: with `classify`, the same as `forward`.

        Returns the frame's features (N,F,H',W'), and the state for the next step, which is None at the first frame: of
        each layer the hidden and the cell maps (N,...).
        """
        x, after = self.prepare(frames, (self.config["in_channels"], *self.config["size"])), []
        for number, layer in enumerate(self.layers):
            before = state[2 * number : 2 * number + 2] if state else None
            after += layer.step(layer.input_gates(x), before)
            x = self._pool(after[-2], number)
        return x, tuple(after)

    def classify(self, outputs: Tensor) -> Tensor:
        """Logits (N,K) from the features of all frames (N,T,F,H',W')."""
        if self.config["classifier"] == "last":
            outputs = outputs[:, -1:]
        return self.classifier(self.dropout(outputs.flatten(1)))

    def _pool(self, maps: Tensor, number: int) -> Tensor:
        """Max pooling and batch normalisation after layer `number`."""
        maps = F.max_pool2d(maps, self.config["pools"][number])
        return self.norms[min(number, len(self.norms) - 1)](maps) if len(self.norms) else maps


def _by_frame(x: Tensor) -> Tensor:
    """(B,C,T,H,W) to (T·B,C,H,W): one image a row, time first."""
    return x.permute(2, 0, 1, 3, 4).flatten(0, 1)


def _pair(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
