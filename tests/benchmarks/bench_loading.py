"""Clips a second from video files with 0, 1 and 2 workers, and how long a training waits for its clips.

    python tests/benchmarks/bench_loading.py --root .cache/motion      everything, then the page
    python tests/benchmarks/bench_loading.py --page                    only book/tables/loading.md, from the results

The baseline decodes every frame with PyAV, picks 16 and resizes them. All load the same videos, made here: textured
and moving, VP9. Without workers the time given to the process counts; with workers, which are other processes, the
time on the wall.
"""

import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from PIL import Image

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import harness  # noqa: E402

from interp import recipes  # noqa: E402
from interp.data import even_indices, open_dataset  # noqa: E402
from interp.data.loader import ClipLoader  # noqa: E402
from interp.data.motion._files import encode  # noqa: E402
from interp.training import log, train  # noqa: E402

FRAMES, SIZE, BATCH = 16, 64, 16
# (seconds, frames a second, height, width)
VIDEOS = {"4 s, 320×240": (4, 25, 240, 320), "4 s, 64×64": (4, 12, 64, 64)}
WORKERS = (0, 1, 2)
WAYS = {"every frame": "every frame with PyAV, then picked and resized",
        "only decoded": "every frame decoded, nothing taken out", "webm": "`read_clip`"}
NETWORKS = {"i3d_motion": "I3D", "clstm_motion": "C-LSTM"}
KEPT = {"auto": "`--keep auto` (in memory)", "none, 1 worker": "`--keep none`, 1 worker"}


class EveryFrame:
    """The baseline: all frames of a video by PyAV, 16 of them picked, those resized by Pillow."""

    def __init__(self, dataset, only_decode=False):
        self.dataset, self.classes, self.ids, self.only_decode = dataset, dataset.classes, dataset.ids, only_decode

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        sample = self.dataset.samples[index]
        with av.open(str(sample.path)) as container:
            if self.only_decode:  # no picture leaves the decoder
                count = sum(1 for _ in container.decode(video=0))
                return np.full((FRAMES, SIZE, SIZE, 3), count % 256, np.uint8), sample.label, index
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        frames = frames[even_indices(len(frames), FRAMES)]
        if frames.shape[1:3] != (SIZE, SIZE):
            frames = [np.asarray(Image.fromarray(frame).resize((SIZE, SIZE), Image.BICUBIC)) for frame in frames]
        return np.stack(frames), sample.label, index


def pictures(rng, frames: int, height: int, width: int):
    """Textures that move over each other, with the noise of a sensor."""
    coarse = [rng.integers(0, 256, (2 * height // step, 2 * width // step, 3), np.uint8) for step in (16, 4)]
    layers = [np.asarray(Image.fromarray(one).resize((2 * width, 2 * height), Image.BICUBIC)) for one in coarse]
    step = rng.integers(1, 4, (2, 2)) * max(1, width // 160)
    for t in range(frames):
        back, front = (np.roll(one, tuple(-t * by), (0, 1))[:height, :width]
                       for one, by in zip(layers, step, strict=True))  # fmt: skip
        top, left = height // 4, (width // 4 + 2 * t) % (width // 2)
        area = slice(top, 3 * height // 4), slice(left, left + width // 3)
        picture = back.astype(np.int16)
        picture[area] = front[area]
        picture += rng.integers(-4, 5, picture.shape, np.int16)
        yield picture.clip(0, 255).astype(np.uint8)


def make(folder: Path, count: int, kind: str) -> None:
    """`count` VP9 videos in two class folders."""
    seconds, rate, *size = VIDEOS[kind]
    for number in range(count):
        drawn = pictures(np.random.default_rng(number), seconds * rate, *size)
        encode(folder / "ab"[number % 2] / f"{number}.webm", drawn, "rgb24", size, rate, "libvpx-vp9",
               {"deadline": "realtime", "cpu-used": "8"}, 400_000)  # fmt: skip


def speeds(kind: str, count: int, rounds: int) -> dict:
    """Clips a second of each way with each number of workers, and how near the baseline's frames are."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), count, kind)
        dataset = open_dataset("folder", folder, "all", FRAMES, SIZE)
        ways = {"every frame": EveryFrame(dataset), "only decoded": EveryFrame(dataset, True), "webm": dataset}
        off = np.mean([np.abs(ways["every frame"][i][0].astype(int) - dataset[i][0]).mean() for i in range(8)])
        order = [list(range(i, min(i + BATCH, count))) for i in range(0, count, BATCH)]

        def through(source, workers):
            loader = ClipLoader(source, "cpu", workers=workers, keep="none")
            return lambda: [None for _ in loader(order)]

        works = {(way, workers): through(source, workers) for way, source in ways.items() for workers in WORKERS}
        found = harness.alternate(works, rounds)
    rates = {way: {str(workers): count / found[way, workers]["wall" if workers else "cpu"] for workers in WORKERS}
             for way in ways}
    print(kind, rates, flush=True)
    return {"clips": count, "rounds": rounds, "clips_per_second": rates, "levels_off": float(off)}


def waiting(root: Path, count: int) -> dict:
    """Share of an epoch's time spent waiting for clips, for both recipes and two ways of loading."""
    sets = [open_dataset("motion", root, split, FRAMES, SIZE) for split in ("train", "validation")]
    sets = [sets[0].subset(range(min(count, len(sets[0])))), sets[1].subset(range(24))]
    found = {name: {} for name in NETWORKS}
    for name in NETWORKS:
        recipe = recipes.change(recipes.RECIPES[name], epochs=1)
        for way, (keep, workers) in {"auto": ("auto", 0), "none, 1 worker": ("none", 1)}.items():
            with tempfile.TemporaryDirectory() as out:
                train(recipe, *sets, out, keep=keep, workers=workers, device="cpu", precision="fp32", progress=False)
                (line,) = log.read(Path(out, "log.jsonl"))
            found[name][way] = {key: line[key] for key in ("waiting", "clips_per_second")}
            print(name, way, found[name][way], flush=True)
    return {"clips": len(sets[0]), "recipes": found}


def measure(args) -> dict:
    machine = harness.machine(args.note)
    results = {"speeds": {kind: speeds(kind, args.clips, args.rounds) for kind in VIDEOS},
               "training": waiting(args.root, args.train_clips), "date": time.strftime("%Y-%m-%d")}
    return results | {"machine": machine | {"load_after": harness.load()}}


def text_of(results: dict) -> str:
    """The table book/tables/loading.md; in brackets how many times the baseline's clips a second."""
    rows, trained = [], results["training"]["recipes"]
    for kind, found in results["speeds"].items():
        rates = found["clips_per_second"]
        for way, words in WAYS.items():
            times = [f" ({rate / rates['every frame'][n]:.3g}×)" * (way != "every frame")
                     for n, rate in rates[way].items()]  # fmt: skip
            cells = [f"{rate:.3g}{more}" for rate, more in zip(rates[way].values(), times, strict=True)]
            rows.append([f"{kind}: {words}", *cells])
    waits = [[words, *(f"{100 * row[way]['waiting']:.1f} % of the time, {row[way]['clips_per_second']:.1f} clips/s"
                       for row in trained.values())] for way, words in KEPT.items()]  # fmt: skip
    text = (f"{results['date']}: {harness.describe(results['machine'])}; {found['clips']} videos of each kind, medians "
            f"of {found['rounds']} rounds; {results['training']['clips']} clips to train.\n")
    speeds = harness.table(["clips/s", "no worker", "1 worker", "2 workers"], rows)
    return f"{text}\n{speeds}\n{harness.table(['waiting', *map(NETWORKS.get, trained)], waits)}"


if __name__ == "__main__":
    harness.main(__doc__, "loading", measure, text_of,
                 **{"clips": {"type": int, "default": 24}, "train-clips": {"type": int, "default": 320}})
