"""A moving figure as HTML: a picture that can be stopped, with alternative text computed from its numbers.
The figure is that of Mänttäri, Broomé et al., ACCV 2020. No tensor axes. Names are escaped; a still stands for the
film on paper and for readers who prefer less motion. The table of many figures: comparison.

    from interp import figures
    html = figures.figure_html(record)  # an Explanation
"""

from __future__ import annotations

import base64
import io
import os
import urllib.parse
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path

from interp.explain import describe

HERE = Path(__file__).parent
LESS_MOTION = "print, (prefers-reduced-motion: reduce)"
# The colours are the page's own, so that a figure follows a light or a dark theme.
CSS = """
.interp-figure{margin:0 0 1em;text-align:left}
.interp-figure img,.interp-film img{display:block;margin:0;height:auto;border-radius:3px}
.interp-figure img{max-width:100%}.interp-figure figcaption{margin-top:.4em;text-align:left}
.interp-motion{font:inherit;font-size:.85em;padding:.25em .8em;margin:.4em 0 0;border:1px solid currentColor;
border-radius:4px;background:transparent;color:inherit;cursor:pointer;min-height:2.1em}
.interp-motion:focus-visible{outline:3px solid currentColor;outline-offset:2px}
@media print{.interp-motion{display:none}}
"""


def legend(palette: str = "safe", perturbation: str = "freeze") -> str:
    """Say in words how to read a figure; the text that stands under it or over the table."""
    done = {"freeze": "frozen", "reverse": "reversed", "shuffle": "shuffled", "blur": "blurred"}
    done = done.get(perturbation, f"perturbed ({perturbation})")
    squares = {
        "safe": f"an orange square with a dot is on ({done}), a blue one off; the current one is framed",
        "paper": f"a red square is on ({done}), a green one off; the current one is bright",
    }
    return (f"Left to right: the clip; Grad-CAM, brighter where the decision rests; the clip with the mask's "
            f"frames {done}. In the bar of frames {squares[palette]}.")  # fmt: skip


def figure_html(explanation, figure=None, *, caption: str | None = None, frames=None, kind: str = "webp",
                fps: float = 6, palette: str = "safe", min_width: int = 192) -> str:
    """Return one moving figure as HTML with alternative text, and `caption` (else what it shows) below it.

    figure: the moving picture where there is one (bytes, a path or an address); else it is drawn here, with
    `frames`, `palette` and `min_width` as in `figures.three_panel`. A button stops and starts all motion.
    """
    film = figure if figure is not None else draw(explanation, kind, fps, palette, min_width, frames)
    words = describe(explanation)
    caption = caption or f"{words} {legend(palette, getattr(explanation, 'perturbation', 'freeze'))}"
    return _figure(picture(film, words, lazy=False, still=shown_frame(explanation)), caption)


def moving_html(frames, words: str, caption: str | None = None, *, kind: str = "webp", fps: float = 6) -> str:
    """Return uint8 frames (T, H, W, 3) as a moving picture with the alternative text `words`, in HTML."""
    from interp.films import encode

    return _figure(picture(encode(frames, fps, kind), words, lazy=False), caption)


def draw(explanation, kind: str, fps: float, palette: str, min_width: int, frames=None, **options) -> bytes:
    """The three panels of an Explanation as the bytes of a moving picture; options go to `films.encode`.

    ValueError for a record without its clip.
    """
    from interp import figures

    if isinstance(explanation, Mapping):
        raise ValueError("a record without its clip cannot be drawn; give the Explanation, or figures")
    panels = figures.three_panel(explanation, frames, palette=palette, min_width=min_width)
    return figures.encode(panels, fps, kind, **options)


def picture(film, words: str, *, lazy: bool = True, still: int = 0) -> str:
    """An <img> of a path or an address; of bytes a <picture>, whose frame `still` stands for the film on paper and
    for readers who prefer less motion. words: the alternative text."""
    tail = f'alt="{escape(words)}"' + ' loading="lazy" decoding="async"' * lazy
    if not isinstance(film, bytes):
        return f'<img class="dark-light" src="{escape(_address(film))}" {tail}>'
    from PIL import Image

    with Image.open(io.BytesIO(film)) as moving:
        mime, (width, height) = Image.MIME[moving.format], moving.size
        num_frames, first = getattr(moving, "n_frames", 1), io.BytesIO()
        if num_frames > 1:
            moving.seek(min(still, num_frames - 1))
            moving.convert("RGB").save(first, "WEBP", quality=75)
    image = f'<img class="dark-light" src="{data_address(mime, film)}" width="{width}" height="{height}" {tail}>'
    if num_frames == 1:
        return image
    source = f'<source media="{LESS_MOTION}" srcset="{data_address("image/webp", first.getvalue())}">'
    return f'<picture class="interp-film">{source}{image}</picture>'


def shown_frame(explanation) -> int:
    """The frame that stands for a moving figure: the one in the middle of those that are on, else the middle one."""
    if isinstance(explanation, Mapping):
        snapped = explanation["snapped"]
    else:
        snapped = explanation.snapped.int().tolist()
    on = [frame for frame, one in enumerate(snapped) if one]
    return on[len(on) // 2] if on else len(snapped) // 2


def data_address(mime: str, content: bytes) -> str:
    """Content as an address that holds it: data:MIME;base64,..."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


@cache
def script(name: str) -> str:
    """A JavaScript file of this package, "films.js" say, as a <script> for a page; a second one does no harm."""
    content = (HERE / name).read_text(encoding="utf-8")
    if "</script" in content.lower():
        raise ValueError(f"{name} holds the end of a script; it cannot stand inside a page")
    return f"<script>{content}</script>"


def _figure(image: str, caption: str | None) -> str:
    button = '<button type="button" class="interp-motion" hidden>Stop all motion</button>'
    under = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    parts = [image, button if "<picture" in image else "", under]
    return f'<style>{CSS}</style><figure class="interp-figure">{"".join(parts)}</figure>{script("films.js")}'


def _address(film) -> str:
    """A path becomes a relative or file address with its odd characters quoted; an address stays as it is."""
    schemes = ("http", "https", "data", "file")
    if isinstance(film, str) and urllib.parse.urlsplit(film).scheme in schemes:
        return film
    path = Path(os.fspath(film))
    return path.as_uri() if path.is_absolute() else urllib.parse.quote(path.as_posix())
