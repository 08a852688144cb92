"""The background of the KTH flavour, and how a moving, zooming camera sees it.

The ground is a sum of octaves of value noise (Perlin, SIGGRAPH 1985). Only sums, products and quotients touch a pixel,
so that the pixels are the same on every machine. Pictures are float32 (H, W) in 0..1.
"""

import numpy as np

WIDEST = 0.62  # the smallest zoom that the world is painted for
SHAKE = 0.04  # the farthest that the camera may look beside its mark


def paint(rng: np.random.Generator, setting: int, size: tuple[int, int]) -> np.ndarray:
    """What the widest view of a frame of `size` (height, width) pixels can show, as one picture."""
    height = int(np.ceil(size[0] * (1 / WIDEST + 2 * SHAKE))) + 2
    width = int(np.ceil(size[1] / WIDEST + size[0] * 2 * SHAKE)) + 2
    down = np.linspace(-0.5, 0.5, height).astype(np.float32)[:, None] / np.float32(WIDEST)  # 0 is the middle
    if setting == 4:
        wall, floor = rng.uniform(0.5, 0.82), rng.uniform(0.3, 0.6)
        edge = rng.uniform(0.22, 0.34)
        picture = np.where(down < edge, wall, floor) + np.float32(0.03) * _noise(rng, height, width, 2, 2, 2)
        picture = picture + rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, width)  # light from one side
        if rng.random() < 0.6:
            picture = picture - 0.25 * (np.abs(down - edge) < 0.012)
        picture = picture + np.float32(0.012) * _noise(rng, height, width, height // 3, width // 3, 1)
        return np.clip(picture, 0.05, 0.95).astype(np.float32)
    base, slope = rng.uniform(0.42, 0.6), rng.uniform(-0.08, 0.1)
    picture = base + slope * down + np.float32(0.05) * _noise(rng, height, width, 7, 2, 2)
    near = np.clip(down + 0.6, 0.15, 1.2)  # grass looks coarser from near
    picture = picture + 0.04 * near * _noise(rng, height, width, height // 6, width // 14, 1)
    picture = picture + 0.12 * near * _noise(rng, height, width, height // 2, width // 3, 1)
    if rng.random() < 0.3:  # the far side of the field
        far = rng.uniform(-0.42, -0.3)
        picture = np.where(down < far, picture + rng.uniform(-0.2, 0.2), picture)
    return np.clip(picture, 0.05, 0.95).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, rows: int, columns: int, octaves: int) -> np.ndarray:
    """Value noise (height, width) between about -1 and 1; rows and columns count its coarsest cells."""
    total, weight, weights = np.zeros((height, width), np.float32), 1.0, 0.0
    for _ in range(octaves):
        rows, columns = max(2, min(rows, height)), max(2, min(columns, width))
        grid = (2 * rng.random((rows, columns)) - 1).astype(np.float32)
        for length in (height, width):  # stretch the first axis, then the second
            grid = _sample(grid, np.arange(length) * ((len(grid) - 1.001) / max(length - 1, 1))).T
        total += np.float32(weight) * grid
        weights, rows, columns, weight = weights + weight, 2 * rows, 2 * columns, 0.6 * weight
    return total / np.float32(weights)


def look(world: np.ndarray, size: tuple[int, int], camera: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """The frames (n, H, W) that a camera sees, displaced by `camera` (n, 2) and zoomed by `zoom` (n,)."""
    frames = np.empty((len(zoom), *size), np.float32)
    for t, ((x, y), scale) in enumerate(zip(camera, zoom, strict=True)):
        part = _crop(world, size[0], y * size[0], scale)
        frames[t] = _crop(part.T, size[1], x * size[0], scale).T
    return frames


def _crop(picture: np.ndarray, pixels: int, shift: float, zoom: float) -> np.ndarray:
    """The rows that `pixels` rows of the frame show."""
    position = (np.arange(pixels) + 0.5 - pixels / 2) / zoom + shift + len(picture) / 2 - 0.5
    return _sample(picture, np.clip(position, 0, len(picture) - 1.001))


def _sample(picture: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The rows at real-valued positions, by linear interpolation."""
    first = position.astype(int)
    share = (np.round((position - first) * 256) / 256).astype(np.float32)
    return picture[first] + share[:, None] * (picture[first + 1] - picture[first])
