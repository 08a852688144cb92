"""The Something-Something flavour: clips of twelve classes of moving objects, hands and camera, written as videos.

The classes are the eleven that the ACCV 2020 paper compares, and "Moving something down", so that every directed
class has its opposite. The action fills a fifth to a half of the clip, anywhere in it. Half of the clips of a directed
class are scripts of its opposite played backwards, so that the set of a clip's frames without their order cannot
tell the two apart. A clip depends only on the seed, its split and its number. Paths are (n, 2) over the n frames, in
units as in `_scene`. The layout is that of Something-Something V2 (Goyal et al., ICCV 2017); in addition,
ROOT/labels/truth.json holds the interval, the boxes and the camera's path.
"""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from interp.data.motion import _scene
from interp.data.motion._files import claim, run_jobs, write_video
from interp.data.sampling import even_indices
from interp.io import atomic_write_json

VERSION = 2  # of the generated pixels; raised whenever a change alters them
SPLITS = ("train", "validation")
FIRST_ID = {"train": 1, "validation": 1_000_001}
FPS = 12  # Something-Something V2's frame rate
WAYS = {"left": (-1, 0), "right": (1, 0), "upwards": (0, -1), "downwards": (0, 1)}
TURNS = {f"Turning the camera {name} while filming something": way for name, way in WAYS.items()}
LEFT, RIGHT, UPWARDS, DOWNWARDS = TURNS
UP, DOWN = "Moving something up", "Moving something down"
PAIR = "Moving something and something "
CLOSER, AWAY = PAIR + "closer to each other", PAIR + "away from each other"
COLLIDE, PASS = PAIR + "so they collide with each other", PAIR + "so they pass each other"
BURY, PRETEND = "Burying something in something", "Pretending to take something from somewhere"
BACKWARDS = {LEFT: RIGHT, UP: DOWN, UPWARDS: DOWNWARDS, CLOSER: AWAY}  # the class of a clip played backwards
BACKWARDS |= {back: forth for forth, back in BACKWARDS.items()}
EDGE = 0.35  # how far beyond the clip an interval's position is drawn before it is clipped
CLASSES = tuple(sorted((*BACKWARDS, COLLIDE, PASS, BURY, PRETEND)))


@dataclass
class Script:
    """One clip's plan; the action happens between the frame positions (real numbers) `start` and `end`."""

    label: str
    num_frames: int
    start: float
    end: float
    camera: np.ndarray  # (n, 2), the deliberate turn and the shake together
    things: list[tuple[_scene.Thing, np.ndarray]] = field(default_factory=list)  # with paths, drawn in this order
    hands: list[tuple[_scene.Hand, np.ndarray]] = field(default_factory=list)
    acting: list[int] = field(default_factory=list)  # which things act
    acting_hands: list[int] = field(default_factory=list)
    heaps: list[tuple[float, float, np.ndarray]] = field(default_factory=list)  # x, y, radius over the frames (n,)

    def truth(self) -> dict:
        """The known truth, JSON-able: interval in seconds, boxes in 0..1 (None where out of sight)."""
        acting = [(thing.name, path, thing.reach * 0.85) for thing, path in (self.things[i] for i in self.acting)]
        for hand, path in (self.hands[i] for i in self.acting_hands):
            acting.append(("a hand", path + 2.5 * hand.size * hand.away, 2.7 * hand.size))
        objects = []
        for name, path, reach in acting:
            middle = path - self.camera
            boxes = np.clip(np.concatenate([middle - reach, middle + reach], axis=1), 0, 1)
            boxes = [np.round(box, 3).tolist() if (box[2:] - box[:2] > 0.01).all() else None for box in boxes]
            objects.append({"name": name, "box": boxes})
        interval = [round(self.start / FPS, 4), round(self.end / FPS, 4)]
        return {"label": self.label, "fps": FPS, "frames": self.num_frames, "interval": interval, "objects": objects,
                "camera": np.round(self.camera, 4).tolist()}


def write_script(label: str, rng: np.random.Generator) -> Script:
    """A random script of the class `label`, one of CLASSES."""
    if label not in BACKWARDS or rng.random() >= 0.5:
        return _written(label, rng)
    script = _written(BACKWARDS[label], rng)  # played backwards from the last frame that is seen, where it stays
    last = last_seen(script.num_frames)
    order = np.clip(last - np.arange(script.num_frames), 0, None)
    return replace(
        script, label=label, start=last - script.end, end=last - script.start, camera=script.camera[order],
        things=[(thing, path[order]) for thing, path in script.things],
        hands=[(hand, path[order]) for hand, path in script.hands],
        heaps=[(x, y, radius[order]) for x, y, radius in script.heaps],
    )


def _written(label: str, rng: np.random.Generator) -> Script:
    frames = int(rng.integers(32, 61))
    length = rng.uniform(0.2, 0.5) * (frames - 1)
    # Without EDGE the middle of the clip would lie in the interval twice as often as the ends, and a window in the
    # middle would agree with the truth better than one put anywhere.
    start = float(np.clip(rng.uniform(-EDGE, 1 + EDGE), 0, 1)) * (last_seen(frames) - length)
    script = Script(label, frames, start, start + length, _shake(rng, frames))
    u = np.clip((np.arange(frames) - start) / length, 0, 1)  # 0 at the action's start, 1 at its end
    a, b = np.exp(rng.normal(0.3, 0.3, 2))
    progress = u**a / (u**a + (1 - u) ** b)  # the same with a random speed
    bystanders, acting = [], []
    for _ in range(rng.integers(0, 3)):
        bystanders.append((_scene.random_thing(rng), _sway(rng, frames, rng.uniform(0.05, 0.95, 2))))
    if rng.random() < 0.2:
        script.heaps.append((*rng.uniform(0.1, 0.9, 2), np.full(frames, rng.uniform(0.08, 0.18))))
    if label in TURNS:
        step = np.array(TURNS[label]) * rng.uniform(0.35, 0.7)
        step = step + step[::-1] * rng.normal(0, 0.12)  # nobody turns quite level
        script.camera = script.camera + (progress[:, None] - 0.5) * step
        for _ in range(rng.integers(1, 3)):
            bystanders.append((_scene.random_thing(rng), _sway(rng, frames, rng.uniform(-0.1, 1.1, 2))))
    elif label in (UP, DOWN):
        step = np.array([rng.normal(0, 0.06), rng.uniform(0.35, 0.6) * (-1 if label == UP else 1)])
        middle = np.array([rng.uniform(0.18, 0.82), rng.uniform(0.3, 0.7)])
        acting = [(_scene.random_thing(rng, 0.09, 0.16), middle + (progress[:, None] - 0.5) * step)]
    elif label in (BURY, PRETEND):
        acting = _handle(script, rng, u)
    else:
        acting = _meet(script, rng, progress)
    script.things = [*bystanders, *acting]
    script.acting = list(range(len(bystanders), len(script.things)))
    if not script.hands and rng.random() < 0.45:  # a hand moves the first acting thing, or rests in the frame
        hand = _scene.random_hand(rng)
        if acting and rng.random() < 0.8:
            path = acting[0][1] + hand.away * acting[0][0].half[1] * 0.7
        else:
            path = _sway(rng, frames, rng.uniform(0.1, 0.9, 2) + hand.away * 0.1)
        script.hands = [(hand, path)]
    return script


def last_seen(num_frames: int, clip_frames: int = 16) -> int:
    """The last frame, counted from 0, of the sixteen that a network takes evenly from a video."""
    return int(even_indices(num_frames, clip_frames)[-1])


def _shake(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A held camera's path (n, 2): a slow sway and a tremor, a few hundredths of the frame at most."""
    t = np.arange(frames)[:, None] / FPS
    sway = rng.uniform(0, 0.015, 2) * np.sin(2 * np.pi * (rng.uniform(0.1, 0.5, 2) * t + rng.random(2)))
    tremor = np.zeros((frames, 2))
    kicks = rng.normal(0, rng.uniform(0, 0.004), (frames, 2))
    for i in range(1, frames):
        tremor[i] = 0.8 * tremor[i - 1] + kicks[i]
    return sway + tremor


def _sway(rng: np.random.Generator, frames: int, place: np.ndarray) -> np.ndarray:
    """A bystander's path (n, 2): half of them stand still, half swing to and fro through the whole clip."""
    t = np.arange(frames)[:, None] / FPS
    reach = rng.uniform(0.01, 0.05) * (rng.random() < 0.5)
    turn = rng.uniform(0, 2 * np.pi)
    swing = reach * np.sin(2 * np.pi * (rng.uniform(0.3, 1.2) * t + rng.random()))
    return place + swing * np.array([np.cos(turn), np.sin(turn)])


def _meet(script: Script, rng: np.random.Generator, progress: np.ndarray) -> list:
    """Two things on one axis, `gap` apart along it and `lane` across it; one of them moves, or both do."""
    first, second = _scene.random_thing(rng, 0.09, 0.14), _scene.random_thing(rng, 0.09, 0.14)
    touch = 0.8 * (first.reach + second.reach)
    far = touch + rng.uniform(0.32, 0.5)
    turn = rng.normal(0, 0.35) + np.pi * rng.integers(2)
    axis, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    lane = rng.normal(0, 0.03)
    share = rng.choice([0.0, 0.5, 0.5, 1.0])  # the first thing's share of the movement
    back = forth = 0.0
    rest = far * (share - 0.5)
    if script.label == PASS:
        lane = (touch + rng.uniform(0.0, 0.06)) * rng.choice([-1, 1])
        if share != 0.5:  # around a still thing, and not out of the frame
            far, rest = rng.uniform(0.38, 0.48), 0.0
        gap = far * (1 - 2 * progress)
    elif script.label == COLLIDE:
        when = rng.uniform(0.45, 0.7)
        u = np.clip((np.arange(script.num_frames) - script.start) / (script.end - script.start), 0, 1)
        before = np.clip(u / when, 0, 1) ** rng.uniform(1.0, 1.6)
        after = np.clip((u - when) / (1 - when), 0, 1)
        gap = far + (touch - far) * before
        fly = rng.uniform(0.15, 0.3) * (1 - (1 - after) ** 2)
        struck = rng.random() < 0.5  # the struck thing flies on and the other stops, or both bounce back
        back, forth = (fly / 2, fly / 2) if not struck else (0.0, fly) if share >= 0.5 else (fly, 0.0)
    else:
        near = touch + rng.uniform(0.01, 0.08)
        gap = far + (near - far) * (progress if script.label == CLOSER else 1 - progress)
    middle = rng.uniform(0.38, 0.62, 2)
    return [(first, middle + np.outer(rest - share * gap - back, axis) + across * lane / 2),
            (second, middle + np.outer(rest + (1 - share) * gap + forth, axis) - across * lane / 2)]


def _handle(script: Script, rng: np.random.Generator, u: np.ndarray) -> list:
    """A hand comes in and goes out: it buries the thing under a heap, or only pretends to take it."""
    thing, place, hand = _scene.random_thing(rng, 0.08, 0.13), rng.uniform(0.28, 0.72, 2), _scene.random_hand(rng)
    arrive, leave = rng.uniform(0.2, 0.4), rng.uniform(0.6, 0.8)
    far = 1.3 * np.clip(np.maximum(1 - u / arrive, (u - leave) / (1 - leave)), 0, 1)  # 0 while at the thing
    touch = place + hand.away * thing.half[1] * 0.6
    if script.label == BURY:
        grown = np.clip((u - arrive) / (leave - arrive), 0, 1) ** 0.7
        touch = touch + hand.away * 0.03 + 0.02 * np.stack([np.sin(20 * u), np.cos(23 * u)], axis=1)  # it scatters
        script.heaps.append((*place, grown * thing.reach * rng.uniform(1.05, 1.4)))
    script.acting_hands = [0]
    script.hands = [(hand, touch + far[:, None] * hand.away)]
    return [(thing, np.tile(place, (len(u), 1)))]


def clip_script(split: str, index: int, seed: int = 0) -> Script:
    """The script of the clip with number `index` (from 0) of a split; its class is CLASSES[index % 12]."""
    return write_script(CLASSES[index % len(CLASSES)], _generator(split, index, seed, 0))


def render_clip(split: str, index: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, dict]:
    """Draw one clip: its frames, uint8 (n, size, size, 3), and its truth (see `Script.truth`).

    Args:
        split, index: "train" or "validation", and the clip's number in it, from 0.
        seed, size: 0 or more, and the side of the square frame in pixels: even, 32 to 224.

    Raises:
        ValueError: for another split or size.
    """
    if size % 2 or not 32 <= size <= 224:
        raise ValueError(f"expected the size to be an even number of pixels from 32 to 224, got {size}")
    script, rng = clip_script(split, index, seed), _generator(split, index, seed, 1)
    world = _scene.random_world(rng, size)
    grain = _scene.surface(rng, size) if script.heaps else None
    gain, noise, flicker = rng.uniform(0.75, 1.2), rng.uniform(0.005, 0.035), rng.uniform(0, 0.01)
    frames = np.empty((script.num_frames, size, size, 3), np.uint8)
    for t, camera in enumerate(script.camera):
        canvas = _scene.look(world, *camera, size)
        for thing, path in script.things:
            _scene.draw_thing(canvas, thing, *(path[t] - camera), size)
        for x, y, radius in script.heaps:
            _scene.draw_heap(canvas, grain, x - camera[0], y - camera[1], radius[t], size)
        for hand, path in script.hands:
            _scene.draw_hand(canvas, hand, path[t] - camera, size)
        canvas *= gain * (1 + flicker * rng.standard_normal())
        canvas += noise * rng.standard_normal(canvas.shape, dtype=np.float32)
        frames[t] = np.clip(canvas * 255 + 0.5, 0, 255)
    return frames, script.truth()


def generate(root, num_train: int = 1000, num_validation: int = 240, seed: int = 0, size: int = 64,
             workers: int | None = None, progress: bool = True) -> Path:
    """Write the dataset below `root`, and return its Path. Clips that exist are kept, so that a call can be repeated.

    Args:
        num_train, num_validation: clips of each split; whole multiples of 12 keep the classes equal.
        seed, size: as in `render_clip`.
        workers, progress: processes (None takes one a core), and whether to show a progress bar.

    Raises:
        ValueError: for counts below 0, or where `root` holds a dataset of another seed, size or version.
    """
    counts = {"train": num_train, "validation": num_validation}
    if min(counts.values()) < 0 or not any(counts.values()):
        raise ValueError(f"expected 0 clips or more for each split and not both 0, got {counts}")
    root = Path(root)
    videos, labels = root / "20bn-something-something-v2", root / "labels"
    videos.mkdir(parents=True, exist_ok=True)
    claim(root, labels / "recipe.json", {"version": VERSION, "seed": seed, "size": size})
    jobs = [(split, i, seed, size, str(videos / f"{FIRST_ID[split] + i}.webm"))
            for split in SPLITS for i in range(counts[split])]
    missing = [job for job in jobs if not os.path.exists(job[-1])]
    run_jobs(_write_clip, missing, workers, total=len(jobs), initial=len(jobs) - len(missing), unit="clip",
             desc=f"motion in {root}", disable=not progress)
    _write_labels(labels, counts, seed)
    return root


def prepare(num_train: int = 1000, num_validation: int = 240) -> Path:
    """The dataset that the book uses (seed 0, 64 pixels), made on the first call in about 30 seconds.

    It lies in the folder that the variable INTERP_DATA names, or else in ~/.cache/interp/motion-VERSION.
    """
    root = Path(os.environ.get("INTERP_DATA") or Path.home() / ".cache" / "interp" / f"motion-{VERSION}")
    if not all((root / "labels" / f"{name}.json").exists() for name in (*SPLITS, "truth")):
        generate(root, num_train, num_validation)
    return root


def _generator(split: str, index: int, seed: int, stream: int) -> np.random.Generator:
    if split not in SPLITS:
        raise ValueError(f"expected the split 'train' or 'validation', got {split!r}")
    return np.random.default_rng([seed, SPLITS.index(split), index, stream])


def _write_clip(job: tuple) -> None:
    *clip, path = job
    write_video(path, render_clip(*clip)[0])


def _write_labels(labels: Path, counts: dict[str, int], seed: int) -> None:
    """The class numbers, each split's entries, and the truth of all clips."""
    atomic_write_json(labels / "labels.json", {name: str(i) for i, name in enumerate(CLASSES)})
    truth = {}
    for split, count in counts.items():
        entries = []
        for i in range(count):
            script, clip_id = clip_script(split, i, seed), str(FIRST_ID[split] + i)
            truth[clip_id] = script.truth()
            names = [script.things[k][0].name for k in script.acting] or ["the room"]
            names += ["a heap"] * script.label.startswith("Burying") + ["the table"] * script.label.startswith("Pret")
            text = template = script.label.replace("somewhere", "[somewhere]").replace("something", "[something]")
            for name in names:
                text = re.sub(r"\[\w+\]", name, text, count=1)
            entries.append({"id": clip_id, "label": text.lower(), "template": template, "placeholders": names})
        atomic_write_json(labels / f"{split}.json", entries)
    atomic_write_json(labels / "truth.json", truth)
