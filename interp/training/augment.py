"""Label-aware augmentation of whole clips: one crop, one mirroring, one colour for all frames of a clip.

The paper trains without augmentation. The randomness of a clip is a function of seed, epoch and the clip's index.
"""

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


def augment_clips(frames: Tensor, labels: Tensor, draws: Tensor, mirror: Tensor, flip: Tensor, *, zoom: float = 0.8,
                  stretch: float = 0.1, brightness: float = 0.12, contrast: float = 0.3,
                  colour: float = 0.15) -> tuple[Tensor, Tensor]:
    """Clips (B,3,T,H,W) in [0,1] and labels (B,) after random crop, mirror, flip and colour gain.

    Args:
        frames, labels, draws: uint8 (B,T,H,W,3), (B,), (B,NUM_DRAWS).
        mirror, flip: for each class that of its image mirrored left-right, top-bottom (K,), -1: never mirrored.
        zoom, stretch: the crop's smallest side, as a share of the frame's; how much its sides may differ, relatively.
        brightness, contrast, colour: the largest offset, and relative gain of the clip and of one channel.
    """
    draws, (height, width) = draws.to(frames.device), frames.shape[2:4]
    labels, mirrored = _reverse(labels, mirror, draws[:, 0])
    labels, flipped = _reverse(labels, flip, draws[:, 1])
    side = zoom + (1 - zoom) * draws[:, 2]
    narrow = stretch * (2 * draws[:, 3] - 1)  # which of the two sides is cut further, and by how much
    x = _positions(width, side * (1 - narrow.clamp(min=0)), draws[:, 4], mirrored)
    y = _positions(height, side * (1 + narrow.clamp(max=0)), draws[:, 5], flipped)
    grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3)
    images = frames.permute(0, 4, 1, 2, 3).flatten(1, 2).float()  # (B, 3·T, H, W)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = (1 + contrast * (2 * draws[:, 6:7] - 1)) * (1 + colour * (2 * draws[:, 7:10] - 1))
    offset = 0.5 * (1 - gain) + brightness * (2 * draws[:, 10:11] - 1)
    gain, offset = (values[:, :, None, None, None] for values in (gain, offset))  # (B, 3, 1, 1, 1)
    return images.unflatten(1, (3, -1)).div_(255).mul_(gain).add_(offset).clamp_(0, 1), labels


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
