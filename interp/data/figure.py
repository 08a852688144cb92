"""Draws a person as tapered capsules on a grey picture, for the KTH flavour of the embedded dataset.

A capsule is a signed distance (Quilez, "2D distance functions") filled with a soft edge, softer where a limb
is fast, as in a film exposed for a while. All frames of a sequence are drawn at once, limb by limb. Only
sums, products, quotients and square roots touch a pixel, and joints are rounded, so that the pixels are the
same on every machine.

Axes: canvases are float32 (n, H, W) in 0..1 over the n frames. Joints are (n, 3): forward, to the person's
left, up, in body heights from the ground below the hips. Places on the canvas are (x, y) in pixels.

>>> rng = np.random.default_rng(0)
>>> from interp.data.gestures import stand
>>> limbs = build(random_body(rng), stand(5), facing=0.0)
>>> canvas = np.full((5, 120, 160), 0.5, np.float32)
>>> draw(canvas, place(limbs, np.full(5, 80.0), np.full(5, 110.0), np.full(5, 75.0)))
"""

from dataclasses import dataclass

import numpy as np

FINE = 256  # joints are rounded to this part of a pixel
LIGHT = (-0.45, -0.89)  # where it comes from, on the canvas


@dataclass(frozen=True)
class Body:
    """Proportions (1 is the mean) and greys of one person in one outfit."""

    stature: float
    width: float
    head: float
    legs: float
    skin: float
    hair: float
    top: float
    bottom: float
    shoes: float
    long_hair: bool
    short_sleeves: bool
    coat: bool
    bag: float  # the bag's grey; 0: none
    hat: float  # the hat's grey; 0: none


@dataclass(frozen=True)
class Limb:
    """A capsule from a to b, (n, 2), of the radii ra and rb (n,): as `build` gives it, in body heights."""

    name: str
    a: np.ndarray
    b: np.ndarray
    ra: np.ndarray
    rb: np.ndarray
    grey: float


def random_body(rng: np.random.Generator) -> Body:
    """A person in an outfit. Who they are and what they wear are drawn apart, see `change_clothes`."""
    body = Body(
        stature=rng.uniform(0.92, 1.07), width=rng.uniform(0.85, 1.2), head=rng.uniform(0.92, 1.1),
        legs=rng.uniform(0.95, 1.06), skin=rng.uniform(0.5, 0.82), hair=rng.uniform(0.05, 0.4), top=0.5,
        bottom=0.3, shoes=0.1, long_hair=rng.random() < 0.35, short_sleeves=False, coat=False, bag=0.0,
        hat=0.0,
    )  # fmt: skip
    return change_clothes(body, rng, heavy=False)


def change_clothes(body: Body, rng: np.random.Generator, heavy: bool) -> Body:
    """The same person in another outfit; a `heavy` one may have a coat, a bag and a hat."""
    top = rng.uniform(0.05, 0.3) if rng.random() < 0.6 else rng.uniform(0.65, 0.92)  # or lost on the grass
    bottom = rng.uniform(0.04, 0.26) if rng.random() < 0.8 else rng.uniform(0.66, 0.85)
    shoes, short = rng.uniform(0.03, 0.3), rng.random() < 0.3
    coat, bag, hat = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.4
    return Body(
        **{name: getattr(body, name) for name in ("stature width head legs skin hair long_hair").split()},
        top=top, bottom=bottom, shoes=shoes, short_sleeves=short and not heavy, coat=heavy and coat,
        bag=rng.uniform(0.05, 0.7) * (heavy and bag), hat=rng.uniform(0.05, 0.8) * (heavy and hat),
    )  # fmt: skip


def build(body: Body, joints: dict[str, np.ndarray], facing: float) -> list[Limb]:
    """The person's limbs as seen from the camera, the farthest first; in body heights, y up.

    `facing` is the angle in radians from which the person is seen: 0 from the front, pi/2 looking to the
    right of the picture, -pi/2 to the left.
    """
    sine, cosine = np.sin(facing), np.cos(facing)

    def seen(joint):
        return np.stack([joint[:, 0] * sine + joint[:, 1] * cosine, joint[:, 2]], axis=1)

    flat = {name: seen(joint) for name, joint in joints.items()}
    count, w = len(flat["neck"]), body.width

    def limb(name, a, b, ra, rb, grey):
        a, b = (flat[end] if isinstance(end, str) else end for end in (a, b))
        return Limb(name, a, b, np.full(count, ra), np.full(count, rb), grey)

    def arm(side):
        sleeve = body.skin if body.short_sleeves else body.top * 0.97
        return [
            limb("upper arm", f"{side} shoulder", f"{side} elbow", 0.034 * w, 0.027 * w, body.top * 0.97),
            limb("forearm", f"{side} elbow", f"{side} wrist", 0.026 * w, 0.020, sleeve),
            limb(f"{side} hand", f"{side} wrist", f"{side} fingers", 0.021, 0.020, body.skin),
        ]

    def leg(side, shade):
        return [
            limb(f"{side} foot", f"{side} ankle", f"{side} toe", 0.028, 0.019, body.shoes),
            limb("shank", f"{side} knee", f"{side} ankle", 0.040 * w, 0.027 * w, body.bottom * shade),
            limb("thigh", f"{side} hip", f"{side} knee", 0.054 * w, 0.042 * w, body.bottom * shade),
        ]

    def torso():
        parts = [limb("pelvis", "left hip", "right hip", 0.055 * w, 0.055 * w, body.bottom)]
        for side in ("left", "right"):
            parts.append(limb("side", f"{side} shoulder", f"{side} hip", 0.046 * w, 0.052 * w, body.top))
        parts.append(limb("trunk", "neck", "hips", 0.062 * w, 0.062 * w, body.top))
        if body.coat:
            for side in ("left", "right"):
                hem = 0.45 * flat[f"{side} hip"] + 0.55 * flat[f"{side} knee"]
                parts.append(limb("coat", f"{side} hip", hem, 0.056 * w, 0.064 * w, body.top * 0.95))
        return parts

    def head():
        up = flat["crown"] - flat["neck"]
        ahead = np.array([0.016 * sine, 0.0])  # the face
        face, back = flat["crown"] - 0.30 * up + ahead, flat["crown"] - 0.10 * up - ahead
        r = 0.047 * body.head
        parts = []
        if body.long_hair:
            parts.append(limb("hair", back, back - 0.65 * up - 2 * ahead, r * 1.05, r * 0.8, body.hair))
        parts.append(limb("neck", "neck", face, 0.028, 0.026, body.skin * 0.9))
        parts.append(limb("hair", back - 0.15 * up, back + 0.08 * up, r, r * 1.02, body.hair))
        parts.append(limb("face", face - 0.18 * up, face + 0.1 * up, r * 0.82, r * 0.88, body.skin))
        if body.hat:
            brim = back + 0.1 * up
            parts.append(limb("hat", brim - ahead, brim + 3 * ahead, r * 1.1, r * 0.6, body.hat))
        return parts

    far, near = ("left", "right") if sine > 0 else ("right", "left")
    order = [*leg(far, 0.85), *leg(near, 1.0), *torso(), *head()]
    if cosine > 0.55:  # from the front both arms are before the chest
        order = [*order, *arm(far), *arm(near)]
    else:
        order = [*arm(far), *order, *arm(near)]
    if body.bag:
        strap = flat[f"{near} hip"] + np.array([-0.05 * sine, 0.06])
        order.append(limb("bag", strap, strap - np.array([0.0, 0.07]), 0.055, 0.06, body.bag))
    return order


def place(limbs: list[Limb], x: np.ndarray, y: np.ndarray, height: np.ndarray) -> list[Limb]:
    """The limbs in pixels: the person stands on the point (x, y) and is `height` tall, all (n,)."""

    def there(end):
        points = np.stack([x + end[:, 0] * height, y - end[:, 1] * height], axis=1)
        return (np.round(points * FINE) / FINE).astype(np.float32)

    def sized(radius):
        return (np.round(radius * height * FINE) / FINE).astype(np.float32)

    return [
        Limb(one.name, there(one.a), there(one.b), sized(one.ra), sized(one.rb), one.grey) for one in limbs
    ]


def extent(limbs: list[Limb]) -> np.ndarray:
    """(n, 4): x0, y0, x1, y1 of the upright box around all these placed limbs, soft edges included."""
    low = np.min([np.minimum(one.a - one.ra[:, None], one.b - one.rb[:, None]) for one in limbs], axis=0)
    high = np.max([np.maximum(one.a + one.ra[:, None], one.b + one.rb[:, None]) for one in limbs], axis=0)
    return np.concatenate([low - 0.5, high + 0.5], axis=1)


def draw(canvas: np.ndarray, limbs: list[Limb], shadow: bool = False) -> None:
    """Paints placed limbs on all frames; a `shadow` darkens, by its limbs' grey, once where they overlap."""
    shade = np.zeros_like(canvas) if shadow else None
    for one in limbs:
        shown, top, left, cover, side = _cover(one, canvas.shape[1:])
        rows, columns = cover.shape[1:]
        if not shadow:
            side = np.float32(one.grey) * (np.float32(0.93) + np.float32(0.12) * side)
        for k, (frame, y, x) in enumerate(zip(shown.tolist(), top.tolist(), left.tolist(), strict=True)):
            if shadow:
                view = shade[frame, y : y + rows, x : x + columns]
                np.maximum(view, cover[k] * np.float32(one.grey), out=view)
            else:
                view = canvas[frame, y : y + rows, x : x + columns]
                view += cover[k] * (side[k] - view)
    if shadow:
        canvas *= 1 - shade


def _cover(limb: Limb, size: tuple[int, int]):
    """Which frames show the limb, the patch's upper left corner in each, (k, h, w) coverage and lit side."""
    box = extent([limb])
    speed = np.zeros(len(box), np.float32)  # pixels a frame, of the faster end
    for end in (limb.a, limb.b):
        step = np.diff(end, axis=0, prepend=end[:1])
        speed = np.maximum(speed, np.sqrt(step[:, 0] * step[:, 0] + step[:, 1] * step[:, 1]))
    soft = np.minimum(1 + np.float32(0.25) * speed, 3)
    box += np.stack([-soft, -soft, soft, soft], axis=1) / 2
    shown = np.flatnonzero((box[:, 2] > 0) & (box[:, 3] > 0) & (box[:, 0] < size[1]) & (box[:, 1] < size[0]))
    box, soft = box[shown], soft[shown, None, None]
    spans = box[:, 2:] - box[:, :2]
    widest = spans.max(axis=0) if len(shown) else (1, 1)
    columns, rows = (min(int(np.ceil(one)) + 1, limit) for one, limit in zip(widest, size[::-1], strict=True))
    left = np.clip(np.floor(box[:, 0]), 0, size[1] - columns).astype(int)
    top = np.clip(np.floor(box[:, 1]), 0, size[0] - rows).astype(int)
    ax, ay = limb.a[shown, 0, None, None], limb.a[shown, 1, None, None]
    bx, by = limb.b[shown, 0, None, None] - ax, limb.b[shown, 1, None, None] - ay
    px = (left[:, None] + np.arange(columns) + 0.5).astype(np.float32)[:, None, :] - ax
    py = (top[:, None] + np.arange(rows) + 0.5).astype(np.float32)[:, :, None] - ay
    ra, rb = limb.ra[shown, None, None], limb.rb[shown, None, None]
    along = np.clip((px * bx + py * by) / np.maximum(bx * bx + by * by, np.float32(1e-4)), 0, 1)
    px, py = px - along * bx, py - along * by
    radius = ra + along * (rb - ra)
    cover = np.clip((radius - np.sqrt(px * px + py * py)) / soft + np.float32(0.5), 0, 1)
    side = np.clip((px * np.float32(LIGHT[0]) + py * np.float32(LIGHT[1])) / radius, -1, 1)
    return shown, top, left, cover, side
