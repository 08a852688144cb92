"""Writing a generated dataset: reproducible video files, a folder's recipe, and a pool of drawing processes."""

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interp.io import atomic_path, atomic_write_json

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def write_video(path, frames: np.ndarray, fps: float = 12, codec: str = "libvpx-vp9", quality: int = 24) -> None:
    """Write frames as a video file, whole or not at all.

    Args:
        path: the file; its suffix names the container.
        frames: uint8 (n, H, W, 3).
        fps, codec, quality: frames a second, FFmpeg's encoder, and VP9's rate factor from 0 (best) to 63.
    """
    vp9 = {"crf": str(quality), "deadline": "realtime", "cpu-used": "8", "row-mt": "0"}
    options, bit_rate = (vp9, 0) if codec == "libvpx-vp9" else ({}, None)
    encode(path, map(np.ascontiguousarray, frames), "rgb24", frames.shape[1:3], fps, codec, options, bit_rate)


def encode(path, pictures: Iterable[np.ndarray], layout: str, size, fps, codec: str, options: dict, bit_rate=None):
    """Write pictures in FFmpeg's pixel `layout` as a video of `size` (H, W), the same bytes on every machine."""
    import av

    container_format = Path(path).suffix[1:].replace("mkv", "matroska")
    no_random_ids = {"fflags": "+bitexact"}
    with atomic_path(path) as part, av.open(str(part), "w", container_format, no_random_ids) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.thread_count = 1
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        stream.options = options
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=layout)))
        container.mux(stream.encode())


def claim(root: Path, path: Path, recipe: dict) -> None:
    """Write the recipe of the folder `root` to `path`; ValueError where it holds clips of another recipe."""
    if not path.exists():
        atomic_write_json(path, recipe)
    elif (existing := json.loads(path.read_text(encoding="utf-8"))) != recipe:
        raise ValueError(
            f"expected clips made with {recipe} in {root}, got {existing}; delete the folder or choose another one"
        )


def run_jobs(function: Callable, jobs: list, workers: int | None, **progress) -> list:
    """The results of `function` for all jobs, in order, from a pool of new processes with one thread each.

    With NumPy's default of a thread for every core in each process, the threads slow each other down. The numerical
    libraries read the variables in ONE_THREAD when they load. `progress` holds tqdm's arguments.
    """
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(jobs) < 8:
        return list(tqdm(map(function, jobs), **progress))
    before = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    os.environ.update(ONE_THREAD)
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return list(tqdm(pool.map(function, jobs, chunksize=2), **progress))
    finally:
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)
