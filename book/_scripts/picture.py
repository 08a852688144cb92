"""Draws the README's picture, book/images/side_by_side.gif: one clip under both networks.

    INTERP_DATA=.cache/motion python book/_scripts/picture.py [CLIP]

CLIP is the id of a validation clip; without it the first of its class that both networks guess right is
taken.
The frames are drawn like those of the chapter "Side by side", a row for each network, its name in the corner.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import interp
from interp import data, figures, films, whole
from interp.data import motion
from interp.explain_examples import first_right

TARGET = Path(__file__).resolve().parents[1] / "images" / "side_by_side.gif"
NETWORKS = {"I3D": "i3d", "C-LSTM": "clstm"}
CLASS = "Moving something up"
MOST = 600_000  # bytes, so that the README opens fast
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


def main(wanted: str | None = None) -> None:
    validation = data.open_dataset("motion", motion.prepare(), "validation", num_frames=16, size=64)
    models = {title: interp.load(name, "motion") for title, name in NETWORKS.items()}
    if wanted is None:
        place = validation.classes.index(CLASS)
        rule = validation.subset(np.flatnonzero(validation.labels == place))
        wanted = rule.ids[first_right(list(models.values()), rule)[0]]
    if wanted not in validation.ids:
        sys.exit(f"{wanted!r} is no validation clip; they are {validation.ids[0]} to {validation.ids[-1]}")
    frames, label, _ = validation[validation.ids.index(wanted)]
    clip = data.to_clip(frames)[None]
    search = {"start": "best-window", "stop": True}
    records = {title: interp.explain(model, clip, label, **search)[0] for title, model in models.items()}
    for width in (192, 176, 160, 144):
        rows = [titled(figures.three_panel(r, min_width=width), title) for title, r in records.items()]
        between = np.zeros_like(rows[0][:, :GAP])
        content = films.encode(np.concatenate([rows[0], between, rows[1]], axis=1), fps=6, kind="gif")
        if len(content) <= MOST:
            break
    whole.write(TARGET, content)
    for title, r in records.items():
        print(f"{title}: {r.P}, OS {r.OS:.2f}, FS {r.FS:.2f}, RS {r.RS:.2f}, steps {r.steps}")
    print(f"{TARGET}: clip {wanted}, {width} pixels a panel, {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:2])
