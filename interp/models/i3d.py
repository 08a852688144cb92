"""I3D, the Inception-v1 network inflated to three dimensions, as the paper runs it: 8 maps for 16 frames.

After Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017 (arXiv 1705.07750); strides in time from
Mänttäri, Broomé et al., ACCV 2020 (arXiv 2002.00367). Modules are named as in the released checkpoints.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import VideoNetwork, convolve, pad, same_padding
from .stem import FirstConvolution

Triple = tuple[int, int, int]


class MaxPool3dSame(nn.Module):
    """Max pooling of (B,C,T,H,W) to ceil(size / stride); padding is never the maximum, as in TensorFlow."""

    def __init__(self, kernel: Triple, stride: Triple):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cpu:  # else pooling takes half of all time where a batch is small: small convolutions change the layout
            x = x.contiguous(memory_format=torch.channels_last_3d)
        pads = same_padding(x.shape[2:], self.kernel, self.stride)
        if any(s == 1 and before != after for s, (before, after) in zip(self.stride, pads, strict=True)):
            return F.max_pool3d(pad(x, pads, -math.inf), self.kernel, self.stride)
        # with ceil_mode the last window reaches over the end: the odd rest of the padding without a copy
        return F.max_pool3d(x, self.kernel, self.stride, [before for before, _ in pads], ceil_mode=True)


class Unit3d(nn.Module):
    """Convolution without bias, batch normalisation, ReLU: (B,C,T,H,W) to (B,F,T/s,H/s,W/s), rounded up."""

    def __init__(self, in_channels: int, channels: int, kernel: int | Triple, stride: int | Triple = 1, momentum=0.1):
        super().__init__()
        self.conv_3d = nn.Conv3d(in_channels, channels, kernel, stride, bias=False)
        self.batch_norm = nn.BatchNorm3d(channels, eps=1e-3, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv_3d
        pads = same_padding(x.shape[2:], conv.kernel_size, conv.stride)
        return F.relu(self.batch_norm(convolve(x, conv.weight, None, conv.stride, pads)))


class Mixed(nn.Module):
    """Inception block: 1x1 | 1x1 then 3x3 | 1x1 then 3x3 | pool then 1x1, concatenated along the channels."""

    def __init__(self, in_channels: int, channels: Sequence[int], momentum: float, last_name="Conv3d_0b_3x3"):
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3 = channels
        conv, pool = partial(Unit3d, momentum=momentum), MaxPool3dSame((3, 3, 3), (1, 1, 1))
        branches = ({"Conv3d_0a_1x1": conv(in_channels, c0, 1)},
                    {"Conv3d_0a_1x1": conv(in_channels, c1a, 1), "Conv3d_0b_3x3": conv(c1a, c1b, 3)},
                    {"Conv3d_0a_1x1": conv(in_channels, c2a, 1), last_name: conv(c2a, c2b, 3)},
                    {"MaxPool3d_0a_3x3": pool, "Conv3d_0b_1x1": conv(in_channels, c3, 1)})
        for number, units in enumerate(branches):
            self.add_module(f"Branch_{number}", nn.Sequential(OrderedDict(units)))
        self.out_channels = c0 + c1b + c2b + c3

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class Logits(nn.Module):
    """Mean over all steps and cells, dropout, 1x1x1 convolution with bias: (B,C,T,H,W) to (B,K)."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.Conv3d_0c_1x1 = nn.ModuleDict({"conv_3d": nn.Conv3d(in_channels, num_classes, 1)})

    def forward(self, x: Tensor) -> Tensor:
        conv = self.Conv3d_0c_1x1["conv_3d"]
        return F.linear(self.dropout(x.mean(dim=(2, 3, 4))), conv.weight.flatten(1), conv.bias)


class I3D(VideoNetwork):
    """I3D for clips (B,C,T,H,W) in [0,1] of any T, H, W; returns logits (B,K). `Mixed_5c` is the layer for Grad-CAM.

    Args:
        num_classes, in_channels: K and C.
        width: factor on every channel count, which is rounded to a multiple of 8.
        dropout: probability of dropping, before the logits.
        temporal_strides: of Conv3d_1a, MaxPool3d_4a, MaxPool3d_5a; (2, 2, 2) is the Kinetics network.
        spatial_strides: of Conv3d_1a, MaxPool3d_2a, 3a, 4a, 5a; (2, 2, 2, 1, 1) gives 8x8 maps for 64x64.
        bn_momentum: share of the newest batch in the running statistics; 0.1 suits short trainings.
        pixel_range: clips are mapped from [0,1] to this range; the Kinetics weights expect (-1, 1).
    """

    gradcam_layer = "Mixed_5c"
    preferred_batch_size = 32  # clips at once on a CPU; larger batches are not faster

    def __init__(self, num_classes: int = 400, in_channels: int = 3, *, width: float = 1.0, dropout: float = 0.5,
                 temporal_strides: Sequence[int] = (1, 1, 2), spatial_strides: Sequence[int] = (2, 2, 2, 2, 2),
                 bn_momentum: float = 0.01, pixel_range: Sequence[float] = (0.0, 1.0)):
        super().__init__("i3d", locals())
        (t1, t4, t5), (s1, s2, s3, s4, s5) = temporal_strides, spatial_strides
        conv = partial(Unit3d, momentum=bn_momentum)

        def wide(channels: int) -> int:
            return channels if width == 1 else max(8, round(channels * width / 8) * 8)

        def mixed(in_channels: int, *channels: int, **names: str) -> Mixed:
            return Mixed(in_channels, [wide(c) for c in channels], bn_momentum, **names)

        self.Conv3d_1a_7x7 = conv(in_channels, wide(64), 7, (t1, s1, s1))
        self.MaxPool3d_2a_3x3 = MaxPool3dSame((1, 3, 3), (1, s2, s2))
        self.Conv3d_2b_1x1 = conv(wide(64), wide(64), 1)
        self.Conv3d_2c_3x3 = conv(wide(64), wide(192), 3)
        self.MaxPool3d_3a_3x3 = MaxPool3dSame((1, 3, 3), (1, s3, s3))
        self.Mixed_3b = mixed(wide(192), 64, 96, 128, 16, 32, 32)
        self.Mixed_3c = mixed(self.Mixed_3b.out_channels, 128, 128, 192, 32, 96, 64)
        self.MaxPool3d_4a_3x3 = MaxPool3dSame((3, 3, 3), (t4, s4, s4))
        self.Mixed_4b = mixed(self.Mixed_3c.out_channels, 192, 96, 208, 16, 48, 64)
        self.Mixed_4c = mixed(self.Mixed_4b.out_channels, 160, 112, 224, 24, 64, 64)
        self.Mixed_4d = mixed(self.Mixed_4c.out_channels, 128, 128, 256, 24, 64, 64)
        self.Mixed_4e = mixed(self.Mixed_4d.out_channels, 112, 144, 288, 32, 64, 64)
        self.Mixed_4f = mixed(self.Mixed_4e.out_channels, 256, 160, 320, 32, 128, 128)
        self.MaxPool3d_5a_2x2 = MaxPool3dSame((2, 2, 2), (t5, s5, s5))
        # the released checkpoints name one convolution of this block differently
        self.Mixed_5b = mixed(self.Mixed_4f.out_channels, 256, 160, 320, 32, 128, 128, last_name="Conv3d_0a_3x3")
        self.Mixed_5c = mixed(self.Mixed_5b.out_channels, 384, 192, 384, 48, 128, 128)
        self.Logits = Logits(self.Mixed_5c.out_channels, num_classes, dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        last = self.Logits.Conv3d_0c_1x1["conv_3d"]
        nn.init.normal_(last.weight, std=last.in_channels**-0.5)
        nn.init.zeros_(last.bias)
        self.to(memory_format=torch.channels_last_3d)  # twice as fast on a CPU; outputs follow the kernels

    def first_convolution(self, size: Triple) -> FirstConvolution:
        """The convolution that sees clips of `size` (T,H,W)."""
        conv = self.Conv3d_1a_7x7.conv_3d
        return FirstConvolution(conv.weight, None, conv.stride, same_padding(size, conv.kernel_size, conv.stride))

    def forward(self, clips: Tensor) -> Tensor:
        x = self.prepare(clips, (self.config["in_channels"], "T", "H", "W"))
        for layer in self.children():  # in the order in which __init__ names them
            x = layer(x)
        return x
