"""Three panels side by side, frame | Grad-CAM | perturbed frame, and a bar of the mask, as a moving figure.

After Mänttäri, Broomé et al., ACCV 2020, figure 2 and the tables of its website. Frames here are uint8, axes
(T, H, W, 3); maps are float in [0, 1], axes (T, H, W); a mask is float in [0, 1], axis (T).

    from interp import explain, figures
    record = explain(model, clips)[0]
    figures.write("left.gif", figures.three_panel(record), fps=6)

Two palettes: "safe" (default), which also reads without colour, and "paper", red, green and jet as published.
Plots made with matplotlib live in plots.py, HTML in tables.py and comparison.py; they are reachable from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from interp import perturb
from interp.comparison import TableRow, results_table
from interp.films import checked, encode, write, write_gif
from interp.plots import COLOURS, curves, filmstrip, mask_bars, mask_path, style
from interp.tables import figure_html

__all__ = [
    "COLOURS", "PALETTES", "Palette", "TableRow", "clip_frames", "curves", "encode", "figure_html",
    "filmstrip", "mask_bar", "mask_bars", "mask_path", "overlay", "panels", "results_table", "style",
    "three_panel", "write", "write_gif",
]  # fmt: skip

DIM, BRIGHT = 150 / 255, 1.0  # the paper's two levels: other frames, the current frame


@dataclass(frozen=True)
class Palette:
    """Colours of the bar (RGB, 0-255) and of the map; `shapes`: marks tell on from off without colour."""

    on: tuple[int, int, int]
    off: tuple[int, int, int]
    colormap: str
    shapes: bool


PALETTES = {
    "safe": Palette(on=(230, 110, 20), off=(0, 114, 178), colormap="inferno", shapes=True),
    "paper": Palette(on=(255, 0, 0), off=(0, 255, 0), colormap="jet", shapes=False),
}


def three_panel(explanation, frames=None, *, palette: str = "safe", min_width: int = 192) -> np.ndarray:
    """Return the paper's figure as uint8 frames (T, H', 3W', 3).

    `explanation` has a clip (C, T, H, W) in [0, 1], a map (T, H, W) in [0, 1], a mask (T) and the name of its
    perturbation. `frames`, uint8 (T, H, W, 3), are shown in place of the clip: the same moments at a higher
    resolution. Panels narrower than `min_width` pixels are enlarged. ValueError where lengths do not agree.
    """
    return np.concatenate(panels(explanation, frames, palette=palette, min_width=min_width), axis=2)

def panels(
    explanation, frames=None, *, palette: str = "safe", min_width: int = 192
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the three panels of `three_panel`, each uint8 (T, H', W', 3); the bar is on the third."""
    colours = _palette(palette)
    frames = clip_frames(explanation.clip) if frames is None else checked(frames)
    mask = torch.as_tensor(explanation.mask).detach().cpu().float()
    if len(mask) != len(frames):
        raise ValueError(f"got {len(frames)} frames and a mask of {len(mask)}; give the mask's own frames")
    height, width = frames.shape[1:3]
    if width < min_width:
        height, width = round(height * min_width / width), min_width
    shown = _resized(frames, height, width)
    snapped = (mask > _snap(explanation)).double()
    kind = getattr(explanation, "perturbation", "freeze")
    mixing = perturb.time_mixing(kind, snapped[None])[0].numpy()  # (T, T)
    perturbed = (mixing @ shown.reshape(len(shown), -1)).reshape(shown.shape)
    perturbed = perturbed.round().clip(0, 255).astype(np.uint8)
    for current, frame in enumerate(perturbed):
        bar = mask_bar(mask, current, width, palette=palette, snap=_snap(explanation))
        frame[height - len(bar):] = bar
    return shown, overlay(shown, explanation.map, palette=colours), perturbed

def overlay(
    frames: np.ndarray, maps, *, palette: str | Palette = "safe", opacity: float | None = None
) -> np.ndarray:
    """Lay Grad-CAM maps (T, h, w) in [0, 1] over uint8 frames (T, H, W, 3); returns uint8 (T, H, W, 3).

    The maps are enlarged bilinearly to the frames. "paper": jet, evenly blended. "safe": the frame loses its
    colour and the map's opacity grows with its value, so that a zero map leaves the frame; a line runs round
    values >= 0.5.
    """
    from matplotlib import colormaps

    colours = _palette(palette)
    frames = checked(frames)
    maps = torch.as_tensor(np.asarray(maps), dtype=torch.float32)
    if len(maps) != len(frames) or maps.ndim != 3:
        got = f"maps {tuple(maps.shape)} for {len(frames)} frames"
        raise ValueError(f"got {got}; expected (T, h, w) with the same T")
    maps = torch.nn.functional.interpolate(maps[:, None], frames.shape[1:3], mode="bilinear")
    values = maps[:, 0].clamp(0, 1).numpy()  # (T, H, W)
    levels = (255 * values).round().astype(np.uint8)
    heat = (colormaps[colours.colormap](np.arange(256))[:, :3] * 255)[levels]
    if not colours.shapes:
        alpha = 0.5 if opacity is None else opacity
        return (alpha * heat + (1 - alpha) * frames).round().astype(np.uint8)
    alpha = (0.65 if opacity is None else opacity) * values[..., None] ** 0.7
    grey = 0.8 * (frames @ np.array([0.299, 0.587, 0.114]))[..., None]
    mixed = alpha * heat + (1 - alpha) * grey
    mixed[_outline(values < 0.5)] = (0, 0, 0)  # black outside the white, to be seen on a light frame
    mixed[_outline(values >= 0.5)] = (255, 255, 255)
    return mixed.round().clip(0, 255).astype(np.uint8)

def mask_bar(
    mask, current: int | None, width: int, *, palette: str | Palette = "safe", snap: float = 0.5
) -> np.ndarray:
    """Draw the bar of T squares, uint8 (side, width, 3): on above snap, `current` bright, the others dim.

    In the "safe" palette an on-square carries a dot and the current one a white frame. `current=None` draws
    every square bright, for a still picture.
    """
    colours = _palette(palette)
    on = np.asarray(torch.as_tensor(mask).detach().cpu().float()) > snap
    side = max(3, round(width / len(on)))
    edges = np.round(np.arange(len(on) + 1) * width / len(on)).astype(int)
    bar = np.zeros((side, width, 3))
    rows = np.arange(side)[:, None] - (side - 1) / 2
    for frame, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        bright = current is None or frame == current
        square = bar[:, left:right]
        square[:] = np.array(colours.on if on[frame] else colours.off) * (BRIGHT if bright else DIM)
        if not colours.shapes or right - left < 4:
            continue
        gap = right - left >= 6
        if gap:
            square[:, -1:] = square[-1:] = 0
        if on[frame]:
            columns = np.arange(right - left)[None] - (right - left - 1 - gap) / 2
            radius = max(0.8, 0.2 * side)
            square[np.hypot(rows + gap / 2, columns) <= radius] = 255 * (BRIGHT if bright else DIM)
        if current is not None and bright:
            square[0], square[-1], square[:, 0], square[:, -1] = 255, 255, 255, 255
    return bar.round().astype(np.uint8)


def clip_frames(clip) -> np.ndarray:
    """Turn a clip (C, T, H, W) in [0, 1], C = 1 or 3, into uint8 frames (T, H, W, 3); the rest is cut off."""
    clip = torch.as_tensor(clip).detach().cpu().float()
    if clip.ndim != 4 or clip.shape[0] not in (1, 3):
        got = tuple(clip.shape)
        raise ValueError(f"got a clip {got}; expected (C, T, H, W) with 1 or 3 channels, or give frames=")
    frames = clip.permute(1, 2, 3, 0).expand(-1, -1, -1, 3)  # (T, H, W, 3)
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _palette(palette: str | Palette) -> Palette:
    if isinstance(palette, Palette):
        return palette
    if palette not in PALETTES:
        raise ValueError(f"no palette {palette!r}; expected one of {', '.join(PALETTES)}")
    return PALETTES[palette]


def _snap(explanation) -> float:
    return getattr(getattr(explanation, "recipe", None), "snap", 0.5)


def _resized(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    if frames.shape[1:3] == (height, width):
        return frames
    pictures = [Image.fromarray(frame) for frame in frames]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BICUBIC)) for one in pictures])


def _outline(inside: np.ndarray) -> np.ndarray:
    """Mark the pixels of (T, H, W) regions that touch the outside; the picture's own edge is no outside."""
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)), mode="edge")
    core = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return inside & ~core
