"""A person for the KTH flavour: the joints of six actions over time, and their drawing as tapered capsules.

The gaits are pendulums: legs and arms swing against each other, and the knee bends while its leg swings forward. A
capsule is a signed distance (Quilez, "2D distance functions") with a soft edge, softer where a limb is fast, as on
film. Only sums, products, quotients and square roots touch a pixel, and joints are rounded, so that the pixels are
the same on every machine. Joints are (n, 3) over n frames: forward, to the person's left, up, in body heights from
the ground below the hips. Canvases are float32 (n, H, W) in 0..1, and positions on them (x, y) in pixels.
"""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np

SIDES = {"left": 1.0, "right": -1.0}
HIP, SHOULDER, NECK, CROWN = 0.52, 0.81, 0.83, 0.965  # heights
THIGH, SHANK, FOOT, UPPER_ARM, FOREARM, HAND = 0.245, 0.235, 0.10, 0.165, 0.145, 0.045
ARM = UPPER_ARM + FOREARM
# How one person does one action is drawn from these ranges: cycles a second, speed in body heights a second, half the
# angle between the legs at their widest, the knee's greatest bend, how far the arms swing or the hands travel, the
# elbow's bend, the trunk's lean, the height of a leap and that of the hands. Angles are in radians.
STYLES = {
    "boxing": {"rate": (1.0, 1.7), "arm": (0.75, 1.0), "lean": (0.0, 0.12), "height": (-0.05, 0.05)},
    "handclapping": {"rate": (1.1, 1.9), "arm": (0.55, 1.0), "height": (-0.06, 0.05)},
    "handwaving": {"rate": (0.8, 1.4), "arm": (0.6, 1.0), "height": (0.7, 1.5)},
    "walking": {"speed": (0.62, 0.85), "stride": (0.36, 0.47), "knee": (0.7, 1.0), "arm": (0.25, 0.55),
                "elbow": (0.1, 0.35), "lean": (-0.02, 0.07), "bounce": (0.004, 0.004)},
    "jogging": {"speed": (1.0, 1.3), "stride": (0.36, 0.46), "knee": (1.2, 1.6), "arm": (0.3, 0.6),
                "elbow": (1.2, 1.7), "lean": (0.06, 0.14), "bounce": (0.015, 0.03)},
    "running": {"speed": (1.55, 2.05), "stride": (0.58, 0.78), "knee": (1.7, 2.2), "arm": (0.7, 1.1),
                "elbow": (1.3, 1.8), "lean": (0.14, 0.28), "bounce": (0.02, 0.045)},
}
AT_EASE = dict.fromkeys(("stride", "knee", "arm", "elbow", "lean", "bounce", "height", "one_sided"), 0.0)
GAITS = {"walking": 2.0, "jogging": 2.2, "running": 2.1}  # a cycle's length for each sine of the stride
LIGHT = np.float32([-0.45, -0.89])  # the direction that it comes from, on the canvas
# The range of each property: proportions (1 is the mean) and greys of the skin and the hair.
BODY = {"stature": (0.92, 1.07), "width": (0.85, 1.2), "head": (0.92, 1.1), "legs": (0.95, 1.06),
        "skin": (0.5, 0.82), "hair": (0.05, 0.4)}
# A capsule from a to b, (n, 2), of the radii ra and rb (n,), in body heights or pixels.
Limb = namedtuple("Limb", "name a b ra rb grey")


def random_style(action: str, rng: np.random.Generator) -> SimpleNamespace:
    """A person's way to do `action`, a name in STYLES."""
    style = AT_EASE | {name: rng.uniform(*limits) for name, limits in STYLES[action].items()}
    if action in GAITS:
        style["rate"] = style["speed"] / (GAITS[action] * np.sin(style["stride"]))
    style["one_sided"] = action == "boxing" and rng.random() < 0.2  # the same hand again and again
    return SimpleNamespace(**style)


def perform(action: str, style: SimpleNamespace, phase: np.ndarray, amount: np.ndarray, sway=0.0) -> dict:
    """The joints: `phase` (n,) counts cycles, `amount` (n,) is 0 at ease, 1 in full action, `sway` leans the trunk."""

    def leant(forward, left, up):
        return _points(forward + np.sin(lean) * (up - HIP), left, HIP + np.cos(lean) * (up - HIP))

    gait, turn = action in GAITS, 2 * np.pi * phase
    lean = style.lean * amount + sway
    twist = amount * (0.12 * np.sin(turn) if gait else 0.0)
    if action == "boxing":
        twist = amount * 0.35 * (_jab(phase) if style.one_sided else _jab(phase) - _jab(phase + 0.5))
    joints = {name: leant(0.0, 0.0, up) for name, up in (("hips", HIP + 0.03), ("neck", NECK), ("crown", CROWN))}
    for side, sign in SIDES.items():
        across = sign * 0.105
        joints[f"{side} hip"] = _points(np.zeros_like(lean), sign * 0.05, HIP)
        joints[f"{side} shoulder"] = leant(-across * np.sin(-twist), across * np.cos(-twist), SHOULDER)
        swing, legs = turn + (np.pi if sign < 0 else 0.0), amount * gait
        lift = 0.5 + 0.5 * np.cos(swing + 0.3)  # 1 while the leg comes forward
        thigh = legs * (style.stride * np.sin(swing) + 0.25 * style.knee * lift * lift * 0.5)
        shank = thigh - (legs * (0.12 + style.knee * lift * lift) + 0.03)
        knee = joints[f"{side} hip"] + THIGH * _points(np.sin(thigh), sign * 0.012, -np.cos(thigh))
        ankle = knee + SHANK * _points(np.sin(shank), sign * 0.012, -np.cos(shank))
        tip = np.maximum(shank, -1.2)
        toe = ankle + FOOT * _points(np.cos(tip), 2 * sign * 0.012, np.minimum(np.sin(tip), 0.25) - 0.2)
        joints |= {f"{side} knee": knee, f"{side} ankle": ankle, f"{side} toe": toe}
        if gait:
            swing = swing + np.pi
            bent = 0.12 + amount * style.elbow * (1 + 0.15 * np.sin(swing))
            a = amount * (style.arm * np.sin(swing) - 0.35 * style.elbow * 0.5) - 0.03 + 0.3 * lean
            elbow = joints[f"{side} shoulder"] + UPPER_ARM * _points(np.sin(a), 0.06 * sign, -np.cos(a))
            along = _points(np.sin(a + bent), -0.1 * sign * amount, -np.cos(a + bent))
            wrist = elbow + FOREARM * along
        else:
            elbow, wrist, along = _reach(joints[f"{side} shoulder"], sign, action, style, phase, amount)
        joints |= {f"{side} elbow": elbow, f"{side} wrist": wrist, f"{side} fingers": wrist + HAND * along}
    # Shift all joints so that the lower foot is on the ground, or above it in a leap.
    soles = [joints[f"{side} {end}"][:, 2] - low for side in SIDES for end, low in (("ankle", 0.028), ("toe", 0.019))]
    shift = amount * style.bounce * (0.5 - 0.5 * np.cos(2 * turn)) - np.min(soles, axis=0)
    for joint in joints.values():
        joint[:, 2] += shift
    return joints


def _points(forward, left, up) -> np.ndarray:
    return np.stack(np.broadcast_arrays(forward, left, up), axis=-1).astype(float)


def _reach(shoulder, sign, action, style, phase, amount) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The elbow, bent towards `pole`, the wrist, where the action takes it within reach, and the hand's direction."""
    hang = shoulder + _points(0.03, 0.03 * sign, -0.97 * ARM) * np.ones((len(phase), 1))
    open_ = 0.5 - 0.5 * np.cos(2 * np.pi * phase)  # from 0 to 1 and back in a cycle
    if action == "boxing":
        jab = _jab(phase if sign > 0 or style.one_sided else phase + 0.5)
        if style.one_sided and sign < 0:
            jab = 0 * jab
        reach = 0.13 + 0.18 * style.arm * jab
        wrist = _points(reach + shoulder[:, 0], sign * (0.06 - 0.03 * jab), SHOULDER - 0.05 + style.height * jab)
    elif action == "handclapping":
        spread = 0.012 + 0.30 * style.arm * open_
        high = SHOULDER - 0.09 - 0.07 * open_ + style.height * (1 + open_)
        wrist = _points(0.23 - 0.13 * open_, sign * spread, high)
    else:
        angle = style.height + (2.75 - style.height) * open_ * (0.5 + 0.5 * style.arm)
        wrist = shoulder + 0.98 * ARM * _points(0.12, sign * np.sin(angle), -np.cos(angle))
    wrist = hang + amount[:, None] * (wrist - hang)
    pole = np.array([-0.3, 0.8 * sign, -0.2 if action == "handwaving" else -0.8])
    length = np.linalg.norm(wrist - shoulder, axis=1, keepdims=True)
    axis = (wrist - shoulder) / np.maximum(length, 1e-6)
    length = np.clip(length, 0.06, 0.999 * ARM)
    along = (UPPER_ARM**2 - FOREARM**2 + length * length) / (2 * length)
    aside = pole - (axis * pole).sum(axis=1, keepdims=True) * axis
    aside = aside / np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-6)
    elbow = shoulder + axis * along + aside * np.sqrt(np.maximum(UPPER_ARM**2 - along * along, 0))
    wrist = shoulder + axis * length
    along = wrist - elbow
    if action == "handclapping":  # palms meet with the fingers ahead
        along = along + amount[:, None] * np.array([0.10, -0.02 * sign, 0.08])
    return elbow, wrist, along / np.linalg.norm(along, axis=1, keepdims=True)


def _jab(phase: np.ndarray) -> np.ndarray:
    return np.clip(np.sin(2 * np.pi * phase), 0, 1)  # 1 with the arm stretched; out and back in half a cycle


def random_body(rng: np.random.Generator) -> SimpleNamespace:
    """A person in light clothes: the properties in BODY, `long_hair`, and those of `change_clothes`."""
    body = SimpleNamespace(**{name: rng.uniform(*limits) for name, limits in BODY.items()})
    body.long_hair = rng.random() < 0.35
    return change_clothes(body, rng, heavy=False)


def change_clothes(body: SimpleNamespace, rng: np.random.Generator, heavy: bool) -> SimpleNamespace:
    """The same person in other clothes (greys; 0: no bag, no hat); heavy ones may include a coat, a bag and a hat."""
    top = rng.uniform(0.05, 0.3) if rng.random() < 0.6 else rng.uniform(0.65, 0.92)  # not as grey as the grass
    bottom = rng.uniform(0.04, 0.26) if rng.random() < 0.8 else rng.uniform(0.66, 0.85)
    shoes, short = rng.uniform(0.03, 0.3), rng.random() < 0.3
    coat, bag, hat = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.4
    clothes = {"top": top, "bottom": bottom, "shoes": shoes, "short_sleeves": short and not heavy,
               "coat": heavy and coat, "bag": rng.uniform(0.05, 0.7) * (heavy and bag),
               "hat": rng.uniform(0.05, 0.8) * (heavy and hat)}
    return SimpleNamespace(**vars(body) | clothes)


def build(body: SimpleNamespace, joints: dict[str, np.ndarray], facing: float) -> list[Limb]:
    """The limbs as seen from the camera, the farthest first, in body heights, y up; `facing` 0 is seen from the front,
    pi/2 looks to the right of the picture, -pi/2 to the left."""
    sine, cosine = np.sin(facing), np.cos(facing)
    flat = {name: np.stack([joint[:, 0] * sine + joint[:, 1] * cosine, joint[:, 2]], axis=1)
            for name, joint in joints.items()}
    limbs, count, w, r = [], len(flat["neck"]), body.width, 0.047 * body.head
    far, near = ("left", "right") if sine > 0 else ("right", "left")
    forearm = body.skin if body.short_sleeves else body.top * 0.97

    def add(name, a, b, ra, rb, grey):
        a, b = (flat[end] if isinstance(end, str) else end for end in (a, b))
        limbs.append(Limb(name, a, b, np.full(count, ra), np.full(count, rb), grey))

    for side, shade in ((far, 0.85), (near, 1.0)):
        add(f"{side} foot", f"{side} ankle", f"{side} toe", 0.028, 0.019, body.shoes)
        add("shank", f"{side} knee", f"{side} ankle", 0.040 * w, 0.027 * w, body.bottom * shade)
        add("thigh", f"{side} hip", f"{side} knee", 0.054 * w, 0.042 * w, body.bottom * shade)
    add("pelvis", "left hip", "right hip", 0.055 * w, 0.055 * w, body.bottom)
    for side in SIDES:
        add("side", f"{side} shoulder", f"{side} hip", 0.046 * w, 0.052 * w, body.top)
    add("trunk", "neck", "hips", 0.062 * w, 0.062 * w, body.top)
    for side in SIDES if body.coat else ():
        hem = 0.45 * flat[f"{side} hip"] + 0.55 * flat[f"{side} knee"]
        add("coat", f"{side} hip", hem, 0.056 * w, 0.064 * w, body.top * 0.95)
    up, ahead = flat["crown"] - flat["neck"], np.array([0.016 * sine, 0.0])
    face, back = flat["crown"] - 0.30 * up + ahead, flat["crown"] - 0.10 * up - ahead
    if body.long_hair:
        add("hair", back, back - 0.65 * up - 2 * ahead, r * 1.05, r * 0.8, body.hair)
    add("neck", "neck", face, 0.028, 0.026, body.skin * 0.9)
    add("hair", back - 0.15 * up, back + 0.08 * up, r, r * 1.02, body.hair)
    add("face", face - 0.18 * up, face + 0.1 * up, r * 0.82, r * 0.88, body.skin)
    if body.hat:
        brim = back + 0.1 * up
        add("hat", brim - ahead, brim + 3 * ahead, r * 1.1, r * 0.6, body.hat)
    arms = len(limbs)
    for side in (far, near):
        add("upper arm", f"{side} shoulder", f"{side} elbow", 0.034 * w, 0.027 * w, body.top * 0.97)
        add("forearm", f"{side} elbow", f"{side} wrist", 0.026 * w, 0.020, forearm)
        add(f"{side} hand", f"{side} wrist", f"{side} fingers", 0.021, 0.020, body.skin)
    if cosine <= 0.55:  # not seen from the front: the far arm is behind the body
        limbs = [*limbs[arms : arms + 3], *limbs[:arms], *limbs[arms + 3 :]]
    if body.bag:
        strap = flat[f"{near} hip"] + np.array([-0.05 * sine, 0.06])
        add("bag", strap, strap - np.array([0.0, 0.07]), 0.055, 0.06, body.bag)
    return limbs


def rounded(pixels: np.ndarray) -> np.ndarray:
    return (np.round(pixels * 256) / 256).astype(np.float32)  # so that all machines draw the same


def place(limbs: list[Limb], x: np.ndarray, y: np.ndarray, height: np.ndarray) -> list[Limb]:
    """The limbs in pixels: the person stands on the point (x, y) and is `height` tall, all (n,)."""

    def moved(end):
        return rounded(np.stack([x + end[:, 0] * height, y - end[:, 1] * height], axis=1))

    return [limb._replace(a=moved(limb.a), b=moved(limb.b), ra=rounded(limb.ra * height), rb=rounded(limb.rb * height))
            for limb in limbs]


def extent(limbs: list[Limb]) -> np.ndarray:
    """(n, 4): x0, y0, x1, y1 of the upright box around all these placed limbs, soft edges included."""
    low = np.min([np.minimum(limb.a - limb.ra[:, None], limb.b - limb.rb[:, None]) for limb in limbs], axis=0)
    high = np.max([np.maximum(limb.a + limb.ra[:, None], limb.b + limb.rb[:, None]) for limb in limbs], axis=0)
    return np.concatenate([low - 0.5, high + 0.5], axis=1)


def draw(canvas: np.ndarray, limbs: list[Limb], shadow: bool = False) -> None:
    """Paint placed limbs on all frames; a `shadow` darkens, by its limbs' grey, once where they overlap."""
    shade = np.zeros_like(canvas) if shadow else None
    for limb in limbs:
        frames, top, left, cover, side = _cover(limb, canvas.shape[1:])
        rows, columns = cover.shape[1:]
        for k, (t, y, x) in enumerate(zip(frames, top, left, strict=True)):
            patch = (t, slice(y, y + rows), slice(x, x + columns))
            if shadow:
                np.maximum(shade[patch], cover[k] * np.float32(limb.grey), out=shade[patch])
            else:
                lit = np.float32(limb.grey) * (np.float32(0.93) + np.float32(0.12) * side[k])
                canvas[patch] += cover[k] * (lit - canvas[patch])
    if shadow:
        canvas *= 1 - shade


def _cover(limb: Limb, size: tuple[int, int]):
    """Which frames show the limb, the patch's upper left corner in each, (k, h, w) coverage and lit side."""
    box = extent([limb])
    speed = np.zeros(len(box), np.float32)  # pixels a frame, of the faster end
    for end in (limb.a, limb.b):
        speed = np.maximum(speed, np.linalg.norm(np.diff(end, axis=0, prepend=end[:1]), axis=1))
    soft = np.minimum(1 + np.float32(0.25) * speed, 3)
    box += np.stack([-soft, -soft, soft, soft], axis=1) / 2
    frames = np.flatnonzero((box[:, 2] > 0) & (box[:, 3] > 0) & (box[:, 0] < size[1]) & (box[:, 1] < size[0]))
    box, soft = box[frames], soft[frames, None, None]
    widest = (box[:, 2:] - box[:, :2]).max(axis=0) if len(frames) else (1, 1)
    columns, rows = (min(int(np.ceil(span)) + 1, limit) for span, limit in zip(widest, size[::-1], strict=True))
    left = np.clip(np.floor(box[:, 0]), 0, size[1] - columns).astype(int)
    top = np.clip(np.floor(box[:, 1]), 0, size[0] - rows).astype(int)
    ax, ay = limb.a[frames].T[..., None, None]
    bx, by = (limb.b - limb.a)[frames].T[..., None, None]
    px = (left[:, None] + np.arange(columns) + 0.5).astype(np.float32)[:, None, :] - ax
    py = (top[:, None] + np.arange(rows) + 0.5).astype(np.float32)[:, :, None] - ay
    along = np.clip((px * bx + py * by) / np.maximum(bx * bx + by * by, np.float32(1e-4)), 0, 1)
    px, py = px - along * bx, py - along * by
    radius = limb.ra[frames, None, None] + along * (limb.rb - limb.ra)[frames, None, None]
    cover = np.clip((radius - np.sqrt(px * px + py * py)) / soft + np.float32(0.5), 0, 1)
    side = np.clip((px * LIGHT[0] + py * LIGHT[1]) / radius, -1, 1)
    return frames.tolist(), top.tolist(), left.tolist(), cover, side
