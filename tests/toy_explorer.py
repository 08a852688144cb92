"""A clip in which a square climbs, and two small networks that depend on the order of frames."""

import dataclasses

import torch
from torch import nn

from interp import recipes
from interp.core import perturb

SHORT = dataclasses.replace(recipes.SOMETHING_MASK, iterations=30)
CLASSES = ["Moving something up", "Moving something down", "Turning <left> & right", "Holding something"]
CONFIG = {"model": "toy", "size": (32, 32)}


class Net(nn.Module):
    """Its scores depend on when the square is where; `shift` makes another network."""

    def __init__(self, num_frames: int = 16, shift: int = 16):
        super().__init__()
        self.conv = nn.Conv3d(3, 5, 3, (1, 4, 4), 1)
        self.head = nn.Linear(5 * num_frames * 8, len(CLASSES))
        self.gradcam_layer, self.classes, self.config = "conv", CLASSES, CONFIG | {"num_frames": num_frames}
        generator = torch.Generator().manual_seed(shift)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5)
            self.head.weight.mul_(40)

    def forward(self, clips):
        seen = self.conv(clips).relu().mean(4)  # (B, 5, T, rows)
        rows = nn.functional.interpolate(seen, (seen.shape[2], 8))
        return self.head(rows.flatten(1))


def clip_of(num_frames: int = 16, size: int = 32) -> torch.Tensor:
    clip = torch.rand(3, num_frames, size, size, generator=torch.Generator().manual_seed(1)) * 0.2
    for t in range(num_frames):
        top = round((size - 8) * (1 - t / (num_frames - 1)))
        clip[:, t, top : top + 8, 8:16] = torch.tensor([1.0, 0.8, 0.1])[:, None, None]
        clip[2, t, :, t * (size - 2) // num_frames] = 1
    return clip


def truth(model, clip, mask: str, kind: str) -> torch.Tensor:
    """The softmax (K,) of the clip under a binary mask, computed alone and without the package's tables."""
    hard = torch.tensor([[float(digit) for digit in mask]])
    with torch.no_grad():
        return model.eval()(perturb.apply(kind, clip[None], hard)).softmax(1)[0]
