"""Draws the embedded dataset's frames: textured worlds, solid objects, hands and heaps, and a moving camera.

Nothing here knows about classes; `actions` says what moves, this file only draws it. Shapes are signed
distances (Quilez, "2D distance functions"), filled with an edge one pixel soft, and textures are sums of
octaves of value noise (Perlin, SIGGRAPH 1985), whose 1/f spectrum is that of natural images (Field, JOSA A
1987).

Axes: canvases are float32 (H, W, 3) in 0..1; positions are (x, y) with x to the right and y down, in units of
the frame's side, so that (0, 0) is the frame's upper left corner and (1, 1) its lower right one.

>>> rng = np.random.default_rng(0)
>>> canvas = np.zeros((64, 64, 3), np.float32)
>>> draw_thing(canvas, random_thing(rng), 0.5, 0.5, 64)
"""

from dataclasses import dataclass

import numpy as np

COLOURS = {
    "red": (0.78, 0.16, 0.14),
    "orange": (0.88, 0.50, 0.14),
    "yellow": (0.90, 0.80, 0.25),
    "green": (0.20, 0.55, 0.25),
    "teal": (0.12, 0.55, 0.55),
    "blue": (0.16, 0.30, 0.72),
    "purple": (0.48, 0.24, 0.60),
    "pink": (0.88, 0.52, 0.64),
    "brown": (0.42, 0.27, 0.16),
    "white": (0.90, 0.89, 0.86),
    "grey": (0.50, 0.50, 0.50),
    "black": (0.10, 0.10, 0.11),
}
SHAPES = ("ball", "box", "cushion", "triangle", "tile", "bottle", "ring")
PATTERNS = ("plain", "striped", "checked", "dotted", "mottled")
SKINS = ((0.92, 0.74, 0.62), (0.83, 0.62, 0.48), (0.66, 0.46, 0.33), (0.45, 0.30, 0.21), (0.30, 0.19, 0.14))


@dataclass(frozen=True)
class Thing:
    """A solid object: half sizes in frame units, angle in radians, two colours in 0..1 and a pattern."""

    shape: str
    half: tuple[float, float]
    angle: float
    colour: tuple[float, float, float]
    second: tuple[float, float, float]
    pattern: str
    frequency: float
    light: float
    name: str

    @property
    def reach(self) -> float:
        """Half the side of the upright square that holds it, whatever its angle, in frame units."""
        return float(np.hypot(*self.half))


@dataclass(frozen=True)
class Hand:
    """A hand on an arm that comes in from the direction `towards` (radians), `size` is the palm's radius."""

    towards: float
    size: float
    skin: tuple[float, float, float]
    sleeve: tuple[float, float, float]
    spread: float


def random_thing(rng: np.random.Generator, low: float = 0.07, high: float = 0.14) -> Thing:
    """A thing of random make whose half sizes lie in low..high frame units."""
    names = list(COLOURS)
    first, second = rng.choice(len(names), 2, replace=False)
    shape, pattern = SHAPES[rng.integers(len(SHAPES))], PATTERNS[rng.integers(len(PATTERNS))]
    large = rng.uniform(low, high)
    half = (large, large * rng.uniform(0.6, 1.0))
    jitter = rng.normal(0, 0.05, 3)
    return Thing(
        shape,
        half,
        rng.uniform(-np.pi, np.pi),
        tuple(np.clip(np.array(COLOURS[names[first]]) + jitter, 0.03, 0.97)),
        COLOURS[names[second]],
        pattern,
        rng.uniform(2.0, 5.0),
        rng.uniform(-np.pi, np.pi),
        f"a {names[first]} {pattern} {shape}",
    )


def random_hand(rng: np.random.Generator) -> Hand:
    """A hand that comes in from any side, most often from below, as in videos of one's own hands."""
    towards = rng.normal(np.pi / 2, 0.8) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    sleeve = list(COLOURS.values())[rng.integers(len(COLOURS))]
    return Hand(
        towards, rng.uniform(0.045, 0.075), SKINS[rng.integers(len(SKINS))], sleeve, rng.uniform(0.25, 0.5)
    )


def _upsample(cells: int, pixels: int) -> np.ndarray:
    """Linear interpolation from `cells` to `pixels` samples as a matrix (pixels, cells)."""
    place = np.linspace(0, cells - 1, pixels)
    left = np.minimum(place.astype(int), cells - 2)
    matrix = np.zeros((pixels, cells), np.float32)
    matrix[np.arange(pixels), left] = 1 - (place - left)
    matrix[np.arange(pixels), left + 1] = place - left
    return matrix


def value_noise(
    rng: np.random.Generator, pixels: int, coarsest: int = 3, roughness: float = 0.6
) -> np.ndarray:
    """(pixels, pixels) noise, mean 0, deviation about 1; `roughness` is each octave's share of the last."""
    total, weight, cells = np.zeros((pixels, pixels), np.float32), 1.0, coarsest
    while cells < pixels // 2:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        matrix = _upsample(cells, pixels)
        total += weight * (matrix @ grid @ matrix.T)
        weight, cells = weight * roughness, cells * 2
    return total / max(float(total.std()), 1e-6)


def surface(rng: np.random.Generator, pixels: int) -> np.ndarray:
    """A textured surface (pixels, pixels, 3): a muted colour with 1/f noise, sometimes with boards."""
    base = 0.25 + 0.5 * rng.random(3) * rng.uniform(0.4, 1.0) + rng.uniform(0, 0.25)
    shade = value_noise(rng, pixels, int(rng.integers(3, 9)), rng.uniform(0.45, 0.8)) * rng.uniform(
        0.03, 0.12
    )
    if rng.random() < 0.4:
        y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / pixels
        angle, waves = rng.uniform(0, np.pi), rng.uniform(8, 30)
        shade += rng.uniform(0.02, 0.08) * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)))
    tint = 1 + 0.3 * rng.standard_normal(3)
    return np.clip(base + shade[..., None] * tint, 0.02, 0.98).astype(np.float32)


def random_world(rng: np.random.Generator, side: int, margin: float) -> np.ndarray:
    """The still world, (n, n, 3), n = side·(1+2·margin): two surfaces that meet, and things lying about."""
    pixels = int(round(side * (1 + 2 * margin)))
    world = surface(rng, pixels)
    if rng.random() < 0.7:
        y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / side
        angle = rng.uniform(-np.pi, np.pi)
        line = (x - rng.uniform(0.3, 0.7) - margin) * np.cos(angle) + (
            y - rng.uniform(0.3, 0.7) - margin
        ) * np.sin(angle)
        share = np.clip(line * side + 0.5, 0, 1)[..., None]
        world = world * (1 - share) + surface(rng, pixels) * share
    for _ in range(rng.integers(2, 9)):
        thing = random_thing(rng, 0.05, 0.22)
        draw_thing(world, thing, *(rng.uniform(0, 1 + 2 * margin, 2)), side, opacity=rng.uniform(0.2, 0.6))
    return world


def look(world: np.ndarray, camera_x: float, camera_y: float, side: int, margin: float) -> np.ndarray:
    """The (side, side, 3) frame that a camera displaced by (camera_x, camera_y) sees of the world."""
    x, y = (camera_x + margin) * side, (camera_y + margin) * side
    limit = world.shape[0] - side - 1
    left, top = int(np.clip(np.floor(x), 0, limit)), int(np.clip(np.floor(y), 0, limit))
    right_share, low_share = np.float32(np.clip(x - left, 0, 1)), np.float32(np.clip(y - top, 0, 1))
    part = world[top : top + side + 1, left : left + side + 1]
    part = part[:, :-1] * (1 - right_share) + part[:, 1:] * right_share
    return part[:-1] * (1 - low_share) + part[1:] * low_share


def _fill(
    canvas: np.ndarray, rows: slice, columns: slice, distance: np.ndarray, colour, opacity: float = 1.0
) -> None:
    """Blends `colour` where the signed distance (pixels) is negative, the edge one pixel soft."""
    cover = (np.clip(0.5 - distance, 0, 1) * opacity)[..., None].astype(np.float32)
    part = canvas[rows, columns]
    part += cover * (np.asarray(colour, np.float32) - part)


def _window(canvas: np.ndarray, x: float, y: float, reach: float):
    """The canvas within `reach` pixels of (x, y): slices and pixel centres relative to (x, y), or None."""
    height, width = canvas.shape[:2]
    left, right = max(int(x - reach) - 1, 0), min(int(x + reach) + 2, width)
    top, bottom = max(int(y - reach) - 1, 0), min(int(y + reach) + 2, height)
    if left >= right or top >= bottom:
        return None
    u = (np.arange(left, right, dtype=np.float32) + 0.5 - x)[None, :]
    v = (np.arange(top, bottom, dtype=np.float32) + 0.5 - y)[:, None]
    return slice(top, bottom), slice(left, right), u, v


def _distance(shape: str, u: np.ndarray, v: np.ndarray, a: float, b: float) -> np.ndarray:
    """Signed distance in pixels (negative inside) to a shape with half sizes a and b."""
    if shape == "box":
        return np.maximum(np.abs(u) - a, np.abs(v) - b)
    if shape == "cushion":
        return (((u / a) ** 4 + (v / b) ** 4) ** 0.25 - 1) * b
    if shape in ("triangle", "tile"):
        sides = 3 if shape == "triangle" else 6
        turns = 2 * np.pi * np.arange(sides) / sides
        planes = [u / a * np.cos(turn) + v / b * np.sin(turn) for turn in turns]
        return (np.maximum.reduce(planes) - (0.55 if sides == 3 else 0.85)) * b
    if shape == "bottle":
        body = np.maximum(np.abs(u + 0.25 * a) - 0.7 * a, np.abs(v) - 0.6 * b)
        return np.minimum(body, np.maximum(np.abs(u - 0.7 * a) - 0.3 * a, np.abs(v) - 0.25 * b))
    round_ = (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1) * b
    return np.abs(round_ + 0.25 * b) - 0.25 * b if shape == "ring" else round_


def draw_thing(canvas: np.ndarray, thing: Thing, x: float, y: float, side: int, opacity: float = 1.0) -> None:
    """Draws the thing in place, its centre at (x, y) frame units, `side` pixels to the unit."""
    seen = _window(canvas, x * side, y * side, thing.reach * side * 1.15)
    if seen is None:
        return
    rows, columns, u, v = seen
    a, b = thing.half[0] * side, thing.half[1] * side
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    turned_u, turned_v = u * cos + v * sin, v * cos - u * sin
    distance = _distance(thing.shape, turned_u, turned_v, a, b)
    _fill(canvas, rows, columns, distance / 3 - 0.3, (0.0, 0.0, 0.0), 0.25 * opacity)  # the contact shadow
    _fill(canvas, rows, columns, distance, _paint(thing, turned_u / a, turned_v / a, u / a, v / a), opacity)


def _paint(thing: Thing, p: np.ndarray, q: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The thing's colours (rows, columns, 3): its pattern in its own coordinates, lit from one side."""
    wave = np.pi * thing.frequency
    mixing = {
        "striped": lambda: 0.5 + 0.5 * np.clip(3 * np.sin(wave * p + 0 * q), -1, 1),
        "checked": lambda: 0.5 + 0.5 * np.clip(4 * np.sin(wave * p) * np.sin(wave * q), -1, 1),
        "dotted": lambda: np.clip(3 * (np.cos(wave * p) * np.cos(wave * q) - 0.4), 0, 1),
        "mottled": lambda: 0.35 + 0.35 * np.sin(wave * (p + 0.6 * np.sin(2.3 * q + thing.frequency))),
        "plain": lambda: np.zeros_like(p + q),
    }[thing.pattern]()[..., None]
    colour = np.array(thing.colour, np.float32) * (1 - mixing) + np.array(thing.second, np.float32) * mixing
    light = 1 + 0.22 * (u * np.cos(thing.light) + v * np.sin(thing.light))
    return np.clip(colour * light[..., None], 0, 1)


def draw_hand(canvas: np.ndarray, hand: Hand, x: float, y: float, side: int) -> None:
    """Draws the hand in place, finger tips at (x, y) frame units, the arm running off the frame."""
    away = np.array([np.cos(hand.towards), np.sin(hand.towards)])
    across = np.array([-away[1], away[0]])
    tip, size = np.array([x, y]), hand.size
    palm, elbow = tip + away * size * 2.2, tip + away * size * 40
    wrist = tip + away * size * 4.6
    height, width = canvas.shape[:2]
    u = (np.arange(width, dtype=np.float32) + 0.5)[None, :]
    v = (np.arange(height, dtype=np.float32) + 0.5)[:, None]

    def bar(start, end, radius):
        (sx, sy), (ex, ey) = start * side, end * side
        dx, dy = ex - sx, ey - sy
        along = np.clip(((u - sx) * dx + (v - sy) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
        return np.hypot(u - sx - along * dx, v - sy - along * dy) - radius * side

    fingers = [
        bar(palm, tip + across * size * hand.spread * k * 1.6 + away * size * 0.25 * abs(k), size * 0.3)
        for k in (-1.5, -0.5, 0.5, 1.5)
    ]
    whole = np.minimum.reduce([*fingers, bar(palm, wrist, size * 0.85)])
    every = slice(None)
    _fill(canvas, every, every, bar(wrist, elbow, size * 1.05), hand.sleeve)
    _fill(
        canvas, every, every, whole - 0.6, tuple(0.45 * c for c in hand.skin), 0.6
    )  # a dark rim parts it from the rest
    _fill(canvas, every, every, whole, hand.skin)


def draw_heap(canvas: np.ndarray, grain: np.ndarray, x: float, y: float, radius: float, side: int) -> None:
    """Draws in place a heap of loose material; radius in frame units, its texture `grain` (n, n, 3)."""
    seen = _window(canvas, x * side, y * side, radius * side * 1.3)
    if seen is None or radius * side < 0.7:
        return
    rows, columns, u, v = seen
    turn = np.arctan2(v, u)
    edge = radius * side * (1 + 0.10 * np.sin(5 * turn + 1) + 0.06 * np.sin(9 * turn + 2))
    shape = (v.shape[0], u.shape[1])
    texture = grain[: shape[0], : shape[1]] * (1 - 0.25 * v / max(radius * side, 1))[..., None]
    _fill(canvas, rows, columns, np.hypot(u, v) - edge, np.clip(texture, 0, 1))
