"""What happens in a sequence of the KTH flavour: who does what, when, where, and how the camera looks at it.

Before and after the action the person stands at ease or is out of sight. The action fills a fifth to a half of the
sequence, anywhere in it; its length does not depend on the class, except for a person who crosses the whole picture.
The settings are KTH's (Schuldt, Laptev, Caputo, ICPR 2004): 1 outdoors, 2 outdoors with changing scale, 3 outdoors in
other clothes, 4 indoors. Positions are (x, y), y down, in heights of the frame: its upper left corner is (0, 0).
"""

from dataclasses import dataclass, replace

import numpy as np

from interp.data.kth import CLASSES, SUBJECTS
from interp.data.motion import _person

FPS = 25
SIZE = (120, 160)
SETTINGS = (1, 2, 3, 4)
WIDEST = 0.62  # the smallest zoom that the world is painted for
SHAKE = 0.04  # the farthest that the camera may look beside its mark
RAMP = 5  # frames from standing to full action
REACH = 0.2  # about half of a person's width while going, in heights of the person
CENTRE = SIZE[1] / SIZE[0] / 2


@dataclass(frozen=True)
class Script:
    """The plan of one sequence; the action lasts from frame position `start` to `end` (real numbers)."""

    action: str
    num_frames: int  # of the sequence
    num_drawn: int  # with the pause after it, which belongs to the video and not to the sequence
    start: float
    end: float
    limbs: list[_person.Limb]  # as `build` gives them
    ground: np.ndarray  # (num_drawn, 2), where the person stands in the world
    height: float  # of the person, in heights of the frame at zoom 1
    camera: np.ndarray  # (num_drawn, 2)
    zoom: np.ndarray  # (num_drawn,)
    shadow: tuple[float, float]  # how dark, and how far it leans

    def foot_point(self, size: tuple[int, int]) -> np.ndarray:
        """Where the person stands, x and y in pixels (2, num_drawn)."""
        middle = np.array([size[1] / size[0], 1.0]) / 2
        return ((middle + (self.ground - middle - self.camera) * self.zoom[:, None]) * size[0]).T

    def placed(self, size: tuple[int, int] = SIZE) -> list[_person.Limb]:
        """The person's limbs in pixels of a frame of that size."""
        return _person.place(self.limbs, *self.foot_point(size), self.height * self.zoom * size[0])

    def truth(self) -> dict:
        """The known truth, JSON-able: interval in seconds, boxes in 0..1 (None where out of sight)."""
        limbs, n = self.placed(), self.num_frames
        ends = ("foot", "hand") if self.action in _person.GAITS else ("hand",)
        groups = {"the person": limbs} | {f"the {limb.name}": [limb] for limb in limbs if limb.name.endswith(ends)}
        objects = []
        for name, group in groups.items():
            boxes = np.clip(_person.extent(group)[:n] / np.array([SIZE[1], SIZE[0]] * 2), 0, 1)
            boxes = [np.round(box, 3).tolist() if (box[2:] - box[:2] > 0.003).all() else None for box in boxes]
            objects.append({"name": name, "box": boxes})
        interval = [round(self.start / FPS, 4), round(self.end / FPS, 4)]
        return {"label": self.action, "fps": FPS, "frames": n, "interval": interval, "objects": objects,
                "camera": np.round(self.camera[:n], 4).tolist(),
                "zoom": np.round(self.zoom[:n], 4).tolist()}  # fmt: skip


def generator(seed: int, *place: int) -> np.random.Generator:
    """Random numbers that depend on these numbers alone."""
    if seed < 0:
        raise ValueError(f"expected the seed to be 0 or more, got seed {seed}")
    return np.random.default_rng([seed, *place])


def check(subject: int, action: str, setting: int, repetition: int) -> None:
    """ValueError where there is no such sequence."""
    for name, value, valid in (("subject", subject, SUBJECTS["all"]), ("action", action, CLASSES),
                               ("setting", setting, SETTINGS)):  # fmt: skip
        if value not in valid:
            raise ValueError(f"expected one of {', '.join(map(str, valid))}, got the {name} {value!r}")
    if repetition < 1:
        raise ValueError(f"expected 1 or more, got the repetition {repetition!r}")


def write_script(subject: int, action: str, setting: int, repetition: int, seed: int = 0) -> Script:
    """The script of one sequence, which depends on the arguments alone; ValueError as in `check`."""
    check(subject, action, setting, repetition)
    number = CLASSES.index(action)
    body = _person.random_body(generator(seed, 1, subject))
    if setting == 3:
        body = _person.change_clothes(body, generator(seed, 2, subject), heavy=True)
    style = _person.random_style(action, generator(seed, 3, subject, number))
    rng = generator(seed, 4, subject, number, setting, repetition)
    height = 0.67 * body.stature * rng.uniform(0.93, 1.07)
    going, way = action in _person.GAITS, rng.choice([-1, 1])
    length, share = rng.uniform(22, 42), rng.uniform(0.2, 0.5)
    modes = ("cross",) if going else ("stay",)
    if going:
        zoomed = 1.0 if setting != 2 else 0.85
        step = style.speed * height * zoomed / FPS  # heights of the frame a frame
        across = 2 * (CENTRE + REACH * height * zoomed)
        if step * length > across - 0.25:
            length = across / step
        else:
            modes = ("enter", "leave", "stay") if step * (length - RAMP) < 2 * CENTRE - 0.3 else ("enter", "leave")
    frames = int(np.ceil(length / share)) + 1
    drawn = frames + int(rng.integers(0, 9))
    start = rng.uniform(0, frames - 1 - length)
    end, time = start + length, np.arange(drawn)
    turns = rng.uniform(0.1, 0.6, 2) * (time[:, None] / FPS) + rng.random(2)
    camera = rng.uniform(0, 0.01, 2) * np.sin(2 * np.pi * turns)  # a slow sway, and a tremor
    camera = camera + rng.uniform(0, 0.0015) * (2 * rng.random((drawn, 2)) - 1)
    far, near, zoom = rng.uniform(WIDEST, 0.78), rng.uniform(0.92, 1.1), np.ones(drawn)
    if setting == 2:  # in or out, steadily through the whole sequence
        done = np.minimum(time / (frames - 1), 1)
        zoom = far + (near - far) * (done if rng.random() < 0.5 else 1 - done)
    mode = modes[rng.integers(len(modes))] if going else "stay"
    amount = np.ones(drawn)
    if mode in ("stay", "leave"):
        amount = np.clip((time - start) / RAMP, 0, 1)
    if mode in ("stay", "enter"):
        amount = np.minimum(amount, np.clip((end - time) / RAMP, 0, 1))
    amount = amount * amount * (3 - 2 * amount)
    done = np.concatenate([[0.0], np.cumsum((amount[1:] + amount[:-1]) / 2)]) / FPS  # seconds of full action
    first, aside, high = rng.random() * going, rng.uniform(-1, 1), rng.uniform(0.02, 0.08)
    sway = 0.02 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.45) * time / FPS + rng.random()))
    joints = _person.perform(action, style, first + style.rate * done, amount, sway)
    facing = rng.uniform(-0.4, 0.4)
    if going or action == "boxing":
        facing = way * (np.pi / 2 + rng.uniform(-0.3, 0.2) * (0.6 if going else 1))
    limbs = _person.build(body, joints, facing)
    x = np.full(drawn, CENTRE + 0.3 * aside)
    if going:
        x = _path(mode, way, style.speed * height * done, zoom, (round(start), round(end)), limbs, height, aside)
    ground = np.stack([x, np.full(drawn, 0.5 + height * 0.5 + high)], axis=1)
    shadow = rng.uniform(0.1, 0.25), rng.uniform(-0.5, 0.5)
    if setting == 4:
        shadow = rng.uniform(0.25, 0.45), rng.choice([-1, 1]) * rng.uniform(0.3, 0.9)
    script = Script(action, frames, drawn, start, end, limbs, ground, height, camera, zoom, shadow)
    # A person who comes or goes acts from the first frame that shows them, or to the last one.
    box = _person.extent(script.placed())[:frames]
    seen = np.flatnonzero((box[:, 2] > 2) & (box[:, 0] < SIZE[1] - 2))
    return replace(script, start=float(seen[0]) if mode in ("enter", "cross") else start,
                   end=float(seen[-1]) if mode in ("leave", "cross") else end)  # fmt: skip


def _path(mode, way, gone, zoom, interval, limbs, height, aside) -> np.ndarray:
    """Where a person who goes is in the world (n,): at the frame's edge when coming or going out of sight."""
    start, end = interval
    edges = [CENTRE / zoom[moment] for moment in interval]  # from the frame's middle to its edge

    def width(frame, side):  # how far the person reaches to the right (1) or left (-1) of the ground point
        ends = [(side * limb.a[frame, 0] + limb.ra[frame], side * limb.b[frame, 0] + limb.rb[frame]) for limb in limbs]
        return height * max(map(max, ends))

    if mode in ("enter", "cross"):
        first = -edges[0] - width(start, way)
    elif mode == "leave":
        first = edges[1] + width(end, -way) - (gone[end] - gone[start])
    else:
        free = max(min(edges) - 0.14 - (gone[end] - gone[start]) / 2, 0.0)
        first = aside * free - (gone[end] - gone[start]) / 2
    return CENTRE + way * (first + gone - gone[start])
