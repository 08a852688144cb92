"""Label-aware augmentation of whole clips: one crop, one mirroring, one colour for all frames of a clip.

Source: this project's own; the paper trains without augmentation. A class with a direction is mirrored only
when the dataset knows which class its mirror image belongs to. Axes: frames (B,T,H,W,3) uint8 in, clips
(B,C,T,H,W) float32 in [0,1] out. Every clip's randomness comes from (seed, epoch, index) alone, so that
neither the batch, the process, the device nor an interruption changes it.

>>> import torch
>>> draws = draw(seed=0, epoch=3, indices=[5, 9])                     # (2, 11) uniform numbers
>>> frames = torch.randint(256, (2, 16, 64, 64, 3)).to(torch.uint8)
>>> augment = Augment(num_classes=2, mirror={0: 1, 1: 0})
>>> clips, labels = augment(frames, torch.tensor([0, 1]), draws)      # (2, 3, 16, 64, 64), mapped labels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

NUM_DRAWS = 11


def draw(seed: int, epoch: int, indices: Sequence[int]) -> Tensor:
    """Uniform numbers in [0,1), float32 (B, NUM_DRAWS), a function of (seed, epoch, index) alone."""
    rows = [np.random.default_rng((seed, epoch, int(i))).random(NUM_DRAWS, np.float32) for i in indices]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, NUM_DRAWS)


def to_float(frames: Tensor) -> Tensor:
    """uint8 (B,T,H,W,C) -> float32 (B,C,T,H,W) in [0,1], contiguous."""
    return frames.permute(0, 4, 1, 2, 3).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


class Augment:
    """Random crop, mirror, flip and colour gain.

    Args:
        num_classes: K.
        mirror, flip: class -> class of the image mirrored left-right, top-bottom. A class that is absent or
            maps to None is never mirrored; None instead of the mapping: no class is.
        zoom: the smallest side of the crop, as a share of the frame's.
        stretch: the largest relative difference between the crop's two sides.
        brightness, contrast, colour: largest offset, relative gain of the whole clip, relative gain per
        channel.
    """

    def __init__(
        self,
        num_classes: int,
        mirror: Mapping[int, int | None] | None = None,
        flip: Mapping[int, int | None] | None = None,
        *,
        zoom: float = 0.8,
        stretch: float = 0.1,
        brightness: float = 0.12,
        contrast: float = 0.3,
        colour: float = 0.15,
    ) -> None:
        if not 0 < zoom <= 1 or not 0 <= stretch < 1:
            raise ValueError(
                f"zoom is {zoom}, stretch {stretch}; expected 0 < zoom <= 1 and 0 <= stretch < 1"
            )
        self.mirror, self.flip = table(num_classes, mirror), table(num_classes, flip)
        self.zoom, self.stretch = zoom, stretch
        self.brightness, self.contrast, self.colour = brightness, contrast, colour

    def __call__(self, frames: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """(B,T,H,W,3) uint8, (B,), (B, NUM_DRAWS) -> clips (B,3,T,H,W) in [0,1], labels (B,)."""
        clips = to_float(frames)
        draws = draws.to(clips.device)
        labels, mirrored = _reverse(labels, self.mirror, draws[:, 0])
        labels, flipped = _reverse(labels, self.flip, draws[:, 1])

        side = self.zoom + (1 - self.zoom) * draws[:, 2]
        narrow = self.stretch * (
            2 * draws[:, 3] - 1
        )  # which of the two sides is cut further, and by how much
        width, height = side * (1 - narrow.clamp(min=0)), side * (1 + narrow.clamp(max=0))
        theta = clips.new_zeros(len(clips), 2, 3)
        theta[:, 0, 0] = torch.where(mirrored, -width, width)
        theta[:, 1, 1] = torch.where(flipped, -height, height)
        theta[:, 0, 2] = (1 - width) * (2 * draws[:, 4] - 1)  # the crop never leaves the frame
        theta[:, 1, 2] = (1 - height) * (2 * draws[:, 5] - 1)
        batch, channels, num_frames, rows, columns = clips.shape
        grid = functional.affine_grid(theta, [batch, 1, rows, columns], align_corners=False)
        images = clips.view(batch, channels * num_frames, rows, columns)  # one crop for all frames of a clip
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

        # y = (x - 1/2) * gain + 1/2 + offset, as one multiplication and one addition per clip and channel
        gain = 1 + self.contrast * (2 * draws[:, 6:7] - 1)
        gain = gain * (1 + self.colour * (2 * draws[:, 7:10] - 1))  # (B, 3)
        offset = 0.5 * (1 - gain) + self.brightness * (2 * draws[:, 10:11] - 1)
        images = images.view_as(clips)
        images = images.mul_(gain[:, :, None, None, None]).add_(offset[:, :, None, None, None])
        return images.clamp_(0, 1), labels


def table(num_classes: int, mapping: Mapping[int, int | None] | None) -> Tensor:
    """LongTensor (K,): the class of the mirrored clip, -1 where unknown. ValueError: no such class."""
    result = torch.full((num_classes,), -1, dtype=torch.long)
    for source, target in (mapping or {}).items():
        if target is None:
            continue
        if not (0 <= int(source) < num_classes and 0 <= int(target) < num_classes):
            raise ValueError(
                f"mirroring maps class {source} to {target}; expected classes 0..{num_classes - 1}"
            )
        result[int(source)] = int(target)
    return result


def _reverse(labels: Tensor, classes: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the clips whose mirrored class is known: their new labels, and which ones they are."""
    labelled = labels >= 0
    target = classes.to(labels.device)[labels.clamp(min=0)]
    chosen = labelled & (target >= 0) & (draws < 0.5)
    return torch.where(chosen, target, labels), chosen
