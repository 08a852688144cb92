"""The KTH flavour: 25 drawn people, six actions and four settings, as AVI files in KTH's layout.

`interp.data.kth` reads it, with the split by subject of Schuldt, Laptev, Caputo, "Recognizing human actions: a local
SVM approach", ICPR 2004: ROOT/person01_boxing_d1_uncomp.avi and ROOT/00sequences.txt. In addition ROOT/truth.json
holds the interval of the action, the boxes of person, hands and feet, and the camera's path. A sequence depends only
on the seed, its subject, action, setting and repetition.

>>> from interp.data.motion.kth import generate, render_sequence
>>> frames, truth = render_sequence(1, "boxing", setting=1, repetition=1)  # uint8 (n, 120, 160, 3), grey, 25 a second
>>> generate("data/motion_kth", subjects=8, settings=(1, 4), repetitions=2)  # doctest: +SKIP
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from interp.data.kth import CLASSES, LIST, SUBJECTS, TRUTH
from interp.data.motion import _background, _person
from interp.data.motion._files import claim, encode, run_jobs
from interp.data.motion._sequence import FPS, SETTINGS, SIZE, Script, check, generator, write_script
from interp.io import atomic_write

VERSION = 1  # of the generated pixels; raised whenever a change alters them
RECIPE = "recipe.json"
QUALITY = 4  # MPEG-4's quantiser, 1 (best) to 31; the files are as large as KTH's


def render_sequence(
    subject: int, action: str, setting: int, repetition: int = 1, seed: int = 0, size: tuple[int, int] = SIZE
) -> tuple[np.ndarray, dict]:
    """Draw one sequence.

    Args:
        subject, action, setting, repetition: 1 to 25, a name in CLASSES, 1 to 4, and 1 or more.
        seed: 0 or more.
        size: (height, width), both even, 32 to 224 high, and a third wider than high to within 5 %.

    Returns:
        The frames, uint8 (n, H, W, 3), and the truth (see `Script.truth`).

    Raises:
        ValueError: for an argument out of range.
    """
    _check_size(size)
    script = write_script(subject, action, setting, repetition, seed)
    frames = _render(script, (seed, subject, action, setting, repetition), size)[: script.num_frames]
    return np.repeat(frames[..., None], 3, axis=-1), script.truth()


def generate(root, subjects: int | Iterable[int] = 25, settings: Iterable[int] = SETTINGS, repetitions: int = 4,
             seed: int = 0, size: tuple[int, int] = SIZE, workers: int | None = None,
             progress: bool = True) -> Path:  # fmt: skip
    """Write the dataset below `root`. Videos that exist are kept, so that an interrupted call can be repeated.

    Args:
        root: the folder; the list and the truth are written last, with the sequences of this call.
        subjects: numbers from 1 to 25, or how many: then 16 of 25 are from the training side of the paper's split.
        settings: numbers from 1 to 4.
        repetitions: sequences in a video.
        seed, size: as in `render_sequence`.
        workers: processes; None takes one a core.
        progress: whether to show a progress bar.

    Returns:
        `root` as a Path.

    Raises:
        ValueError: for an argument out of range, or where `root` holds videos of another seed, size or version.
    """
    subjects, settings = _subject_numbers(subjects), sorted(set(settings))
    root, size = Path(root), tuple(int(side) for side in size)
    _check_size(size)
    jobs = [(root, subject, action, setting, repetitions, seed, size)
            for subject in subjects for action in CLASSES for setting in settings]  # fmt: skip
    if not jobs:
        raise ValueError(f"expected one of each at least, got the subjects {subjects} and settings {settings}")
    for _, *sequence, _, _ in jobs:
        check(*sequence)
    generator(seed)
    recipe = {"version": VERSION, "seed": seed, "size": list(size), "repetitions": repetitions}
    claim(root, root / RECIPE, recipe)
    videos = run_jobs(_write_video, jobs, workers, total=len(jobs), unit="video", desc=f"motion in {root}",
                      disable=not progress)  # fmt: skip
    atomic_write(root / TRUTH, json.dumps({name: truth for _, truths in videos for name, truth in truths.items()}))
    lines = [line for line, _ in videos]
    step = len(settings) * len(CLASSES)  # KTH's list has an empty line after each subject
    blocks = ["\n".join(lines[i : i + step]) + "\n" for i in range(0, len(lines), step)]
    atomic_write(root / LIST, "\n".join(blocks) + "\n")
    return root


def _render(script: Script, key: tuple, size: tuple[int, int]) -> np.ndarray:
    """uint8 (num_drawn, H, W); `key` holds the arguments of the script."""
    seed, subject, action, setting, repetition = key
    world = _background.paint(generator(seed, 5, subject, setting), setting, size)
    rng = generator(seed, 6, subject, CLASSES.index(action), setting, repetition)
    canvas = _background.look(world, size, script.camera, script.zoom)
    limbs = script.placed(size)
    _person.draw(canvas, _shadow(script, limbs, size), shadow=True)
    _person.draw(canvas, limbs)
    gain, level = rng.uniform(0.85, 1.12), rng.uniform(0.004, 0.015)
    canvas *= np.float32(255 * gain)
    for frame in canvas:  # two uniform numbers a pixel, of deviation 104.5 together
        grain = rng.integers(0, 256, (2, *size), np.uint8)
        frame += (grain[0].astype(np.float32) + grain[1] - 255) * np.float32(255 * level / 104.5)
    return np.clip(canvas + np.float32(0.5), 0, 255).astype(np.uint8)


def _shadow(script: Script, limbs: list[_person.Limb], size: tuple[int, int]) -> list[_person.Limb]:
    """The limbs laid down on the ground, flat and soft."""
    dark, slant = script.shadow
    x, y = script.foot_point(size)

    def laid(end):
        up = y - end[:, 1]
        return _person.rounded(np.stack([end[:, 0] + slant * up, y - 0.12 * up], axis=1))

    return [limb._replace(a=laid(limb.a), b=laid(limb.b), grey=dark) for limb in limbs
            if limb.name.endswith(("foot", "shank", "thigh", "trunk", "side"))]  # fmt: skip


def _write_video(job: tuple) -> tuple[str, dict]:
    """One video, unless it exists: its line of the list, and the truth of its sequences."""
    root, subject, action, setting, repetitions, seed, size = job
    name = f"person{subject:02}_{action}_d{setting}"
    scripts = {i: write_script(subject, action, setting, i, seed) for i in range(1, repetitions + 1)}
    path = root / f"{name}_uncomp.avi"
    if not path.exists():
        frames = np.concatenate([_render(script, (seed, subject, action, setting, i), size)
                                 for i, script in scripts.items()])  # fmt: skip
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


def _check_size(size: tuple[int, int]) -> None:
    height, width = size
    if height % 2 or width % 2 or not 32 <= height <= 224 or abs(width - height * 4 / 3) > height / 15:
        raise ValueError(f"expected an even height of 32 to 224 pixels and an even width that is about 4/3 of it, such "
                         f"as 120x160, got the size {height}x{width}")  # fmt: skip
