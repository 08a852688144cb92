"""The KTH flavour: sequences of 25 drawn people, six actions and four settings, written as AVI files in KTH's layout.

Before and after the action the person stands at ease or is out of sight. The action fills a fifth to a half of the
sequence, anywhere in it; its length does not depend on the class, except for a person who crosses the whole picture.
A sequence depends only on the seed, its subject, action, setting and repetition. The layout is that of KTH (Schuldt,
Laptev, Caputo, ICPR 2004); in addition, ROOT/truth.json holds the interval, the boxes of person, hands and feet, and
the camera's path. Positions are (x, y), y down, in heights of the frame; its upper left corner is (0, 0).

>>> from interp.data.motion.kth import generate, render_sequence
>>> frames, truth = render_sequence(1, "boxing", setting=1, repetition=1)  # uint8 (n, 120, 160, 3), grey, 25 a second
>>> generate("data/motion_kth", subjects=8, settings=(1, 4), repetitions=2)  # doctest: +SKIP
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from interp.data.kth import CLASSES, LIST, SUBJECTS, TRUTH
from interp.data.motion import _background, _person
from interp.data.motion._files import claim, encode, run_jobs
from interp.io import atomic_write

VERSION = 1  # of the generated pixels; raised whenever a change alters them
RECIPE = "recipe.json"
SETTINGS = (1, 2, 3, 4)  # as in KTH: outdoors, with changing scale, in other clothes, indoors
QUALITY = 4  # MPEG-4's quantiser, 1 (best) to 31; the files are as large as KTH's
FPS, SIZE = 25, (120, 160)
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
        camera, zoom = np.round(self.camera[:n], 4).tolist(), np.round(self.zoom[:n], 4).tolist()
        return {"label": self.action, "fps": FPS, "frames": n, "interval": interval, "objects": objects,
                "camera": camera, "zoom": zoom}


def _check(subject: int, action: str, setting: int, repetition: int, seed: int, size: tuple[int, int] = SIZE) -> None:
    """ValueError where there is no such sequence."""
    choices = {"subject": SUBJECTS["all"], "action": CLASSES, "setting": SETTINGS}
    for (name, valid), value in zip(choices.items(), (subject, action, setting), strict=True):
        if value not in valid:
            raise ValueError(f"expected one of {', '.join(map(str, valid))}, got the {name} {value!r}")
    if repetition < 1 or seed < 0:
        raise ValueError(f"expected 1 or more and 0 or more, got the repetition {repetition} and the seed {seed}")
    height, width = size
    if height % 2 or width % 2 or not 32 <= height <= 224 or abs(width - height * 4 / 3) > height / 15:
        raise ValueError(f"expected an even height of 32 to 224 pixels and an even width that is about 4/3 of it, such "
                         f"as 120x160, got the size {height}x{width}")


def write_script(subject: int, action: str, setting: int, repetition: int, seed: int = 0) -> Script:
    """The script of one sequence, which depends on the arguments alone."""
    _check(subject, action, setting, repetition, seed)
    number = CLASSES.index(action)
    body = _person.random_body(np.random.default_rng([seed, 1, subject]))
    if setting == 3:
        body = _person.change_clothes(body, np.random.default_rng([seed, 2, subject]), heavy=True)
    style = _person.random_style(action, np.random.default_rng([seed, 3, subject, number]))
    rng = np.random.default_rng([seed, 4, subject, number, setting, repetition])
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
    far, near, zoom = rng.uniform(_background.WIDEST, 0.78), rng.uniform(0.92, 1.1), np.ones(drawn)
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
                   end=float(seen[-1]) if mode in ("leave", "cross") else end)


def _path(mode, way, gone, zoom, interval, limbs, height, aside) -> np.ndarray:
    """Where a person who goes is in the world (n,): at the frame's edge when coming or going out of sight."""
    start, end = interval
    distance = gone[end] - gone[start]
    edges = [CENTRE / zoom[moment] for moment in interval]  # from the frame's middle to its edge

    def width(frame, side):  # how far the person reaches to the right (1) or left (-1) of the ground point
        ends = [(side * limb.a[frame, 0] + limb.ra[frame], side * limb.b[frame, 0] + limb.rb[frame]) for limb in limbs]
        return height * max(map(max, ends))

    if mode in ("enter", "cross"):
        first = -edges[0] - width(start, way)
    elif mode == "leave":
        first = edges[1] + width(end, -way) - distance
    else:
        first = aside * max(min(edges) - 0.14 - distance / 2, 0.0) - distance / 2
    return CENTRE + way * (first + gone - gone[start])


def render_sequence(subject: int, action: str, setting: int, repetition: int = 1, seed: int = 0,
                    size: tuple[int, int] = SIZE) -> tuple[np.ndarray, dict]:
    """Draw one sequence: its frames, uint8 (n, H, W, 3), and its truth (see `Script.truth`).

    Args:
        subject, action, setting, repetition, seed: 1 to 25, a name in CLASSES, 1 to 4, 1 or more, and 0 or more.
        size: (height, width), both even, 32 to 224 high, and a third wider than high to within 5 %.

    Raises:
        ValueError: for an argument out of range.
    """
    _check(subject, action, setting, repetition, seed, size)
    script = write_script(subject, action, setting, repetition, seed)
    frames = _render(script, (seed, subject, action, setting, repetition), size)[: script.num_frames]
    return np.repeat(frames[..., None], 3, axis=-1), script.truth()


def generate(root, subjects: int | Iterable[int] = 25, settings: Iterable[int] = SETTINGS, repetitions: int = 4,
             seed: int = 0, size: tuple[int, int] = SIZE, workers: int | None = None,
             progress: bool = True) -> Path:
    """Write the dataset below `root`, and return its Path. Videos that exist are kept, so that a call can be repeated.

    Args:
        subjects: numbers from 1 to 25, or how many: then 16 of 25 are from the training side of the paper's split.
        settings, repetitions: numbers from 1 to 4, and how many sequences a video holds.
        seed, size: as in `render_sequence`.
        workers, progress: processes (None takes one a core), and whether to show a progress bar.

    Raises:
        ValueError: for an argument out of range, or where `root` holds videos of another seed, size or version.
    """
    subjects, settings = _subject_numbers(subjects), sorted(set(settings))
    root, size = Path(root), tuple(int(side) for side in size)
    jobs = [(root, subject, action, setting, repetitions, seed, size)
            for subject in subjects for action in CLASSES for setting in settings]
    if not jobs:
        raise ValueError(f"expected one of each at least, got the subjects {subjects} and settings {settings}")
    for _, *sequence in jobs:
        _check(*sequence)
    claim(root, root / RECIPE, {"version": VERSION, "seed": seed, "size": list(size), "repetitions": repetitions})
    videos = run_jobs(_write_video, jobs, workers, total=len(jobs), unit="video", desc=f"motion in {root}",
                      disable=not progress)
    atomic_write(root / TRUTH, json.dumps({name: truth for _, truths in videos for name, truth in truths.items()}))
    step = len(settings) * len(CLASSES)  # KTH's list has an empty line after each subject
    lines = [line + "\n" * (number % step == 0) for number, (line, _) in enumerate(videos, 1)]
    atomic_write(root / LIST, "\n".join(lines) + "\n")
    return root


def _render(script: Script, key: tuple, size: tuple[int, int]) -> np.ndarray:
    """uint8 (num_drawn, H, W); `key` holds the arguments of the script."""
    seed, subject, action, setting, repetition = key
    world = _background.paint(np.random.default_rng([seed, 5, subject, setting]), setting, size)
    rng = np.random.default_rng([seed, 6, subject, CLASSES.index(action), setting, repetition])
    canvas = _background.look(world, size, script.camera, script.zoom)
    limbs, (dark, slant), (_, y) = script.placed(size), script.shadow, script.foot_point(size)

    def laid(end):  # down on the ground
        up = y - end[:, 1]
        return _person.rounded(np.stack([end[:, 0] + slant * up, y - 0.12 * up], axis=1))

    shadow = [limb._replace(a=laid(limb.a), b=laid(limb.b), grey=dark) for limb in limbs
              if limb.name.endswith(("foot", "shank", "thigh", "trunk", "side"))]
    _person.draw(canvas, shadow, shadow=True)
    _person.draw(canvas, limbs)
    gain, level = rng.uniform(0.85, 1.12), rng.uniform(0.004, 0.015)
    canvas *= np.float32(255 * gain)
    for frame in canvas:  # two uniform numbers a pixel, of deviation 104.5 together
        grain = rng.integers(0, 256, (2, *size), np.uint8)
        frame += (grain[0].astype(np.float32) + grain[1] - 255) * np.float32(255 * level / 104.5)
    return np.clip(canvas + np.float32(0.5), 0, 255).astype(np.uint8)


def _write_video(job: tuple) -> tuple[str, dict]:
    """One video, unless it exists: its line of the list, and the truth of its sequences."""
    root, subject, action, setting, repetitions, seed, size = job
    name = f"person{subject:02}_{action}_d{setting}"
    scripts = {i: write_script(subject, action, setting, i, seed) for i in range(1, repetitions + 1)}
    path = root / f"{name}_uncomp.avi"
    if not path.exists():
        parts = [_render(script, (seed, subject, action, setting, i), size) for i, script in scripts.items()]
        frames = np.concatenate(parts)
        # The codec's grey goes from 16 to 235; both colours are 128, "none".
        planes = np.full((len(frames), size[0] * 3 // 2, size[1]), 128, np.uint8)
        planes[:, : size[0]] = 16 + (frames.astype(np.uint32) * 219 + 127) // 255
        options = {"flags": "+qscale+bitexact", "global_quality": str(118 * QUALITY), "g": "25"}
        encode(path, planes, "yuv420p", size, FPS, "mpeg4", options)
    ranges, first = [], 1
    for script in scripts.values():
        ranges.append(f"{first}-{first + script.num_frames - 1}")
        first += script.num_drawn
    return f"{name}\tframes\t{', '.join(ranges)}", {f"{name}_{i}": script.truth() for i, script in scripts.items()}


def _subject_numbers(subjects: int | Iterable[int]) -> list[int]:
    everyone, train = SUBJECTS["all"], SUBJECTS["train"]
    if not isinstance(subjects, int):
        return sorted(set(subjects))
    if subjects not in everyone:
        raise ValueError(f"expected 1 to {len(everyone)} subjects, got {subjects}")
    num_train = -(-subjects * len(train) // len(everyone))  # rounded up
    return [*train[:num_train], *SUBJECTS["validation"][: subjects - num_train]]
