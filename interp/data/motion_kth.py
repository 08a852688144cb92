"""The KTH flavour of the embedded dataset: 25 drawn people, six actions, four settings, as real AVI files.

The layout is KTH's (Schuldt, Laptev, Caputo, "Recognizing human actions: a local SVM approach", ICPR 2004), so
that `kth.open_kth` reads it, with the paper's split by subject: ROOT/person01_boxing_d1_uncomp.avi and
ROOT/00sequences.txt. ROOT/truth.json beside them has what KTH has not: the interval of the action, the boxes
of person, hands and feet, the path of the camera. A sequence depends on the seed, its subject, action,
setting and repetition alone, not on how many there are or how many workers drew them.

Axes: a sequence is uint8 (n, H, W, 3), grey in all three channels, n frames at 25 a second.

>>> from interp.data.motion_kth import generate, render_sequence
>>> frames, truth = render_sequence(1, "boxing", setting=1, repetition=1)
>>> generate("data/motion_kth", subjects=8, settings=(1, 4), repetitions=2)  # doctest: +SKIP
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interp import whole
from interp.data import figure, stage
from interp.data.kth import CLASSES, LIST, SUBJECTS, TRUTH
from interp.data.kth_script import FPS, SIZE, Script, check, generator, write_script
from interp.data.motion import encode
from interp.data.processes import processes

VERSION = 1  # of the generated pixels; raised whenever a change alters them
RECIPE = "recipe.json"
QUALITY = 4  # MPEG-4's quantiser, 1 (best) to 31; the files are as large as KTH's


def render_sequence(
    subject: int, action: str, setting: int, repetition: int = 1, seed: int = 0, size: tuple[int, int] = SIZE
) -> tuple[np.ndarray, dict]:
    """Draws one sequence: frames uint8 (n, H, W, 3) and its truth (see `kth_script.Script.truth`).

    `size` is (height, width), both even, 32 to 224 high, and a third wider than high, to within 5 %. Raises
    ValueError for another one and as `write_script` does.
    """
    _check_size(size)
    script = write_script(subject, action, setting, repetition, seed)
    world = stage.paint(generator(seed, 5, subject, setting), setting, size)
    noise = generator(seed, 6, subject, CLASSES.index(action), setting, repetition)
    frames = _render(script, world, noise, size)[: script.num_frames]
    return np.repeat(frames[..., None], 3, axis=-1), script.truth()


def generate(
    root,
    subjects: int | Iterable[int] = 25,
    settings: Iterable[int] = stage.SETTINGS,
    repetitions: int = 4,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Writes the dataset below `root` and returns it as a Path; videos already there are kept.

    Args: `subjects` by number (1 to 25), or how many: then from both sides of the paper's split, 16 to 9;
    `settings` from 1 to 4; `repetitions`, the sequences in a video; `seed` >= 0; `size` as in
    `render_sequence`; `workers` processes (None: one a core). An interrupted call can be repeated. The list
    and the truth are written last and name what this call asked for.
    Raises ValueError as `write_script` does, and where `root` holds videos of another seed, size or version.
    """
    subjects, settings = _chosen(subjects), sorted(set(settings))
    root, size = Path(root), tuple(int(side) for side in size)
    _check_size(size)
    jobs = [
        (str(root), subject, action, setting, repetitions, seed, size)
        for subject in subjects
        for action in CLASSES
        for setting in settings
    ]
    if not jobs:
        raise ValueError(
            f"got the subjects {subjects} and settings {settings}; expected one of each at least"
        )
    for _, subject, action, setting, *_ in jobs:
        check(subject, action, setting, repetitions)
    generator(seed)
    root.mkdir(parents=True, exist_ok=True)
    _claim(root, {"version": VERSION, "seed": seed, "size": list(size), "repetitions": repetitions})
    workers, found = workers or os.cpu_count() or 1, []
    with tqdm(total=len(jobs), unit="video", desc=f"motion in {root}", disable=not progress) as bar:
        if workers == 1 or len(jobs) < 8:
            for job in jobs:
                found.append(_write_job(job))
                bar.update()
        else:
            with processes(workers) as pool:
                for one in pool.map(_write_job, jobs, chunksize=2):
                    found.append(one)
                    bar.update()
    truth = {name: truth for of_video in found for name, truth in of_video[1].items()}
    whole.write(root / TRUTH, json.dumps(truth))
    _write_list(root / LIST, [of_video[0] for of_video in found], len(settings) * len(CLASSES))
    return root


def _render(script: Script, world: np.ndarray, rng: np.random.Generator, size) -> np.ndarray:
    """uint8 (num_drawn, H, W)."""
    canvas = stage.look(world, size, script.camera, script.zoom)
    limbs = script.placed(size)
    figure.draw(canvas, _shadow(script, limbs, size), shadow=True)
    figure.draw(canvas, limbs)
    gain, level = rng.uniform(0.85, 1.12), rng.uniform(0.004, 0.015)
    canvas *= np.float32(255 * gain)
    for frame in canvas:  # two uniform numbers a pixel, of deviation 104.5 together
        grain = rng.integers(0, 256, (2, *size), np.uint8)
        frame += (grain[0].astype(np.float32) + grain[1] - 255) * np.float32(255 * level / 104.5)
    return np.clip(canvas + np.float32(0.5), 0, 255).astype(np.uint8)


def _shadow(script: Script, limbs: list[figure.Limb], size) -> list[figure.Limb]:
    """The limbs laid down on the ground, flat and soft."""
    dark, slant = script.shadow
    x, y = stage.shown(script.ground, size, script.camera, script.zoom).T

    def laid(end):
        up = y - end[:, 1]
        flat = np.stack([end[:, 0] + slant * up, y - 0.12 * up], axis=1)
        return (np.round(flat * figure.FINE) / figure.FINE).astype(np.float32)

    wanted = ("foot", "shank", "thigh", "trunk", "side")
    chosen = [one for one in limbs if one.name.endswith(wanted)]
    return [figure.Limb(one.name, laid(one.a), laid(one.b), one.ra, one.rb, dark) for one in chosen]


def _write_job(job) -> tuple[tuple[str, list], dict]:
    """One video, unless it is there: its name and ranges for the list, and the truth of its sequences."""
    root, subject, action, setting, repetitions, seed, size = job
    name = f"person{subject:02}_{action}_d{setting}"
    numbers = range(1, repetitions + 1)
    scripts = [write_script(subject, action, setting, number, seed) for number in numbers]
    path = Path(root, f"{name}_uncomp.avi")
    if not path.exists():
        world = stage.paint(generator(seed, 5, subject, setting), setting, size)
        parts = []
        for number, script in zip(numbers, scripts, strict=True):
            noise = generator(seed, 6, subject, CLASSES.index(action), setting, number)
            parts.append(_render(script, world, noise, size))
        frames = np.concatenate(parts)
        _write_avi(path, frames)
    starts = np.cumsum([0] + [script.num_drawn for script in scripts])
    firsts = zip(starts.tolist(), scripts, strict=False)
    ranges = [(first + 1, first + one.num_frames) for first, one in firsts]
    return (name, ranges), {f"{name}_{i}": one.truth() for i, one in zip(numbers, scripts, strict=True)}


def _write_avi(path: Path, frames: np.ndarray) -> None:
    """Writes grey frames uint8 (n, H, W) as MPEG-4 in AVI, as KTH's are, whole or not at all."""
    count, height, width = frames.shape
    # The codec's grey goes from 16 to 235; both colours are 128, "none".
    planes = np.full((count, height * 3 // 2, width), 128, np.uint8)
    planes[:, :height] = 16 + (frames.astype(np.uint32) * 219 + 127) // 255
    options = {"flags": "+qscale+bitexact", "global_quality": str(118 * QUALITY), "g": "25"}
    encode(path, planes, "yuv420p", (height, width), FPS, "mpeg4", options)


def _chosen(subjects) -> list[int]:
    everyone = SUBJECTS["all"]
    if not isinstance(subjects, int):
        return sorted(set(subjects))
    if not 1 <= subjects <= len(everyone):
        raise ValueError(f"got {subjects} subjects; expected 1 to {len(everyone)}")
    train, validation = SUBJECTS["train"], SUBJECTS["validation"]
    split = -(-subjects * len(train) // len(everyone))  # rounded up
    return [*train[:split], *validation[: subjects - split]]


def _check_size(size) -> None:
    height, width = size
    if height % 2 or width % 2 or not 32 <= height <= 224 or abs(width - height * 4 / 3) > height / 15:
        raise ValueError(
            f"got the size {height}x{width}; expected an even height of 32 to 224 pixels and an even width "
            "that is about 4/3 of it, such as 120x160"
        )


def _claim(root: Path, recipe: dict) -> None:
    """Marks the folder as this recipe's, or refuses one that another recipe filled."""
    path = root / RECIPE
    if not path.exists():
        whole.write(path, json.dumps(recipe))
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != recipe:
        raise ValueError(
            f"{root} holds videos made with {found}; expected {recipe}: delete the folder or write to "
            "another one"
        )


def _write_list(path: Path, entries: list, of_subject: int) -> None:
    """00sequences.txt as KTH has it: a line for each video, an empty line after each subject."""
    lines = []
    for number, (name, ranges) in enumerate(entries, 1):
        lines.append(f"{name}\tframes\t{', '.join(f'{first}-{last}' for first, last in ranges)}")
        if number % of_subject == 0:
            lines.append("")
    whole.write(path, "\n".join(lines) + "\n")
