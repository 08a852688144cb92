"""Which frames and pixels of a video become a clip: spread evenly, as in the paper, or at a rate of their own.

    >>> Sampling(16, resize=(128, 171), crop=(112, 112), fps=15).indices(0, 90, rate=30)[:4].tolist()
    [29, 31, 33, 35]
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True)
class Sampling:
    """The frames and pixels of a video that a network takes as one clip.

    With `fps` or `stride` the clip is a part of the video, from its middle where no start is given; else `num_frames`
    are spread evenly over it.
    """

    num_frames: int = 16
    resize: int | tuple[int, int] | None = None  # (height, width); of an int the shorter side; None keeps the video's
    crop: tuple[int, int] | None = None  # (height, width) of the middle, after resizing
    fps: float | None = None  # frames a second
    stride: float | None = None  # or every so many-th frame
    interpolation: str = "bicubic"  # or "bilinear"
    antialias: bool = True

    size = property(lambda self: self.crop or self.resize, doc="(height, width) of a clip, where it is fixed.")

    def steps(self, rate: float) -> np.ndarray | None:
        """int64 (T,): a clip's frames, from 0, in a video of `rate` frames a second; None where they are spread."""
        step = rate / self.fps if self.fps and rate else self.stride
        return np.floor(np.arange(self.num_frames) * step).astype(np.int64) if step else None

    def indices(self, first: int, end: int, rate: float, centred: bool = True) -> np.ndarray:
        """int64 (T,): the frames to take from `first` up to `end`; spread where the clip would be longer."""
        steps, last = self.steps(rate), end - first - 1
        if steps is None or steps[-1] > last:
            return first + even_indices(last + 1, self.num_frames)
        return first + steps + (last - steps[-1]) // 2 * centred

    def seconds(self, rate: float) -> float:
        """How long a clip lasts in a video of `rate` frames a second; ValueError where its frames are spread."""
        if not self.fps and not self.stride:
            raise ValueError("expected frames at a rate, got frames that are spread over the video; give fps or stride")
        return self.num_frames / self.fps if self.fps else self.num_frames * self.stride / rate

    def enlarged(self, height: float, width: float) -> "Sampling":
        """The same frames and place for a panel of at most 224 pixels high and 320 wide, of a video of this size."""
        if self.crop:
            scale, resize = max(1, 224 / max(self.crop)), self.resize
            crop = tuple(round(scale * n) for n in self.crop)
            resize = round(scale * resize) if isinstance(resize, int) else tuple(round(scale * n) for n in resize)
            return replace(self, crop=crop, resize=resize)
        scale = min(1, 224 / height, 320 / width)
        return replace(self, resize=tuple(max(2, 2 * round(scale * side / 2)) for side in (height, width)))

    def cropped(self, how: str) -> "Sampling":
        """Another piece of each frame: the "center", "resize" for all of it squeezed to fit, "none" for all of it."""
        if how == "center":
            return replace(self, crop=self.size, resize=self.resize if self.crop else max(self.size))
        return replace(self, crop=None, resize=self.size if how == "resize" else self.resize)

    def fit(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (T,H,W,3), resized (within 2 levels of Pillow's) and cropped."""
        size, (height, width) = self.resize, frames.shape[1:3]
        if isinstance(size, int):
            short = min(height, width)
            size = size * height // short, size * width // short
        if size not in (None, (height, width)):
            images = torch.from_numpy(frames).permute(0, 3, 1, 2)  # (T,3,H,W)
            images = images if self.antialias else images.float()
            images = functional.interpolate(images, size, mode=self.interpolation, antialias=self.antialias)
            images = images.round_().to(torch.uint8) if images.is_floating_point() else images
            frames = images.permute(0, 2, 3, 1).numpy()
        if self.crop:
            top, left = (round((n - part) / 2) for n, part in zip(frames.shape[1:3], self.crop, strict=True))
            if min(top, left) < 0:
                raise ValueError(f"crop: expected at most {frames.shape[1:3]} pixels, got {self.crop}; resize to more")
            frames = frames[:, top : top + self.crop[0], left : left + self.crop[1]]
        return np.ascontiguousarray(frames)


def even_indices(length, num_frames):
    """Indices of frames spread evenly over `length`: ceil(i * length / num_frames), at most length - 1.

    Returns:
        int64 (num_frames,), ascending; frames are repeated where `length` is smaller.
    """
    if length < 1 or num_frames < 1:
        raise ValueError(f"expected length and num_frames of at least 1, got {length} and {num_frames}")
    steps = np.arange(num_frames, dtype=np.int64)
    return np.minimum(-(-steps * length // num_frames), length - 1)


def check_size(size):
    """(height, width) or None of a size as `read_clip` takes it; ValueError for another one."""
    sides = () if size is None else (size, size) if np.isscalar(size) else tuple(size)
    if len(sides) not in (0, 2) or any(int(side) != side or side < 1 for side in sides):
        raise ValueError(f"expected size (height, width) in pixels, or one number for both, got {size}")
    return tuple(map(int, sides)) or None
