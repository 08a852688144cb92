"""Clips a second from webm and from the cache on disk, with 0, 1 and 2 workers, and the time a training waits.

    python tests/benchmarks/bench_loading.py --root .cache/motion      everything, then the page
    python tests/benchmarks/bench_loading.py --skip-training           only the clips a second
    python tests/benchmarks/bench_loading.py --page                    only book/benchmarks.md, from the JSON

The rival decodes every frame with PyAV, picks 16 and resizes them. All load the same videos, made here: textured
and moving, VP9. They take turns (`harness.alternate`); without workers the time given to the process counts, with
workers, which are other processes, the time on the wall. Results go to tests/benchmarks/results/loading.json; the
page's tables are made from it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import harness  # noqa: E402
import loading_page  # noqa: E402

from interp import recipes, train, train_log  # noqa: E402
from interp.batches import Batches  # noqa: E402
from interp.data import even_indices, open_dataset  # noqa: E402
from interp.data.cache import cached  # noqa: E402

FRAMES, SIZE, BATCH = 16, 64, 16
# (seconds, frames a second, height, width)
VIDEOS = {"4 s, 320×240": (4, 25, 240, 320), "4 s, 64×64": (4, 12, 64, 64)}
WORKERS = (0, 1, 2)


class EveryFrame:
    """The rival: all frames of a video by PyAV, 16 of them picked, those resized by Pillow."""

    def __init__(self, dataset, only_decode=False):
        self.dataset, self.classes, self.ids, self.only_decode = dataset, dataset.classes, dataset.ids, only_decode

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        sample = self.dataset.samples[index]
        with av.open(str(sample.path)) as container:
            if self.only_decode:  # the floor: no picture leaves the decoder
                count = sum(1 for _ in container.decode(video=0))
                return np.full((FRAMES, SIZE, SIZE, 3), count % 256, np.uint8), sample.label, index
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        frames = frames[even_indices(len(frames), FRAMES)]
        if frames.shape[1:3] != (SIZE, SIZE):
            frames = [np.asarray(Image.fromarray(frame).resize((SIZE, SIZE), Image.BICUBIC)) for frame in frames]
        return np.stack(frames), sample.label, index


def make(folder: Path, count: int, kind: str) -> None:
    """`count` VP9 videos of textures that move over each other, with the noise of a sensor."""
    seconds, rate, height, width = VIDEOS[kind]
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = [rng.integers(0, 256, (2 * height // step, 2 * width // step, 3), np.uint8) for step in (16, 4)]
        layers = [np.asarray(Image.fromarray(one).resize((2 * width, 2 * height), Image.BICUBIC)) for one in coarse]
        step = rng.integers(1, 4, (2, 2)) * max(1, width // 160)
        path = folder / "ab"[number % 2] / f"{number}.webm"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libvpx-vp9", rate=rate, options={"deadline": "realtime", "cpu-used": "8"})
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 400_000
            for t in range(seconds * rate):
                back, front = (np.roll(one, tuple(-t * by), (0, 1))[:height, :width]
                               for one, by in zip(layers, step, strict=True))
                picture = back.astype(np.int16)
                top, left = height // 4, (width // 4 + 2 * t) % (width // 2)
                picture[top : 3 * height // 4, left : left + width // 3] = \
                    front[top : 3 * height // 4, left : left + width // 3]
                picture += rng.integers(-4, 5, picture.shape, np.int16)
                frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def speeds(kind: str, count: int, rounds: int) -> dict:
    """Clips a second of each way with each number of workers, and how near the rival's frames are."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, "videos"), count, kind)
        dataset = open_dataset("folder", Path(folder, "videos"), "all", FRAMES, SIZE)
        rival = EveryFrame(dataset)
        built, _, clips = harness.timed(lambda: cached(dataset, Path(folder, "cache")))
        off = np.mean([np.abs(rival[i][0].astype(int) - dataset[i][0]).mean() for i in range(min(8, count))])
        if off > 2:
            raise AssertionError(f"the rival's frames are {off:.1f} levels from ours; it does something else")
        order = [list(range(i, min(i + BATCH, count))) for i in range(0, count, BATCH)]

        def through(source, workers, times):
            batches = Batches(source, "cpu", workers=workers)

            def work():
                if source is clips and workers:  # Batches has no use for workers there: this shows why
                    batches.mapped = False
                for _ in batches(order * times):
                    pass
            return work

        # the cache many times over, so that starting workers is as small a part of it as of the others
        ways = {"every frame": (rival, 1), "only decoded": (EveryFrame(dataset, True), 1), "webm": (dataset, 1),
                "cache": (clips, 100)}
        works = {(way, workers): through(source, workers, times)
                 for way, (source, times) in ways.items() for workers in WORKERS}
        found = harness.alternate(works, rounds)
        rates = {way: {str(workers): times * count / found[way, workers]["wall" if workers else "cpu"]
                       for workers in WORKERS} for way, (_, times) in ways.items()}
    print(kind, {way: {n: round(value, 1) for n, value in one.items()} for way, one in rates.items()}, flush=True)
    return {"clips": count, "rounds": rounds, "clips_per_second": rates, "levels_off": float(off),
            "build_cpu_seconds": built}


def waiting(root: Path, count: int, epochs: int) -> dict:
    """Share of the training's time spent waiting for clips, for both recipes and three ways of loading."""
    sets = [open_dataset("motion", root, split, FRAMES, SIZE) for split in ("train", "validation")]
    sets = [sets[0].subset(range(min(count, len(sets[0])))), sets[1].subset(range(24))]
    ways = {"auto": ("auto", 0), "disk": ("disk", 0), "none, 1 worker": ("none", 1)}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("i3d_motion", "clstm_motion"):
            recipe = recipes.change(recipes.RECIPES[name], epochs=epochs)
            for way, (cache, workers) in ways.items():
                out = Path(folder, f"{name} {way}")
                train.train(recipe, *sets, out, cache=cache, workers=workers, cache_dir=Path(folder, "cache"),
                            device="cpu", precision="fp32", progress=False)
                log = train_log.read(out / "log.jsonl")
                seconds = sum(line["seconds"] for line in log)
                share = sum(line["waiting"] * line["seconds"] for line in log) / seconds
                rate = sum(line["clips_per_second"] * line["seconds"] for line in log) / seconds
                found.setdefault(name, {})[way] = {"waiting": share, "clips_per_second": rate}
                print(name, way, f"waiting {share:.2%}, {rate:.1f} clips/s", flush=True)
                shutil.rmtree(out)
    return {"clips": len(sets[0]), "epochs": epochs, "recipes": found}


def main() -> int:
    parser = harness.arguments(__doc__.splitlines()[0], loading_page.RESULTS)
    harness.add_clips(parser, 48)
    parser.add_argument("--train-clips", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--skip-training", action="store_true", help="only the clips a second")
    parser.add_argument("--only-training", action="store_true", help="only the time waiting")
    args = parser.parse_args()
    if not args.page:
        torch.set_num_threads(args.threads)
        here, results = harness.machine(), harness.read(args.out)
        if not args.only_training:
            results["speeds"] = {kind: speeds(kind, args.clips, args.rounds) for kind in VIDEOS}
        if not args.skip_training:
            results["training"] = waiting(args.root, args.train_clips, args.epochs)
        here["load_after"] = [round(value, 1) for value in os.getloadavg()]
        results |= {"machine": here | {"note": args.note}, "date": time.strftime("%Y-%m-%d")}
        harness.write(args.out, results)
    loading_page.write_page(harness.read(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
