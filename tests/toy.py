"""A network and a dataset small enough that a training run of the tests takes a second.

Axes: frames (T,H,W,3) uint8, clips (B,C,T,H,W). As a script it trains for the test under torchrun: `toy.py OUT`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from interp import recipes  # noqa: E402

RECIPE = recipes.TrainRecipe(
    "toy", "i3d", "folder", num_frames=4, size=(8, 8), epochs=3, optimizer="adam", learning_rate=0.01,
    batch_size=8, dropout=0.3, augment=True, schedule="plateau",
)  # fmt: skip


class Toy:
    """Two classes: the bright half is left (0) or right (1); mirroring swaps them."""

    classes = ["left", "right"]
    mirror = {0: 1, 1: 0}
    flip = {0: 0, 1: 1}
    name = "toy"

    def __init__(self, count: int = 44, seed: int = 0) -> None:
        self.ids = [f"clip-{i}" for i in range(count)]
        self.seed = seed

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, int]:
        if index >= len(self):
            raise IndexError(index)
        frames = np.random.default_rng((self.seed, index)).integers(0, 120, (4, 8, 8, 3), np.uint8)
        label = index % 2
        frames[:, :, 4 * label : 4 * label + 4] += 80
        return frames, label, index


class Net(nn.Module):
    """A convolution, a batch normalisation, dropout and a linear layer."""

    config = {"model": "toy", "num_classes": 2}

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4) if norm else nn.Identity()
        self.dropout = nn.Dropout(0.3)
        self.classify = nn.Linear(4 * 4 * 4, 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.convolution(clips)))
        x = nn.functional.adaptive_avg_pool3d(x, (4, 2, 2)).amax(2)  # (B, 4, 2, 2)
        x = nn.functional.interpolate(x, (4, 4))
        return self.classify(self.dropout(x.flatten(1)))


def net(seed: int = 0, norm: bool = True) -> Net:
    """A freshly drawn `Net`, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net(norm)


def damaged(root: Path, place: int) -> Path:
    """The generated dataset below `root` with the file of its clip number `place` cut short."""
    video = sorted((root / "20bn-something-something-v2").iterdir())[place]
    video.write_bytes(video.read_bytes()[:100])
    return root


if __name__ == "__main__":
    from interp.training import train

    torch.set_num_threads(1)
    model = net(norm=False)
    model.dropout.p = 0.0
    train(RECIPE, Toy(), Toy(10, seed=1), sys.argv[1], device="cpu", model=model, progress=False, precision="fp32")
