"""A long video at a glance: what a network saw when, and on which moments each guess rests."""

import io
from pathlib import Path

import numpy as np

from interp.core.explanation import Explanation
from interp.io import atomic_write


def timeline(path: str | Path, rows: list[tuple[float, Explanation]], seconds: float) -> Path:
    """Draw clips of a video, (start in seconds, explanation) each, as a picture with a row for each clip.

    seconds: that a clip lasts. A row is as strong as the guess's score; the frames that its mask perturbs are dark.
    """
    from matplotlib.figure import Figure

    drawing = Figure((9, 0.8 + 0.28 * len(rows)), layout="constrained")
    axes, names = drawing.subplots(), list(dict.fromkeys(row.P for _, row in rows))
    for place, (start, row) in enumerate(rows):
        shade, step = f"C{names.index(row.P) % 10}", seconds / len(row.mask)
        axes.barh(place, seconds, 0.8, start, color=shade, alpha=0.15 + 0.35 * row.OS)
        axes.barh([place] * len(row.mask), step * row.binary_mask, 0.8, start + step * np.arange(len(row.mask)),
                  color=shade)
    axes.set_yticks(range(len(rows)), [f"{row.P[:48]}  {row.OS:.2f}" for _, row in rows], fontsize=8)
    axes.set(xlabel="seconds of the video; dark: the frames that the guess rests on", xlim=(rows[0][0], None))
    axes.invert_yaxis()
    target = io.BytesIO()
    drawing.savefig(target, format="png", dpi=150)
    return atomic_write(path, target.getvalue())
