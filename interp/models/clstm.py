"""Convolutional LSTM: stacked recurrent layers over feature maps, as the paper compares with I3D.

Source: Shi et al., "Convolutional LSTM Network", NeurIPS 2015 (arXiv 1506.04214), in the form of Keras'
ConvLSTM2D (no peepholes; the stride acts on the input only); sizes from Mänttäri, Broomé et al., ACCV 2020.
Axes: B clip, C channel, T frame, H row, W column, F filter, K class; a clip is (B,C,T,H,W) in [0,1].

    >>> import torch
    >>> model = CLSTM(num_classes=12, size=(64, 64), padding="same").eval()
    >>> model(torch.rand(2, 3, 16, 64, 64)).shape
    torch.Size([2, 12])
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .i3d import same_padding
from .network import VideoNetwork
from .recurrence import convolutional_lstm

GATES = ("hard_sigmoid", "sigmoid")
PADDINGS = ("valid", "same")


def _pair(value: int | Sequence[int], name: str) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(int(v) != v or v < 1 for v in pair):
        raise ValueError(f"{name} wants an integer of at least 1, or a pair (rows, columns), got {value!r}")
    return int(pair[0]), int(pair[1])


def _choice(value: str, choices: Sequence[str], name: str) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def by_frame(x: Tensor) -> Tensor:
    """(B,C,T,H,W) to (T·B,C,H,W), one picture a row, time first."""
    return x.permute(2, 0, 1, 3, 4).flatten(0, 1)


def by_clip(x: Tensor, num_frames: int) -> Tensor:
    """(T·B,C,H,W) to (B,C,T,H,W): undoes `by_frame` without a copy."""
    return x.unflatten(0, (num_frames, -1)).permute(1, 2, 0, 3, 4)


class ConvLSTM2d(nn.Module):
    """One recurrent layer: (B,C,T,H,W) to its hidden state at every step, (B,F,T,H',W').

    kernel_size: an integer or (rows, columns), for input and recurrent convolution. stride, padding
    ("valid" or "same", as TensorFlow pads): of the input convolution; the recurrent one is "same", stride 1.
    gate: "sigmoid", or "hard_sigmoid" = clip(0.2 x + 0.5, 0, 1), TensorFlow 1's default.

    The four gates lie one after another in the first axis of `weight_input` (4F,C,k,k), `weight_recurrent`
    (4F,F,k,k) and `bias` (4F,): input, forget, output, cell. Source: Shi et al. 2015; Keras ConvLSTM2D.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str = "valid",
        gate: str = "hard_sigmoid",
    ):
        super().__init__()
        self.in_channels, self.filters = in_channels, filters
        self.kernel_size, self.stride = _pair(kernel_size, "kernel_size"), _pair(stride, "stride")
        self.padding, self.gate = _choice(padding, PADDINGS, "padding"), _choice(gate, GATES, "gate")
        self.weight_input = nn.Parameter(torch.empty(4 * filters, in_channels, *self.kernel_size))
        self.weight_recurrent = nn.Parameter(torch.empty(4 * filters, filters, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(4 * filters))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Keras' start: Glorot-uniform kernel, orthogonal recurrent kernel, forget bias 1, other biases 0."""
        cells = self.kernel_size[0] * self.kernel_size[1]
        bound = (6 / (cells * (self.in_channels + 4 * self.filters))) ** 0.5
        nn.init.uniform_(self.weight_input, -bound, bound)
        flat = torch.empty(cells * self.filters, 4 * self.filters)  # Keras' (k,k,F,4F) as a matrix
        nn.init.orthogonal_(flat)
        with torch.no_grad():
            kernel = flat.view(*self.kernel_size, self.filters, 4 * self.filters)
            self.weight_recurrent.copy_(kernel.permute(3, 2, 0, 1))
            self.bias.zero_()
            self.bias[self.filters : 2 * self.filters] = 1.0

    @classmethod
    def from_keras(cls, kernel, recurrent_kernel, bias, *, stride=1, padding="valid", gate="hard_sigmoid"):
        """A layer with Keras' kernel (k,k,C,4F), recurrent_kernel (k,k,F,4F), bias (4F,); gates i,f,c,o."""
        kernel, recurrent, bias = (torch.as_tensor(a) for a in (kernel, recurrent_kernel, bias))
        filters = recurrent.shape[2] if recurrent.ndim == 4 else 0
        wanted = (*kernel.shape[:2], filters, 4 * filters)
        right = (
            kernel.ndim == 4 and recurrent.shape == wanted and kernel.shape[3:] == bias.shape == wanted[3:]
        )
        if not right:
            raise ValueError(
                "from_keras wants kernel (k,k,C,4F), recurrent_kernel (k,k,F,4F) and bias (4F,), got "
                f"{tuple(kernel.shape)}, {tuple(recurrent.shape)} and {tuple(bias.shape)}"
            )
        layer = cls(kernel.shape[2], filters, tuple(kernel.shape[:2]), stride, padding, gate).to(kernel.dtype)
        order = torch.arange(4 * filters).view(4, filters)[[0, 1, 3, 2]].flatten()  # i,f,c,o to i,f,o,c
        with torch.no_grad():
            layer.weight_input.copy_(kernel.permute(3, 2, 0, 1)[order])
            layer.weight_recurrent.copy_(recurrent.permute(3, 2, 0, 1)[order])
            layer.bias.copy_(bias[order])
        return layer

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """(H',W') for an input of (H,W); ValueError where nothing is left."""
        rest = [0, 0] if self.padding == "same" else [k - 1 for k in self.kernel_size]
        out = tuple(-(-(n - r) // s) for n, r, s in zip(size, rest, self.stride, strict=True))
        if min(out) < 1:
            raise ValueError(
                f"a '{self.padding}' convolution of {self.kernel_size} leaves nothing of {tuple(size)}: "
                "give larger frames, padding='same' or fewer layers"
            )
        return out

    def _pads(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """The input, padded where the two sides differ, and the padding left to the convolution."""
        pads = same_padding(x.shape[-2:], self.kernel_size, self.stride)
        if all(before == after for before, after in pads):
            return x, [before for before, _ in pads]
        return F.pad(x, [amount for pair in reversed(pads) for amount in pair]), [0, 0]

    def forward(self, x: Tensor) -> Tensor:
        frames = by_frame(x)
        pads = [0, 0]
        if self.padding == "same":
            frames, pads = self._pads(frames)
        # one convolution for all steps
        gates = F.conv2d(frames, self.weight_input, self.bias, self.stride, pads).unflatten(0, (x.shape[2], -1))
        states = convolutional_lstm(gates, self.weight_recurrent, self.gate)
        return states.permute(1, 2, 0, 3, 4)  # (T, B, F, H', W') to (B, F, T, H', W')

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.filters}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, gate={self.gate!r}"
        )


class CLSTM(VideoNetwork):
    """Stack of ConvLSTM2d, each followed by max pooling and batch normalisation, then a linear classifier.

    Clips (B,C,T,H,W) in [0,1] of exactly num_frames and size (H,W), to logits (B,K).
    filters, strides, pools: one entry a layer; kernel_size, padding, gate: as in ConvLSTM2d, for all layers.
    batch_norm: True (one a layer), "shared" (one for all, with which the paper counts) or False.
    classifier: "sequence" sees the flattened maps of all steps, "last" those of the last step.
    dropout: probability of dropping, before the classifier. bn_momentum: share of the newest batch.
    pixel_range: clips are mapped from [0,1] to this range; the released code fed (0, 255).

    The last ConvLSTM2d is the layer for Grad-CAM: one call a clip, output (B,F,T,H',W').
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        num_frames: int = 16,
        size: int | Sequence[int] = (224, 224),
        filters: Sequence[int] = (32, 32, 32),
        kernel_size: int | Sequence[int] = 5,
        strides: Sequence[int] = (2, 2, 2),
        pools: Sequence[int] = (2, 2, 2),
        padding: str = "valid",
        gate: str = "hard_sigmoid",
        batch_norm: bool | str = True,
        classifier: str = "sequence",
        dropout: float = 0.0,
        bn_momentum: float = 0.01,
        pixel_range: Sequence[float] = (0.0, 1.0),
    ):
        size = _pair(size, "size")
        super().__init__(
            "clstm", num_classes=num_classes, in_channels=in_channels, num_frames=num_frames, size=size,
            filters=tuple(filters), kernel_size=_pair(kernel_size, "kernel_size"), strides=tuple(strides),
            pools=tuple(pools), padding=padding, gate=gate, batch_norm=batch_norm,
            classifier=_choice(classifier, ("sequence", "last"), "classifier"), dropout=dropout,
            bn_momentum=bn_momentum, pixel_range=tuple(pixel_range),
        )  # fmt: skip
        if not len(filters) == len(strides) == len(pools) > 0 or min(*filters, *pools) < 1:
            raise ValueError(
                "filters, strides and pools want one entry of at least 1 a layer, "
                f"got {tuple(filters)}, {tuple(strides)}, {tuple(pools)}"
            )
        if batch_norm not in (True, False, "shared"):
            raise ValueError(f"batch_norm must be True (one a layer), 'shared' or False, got {batch_norm!r}")
        if batch_norm == "shared" and len(set(filters)) > 1:
            raise ValueError(f"a shared batch normalisation wants equal filters, got {tuple(filters)}")
        self.layers, self.norms, self.pools = nn.ModuleList(), nn.ModuleList(), list(pools)
        channels = in_channels
        for number, (width, stride, pool) in enumerate(zip(filters, strides, pools, strict=True)):
            self.layers.append(ConvLSTM2d(channels, width, kernel_size, stride, padding, gate))
            if batch_norm is True or (batch_norm == "shared" and number == 0):
                self.norms.append(nn.BatchNorm2d(width, eps=1e-3, momentum=bn_momentum))
            rows, columns = self.layers[-1].output_size(size)
            size, channels = (rows // pool, columns // pool), width
            if min(size) < 1:
                raise ValueError(
                    f"pooling by {pool} leaves nothing of layer {number}'s {rows}x{columns} maps: "
                    "give larger frames, padding='same', smaller strides or pools"
                )
        steps = num_frames if classifier == "sequence" else 1
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(steps * channels * size[0] * size[1], num_classes)
        # A tenth of Keras' start, whose large random logits kept training at chance for 6,400 clips.
        nn.init.xavier_uniform_(self.classifier.weight, gain=0.1)
        nn.init.zeros_(self.classifier.bias)
        self.gradcam_layer = f"layers.{len(filters) - 1}"
        self.to(memory_format=torch.channels_last)  # measured faster; outputs follow the kernels

    @classmethod
    def something(cls, num_classes: int = 174, **changes) -> "CLSTM":
        """The paper's network for Something-Something V2: 3 layers of 32 filters 5x5, 16x224x224."""
        return cls(num_classes, **{"pixel_range": (0.0, 255.0), **changes})

    @classmethod
    def kth(cls, num_classes: int = 6, **changes) -> "CLSTM":
        """The paper's network for KTH: 2 layers of 32 filters 3x5, 32x120x160, last step."""
        paper = {
            "num_frames": 32, "size": (120, 160), "filters": (32, 32), "kernel_size": (3, 5),
            "strides": (2, 2), "pools": (2, 2), "batch_norm": False, "classifier": "last", "dropout": 0.5,
            "pixel_range": (0.0, 255.0),
        }  # fmt: skip
        return cls(num_classes, **{**paper, **changes})

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (batch, channel, frame, row, column) in [0,1] to logits (batch, class)."""
        c = self.config
        x = self.prepare(clips, (c["in_channels"], c["num_frames"], *c["size"]))
        for number, (layer, pool) in enumerate(zip(self.layers, self.pools, strict=True)):
            frames = by_frame(layer(x))  # (T·B, F, H', W')
            frames = F.max_pool2d(frames, pool) if pool > 1 else frames
            if len(self.norms):
                frames = self.norms[min(number, len(self.norms) - 1)](frames)
            x = by_clip(frames, c["num_frames"])
        if c["classifier"] == "last":
            x = x[:, :, -1:]
        return self.classifier(self.dropout(x.transpose(1, 2).flatten(1)))  # (B, T·F·H·W)
