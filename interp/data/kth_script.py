"""Says what happens in a sequence of the KTH flavour: who does what, when, where, and how the camera looks.

The layout is that of KTH (Schuldt, Laptev, Caputo, ICPR 2004); what is known about each sequence is this
project's own. A person stands at ease before and after the action, or is out of sight, so that the action
fills a fifth to a half of the sequence (a few frames less or more where somebody comes or goes, who is not
out of sight at once) and may begin at any moment with equal chance. How long it takes does not depend on the
action, but for a person who crosses the whole picture. What lies behind the person depends on the subject and
the setting alone, and so cannot tell the action.

Axes: arrays are (n, ...) over the n frames of a sequence at 25 a second; see `stage` for places.

>>> script = write_script(subject=1, action="walking", setting=2, repetition=1)
>>> 0 <= script.start < script.end <= script.num_frames - 1
True
"""

from dataclasses import dataclass

import numpy as np

from interp.data import figure, gestures, stage
from interp.data.kth import CLASSES, SUBJECTS

FPS = 25
SIZE = (120, 160)
RAMP = 5  # frames from standing to full action
REACH = 0.2  # half of a person's width while going, about, in heights of the person


@dataclass(frozen=True)
class Script:
    """The plan of one sequence; the action lasts from frame position `start` to `end` (real numbers)."""

    action: str
    num_frames: int  # of the sequence
    num_drawn: int  # with the pause after it, which belongs to the video and not to the sequence
    start: float
    end: float
    body: figure.Body
    limbs: list  # as `figure.build` gives them
    ground: np.ndarray  # (num_drawn, 2), where the person stands in the world
    height: float  # of the person, in heights of the frame at zoom 1
    camera: np.ndarray  # (num_drawn, 2)
    zoom: np.ndarray  # (num_drawn,)
    shadow: tuple[float, float]  # how dark, and how far it leans

    def placed(self, size: tuple[int, int] = SIZE) -> list[figure.Limb]:
        """The person's limbs in pixels of a frame of that size."""
        x, y = stage.shown(self.ground, size, self.camera, self.zoom).T
        return figure.place(self.limbs, x, y, self.height * self.zoom * size[0])

    def truth(self) -> dict:
        """The known answer, as `truth` reads it: seconds, and boxes in 0..1 (None where out of sight)."""
        limbs, n = self.placed(), self.num_frames
        groups = [("the person", limbs)]
        ends = ("foot", "hand") if self.action in gestures.GAITS else ("hand",)
        groups += [(f"the {one.name}", [one]) for one in limbs if one.name.endswith(ends)]
        return {
            "label": self.action,
            "fps": FPS,
            "frames": n,
            "interval": [round(self.start / FPS, 4), round(self.end / FPS, 4)],
            "objects": [{"name": name, "box": _boxes(of, n)} for name, of in groups],
            "camera": np.round(self.camera[:n], 4).tolist(),
            "zoom": np.round(self.zoom[:n], 4).tolist(),
        }


def generator(seed: int, *place: int) -> np.random.Generator:
    """The random numbers of one thing, whatever else is drawn. Raises ValueError for a seed below 0."""
    if seed < 0:
        raise ValueError(f"got the seed {seed}; expected 0 or more")
    return np.random.default_rng([seed, *place])


def write_script(subject: int, action: str, setting: int, repetition: int, seed: int = 0) -> Script:
    """The script of one sequence, a function of its arguments alone.

    Raises ValueError for another subject than 1..25, setting than 1..4, repetition below 1 or action than
    KTH's six.
    """
    check(subject, action, setting, repetition)
    number = CLASSES.index(action)
    body = figure.random_body(generator(seed, 1, subject))
    if setting == 3:
        body = figure.change_clothes(body, generator(seed, 2, subject), heavy=True)
    style = gestures.random_style(action, generator(seed, 3, subject, number))
    rng = generator(seed, 4, subject, number, setting, repetition)
    height = 0.67 * body.stature * rng.uniform(0.93, 1.07)
    going, way = action in gestures.GAITS, rng.choice([-1, 1])
    length, share = rng.uniform(22, 42), rng.uniform(0.2, 0.5)
    middle = SIZE[1] / SIZE[0] / 2
    places = ("cross",)
    if going:
        zoomed = 1.0 if setting != 2 else 0.85
        step = style.speed * height * zoomed / FPS  # heights of the frame a frame
        across = 2 * (middle + REACH * height * zoomed)
        if step * length > across - 0.25:
            length = across / step
        else:
            far = step * (length - RAMP)
            places = ("enter", "leave", "stay") if far < 2 * middle - 0.3 else ("enter", "leave")
    frames = int(np.ceil(length / share)) + 1
    pause = int(rng.integers(0, 9))
    start = rng.uniform(0, frames - 1 - length)
    end, drawn = start + length, frames + pause
    time = np.arange(drawn)
    camera, zoom = _camera(rng, drawn), _zoom(rng, setting, frames, drawn)
    mode = places[rng.integers(len(places))] if going else "stay"
    amount = _amount(time, start, end, begins=mode in ("stay", "leave"), stops=mode in ("stay", "enter"))
    done = np.concatenate([[0.0], np.cumsum((amount[1:] + amount[:-1]) / 2)]) / FPS  # seconds of full action
    first, aside, high = rng.random() * going, rng.uniform(-1, 1), rng.uniform(0.02, 0.08)
    sway = 0.02 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.45) * time / FPS + rng.random()))
    joints = gestures.perform(action, style, first + style.rate * done, amount, sway)
    facing = rng.uniform(-0.4, 0.4)
    if going or action == "boxing":
        facing = way * (np.pi / 2 + rng.uniform(-0.3, 0.2) * (0.6 if going else 1))
    limbs = figure.build(body, joints, facing)
    x = np.full(drawn, middle + 0.3 * aside)
    if going:
        gone = style.speed * height * done
        x = _way(mode, way, gone, zoom, (round(start), round(end)), limbs, height, aside)
    ground = np.stack([x, np.full(drawn, 0.5 + height * 0.5 + high)], axis=1)
    dark, slant = rng.uniform(0.1, 0.25), rng.uniform(-0.5, 0.5)
    if setting == 4:
        dark, slant = rng.uniform(0.25, 0.45), rng.choice([-1, 1]) * rng.uniform(0.3, 0.9)
    shadow = (dark, slant)
    script = Script(action, frames, drawn, start, end, body, limbs, ground, height, camera, zoom, shadow)
    return _as_seen(script, mode) if going else script


def check(subject: int, action: str, setting: int, repetition: int) -> None:
    """ValueError where there is no such sequence."""
    if subject not in SUBJECTS["all"]:
        raise ValueError(f"got the subject {subject!r}; expected 1 to {len(SUBJECTS['all'])}")
    if action not in CLASSES:
        raise ValueError(f"got the action {action!r}; expected one of {', '.join(CLASSES)}")
    if setting not in stage.SETTINGS:
        raise ValueError(f"got the setting {setting!r}; expected 1 to {len(stage.SETTINGS)}")
    if repetition < 1:
        raise ValueError(f"got the repetition {repetition!r}; expected 1 or more")


def _amount(time, start, end, begins: bool, stops: bool) -> np.ndarray:
    """0 before the start and after the end, 1 between; an action that does not begin was always there."""
    rise = np.clip((time - start) / RAMP, 0, 1) if begins else np.ones(len(time))
    fall = np.clip((end - time) / RAMP, 0, 1) if stops else np.ones(len(time))
    both = np.minimum(rise, fall)
    return both * both * (3 - 2 * both)


def _way(mode, way, gone, zoom, interval, limbs, height, aside) -> np.ndarray:
    """Where a person who goes is in the world (n,): at the frame's edge when coming or going out of sight."""
    middle, (start, end) = SIZE[1] / SIZE[0] / 2, interval
    reach = [middle / zoom[moment] for moment in interval]  # from the frame's middle to its edge
    if mode in ("enter", "cross"):
        first = -reach[0] - height * _reach(limbs, start, way)
    elif mode == "leave":
        first = reach[1] + height * _reach(limbs, end, -way) - (gone[end] - gone[start])
    else:
        room = max(min(reach) - 0.14 - (gone[end] - gone[start]) / 2, 0.0)
        first = aside * room - (gone[end] - gone[start]) / 2
    return middle + way * (first + gone - gone[start])


def _reach(limbs: list[figure.Limb], frame: int, way: int) -> float:
    """How far the person reaches to the right (`way` 1) or left (-1) of the ground point, in heights."""
    ends = [(way * one.a[frame, 0] + one.ra[frame], way * one.b[frame, 0] + one.rb[frame]) for one in limbs]
    return max(map(max, ends))


def _as_seen(script: Script, mode: str) -> Script:
    """The same with an interval that begins when the person comes into sight, or ends when they leave it."""
    box = figure.extent(script.placed())[: script.num_frames]
    seen = np.flatnonzero((box[:, 2] > 2) & (box[:, 0] < SIZE[1] - 2))
    start = float(seen[0]) if mode in ("enter", "cross") else script.start
    end = float(seen[-1]) if mode in ("leave", "cross") else script.end
    return Script(**{**vars(script), "start": start, "end": end})


def _camera(rng, frames: int) -> np.ndarray:
    """A held camera (n, 2): a slow sway, a hundredth of the frame at most, and a tremor."""
    time = np.arange(frames)[:, None] / FPS
    turns = rng.uniform(0.1, 0.6, 2) * time + rng.random(2)
    sway = rng.uniform(0, 0.01, 2) * np.sin(2 * np.pi * turns)
    return sway + rng.uniform(0, 0.0015) * (2 * rng.random((frames, 2)) - 1)


def _zoom(rng, setting: int, frames: int, drawn: int) -> np.ndarray:
    """1 but for d2, where it goes steadily through the whole sequence, in or out."""
    far, near = rng.uniform(stage.WIDEST, 0.78), rng.uniform(0.92, 1.1)
    if setting != 2:
        return np.ones(drawn)
    share = np.minimum(np.arange(drawn) / (frames - 1), 1)
    return far + (near - far) * (share if rng.random() < 0.5 else 1 - share)


def _boxes(limbs: list[figure.Limb], frames: int) -> list:
    sides = np.array([SIZE[1], SIZE[0]] * 2)
    box = np.clip(figure.extent(limbs)[:frames] / sides, 0, 1)
    seen = ((box[:, 2:] - box[:, :2]) > 0.003).all(axis=1)
    return [np.round(one, 3).tolist() if ok else None for one, ok in zip(box, seen, strict=True)]
