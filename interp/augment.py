"""Label-aware augmentation of whole clips: one crop, one mirroring, one colour for all frames of a clip.

Source: this project's own; the paper trains without augmentation. The pixels are torchvision.transforms.v2's
work, its parameters are drawn here. A class with a direction is mirrored only when the dataset knows which
class its mirror image belongs to. Axes: frames (B,T,H,W,3) uint8 in, clips (B,C,T,H,W) float32 in [0,1] out.
Every clip's randomness comes from (seed, epoch, index) alone, so that neither the batch, the process, the
device nor an interruption changes it.

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
        if not (0 <= contrast < 1 and 0 <= colour < 1):
            raise ValueError(f"contrast is {contrast}, colour {colour}; expected 0 <= each < 1")
        self.mirror, self.flip = table(num_classes, mirror), table(num_classes, flip)
        self.zoom, self.stretch = zoom, stretch
        self.brightness, self.contrast, self.colour = brightness, contrast, colour

    def __call__(self, frames: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """(B,T,H,W,3) uint8, (B,), (B, NUM_DRAWS) -> clips (B,3,T,H,W) in [0,1], labels (B,)."""
        reversing = draws[:, :2].to(labels.device)
        labels, mirrored = _reverse(labels, self.mirror, reversing[:, 0])
        labels, flipped = _reverse(labels, self.flip, reversing[:, 1])
        batch, num_frames, height, width, channels = frames.shape
        clips = frames.new_empty(batch, channels, num_frames, height, width, dtype=torch.float32)
        turns = torch.stack([mirrored, flipped], 1).tolist()
        for clip, into, (left_right, top_bottom), drawn in zip(frames, clips, turns, draws.cpu(), strict=True):
            into.copy_(self._change(clip.permute(0, 3, 1, 2), left_right, top_bottom, drawn).transpose(0, 1))
        return clips, labels

    def _change(self, clip: Tensor, left_right: bool, top_bottom: bool, drawn: Tensor) -> Tensor:
        """(T,3,H,W) uint8 -> (T,3,H,W) float32 in [0,1]: what `drawn` (NUM_DRAWS,) says, for all frames."""
        from torchvision.transforms.v2 import functional  # here, so that evaluation works without torchvision

        rows, columns = clip.shape[-2:]
        side, narrow, across, down = drawn[2:6].tolist()
        side = self.zoom + (1 - self.zoom) * side
        narrow = self.stretch * (2 * narrow - 1)  # which of the two sides is cut further, and by how much
        width = max(1, round(columns * side * (1 - max(narrow, 0))))
        height = max(1, round(rows * side * (1 + min(narrow, 0))))
        left = min(int(across * (columns - width + 1)), columns - width)  # the crop never leaves the frame
        top = min(int(down * (rows - height + 1)), rows - height)
        # in whole levels of brightness, which takes half as long as in floating point
        clip = functional.resized_crop(clip, top, left, height, width, [rows, columns], antialias=False)
        if left_right:
            clip = functional.horizontal_flip(clip)
        if top_bottom:
            clip = functional.vertical_flip(clip)
        clip = functional.to_dtype(clip, torch.float32, scale=True)
        # (x - 1/2) * gain + 1/2 + offset for each channel, in the words of `normalize`: (x - mean) / std
        gain = (1 + self.contrast * (2 * drawn[6] - 1)) * (1 + self.colour * (2 * drawn[7:10] - 1))
        offset = 0.5 * (1 - gain) + self.brightness * (2 * drawn[10] - 1)
        clip = functional.normalize(clip, (-offset / gain).tolist(), (1 / gain).tolist(), inplace=True)
        return clip.clamp_(0, 1)


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
