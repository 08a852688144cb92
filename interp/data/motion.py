"""The embedded dataset: generated clips whose interval and objects are known, as real video files.

Twelve classes (see `actions`) drawn (see `scene`) and written in the layout of Something-Something V2 (Goyal
et al., ICCV 2017): ROOT/20bn-something-something-v2/ID.webm, ROOT/labels/{labels,train,validation}.json, and
beside them ROOT/labels/truth.json with what no real dataset has: the interval of the action, the boxes of who
acts, the camera's path. A clip depends on the seed, its split and its number alone, not on how many there are
or how many workers drew them.

Axes: a clip is uint8 (n, H, W, 3), n frames at 12 a second.

>>> from interp.data.motion import generate, render_clip
>>> frames, truth = render_clip("validation", 0, seed=0, size=64)
>>> generate("data/motion", num_train=1000, num_validation=200, seed=0)  # doctest: +SKIP
"""

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interp import whole

from .actions import (
    CLASSES,
    DOWN,
    DOWNWARDS,
    FPS,
    LEFT,
    OPPOSITE,
    RIGHT,
    UP,
    UPWARDS,
    Script,
    write_script,
)
from .processes import processes
from .scene import draw_hand, draw_heap, draw_thing, look, random_world, surface

VERSION = 2  # of the generated pixels; raised whenever a change alters them
SPLITS = ("train", "validation")
FIRST_ID = {"train": 1, "validation": 1_000_001}
MARGIN = 0.55  # how far the world reaches beyond the frame, in frame units

_SAME = {name: name for name in CLASSES}
MIRROR = _SAME | {LEFT: RIGHT, RIGHT: LEFT}  # class under a left-right mirror image
FLIP = _SAME | {UP: DOWN, DOWN: UP, UPWARDS: DOWNWARDS, DOWNWARDS: UPWARDS}  # and under an upside-down one
BACKWARDS = OPPOSITE  # the class of a clip played backwards, where that is another class


def clip_script(split: str, index: int, seed: int = 0) -> Script:
    """The script of the clip with number `index` (from 0) of a split; its class is CLASSES[index % 12]."""
    return write_script(CLASSES[index % len(CLASSES)], _generator(split, index, seed, 0))


def render_clip(split: str, index: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, dict]:
    """Draws one clip: frames uint8 (n, size, size, 3) and its truth (see `actions.Script.truth`).

    Raises ValueError for another split than train and validation, or a size that is odd or outside 32..224.
    """
    if size % 2 or not 32 <= size <= 224:
        raise ValueError(f"got size {size}; expected an even number of pixels from 32 to 224")
    script, rng = clip_script(split, index, seed), _generator(split, index, seed, 1)
    world = random_world(rng, size, MARGIN)
    grain = surface(rng, size) if script.heaps else None
    gain, noise, flicker = rng.uniform(0.75, 1.2), rng.uniform(0.005, 0.035), rng.uniform(0, 0.01)
    frames = np.empty((script.num_frames, size, size, 3), np.uint8)
    for t, (camera_x, camera_y) in enumerate(script.camera):
        canvas = look(world, camera_x, camera_y, size, MARGIN)
        for thing, path in script.things:
            draw_thing(canvas, thing, path[t, 0] - camera_x, path[t, 1] - camera_y, size)
        for x, y, radius in script.heaps:
            draw_heap(canvas, grain, x - camera_x, y - camera_y, radius[t], size)
        for hand, path in script.hands:
            draw_hand(canvas, hand, path[t, 0] - camera_x, path[t, 1] - camera_y, size)
        canvas *= gain * (1 + flicker * rng.standard_normal())
        canvas += noise * rng.standard_normal(canvas.shape, dtype=np.float32)
        frames[t] = np.clip(canvas * 255 + 0.5, 0, 255)
    return frames, script.truth()


def generate(
    root,
    num_train: int = 1000,
    num_validation: int = 240,
    seed: int = 0,
    size: int = 64,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Writes the dataset below `root` and returns it as a Path; clips already there are kept.

    Args: counts of clips for each split (whole multiples of 12 keep the classes equal); `seed` >= 0; `size` of
    the square frame in pixels; `workers` processes (None: one a core). So an interrupted call can be repeated.
    Raises ValueError for counts below 0, and where `root` holds a dataset of another seed, size or version.
    """
    if num_train < 0 or num_validation < 0 or num_train + num_validation == 0:
        raise ValueError(
            f"got {num_train} training and {num_validation} validation clips; expected 0 or more, not both 0"
        )
    root = Path(root)
    videos, labels = root / "20bn-something-something-v2", root / "labels"
    videos.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    _claim(labels / "recipe.json", {"version": VERSION, "seed": seed, "size": size})
    jobs = [
        (split, i, seed, size, str(videos / f"{FIRST_ID[split] + i}.webm"))
        for split, count in (("train", num_train), ("validation", num_validation))
        for i in range(count)
    ]
    missing = [job for job in jobs if not os.path.exists(job[-1])]
    workers = workers or os.cpu_count() or 1
    with tqdm(
        total=len(jobs),
        initial=len(jobs) - len(missing),
        unit="clip",
        desc=f"motion in {root}",
        disable=not progress,
    ) as bar:
        if workers == 1 or len(missing) < 8:
            for job in missing:
                _write_job(job)
                bar.update()
        else:
            with processes(workers) as pool:
                for _ in pool.map(_write_job, missing, chunksize=4):
                    bar.update()
    _write_labels(labels, num_train, num_validation, seed)
    return root


def prepare(num_train: int = 1000, num_validation: int = 240) -> Path:
    """The dataset as the book uses it (seed 0, 64 pixels), made on the first call in some 30 seconds.

    It lies in the folder that the variable INTERP_DATA names, else in ~/.cache/interp/motion-VERSION.
    """
    root = Path(os.environ.get("INTERP_DATA") or Path.home() / ".cache" / "interp" / f"motion-{VERSION}")
    labels = [root / "labels" / name for name in ("train.json", "validation.json", "truth.json")]
    if not all(path.exists() for path in labels):
        generate(root, num_train, num_validation)
    return root


def write_video(
    path, frames: np.ndarray, fps: float = FPS, codec: str = "libvpx-vp9", quality: int = 24
) -> None:
    """Writes uint8 (n, H, W, 3) frames as a video, whole or not at all; `quality`: VP9's rate factor, 0..63."""
    options = {}
    if codec == "libvpx-vp9":
        options = {"crf": str(quality), "deadline": "realtime", "cpu-used": "8", "row-mt": "0"}
    size, bit_rate = frames.shape[1:3], 0 if codec == "libvpx-vp9" else None
    encode(path, map(np.ascontiguousarray, frames), "rgb24", size, fps, codec, options, bit_rate)


def encode(path, pictures, layout: str, size, fps: float, codec: str, options: dict, bit_rate=None) -> None:
    """Writes pictures, uint8 arrays in FFmpeg's pixel `layout`, as a video of `size` (H, W): whole or not at all,
    and the same bytes on every machine."""
    import av

    path = Path(path)
    with whole.replacing(path) as part:
        kind = path.suffix[1:].replace("mkv", "matroska")
        unmarked = {"fflags": "+bitexact"}  # no random identifiers
        with av.open(str(part), "w", format=kind, container_options=unmarked) as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
            (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
            stream.codec_context.thread_count = 1
            if bit_rate is not None:
                stream.bit_rate = bit_rate
            stream.options = options
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=layout)))
            container.mux(stream.encode())


def _generator(split: str, index: int, seed: int, stream: int) -> np.random.Generator:
    if split not in SPLITS:
        raise ValueError(f"got the split {split!r}; expected 'train' or 'validation'")
    return np.random.default_rng([seed, SPLITS.index(split), index, stream])


def _write_job(job) -> None:
    split, index, seed, size, path = job
    write_video(path, render_clip(split, index, seed, size)[0])


def _claim(path: Path, recipe: dict) -> None:
    """Marks the folder as this recipe's, or refuses one that another recipe filled."""
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != recipe:
            raise ValueError(
                f"{path.parent.parent} holds clips made with {found}; expected {recipe}: "
                "delete the folder or write to another one"
            )
    else:
        whole.write_json(path, recipe)


def _write_labels(labels: Path, num_train: int, num_validation: int, seed: int) -> None:
    whole.write_json(labels / "labels.json", {name: str(i) for i, name in enumerate(CLASSES)})
    truth = {}
    for split, count in (("train", num_train), ("validation", num_validation)):
        entries = []
        for i in range(count):
            script, clip_id = clip_script(split, i, seed), str(FIRST_ID[split] + i)
            truth[clip_id] = script.truth()
            names = [script.things[k][0].name for k in script.acting] or ["the room"]
            names += ["a heap"] if script.label.startswith("Burying") else []
            names += ["the table"] if script.label.startswith("Pretending") else []
            words = iter(names + names)
            parts = script.label.replace("somewhere", "something").split("something")
            text = "".join(part + (next(words) if k < len(parts) - 1 else "") for k, part in enumerate(parts))
            template = script.label.replace("something", "[something]").replace("somewhere", "[somewhere]")
            entries.append(
                {"id": clip_id, "label": text.lower(), "template": template, "placeholders": names}
            )
        whole.write_json(labels / f"{split}.json", entries)
    whole.write_json(labels / "truth.json", truth)
