"""Drawing for the Something-Something flavour: textured worlds, solid objects, hands and heaps, a moving camera.

Shapes are signed distances (Quilez, "2D distance functions") filled with an edge one pixel soft. Textures are octaves
of value noise (Perlin, SIGGRAPH 1985) with the 1/f spectrum of natural images (Field, JOSA A 1987).
Canvases are float32 (H, W, 3) in 0..1. Positions are (x, y), y down, in units of the frame's side: (0, 0) is the
frame's upper left corner and (1, 1) its lower right one.
"""

from collections import namedtuple

import numpy as np

COLOURS = {
    "red": (0.78, 0.16, 0.14), "orange": (0.88, 0.50, 0.14), "yellow": (0.90, 0.80, 0.25),
    "green": (0.20, 0.55, 0.25), "teal": (0.12, 0.55, 0.55), "blue": (0.16, 0.30, 0.72),
    "purple": (0.48, 0.24, 0.60), "pink": (0.88, 0.52, 0.64), "brown": (0.42, 0.27, 0.16),
    "white": (0.90, 0.89, 0.86), "grey": (0.50, 0.50, 0.50), "black": (0.10, 0.10, 0.11),
}
SHAPES = ("ball", "box", "cushion", "triangle", "tile", "bottle", "ring")
PATTERNS = ("plain", "striped", "checked", "dotted", "mottled")
SKINS = ((0.92, 0.74, 0.62), (0.83, 0.62, 0.48), (0.66, 0.46, 0.33), (0.45, 0.30, 0.21), (0.30, 0.19, 0.14))
MARGIN = 0.55  # how far the world reaches beyond the frame
# A solid object: half sizes in frame units, angles in radians, two colours in 0..1; reach is half the side of the
# upright square that holds it, whatever its angle.
Thing = namedtuple("Thing", "shape half reach angle colour second pattern frequency light name")
# A hand: the unit vector from the finger tips along the arm, the palm's radius, two colours, the fingers' spread.
Hand = namedtuple("Hand", "away size skin sleeve spread")


def random_thing(rng: np.random.Generator, low: float = 0.07, high: float = 0.14) -> Thing:
    """A random thing whose half sizes lie in low..high frame units."""
    first, second = (list(COLOURS)[i] for i in rng.choice(len(COLOURS), 2, replace=False))
    shape, pattern = SHAPES[rng.integers(len(SHAPES))], PATTERNS[rng.integers(len(PATTERNS))]
    large = rng.uniform(low, high)
    half = (large, large * rng.uniform(0.6, 1.0))
    colour = tuple(np.clip(np.array(COLOURS[first]) + rng.normal(0, 0.05, 3), 0.03, 0.97))
    angle, frequency, light = rng.uniform(-np.pi, np.pi), rng.uniform(2.0, 5.0), rng.uniform(-np.pi, np.pi)
    return Thing(shape, half, float(np.hypot(*half)), angle, colour, COLOURS[second], pattern, frequency, light,
                 name=f"a {first} {pattern} {shape}")


def random_hand(rng: np.random.Generator) -> Hand:
    """A hand that comes in from any side, most often from below, as in videos of one's own hands."""
    towards = rng.normal(np.pi / 2, 0.8) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    sleeve = list(COLOURS.values())[rng.integers(len(COLOURS))]
    away = np.array([np.cos(towards), np.sin(towards)])
    return Hand(away, rng.uniform(0.045, 0.075), SKINS[rng.integers(len(SKINS))], sleeve, rng.uniform(0.25, 0.5))


def _value_noise(rng: np.random.Generator, pixels: int, cells: int, roughness: float) -> np.ndarray:
    """(pixels, pixels) noise of mean 0 and deviation 1; each octave has `roughness` times the weight of the last."""
    total, weight = np.zeros((pixels, pixels), np.float32), 1.0
    while cells < pixels // 2:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        position = np.linspace(0, cells - 1, pixels)
        left = np.minimum(position.astype(int), cells - 2)
        matrix = np.zeros((pixels, cells), np.float32)  # linear interpolation
        matrix[np.arange(pixels), left] = 1 - (position - left)
        matrix[np.arange(pixels), left + 1] = position - left
        total += weight * (matrix @ grid @ matrix.T)
        weight, cells = weight * roughness, cells * 2
    return total / max(float(total.std()), 1e-6)


def surface(rng: np.random.Generator, pixels: int) -> np.ndarray:
    """A textured surface (pixels, pixels, 3): a muted colour with 1/f noise, sometimes with boards."""
    base = 0.25 + 0.5 * rng.random(3) * rng.uniform(0.4, 1.0) + rng.uniform(0, 0.25)
    shade = _value_noise(rng, pixels, int(rng.integers(3, 9)), rng.uniform(0.45, 0.8)) * rng.uniform(0.03, 0.12)
    if rng.random() < 0.4:
        y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / pixels
        angle, waves = rng.uniform(0, np.pi), rng.uniform(8, 30)
        shade += rng.uniform(0.02, 0.08) * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)))
    tint = 1 + 0.3 * rng.standard_normal(3)
    return np.clip(base + shade[..., None] * tint, 0.02, 0.98).astype(np.float32)


def random_world(rng: np.random.Generator, side: int) -> np.ndarray:
    """The still world, (n, n, 3) with n = side * (1 + 2 * MARGIN): two surfaces that meet, and things lying about."""
    pixels = int(round(side * (1 + 2 * MARGIN)))
    world = surface(rng, pixels)
    if rng.random() < 0.7:
        y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / side
        angle = rng.uniform(-np.pi, np.pi)
        line = (x - rng.uniform(0.3, 0.7) - MARGIN) * np.cos(angle)
        line = line + (y - rng.uniform(0.3, 0.7) - MARGIN) * np.sin(angle)
        share = np.clip(line * side + 0.5, 0, 1)[..., None]
        world = world * (1 - share) + surface(rng, pixels) * share
    for _ in range(rng.integers(2, 9)):
        thing = random_thing(rng, 0.05, 0.22)
        draw_thing(world, thing, *rng.uniform(0, 1 + 2 * MARGIN, 2), side, opacity=rng.uniform(0.2, 0.6))
    return world


def look(world: np.ndarray, camera_x: float, camera_y: float, side: int) -> np.ndarray:
    """The (side, side, 3) frame that a camera displaced by (camera_x, camera_y) sees of the world."""
    x, y = (camera_x + MARGIN) * side, (camera_y + MARGIN) * side
    limit = world.shape[0] - side - 1
    left, top = int(np.clip(np.floor(x), 0, limit)), int(np.clip(np.floor(y), 0, limit))
    right_share, low_share = np.float32(np.clip(x - left, 0, 1)), np.float32(np.clip(y - top, 0, 1))
    part = world[top : top + side + 1, left : left + side + 1]
    part = part[:, :-1] * (1 - right_share) + part[:, 1:] * right_share
    return part[:-1] * (1 - low_share) + part[1:] * low_share


def _fill(canvas: np.ndarray, distance: np.ndarray, colour, opacity: float = 1.0) -> None:
    """Blend `colour` where the signed distance (pixels) is negative, with an edge one pixel soft."""
    cover = (np.clip(0.5 - distance, 0, 1) * opacity)[..., None].astype(np.float32)
    canvas += cover * (np.asarray(colour, np.float32) - canvas)


def _window(canvas: np.ndarray, x: float, y: float, reach: float):
    """The part of the canvas within `reach` pixels of (x, y), perhaps empty, and pixel centres relative to (x, y)."""
    top, bottom = np.clip([int(y - reach) - 1, int(y + reach) + 2], 0, canvas.shape[0])
    left, right = np.clip([int(x - reach) - 1, int(x + reach) + 2], 0, canvas.shape[1])
    u = (np.arange(left, right, dtype=np.float32) + 0.5 - x)[None, :]
    v = (np.arange(top, bottom, dtype=np.float32) + 0.5 - y)[:, None]
    return canvas[top:bottom, left:right], u, v


def _distance(shape: str, u: np.ndarray, v: np.ndarray, a: float, b: float) -> np.ndarray:
    """Signed distance in pixels (negative inside) to a shape with half sizes a and b."""
    if shape == "box":
        return np.maximum(np.abs(u) - a, np.abs(v) - b)
    if shape == "cushion":
        return (((u / a) ** 4 + (v / b) ** 4) ** 0.25 - 1) * b
    if shape in ("triangle", "tile"):
        sides, size = (3, 0.55) if shape == "triangle" else (6, 0.85)
        turns = 2 * np.pi * np.arange(sides) / sides
        return (np.maximum.reduce([u / a * np.cos(turn) + v / b * np.sin(turn) for turn in turns]) - size) * b
    if shape == "bottle":
        body = np.maximum(np.abs(u + 0.25 * a) - 0.7 * a, np.abs(v) - 0.6 * b)
        return np.minimum(body, np.maximum(np.abs(u - 0.7 * a) - 0.3 * a, np.abs(v) - 0.25 * b))
    ball = (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1) * b
    return np.abs(ball + 0.25 * b) - 0.25 * b if shape == "ring" else ball


def draw_thing(canvas: np.ndarray, thing: Thing, x: float, y: float, side: int, opacity: float = 1.0) -> None:
    """Draw the thing in place, its centre at (x, y) frame units, `side` pixels to the unit."""
    part, u, v = _window(canvas, x * side, y * side, thing.reach * side * 1.15)
    a, b = thing.half[0] * side, thing.half[1] * side
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    p, q = u * cos + v * sin, v * cos - u * sin  # in the thing's own coordinates
    distance = _distance(thing.shape, p, q, a, b)
    p, q, u, v, wave = p / a, q / a, u / a, v / a, np.pi * thing.frequency
    mixing = {
        "striped": lambda: 0.5 + 0.5 * np.clip(3 * np.sin(wave * p + 0 * q), -1, 1),
        "checked": lambda: 0.5 + 0.5 * np.clip(4 * np.sin(wave * p) * np.sin(wave * q), -1, 1),
        "dotted": lambda: np.clip(3 * (np.cos(wave * p) * np.cos(wave * q) - 0.4), 0, 1),
        "mottled": lambda: 0.35 + 0.35 * np.sin(wave * (p + 0.6 * np.sin(2.3 * q + thing.frequency))),
        "plain": lambda: np.zeros_like(p + q),
    }[thing.pattern]()[..., None]
    colour = np.array(thing.colour, np.float32) * (1 - mixing) + np.array(thing.second, np.float32) * mixing
    light = 1 + 0.22 * (u * np.cos(thing.light) + v * np.sin(thing.light))
    _fill(part, distance / 3 - 0.3, (0.0, 0.0, 0.0), 0.25 * opacity)  # the contact shadow
    _fill(part, distance, np.clip(colour * light[..., None], 0, 1), opacity)


def draw_hand(canvas: np.ndarray, hand: Hand, tip: np.ndarray, side: int) -> None:
    """Draw the hand in place, finger tips at `tip` in frame units, the arm running off the frame."""
    away, size = hand.away, hand.size
    across = np.array([-away[1], away[0]])
    palm, wrist, elbow = (tip + away * size * k for k in (2.2, 4.6, 40))
    v, u = (np.arange(length, dtype=np.float32) + 0.5 for length in canvas.shape[:2])
    v = v[:, None]

    def bar(start, end, radius):
        (sx, sy), (ex, ey) = start * side, end * side
        dx, dy = ex - sx, ey - sy
        along = np.clip(((u - sx) * dx + (v - sy) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
        return np.hypot(u - sx - along * dx, v - sy - along * dy) - radius * side

    fingers = [bar(palm, tip + across * size * hand.spread * k * 1.6 + away * size * 0.25 * abs(k), size * 0.3)
               for k in (-1.5, -0.5, 0.5, 1.5)]
    distance = np.minimum.reduce([*fingers, bar(palm, wrist, size * 0.85)])
    _fill(canvas, bar(wrist, elbow, size * 1.05), hand.sleeve)
    _fill(canvas, distance - 0.6, tuple(0.45 * c for c in hand.skin), 0.6)  # a dark rim
    _fill(canvas, distance, hand.skin)


def draw_heap(canvas: np.ndarray, grain: np.ndarray, x: float, y: float, radius: float, side: int) -> None:
    """Draw in place a heap of loose material with the texture `grain` (n, n, 3); x, y, radius in frame units."""
    if radius * side < 0.7:
        return
    part, u, v = _window(canvas, x * side, y * side, radius * side * 1.3)
    turn = np.arctan2(v, u)
    edge = radius * side * (1 + 0.10 * np.sin(5 * turn + 1) + 0.06 * np.sin(9 * turn + 2))
    texture = grain[: v.shape[0], : u.shape[1]] * (1 - 0.25 * v / max(radius * side, 1))[..., None]
    _fill(part, np.hypot(u, v) - edge, np.clip(texture, 0, 1))
