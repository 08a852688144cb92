"""Frames to a moving picture: GIF, animated WebP or MP4, in memory or as a file written in one step.
GIF89a and its loop extension through Pillow, H.264 through PyAV. Frames are uint8, axes (T, H, W, 3).

    import numpy as np
    from interp import films
    films.write("noise.gif", np.random.randint(0, 256, (16, 64, 64, 3), np.uint8), fps=6)
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from interp import whole

# Colours of the mask bar (figures.PALETTES, bright and dim) that a GIF's palette must hold exactly.
KEEP = (
    (230, 110, 20), (135, 65, 12), (0, 114, 178), (0, 67, 105), (255, 255, 255), (150, 150, 150), (0, 0, 0),
    (255, 0, 0), (150, 0, 0), (0, 255, 0), (0, 150, 0),
)  # fmt: skip
BYTES_PER_PIXEL = 0.25  # a GIF of 16 frames of 576x192 in 440 kB


def encode(frames: np.ndarray, fps: float = 6, kind: str = "gif", *, colours: int | None = None,
           quality: int = 80) -> bytes:  # fmt: skip
    """Return frames (T, H, W, 3) as the bytes of a moving "gif" or "webp" (looping for ever) or "mp4".

    A gif has one palette for all its frames, so that nothing flickers; `colours` (16-256) is its size, by
    default the largest of 128, 64 and 48 that keeps the file under `BYTES_PER_PIXEL`. A webp is a third of
    that, in full colour, of `quality` 0-100. An mp4 is H.264 (needs PyAV); an odd last row or column is doubled
    there. ValueError for another kind.
    """
    frames = checked(frames)
    if not fps > 0:
        raise ValueError(f"got fps={fps}; expected frames per second above 0")
    duration = max(20, round(1000 / fps))  # ms; browsers slow down what is shorter
    if kind == "mp4":
        return _mp4(frames, fps)
    if kind == "webp":
        return _saved([Image.fromarray(frame) for frame in frames], "WEBP", duration, quality=quality, method=4)
    if kind != "gif":
        raise ValueError(f"cannot write {kind!r}; expected gif, webp or mp4")
    if colours is not None and not 16 <= colours <= 256:
        raise ValueError(f"got colours={colours}; a GIF's palette here has 16 to 256")
    for number in (128, 64, 48) if colours is None else (colours,):
        content = _saved(_indexed(frames, number), "GIF", duration, disposal=1, optimize=False)
        if len(content) <= BYTES_PER_PIXEL * frames[..., 0].size:
            break
    return content


def write(path, frames: np.ndarray, fps: float = 6, **options) -> Path:
    """Write frames, whole or not at all; the ending says how: .gif, .webp, .mp4, or .png (first frame)."""
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind == "png":
        target = io.BytesIO()
        Image.fromarray(checked(frames)[0]).save(target, "PNG", optimize=True)
        return whole.write(path, target.getvalue())
    return whole.write(path, encode(frames, fps, kind, **options))


def write_gif(path, frames: np.ndarray, fps: float = 6, **options) -> Path:
    """Write frames as a GIF that loops for ever, whatever the ending of PATH."""
    return whole.write(path, encode(frames, fps, "gif", **options))


def checked(frames) -> np.ndarray:
    """Return frames as an array; ValueError unless they are uint8 (T, H, W, 3), at least one of them."""
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        got = f"{frames.shape} of {frames.dtype}"
        raise ValueError(f"got frames {got}; expected uint8 (T, H, W, 3), none of them 0")
    return frames


def _indexed(frames: np.ndarray, colours: int) -> list[Image.Image]:
    """Map frames to one palette: median cut of a sample of the pixels, refined by k-means, and the colours to
    keep. (An octree is faster and smaller, and tints faces; dithering doubles the file.)"""
    kept = np.array(KEEP, np.uint8)
    pixels = frames.reshape(-1, 3)
    step = max(1, len(pixels) // 40000) | 1  # odd: not in step with the rows
    sample = Image.fromarray(np.ascontiguousarray(pixels[::step])[None])
    cut = sample.quantize(colours - len(kept), method=Image.Quantize.MEDIANCUT, kmeans=1).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette(bytes(cut[: 3 * (colours - len(kept))]) + kept.tobytes())
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _saved(pictures: list[Image.Image], kind: str, duration: int, **options) -> bytes:
    target = io.BytesIO()
    options |= {"save_all": True, "append_images": pictures[1:], "loop": 0, "duration": duration}
    pictures[0].save(target, kind, **options)
    return target.getvalue()


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    import av

    target = io.BytesIO()
    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
    frames = np.pad(frames, odd, mode="edge")
    with av.open(target, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        film.mux(stream.encode())
    return target.getvalue()
