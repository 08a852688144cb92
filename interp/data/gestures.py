"""The six actions of KTH as joints over time: boxing, handclapping, handwaving, jogging, running, walking.

Classes as in Schuldt, Laptev, Caputo, "Recognizing human actions: a local SVM approach", ICPR 2004; the gaits
are pendulums (legs and arms swing against each other, the knee bends while its leg swings forward). Each
person has an own `Style` for each action. An `amount` of 0 is standing at ease, 1 is the full action.

Axes: joints are (n, 3) over n frames: forward, to the person's left, up, in body heights (see `figure`).

>>> style = random_style("walking", np.random.default_rng(0))
>>> joints = perform("walking", style, phase=np.linspace(0, 2, 50), amount=np.ones(50))
>>> joints["left wrist"].shape
(50, 3)
"""

from dataclasses import dataclass

import numpy as np

HANDS = ("boxing", "handclapping", "handwaving")
GAITS = ("jogging", "running", "walking")
SIDES = {"left": 1.0, "right": -1.0}
HIP, SHOULDER, NECK, CROWN = 0.52, 0.81, 0.83, 0.965  # heights
THIGH, SHANK, FOOT, UPPER_ARM, FOREARM, HAND = 0.245, 0.235, 0.10, 0.165, 0.145, 0.045


@dataclass(frozen=True)
class Style:
    """How one person does one action: cycles a second, speed in body heights a second, angles in radians."""

    rate: float
    speed: float = 0.0
    stride: float = 0.0  # half the angle between the legs at their widest
    knee: float = 0.0  # most bent
    arm: float = 0.0  # how far the arms swing, or how far the hands travel (0..1)
    elbow: float = 0.0
    lean: float = 0.0
    bounce: float = 0.0
    height: float = 0.0  # of the hands, as the action uses it
    one_sided: bool = False  # boxing: the same hand again and again


def random_style(action: str, rng: np.random.Generator) -> Style:
    """A person's way to do `action`, one of HANDS or GAITS; else ValueError."""
    between = rng.uniform
    if action == "boxing":
        return Style(rate=between(1.0, 1.7), arm=between(0.75, 1.0), lean=between(0.0, 0.12),
                     height=between(-0.05, 0.05), one_sided=rng.random() < 0.2)  # fmt: skip
    if action == "handclapping":
        return Style(rate=between(1.1, 1.9), arm=between(0.55, 1.0), height=between(-0.06, 0.05))
    if action == "handwaving":
        return Style(rate=between(0.8, 1.4), arm=between(0.6, 1.0), height=between(0.7, 1.5))
    if action == "walking":
        speed, stride = between(0.62, 0.85), between(0.36, 0.47)
        return Style(rate=speed / (2.0 * np.sin(stride)), speed=speed, stride=stride, knee=between(0.7, 1.0),
                     arm=between(0.25, 0.55), elbow=between(0.1, 0.35), lean=between(-0.02, 0.07),
                     bounce=0.004)  # fmt: skip
    if action == "jogging":
        speed, stride = between(1.0, 1.3), between(0.36, 0.46)
        return Style(rate=speed / (2.2 * np.sin(stride)), speed=speed, stride=stride, knee=between(1.2, 1.6),
                     arm=between(0.3, 0.6), elbow=between(1.2, 1.7), lean=between(0.06, 0.14),
                     bounce=between(0.015, 0.03))  # fmt: skip
    if action == "running":
        speed, stride = between(1.55, 2.05), between(0.58, 0.78)
        return Style(rate=speed / (2.1 * np.sin(stride)), speed=speed, stride=stride, knee=between(1.7, 2.2),
                     arm=between(0.7, 1.1), elbow=between(1.3, 1.8), lean=between(0.14, 0.28),
                     bounce=between(0.02, 0.045))  # fmt: skip
    raise ValueError(f"got the action {action!r}; expected one of {', '.join(sorted(HANDS + GAITS))}")


def stand(num_frames: int) -> dict[str, np.ndarray]:
    """A person at ease."""
    still = np.zeros(num_frames)
    return perform("walking", Style(rate=1.0), still, still)


def perform(
    action: str, style: Style, phase: np.ndarray, amount: np.ndarray, sway: np.ndarray | float = 0.0
) -> dict[str, np.ndarray]:
    """All joints of the person over the frames.

    Args: `phase` (n,) counts cycles, `amount` (n,) is 0 at ease and 1 in full action, `sway` (n,) leans the
    trunk, in radians, whatever the action.
    """
    phase, amount = np.asarray(phase, float), np.asarray(amount, float)
    gait = action in GAITS
    turn = 2 * np.pi * phase
    lean = style.lean * amount + sway
    twist = amount * (0.12 * np.sin(turn) if gait else 0.0)
    if action == "boxing":
        twist = amount * 0.35 * (_jab(phase) if style.one_sided else _jab(phase) - _jab(phase + 0.5))
    joints = _trunk(lean, -twist)
    for side, sign in SIDES.items():
        swing = turn + (np.pi if sign < 0 else 0.0)
        _leg(joints, side, sign, style, swing, amount if gait else np.zeros_like(amount))
        if gait:
            _swinging_arm(joints, side, style, swing + np.pi, amount, lean)
        else:
            _reaching_arm(joints, side, sign, action, style, phase, amount)
    _to_the_ground(joints, amount * style.bounce * (0.5 - 0.5 * np.cos(2 * turn)))
    return joints


def _points(forward, left, up) -> np.ndarray:
    return np.stack(np.broadcast_arrays(forward, left, up), axis=-1).astype(float)


def _trunk(lean: np.ndarray, twist: np.ndarray) -> dict[str, np.ndarray]:
    """Hips, shoulders, neck and crown; the trunk leans forward about the hips and twists about itself."""

    def leant(forward, left, up):
        return _points(forward + np.sin(lean) * (up - HIP), left, HIP + np.cos(lean) * (up - HIP))

    zero = np.zeros_like(lean)
    joints = {"hips": leant(zero, zero, HIP + 0.03), "neck": leant(zero, zero, NECK)}
    joints["crown"] = leant(zero, zero, CROWN)
    for side, sign in SIDES.items():
        joints[f"{side} hip"] = _points(zero, sign * 0.05, HIP)
        across = sign * 0.105
        joints[f"{side} shoulder"] = leant(-across * np.sin(twist), across * np.cos(twist), SHOULDER)
    return joints


def _leg(joints, side, sign, style: Style, swing, amount) -> None:
    """Thigh angle `a` forward of straight down, knee bent by `b`."""
    lift = 0.5 + 0.5 * np.cos(swing + 0.3)  # 1 while the leg comes forward
    a = amount * (style.stride * np.sin(swing) + 0.25 * style.knee * lift * lift * 0.5)
    b = amount * (0.12 + style.knee * lift * lift) + 0.03
    hip = joints[f"{side} hip"]
    out = sign * 0.012 * np.ones_like(a)
    knee = hip + THIGH * _points(np.sin(a), out, -np.cos(a))
    ankle = knee + SHANK * _points(np.sin(a - b), out, -np.cos(a - b))
    tip = np.maximum(a - b, -1.2)
    toe = ankle + FOOT * _points(np.cos(tip), 2 * out, np.minimum(np.sin(tip), 0.25) - 0.2)
    joints |= {f"{side} knee": knee, f"{side} ankle": ankle, f"{side} toe": toe}


def _swinging_arm(joints, side, style: Style, swing, amount, lean) -> None:
    bent = 0.12 + amount * style.elbow * (1 + 0.15 * np.sin(swing))
    a = amount * (style.arm * np.sin(swing) - 0.35 * style.elbow * 0.5) - 0.03 + 0.3 * lean
    shoulder = joints[f"{side} shoulder"]
    elbow = shoulder + UPPER_ARM * _points(np.sin(a), 0.06 * SIDES[side], -np.cos(a))
    forearm = _points(np.sin(a + bent), -0.1 * SIDES[side] * amount, -np.cos(a + bent))
    wrist = elbow + FOREARM * forearm
    joints |= {f"{side} elbow": elbow, f"{side} wrist": wrist, f"{side} fingers": wrist + HAND * forearm}


def _reaching_arm(joints, side, sign, action, style: Style, phase, amount) -> None:
    """An arm whose wrist goes where the action wants it."""
    shoulder = joints[f"{side} shoulder"]
    hang = shoulder + _points(0.03, 0.03 * sign, -0.97 * (UPPER_ARM + FOREARM)) * np.ones((len(phase), 1))
    open_ = 0.5 - 0.5 * np.cos(2 * np.pi * phase)  # from 0 to 1 and back in a cycle
    if action == "boxing":
        jab = _jab(phase if sign > 0 or style.one_sided else phase + 0.5)
        if style.one_sided and sign < 0:
            jab = 0 * jab
        reach = 0.13 + 0.18 * style.arm * jab
        high = SHOULDER - 0.05 + style.height * jab
        wrist = _points(reach + shoulder[:, 0], sign * (0.06 - 0.03 * jab), high)
    elif action == "handclapping":
        spread = 0.012 + 0.30 * style.arm * open_
        high = SHOULDER - 0.09 - 0.07 * open_ + style.height * (1 + open_)
        wrist = _points(0.23 - 0.13 * open_, sign * spread, high)
    else:
        angle = style.height + (2.75 - style.height) * open_ * (0.5 + 0.5 * style.arm)
        far = 0.98 * (UPPER_ARM + FOREARM)
        wrist = shoulder + far * _points(0.12, sign * np.sin(angle), -np.cos(angle))
    wrist = hang + amount[:, None] * (wrist - hang)
    pole = np.array([-0.3, 0.8 * sign, -0.2 if action == "handwaving" else -0.8])
    elbow, wrist = _bend(shoulder, wrist, pole)
    along = wrist - elbow
    if action == "handclapping":  # palms meet with the fingers ahead
        along = along + amount[:, None] * np.array([0.10, -0.02 * sign, 0.08])
    along = along / np.sqrt((along * along).sum(axis=1, keepdims=True))
    joints |= {f"{side} elbow": elbow, f"{side} wrist": wrist, f"{side} fingers": wrist + HAND * along}


def _jab(phase: np.ndarray) -> np.ndarray:
    """0 at rest, 1 with the arm stretched; out and back in half a cycle."""
    return np.clip(np.sin(2 * np.pi * phase), 0, 1)


def _bend(shoulder: np.ndarray, wrist: np.ndarray, pole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The elbow that lets an arm reach the wrist's place, bent towards `pole`, and the wrist within reach."""
    way = wrist - shoulder
    length = np.sqrt((way * way).sum(axis=1, keepdims=True))
    axis = way / np.maximum(length, 1e-6)
    length = np.clip(length, 0.06, 0.999 * (UPPER_ARM + FOREARM))
    along = (UPPER_ARM**2 - FOREARM**2 + length * length) / (2 * length)
    across = np.sqrt(np.maximum(UPPER_ARM**2 - along * along, 0))
    aside = pole - (axis * pole).sum(axis=1, keepdims=True) * axis
    aside = aside / np.maximum(np.sqrt((aside * aside).sum(axis=1, keepdims=True)), 1e-6)
    return shoulder + axis * along + aside * across, shoulder + axis * length


def _to_the_ground(joints: dict[str, np.ndarray], above: np.ndarray) -> None:
    """Shifts all joints so that the lower foot is on the ground, or `above` it in a leap."""
    soles = [joints[f"{side} ankle"][:, 2] - 0.028 for side in SIDES]
    soles += [joints[f"{side} toe"][:, 2] - 0.019 for side in SIDES]
    shift = above - np.min(soles, axis=0)
    for joint in joints.values():
        joint[:, 2] += shift
