"""The Something-Something flavour: twelve classes of moving objects, hands and camera, drawn and written as videos.

The layout is that of Something-Something V2 (Goyal et al., ICCV 2017): ROOT/20bn-something-something-v2/ID.webm and
ROOT/labels/{labels,train,validation}.json. In addition ROOT/labels/truth.json holds the interval of the action, the
boxes of whatever acts, and the camera's path. A clip depends only on the seed, its split and its number.
A clip is uint8 (n, H, W, 3), with n frames at 12 a second.
"""

import os
import re
from pathlib import Path

import numpy as np

from interp.data.motion import _scene
from interp.data.motion._actions import CLASSES, Script, write_script
from interp.data.motion._files import claim, run_jobs, write_video
from interp.io import atomic_write_json

VERSION = 2  # of the generated pixels; raised whenever a change alters them
SPLITS = ("train", "validation")
FIRST_ID = {"train": 1, "validation": 1_000_001}


def clip_script(split: str, index: int, seed: int = 0) -> Script:
    """The script of the clip with number `index` (from 0) of a split; its class is CLASSES[index % 12]."""
    return write_script(CLASSES[index % len(CLASSES)], _generator(split, index, seed, 0))


def render_clip(split: str, index: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, dict]:
    """Draw one clip.

    Args:
        split: "train" or "validation".
        index: the clip's number in its split, from 0.
        seed: 0 or more.
        size: side of the square frame in pixels: even, 32 to 224.

    Returns:
        The frames, uint8 (n, size, size, 3), and the truth (see `Script.truth`).

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
             workers: int | None = None, progress: bool = True) -> Path:  # fmt: skip
    """Write the dataset below `root`. Clips that exist are kept, so that an interrupted call can be repeated.

    Args:
        root: the folder.
        num_train, num_validation: clips of each split; whole multiples of 12 keep the classes equal.
        seed, size: as in `render_clip`.
        workers: processes; None takes one a core.
        progress: whether to show a progress bar.

    Returns:
        `root` as a Path.

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
            for split in SPLITS for i in range(counts[split])]  # fmt: skip
    missing = [job for job in jobs if not os.path.exists(job[-1])]
    run_jobs(_write_clip, missing, workers, total=len(jobs), initial=len(jobs) - len(missing), unit="clip",
             desc=f"motion in {root}", disable=not progress)  # fmt: skip
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
