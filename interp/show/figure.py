"""The paper's figure: clip | Grad-CAM | perturbed clip with a bar of the mask; as frames, and as a GIF, WebP or MP4.

After Mänttäri, Broomé et al., ACCV 2020, figure 2 and the tables of its website. Frames are uint8 (T,H,W,3), maps
(T,H,W) in [0,1], a mask (T) in [0,1].   figure.write("left.gif", figure.three_panel(explanation))
"""

import io
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from interp import io as files
from interp.core import perturb
from interp.core.explanation import Explanation

DIM = 150 / 255  # the paper's level of all frames but the current one, which has 1
ON, OFF = (176, 92, 219), (120, 120, 120)  # of the bar's squares, RGB; an on-square has a dot too
COLORMAP = "inferno"  # of the maps


def three_panel(explanation: Explanation, frames: np.ndarray | None = None, *, min_width: int = 192) -> np.ndarray:
    """Draw the paper's figure, frames (T,H',3W',3).

    Args:
        explanation: its clip, map and mask are drawn.
        frames: shown in place of the clip, the same moments at a higher resolution, uint8 (T,H,W,3).
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
        bar = mask_bar(mask, current, width, snap=snap)
        frame[height - len(bar):] = bar
    return np.concatenate([frames, overlay(frames, explanation.map), perturbed], axis=2)


def overlay(frames: np.ndarray, maps) -> np.ndarray:
    """Lay Grad-CAM maps (T,h,w) in [0,1], enlarged bilinearly, over frames (T,H,W,3) without their colour.

    The opacity grows with the map's value, so that a zero map leaves the frame; a line surrounds values of 0.5 or more.
    """
    from matplotlib import colormaps

    frames, maps = _check_frames(frames), torch.as_tensor(np.asarray(maps), dtype=torch.float32)
    if len(maps) != len(frames) or maps.ndim != 3:
        raise ValueError(f"expected maps (T,h,w) for {len(frames)} frames, got {tuple(maps.shape)}")
    maps = torch.nn.functional.interpolate(maps[:, None], frames.shape[1:3], mode="bilinear")
    values = maps[:, 0].clamp(0, 1).numpy()  # (T, H, W)
    heat = colormaps[COLORMAP]((255 * values).round().astype(np.uint8), bytes=True)[..., :3]
    alpha = 0.65 * values[..., None] ** 0.7
    grey = 0.8 * (frames @ np.array([0.299, 0.587, 0.114]))[..., None]
    mixed = alpha * heat + (1 - alpha) * grey
    mixed[_outline(values < 0.5)] = 0  # black outside the white, to be visible on a light frame
    mixed[_outline(values >= 0.5)] = 255
    return mixed.round().clip(0, 255).astype(np.uint8)


def mask_bar(mask, current: int, width: int, *, snap: float = 0.5) -> np.ndarray:
    """The bar of T squares, uint8 (side,width,3): dotted where on; the current one bright and framed, others dim."""
    on = np.asarray(mask) > snap
    side = max(3, round(width / len(on)))
    edges = np.round(np.arange(len(on) + 1) * width / len(on)).astype(int)
    bar = np.zeros((side, width, 3))
    rows = np.arange(side)[:, None] - (side - 1) / 2
    for frame, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        level, square = 1 if frame == current else DIM, bar[:, left:right]
        square[:] = np.array(ON if on[frame] else OFF) * level
        if right - left < 4:
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
    on = [frame for frame, value in enumerate(mask, 1) if value]
    runs = [[frame for _, frame in run] for _, run in groupby(enumerate(on), lambda pair: pair[1] - pair[0])]
    spans = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
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
    """Frames, uint8 (T,H,W,3), as a "gif" or "webp" (quality 0-100), which loop for ever, or an "mp4" (H.264)."""
    frames = _check_frames(frames)
    if not fps > 0:
        raise ValueError(f"fps: expected frames a second above 0, got {fps}")
    if kind not in ("gif", "webp", "mp4"):
        raise ValueError(f"kind: expected gif, webp or mp4, got {kind!r}")
    if kind == "mp4":
        return _mp4(frames, fps)
    pictures = _quantise(frames) if kind == "gif" else [Image.fromarray(frame) for frame in frames]
    options = {"disposal": 1, "optimize": False} if kind == "gif" else {"quality": quality, "method": 4}
    target, duration = io.BytesIO(), max(20, round(1000 / fps))  # ms; browsers slow down shorter ones
    pictures[0].save(target, kind, save_all=True, append_images=pictures[1:], loop=0, duration=duration, **options)
    return target.getvalue()


def write(path: str | Path, frames: np.ndarray, fps: float = 6) -> Path:
    """Write frames in one step, as the form that the path's ending names: .gif, .webp or .mp4."""
    return files.atomic_write(path, encode(frames, fps, Path(path).suffix.lower().lstrip(".")))


def _check_frames(frames) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"expected frames, uint8 (T,H,W,3), no axis of length 0, got {frames.shape} of {frames.dtype}")
    return frames


def _outline(inside: np.ndarray) -> np.ndarray:
    """The pixels of (T,H,W) regions that touch the outside; the picture's own edge does not count as outside."""
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return inside & ~(padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:])


def _quantise(frames: np.ndarray, colours: int = 64) -> list[Image.Image]:
    """Map frames to one palette: the bar's colours, and the median cut of a sample of the pixels."""
    bar = np.array([*(np.array(c) * level for c in (ON, OFF, (255,) * 3) for level in (DIM, 1)), (0,) * 3]).round()
    sample = frames.reshape(-1, 3)[::max(1, frames.size // 120_000) | 1]  # odd: not in step with the rows
    cut = Image.fromarray(np.ascontiguousarray(sample)[None]).quantize(colours - len(bar), kmeans=1).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette(bytes(cut[: 3 * (colours - len(bar))]) + bar.astype(np.uint8).tobytes())
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    target = io.BytesIO()
    frames = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge")
    with av.open(target, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        film.mux(stream.encode())
    return target.getvalue()
