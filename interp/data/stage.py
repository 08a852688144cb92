"""The four settings of the KTH flavour: what lies behind the person, and how the camera looks at it.

Settings as in KTH (Schuldt, Laptev, Caputo, ICPR 2004): d1 outdoors, d2 outdoors while the scale changes, d3
outdoors in other clothes, d4 indoors. The ground is a sum of octaves of value noise (Perlin, SIGGRAPH 1985).
Only sums, products and quotients touch a pixel, so that the pixels are the same on every machine.

Axes: pictures are float32 (H, W) in 0..1; places are (x, y) with y down, in heights of the frame, so that the
frame's upper left corner is (0, 0) and its lower right one (W / H, 1).

>>> world = paint(np.random.default_rng(0), setting=1, size=(120, 160))
>>> look(world, (120, 160), camera=np.zeros((5, 2)), zoom=np.ones(5)).shape
(5, 120, 160)
"""

import numpy as np

SETTINGS = (1, 2, 3, 4)
NAMES = {1: "outdoors", 2: "outdoors, scale changes", 3: "outdoors, other clothes", 4: "indoors"}
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
        picture = np.where(down < edge, wall, floor) + np.float32(0.03) * noise(rng, height, width, 2, 2, 2)
        picture = picture + rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, width)  # light from one side
        if rng.random() < 0.6:
            picture = picture - 0.25 * (np.abs(down - edge) < 0.012)
        picture = picture + np.float32(0.012) * noise(rng, height, width, height // 3, width // 3, 1)
        return np.clip(picture, 0.05, 0.95).astype(np.float32)
    base, slope = rng.uniform(0.42, 0.6), rng.uniform(-0.08, 0.1)
    picture = base + slope * down + np.float32(0.05) * noise(rng, height, width, 7, 2, 2)
    near = np.clip(down + 0.6, 0.15, 1.2)  # grass looks coarser from near
    picture = picture + 0.04 * near * noise(rng, height, width, height // 6, width // 14, 1)
    picture = picture + 0.12 * near * noise(rng, height, width, height // 2, width // 3, 1)
    if rng.random() < 0.3:  # the far side of the field
        far = rng.uniform(-0.42, -0.3)
        picture = np.where(down < far, picture + rng.uniform(-0.2, 0.2), picture)
    return np.clip(picture, 0.05, 0.95).astype(np.float32)


def noise(
    rng: np.random.Generator, height: int, width: int, rows: int, columns: int, octaves: int
) -> np.ndarray:
    """Value noise (height, width) between about -1 and 1; rows and columns count its coarsest cells."""
    total, weight, sum_ = np.zeros((height, width), np.float32), 1.0, 0.0
    for _ in range(octaves):
        rows, columns = max(2, min(rows, height)), max(2, min(columns, width))
        grid = (2 * rng.random((rows, columns)) - 1).astype(np.float32)
        total += np.float32(weight) * _stretch(_stretch(grid, height).T, width).T
        sum_, rows, columns, weight = sum_ + weight, 2 * rows, 2 * columns, 0.6 * weight
    return total / np.float32(sum_)


def look(world: np.ndarray, size: tuple[int, int], camera: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """The frames (n, H, W) that a camera sees, displaced by `camera` (n, 2) and zoomed by `zoom` (n,)."""
    frames = np.empty((len(zoom), *size), np.float32)
    for t, ((x, y), scale) in enumerate(zip(camera, zoom, strict=True)):
        rows = _places(size[0], world.shape[0], y * size[0], scale)
        columns = _places(size[1], world.shape[1], x * size[0], scale)
        part = _between(world, *rows)
        frames[t] = _between(part.T, *columns).T
    return frames


def shown(points: np.ndarray, size: tuple[int, int], camera: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """Where points of the world (n, 2) lie on the frame, in pixels."""
    middle = np.array([size[1] / size[0], 1.0]) / 2
    return (middle + (points - middle - camera) * zoom[:, None]) * size[0]


def _places(pixels: int, length: int, shift: float, zoom: float):
    """For each pixel's middle: the sample before it, and the share of the one after."""
    place = (np.arange(pixels) + 0.5 - pixels / 2) / zoom + shift + length / 2 - 0.5
    place = np.clip(place, 0, length - 1.001)
    first = place.astype(int)
    return first, (np.round((place - first) * 256) / 256).astype(np.float32)


def _between(picture: np.ndarray, first: np.ndarray, share: np.ndarray) -> np.ndarray:
    before = picture[first]
    return before + share[:, None] * (picture[first + 1] - before)


def _stretch(grid: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation of the first axis to `length` samples."""
    place = np.arange(length) * ((len(grid) - 1.001) / max(length - 1, 1))
    first = place.astype(int)
    return _between(grid, first, (np.round((place - first) * 256) / 256).astype(np.float32))
