"""Label-aware augmentation of whole clips: one crop, one mirroring, one colour for all frames of a clip.

The paper trains without augmentation. The randomness of a clip is a function of seed, epoch and the clip's index.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NUM_DRAWS = 11


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers, such that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def draw(seed: int, epoch: int, num_clips: int) -> Tensor:
    """Uniform numbers in [0,1) for the clips of an epoch, float32 (num_clips, NUM_DRAWS)."""
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, 0))
    return torch.rand(num_clips, NUM_DRAWS, generator=generator)


def to_float(frames: Tensor) -> Tensor:
    """uint8 (B,T,H,W,C) to float32 (B,C,T,H,W) in [0,1], contiguous."""
    return frames.permute(0, 4, 1, 2, 3).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


class Augment:
    """Random crop, mirror, flip and colour gain.

    Args:
        num_classes: K.
        mirror, flip: class -> class of the image mirrored left to right, top to bottom. A class that is absent or maps
            to None is never mirrored; None instead of the mapping: no class is.
        zoom, stretch: the crop's smallest side, as a share of the frame's; how much its sides may differ, relatively.
        brightness, contrast, colour: the largest offset, and relative gain of the clip and of one channel.
    """

    def __init__(self, num_classes: int, mirror: Mapping[int, int | None] | None = None,
                 flip: Mapping[int, int | None] | None = None, *, zoom: float = 0.8, stretch: float = 0.1,
                 brightness: float = 0.12, contrast: float = 0.3, colour: float = 0.15):
        if not 0 < zoom <= 1 or not 0 <= stretch < 1 or not 0 <= contrast < 1 or not 0 <= colour < 1:
            raise ValueError("expected 0 < zoom <= 1 and 0 <= stretch, contrast, colour < 1, "
                             f"got {zoom}, {stretch}, {contrast}, {colour}")
        self.mirror, self.flip = table(num_classes, mirror), table(num_classes, flip)
        self.zoom, self.stretch = zoom, stretch
        self.brightness, self.contrast, self.colour = brightness, contrast, colour

    def __call__(self, frames: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """(B,T,H,W,3) uint8, labels (B,), draws (B,NUM_DRAWS) to clips (B,3,T,H,W) in [0,1] and labels (B,)."""
        draws, (height, width) = draws.to(frames.device), frames.shape[2:4]
        labels, mirrored = _reverse(labels, self.mirror, draws[:, 0])
        labels, flipped = _reverse(labels, self.flip, draws[:, 1])
        side = self.zoom + (1 - self.zoom) * draws[:, 2]
        narrow = self.stretch * (2 * draws[:, 3] - 1)  # which of the two sides is cut further, and by how much
        x = _positions(width, side * (1 - narrow.clamp(min=0)), draws[:, 4], mirrored)
        y = _positions(height, side * (1 + narrow.clamp(max=0)), draws[:, 5], flipped)
        grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3)
        images = frames.permute(0, 4, 1, 2, 3).flatten(1, 2).float()  # (B, 3·T, H, W)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        clips = images.unflatten(1, (3, -1)).div_(255)
        gain = (1 + self.contrast * (2 * draws[:, 6:7] - 1)) * (1 + self.colour * (2 * draws[:, 7:10] - 1))
        offset = 0.5 * (1 - gain) + self.brightness * (2 * draws[:, 10:11] - 1)
        gain, offset = (values[:, :, None, None, None] for values in (gain, offset))  # (B, 3, 1, 1, 1)
        return clips.mul_(gain).add_(offset).clamp_(0, 1), labels


def table(num_classes: int, mapping: Mapping[int, int | None] | None) -> Tensor:
    """The class of the mirrored clip (K,), -1 where unknown. ValueError for classes that do not exist."""
    targets = torch.full((num_classes,), -1)
    known = {int(source): int(target) for source, target in (mapping or {}).items() if target is not None}
    if not {*known, *known.values()} <= set(range(num_classes)):
        raise ValueError(f"mirror, flip: expected classes 0..{num_classes - 1}, got {known}")
    targets[list(known)] = torch.tensor(list(known.values()), dtype=torch.int64)
    return targets


def _reverse(labels: Tensor, classes: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """New labels for half of the clips whose mirrored class is known, and which clips these are."""
    targets = classes.to(labels.device)[labels.clamp(min=0)]
    reversed_ = (labels >= 0) & (targets >= 0) & (draws < 0.5)
    return torch.where(reversed_, targets, labels), reversed_


def _positions(size: int, share: Tensor, place: Tensor, backwards: Tensor) -> Tensor:
    """Where the crops of one axis are sampled, (B,size) in grid_sample's -1..1: a whole number of pixels, resized."""
    length = (size * share).round().clamp(min=1)[:, None]
    start = torch.minimum((place[:, None] * (size - length + 1)).floor(), size - length)  # always inside the frame
    pixels = torch.arange(size, device=share.device) + 0.5
    pixels = start + (pixels * length / size - 0.5).clamp(min=0).minimum(length - 1)
    pixels = torch.where(backwards[:, None], pixels.flip(1), pixels)
    return (2 * pixels + 1) / size - 1
