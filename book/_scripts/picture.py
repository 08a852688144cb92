"""Draws the README's pictures and the one beside a shared link.

book/images/result.png is the figure of the landing page (its cell "result-figure" in book/intro.ipynb),
book/images/side_by_side.gif one clip under both networks, and book/_static/preview.png a still of it.

    INTERP_DATA=.cache/motion python book/_scripts/picture.py [CLIP]

CLIP is the id of a validation clip; by default, of those of its class that both networks guess right, the one with the
smallest bright area in I3D's map, which on many clips covers half of the frame.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import interp
from interp import data
from interp.core.gradcam import normalise
from interp.core.inference import predict
from interp.data import motion
from interp.io import atomic_write
from interp.show import figure

BOOK = Path(__file__).resolve().parents[1]
RESULT = BOOK / "images" / "result.png"
TARGET, PREVIEW = BOOK / "images" / "side_by_side.gif", BOOK / "_static" / "preview.png"
NETWORKS = {"I3D": "i3d", "C-LSTM": "clstm"}
CLASS = "Moving something up"
MOST = 1_200_000  # bytes, so that the README opens fast
GAP = 4  # pixels between the rows


def titled(frames: np.ndarray, title: str) -> np.ndarray:
    """The frames (T, H, W, 3) with white words on black in the corner; they read on any ground."""
    font, drawn = ImageFont.load_default(size=15), []
    for frame in frames:
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        left, top, right, bottom = draw.textbbox((6, 4), title, font=font)
        draw.rectangle((0, 0, right + 6, bottom + 4), fill=(0, 0, 0))
        draw.text((6, 4), title, fill=(255, 255, 255), font=font)
        drawn.append(np.asarray(picture))
    return np.stack(drawn)


def preview(rows: dict[str, np.ndarray], moment: int) -> bytes:
    """A PNG of 1200 x 630, the size that Open Graph's readers expect: the title over one frame of each network."""
    picture = Image.new("RGB", (1200, 630), "#14213a")
    draw = ImageDraw.Draw(picture)
    draw.text((32, 48), "When and where", font=ImageFont.load_default(size=84), fill="white")
    draw.text((32, 150), "video networks look", font=ImageFont.load_default(size=84), fill="white")
    for place, (title, frames) in enumerate(rows.items()):
        still, left = Image.fromarray(frames[moment]), 24 + place * 588
        still = still.resize((564, round(still.height * 564 / still.width)), Image.Resampling.LANCZOS)
        draw.text((left, 306), title, font=ImageFont.load_default(size=40), fill="#ffc857")
        picture.paste(still, (left, 366))
    content = io.BytesIO()
    picture.quantize(192, dither=Image.Dither.FLOYDSTEINBERG).save(content, "PNG", optimize=True)
    return content.getvalue()


def result_figure() -> bytes:
    """The landing page's figure as a PNG on white."""
    matplotlib.use("Agg")
    cells = json.loads((BOOK / "intro.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    exec("".join(next(cell for cell in cells if cell["id"] == "result-figure")["source"]), names)
    content = io.BytesIO()
    names["figure"].savefig(content, dpi=144, facecolor="white")
    return content.getvalue()


def main(wanted: str | None = None) -> None:
    atomic_write(RESULT, result_figure())
    validation = data.open_dataset("motion", motion.prepare(), "validation", num_frames=16, size=64)
    models = {title: interp.load(name, "motion") for title, name in NETWORKS.items()}
    if wanted is None:
        place = validation.classes.index(CLASS)
        rule = validation.subset(np.flatnonzero(validation.labels == place))
        clips = torch.stack([data.to_clip(rule[i][0]) for i in range(len(rule))])
        right = torch.stack([predict(model, clips).argmax(1) == place for model in models.values()]).all(0)
        bright = (normalise(interp.grad_cam(models["I3D"], clips)) > 0.5).float().mean((1, 2, 3))
        wanted = rule.ids[int(bright.masked_fill(~right, 2).argmin())]
    if wanted not in validation.ids:
        sys.exit(f"{wanted!r} is no validation clip; they are {validation.ids[0]} to {validation.ids[-1]}")
    frames, label, _ = validation[validation.ids.index(wanted)]
    clip = data.to_clip(frames)[None]
    records = {title: interp.explain(model, clip, label)[0] for title, model in models.items()}
    for width in (192, 176, 160, 144, 128):
        rows = [titled(figure.three_panel(r, min_width=width), title) for title, r in records.items()]
        between = np.zeros_like(rows[0][:, :GAP])
        content = figure.encode(np.concatenate([rows[0], between, rows[1]], axis=1), fps=6, kind="gif")
        if len(content) <= MOST:
            break
    atomic_write(TARGET, content)
    stills = {title: figure.three_panel(record, min_width=192) for title, record in records.items()}
    moment = int(np.argmax(np.mean([r.mask for r in records.values()], axis=0)))
    atomic_write(PREVIEW, preview(stills, moment))
    for title, r in records.items():
        print(f"{title}: {r.P}, OS {r.OS:.2f}, FS {r.FS:.2f}, RS {r.RS:.2f}, proven {r.proven}")
    print(f"{PREVIEW}: {PREVIEW.stat().st_size / 1000:.0f} kB")
    print(f"{TARGET}: clip {wanted}, {width} pixels a panel, {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:2])
