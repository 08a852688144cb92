"""The paper's figure: clip | Grad-CAM | perturbed clip with a bar of the mask; as frames, and as a GIF, WebP or MP4.

After Mänttäri, Broomé et al., ACCV 2020, figure 2 and the tables of its website. Frames are uint8 (T,H,W,3), maps
(T,H,W) in [0,1], a mask (T) in [0,1].   figure.write("left.gif", figure.three_panel(explanation))
"""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from interp import io as files
from interp.core import perturb
from interp.core.explanation import Explanation

DIM = 150 / 255  # the paper's level of all frames but the current one, which has 1
BYTES_PER_PIXEL = 0.25  # the target for a GIF: 16 frames of 576x192 in 440 kB


class Palette(NamedTuple):
    """Colours of the bar (RGB, 0-255) and of the map; `shapes`: marks distinguish on from off without colour."""

    on: tuple[int, int, int]
    off: tuple[int, int, int]
    colormap: str
    shapes: bool


PALETTES = {
    "safe": Palette(on=(230, 110, 20), off=(0, 114, 178), colormap="inferno", shapes=True),
    "paper": Palette(on=(255, 0, 0), off=(0, 255, 0), colormap="jet", shapes=False),
}


def three_panel(explanation: Explanation, frames: np.ndarray | None = None, *, palette: str = "safe",
                min_width: int = 192) -> np.ndarray:
    """Draw the paper's figure, frames (T,H',3W',3).

    Args:
        explanation: its clip, map and mask are drawn.
        frames: shown in place of the clip, the same moments at a higher resolution, uint8 (T,H,W,3).
        palette: "safe", which also reads without colour, or "paper": red, green and jet as published.
        min_width: narrower panels are enlarged to this width in pixels.
    """
    snap, mask = explanation.recipe.snap, explanation.mask.detach().cpu().float()
    frames = clip_frames(explanation.clip) if frames is None else _check_frames(frames)
    if len(mask) != len(frames):
        raise ValueError(f"expected a mask with one value for each frame, got {len(frames)} frames and a mask of "
                         f"{len(mask)}; give frames of the same moments")
    height, width = frames.shape[1:3]
    if width < min_width:
        height, width = round(height * min_width / width), min_width
        frames = np.stack([Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)
                           for frame in frames])
    mixing = perturb.time_mixing(explanation.perturbation, (mask > snap).double()[None])[0].numpy()  # (T, T)
    perturbed = np.tensordot(mixing, frames, 1).round().clip(0, 255).astype(np.uint8)
    for current, frame in enumerate(perturbed):
        bar = mask_bar(mask, current, width, palette=palette, snap=snap)
        frame[height - len(bar):] = bar
    return np.concatenate([frames, overlay(frames, explanation.map, palette=palette), perturbed], axis=2)


def overlay(frames: np.ndarray, maps, *, palette: str = "safe") -> np.ndarray:
    """Lay Grad-CAM maps (T,h,w) in [0,1], enlarged bilinearly, over frames (T,H,W,3).

    The "paper" palette blends jet evenly with the frame. "safe" removes the frame's colour and lets the opacity grow
    with the map's value, so that a zero map leaves the frame; a line surrounds values of 0.5 or more.
    """
    from matplotlib import colormaps

    colours, frames = _palette(palette), _check_frames(frames)
    maps = torch.as_tensor(np.asarray(maps), dtype=torch.float32)
    if len(maps) != len(frames) or maps.ndim != 3:
        raise ValueError(f"expected maps (T,h,w) for {len(frames)} frames, got {tuple(maps.shape)}")
    maps = torch.nn.functional.interpolate(maps[:, None], frames.shape[1:3], mode="bilinear")
    values = maps[:, 0].clamp(0, 1).numpy()  # (T, H, W)
    heat = 255 * colormaps[colours.colormap]((255 * values).round().astype(np.uint8))[..., :3]
    if not colours.shapes:
        return (0.5 * heat + 0.5 * frames).round().astype(np.uint8)
    alpha = 0.65 * values[..., None] ** 0.7
    grey = 0.8 * (frames @ np.array([0.299, 0.587, 0.114]))[..., None]
    mixed = alpha * heat + (1 - alpha) * grey
    mixed[_outline(values < 0.5)] = 0  # black outside the white, to be visible on a light frame
    mixed[_outline(values >= 0.5)] = 255
    return mixed.round().clip(0, 255).astype(np.uint8)


def mask_bar(mask, current: int, width: int, *, palette: str = "safe", snap: float = 0.5) -> np.ndarray:
    """Draw the bar of T squares, uint8 (side,width,3): on above `snap`, the current frame bright, the others dim.

    In the "safe" palette an on-square carries a dot and the current square a white frame.
    """
    colours = _palette(palette)
    on = np.asarray(mask) > snap
    side = max(3, round(width / len(on)))
    edges = np.round(np.arange(len(on) + 1) * width / len(on)).astype(int)
    bar = np.zeros((side, width, 3))
    rows = np.arange(side)[:, None] - (side - 1) / 2
    for frame, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        level = 1 if frame == current else DIM
        square = bar[:, left:right]
        square[:] = np.array(colours.on if on[frame] else colours.off) * level
        if not colours.shapes or right - left < 4:
            continue
        gap = right - left >= 6
        if gap:
            square[:, -1:] = square[-1:] = 0
        if on[frame]:
            columns = np.arange(right - left)[None] - (right - left - 1 - gap) / 2
            square[np.hypot(rows + gap / 2, columns) <= max(0.8, 0.2 * side)] = 255 * level
        if frame == current:
            square[0], square[-1], square[:, 0], square[:, -1] = 255, 255, 255, 255
    return bar.round().astype(np.uint8)


def clip_frames(clip) -> np.ndarray:
    """Turn a clip (C,T,H,W), C = 1 or 3, into frames (T,H,W,3); values are cut off at 0 and 1."""
    clip = torch.as_tensor(clip).detach().cpu().float()
    if clip.ndim != 4 or clip.shape[0] not in (1, 3):
        raise ValueError(f"expected a clip (C,T,H,W) with 1 or 3 channels, got {tuple(clip.shape)}; give frames=")
    frames = clip.permute(1, 2, 3, 0).expand(-1, -1, -1, 3)  # (T, H, W, 3)
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def describe(explanation: Explanation) -> str:
    """One sentence with the class, the frames (counted from 1) and the scores: the alternative text of a figure."""
    model = {"i3d": "I3D", "clstm": "C-LSTM"}.get(explanation.model, explanation.model)
    name, target, mask = explanation.class_name, explanation.target, explanation.binary_mask.int().tolist()
    predicted = explanation.explained == explanation.guess
    score = "with score" if predicted else f"and gives '{name(explanation.explained)}' the score"
    wrong = "" if explanation.CS is None else f", although it is '{name(target)}' (score {explanation.CS:.2f})"
    sentence = f"{model} guesses '{explanation.P}' {score} {explanation.OS:.2f}{wrong}; "
    spans = [str(first) if first == last else f"{first}-{last}" for first, last in frame_runs(mask)]
    if not spans and not explanation.mask.any():
        return sentence + "the mask is empty: no frame lowers the score by more than its price."
    if not spans:
        return sentence + (f"none of the {len(mask)} frames is on at the display threshold; under the soft mask the "
                           f"score is {explanation.FS:.2f} frozen and {explanation.RS:.2f} reversed.")
    listed = " and ".join(filter(None, [", ".join(spans[:-1]), spans[-1]]))
    noun = "frame" if sum(mask) == 1 else "frames"
    return sentence + (f"with {noun} {listed} of {len(mask)} frozen the score is {explanation.FS:.2f}, "
                       f"with the same {noun} reversed {explanation.RS:.2f}.")


def encode(frames: np.ndarray, fps: float = 6, kind: str = "gif", *, quality: int = 80) -> bytes:
    """Encode frames, uint8 (T,H,W,3), as a "gif" or "webp", which loop for ever, or as an "mp4" (H.264).

    quality: of a WebP, 0-100; a GIF has the largest palette that keeps it under `BYTES_PER_PIXEL`.
    """
    frames = _check_frames(frames)
    if not fps > 0:
        raise ValueError(f"fps: expected frames a second above 0, got {fps}")
    duration = max(20, round(1000 / fps))  # ms; browsers slow down shorter ones
    if kind == "mp4":
        return _mp4(frames, fps)
    if kind == "webp":
        return _save([Image.fromarray(frame) for frame in frames], "WEBP", duration, quality=quality, method=4)
    if kind != "gif":
        raise ValueError(f"kind: expected gif, webp or mp4, got {kind!r}")
    for colours in (128, 64, 48):
        content = _save(_quantise(frames, colours), "GIF", duration, disposal=1, optimize=False)
        if len(content) <= BYTES_PER_PIXEL * frames[..., 0].size:
            break
    return content


def write(path: str | Path, frames: np.ndarray, fps: float = 6) -> Path:
    """Write frames in one step, as the form that the path's ending names: .gif, .webp or .mp4."""
    return files.atomic_write(path, encode(frames, fps, Path(path).suffix.lower().lstrip(".")))


def _palette(palette: str) -> Palette:
    if palette not in PALETTES:
        raise ValueError(f"palette: expected one of {', '.join(PALETTES)}, got {palette!r}")
    return PALETTES[palette]


def _check_frames(frames) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"expected frames, uint8 (T,H,W,3), no axis of length 0, got {frames.shape} of {frames.dtype}")
    return frames


def _outline(inside: np.ndarray) -> np.ndarray:
    """The pixels of (T,H,W) regions that touch the outside; the picture's own edge does not count as outside."""
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return inside & ~(padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:])


def _quantise(frames: np.ndarray, colours: int) -> list[Image.Image]:
    """Map frames to one palette: median cut of a sample of the pixels (an octree tints faces), and the bar's."""
    bars = [np.array(colour) * level for palette in PALETTES.values() for colour in palette[:2] for level in (DIM, 1)]
    kept = np.array([*bars, (255,) * 3, (150,) * 3, (0,) * 3]).round().astype(np.uint8)
    pixels = frames.reshape(-1, 3)
    step = max(1, len(pixels) // 40000) | 1  # odd: not in step with the rows
    sample = Image.fromarray(np.ascontiguousarray(pixels[::step])[None])
    cut = sample.quantize(colours - len(kept), method=Image.Quantize.MEDIANCUT, kmeans=1).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette(bytes(cut[: 3 * (colours - len(kept))]) + kept.tobytes())
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _save(pictures: list[Image.Image], kind: str, duration: int, **options) -> bytes:
    target = io.BytesIO()
    pictures[0].save(target, kind, save_all=True, append_images=pictures[1:], loop=0, duration=duration, **options)
    return target.getvalue()


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    import av

    target = io.BytesIO()
    frames = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge")
    with av.open(target, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        film.mux(stream.encode())
    return target.getvalue()


def frame_runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """The runs of on-frames as (first, last), counted from 1: [0, 1, 1, 0, 1] gives [(2, 3), (5, 5)]."""
    runs: list[tuple[int, int]] = []
    for frame, on in enumerate(mask, start=1):
        if on and runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        elif on:
            runs.append((frame, frame))
    return runs
