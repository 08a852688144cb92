"""A slider that works without a kernel: pictures of every setting, made beforehand, of which the controls show one.

Source: this project's own. No tensor axes. The settings of several controls are counted like the places of an array,
the last control fastest. Without JavaScript the page shows the starting picture and a table of what each says.

    from interp import sliders
    frame = sliders.Control("Frame", [f"{n} of 3" for n in (1, 2, 3)])
    html = sliders.slider([frame], pictures, ["a red square", "a blue one", "none"], name="squares")
"""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from interp.tables import HERE, data_address, script


@dataclass(frozen=True)
class Control:
    """One thing to choose. label: its name, shown and read out. values: the words for each setting, from the first to
    the last. start: the setting shown first. choice: a button for each setting instead of a slider."""

    label: str
    values: Sequence[str]
    start: int = 0
    choice: bool = False


def slider(controls: Sequence[Control], views: Sequence[str], words: Sequence[str], *, name: str,
           caption: str | None = None) -> str:  # fmt: skip
    """Return controls over views as one piece of accessible HTML, to be shown as it is.

    views: HTML for every setting (`image`, `sliders_path.search_view`), controls[-1] fastest; it comes from the
    caller and is not escaped. words: what each view says, which stands under it, changes with it, and makes the
    table for pages without JavaScript. name: of this slider on its page, letters, digits, - and _. ValueError where
    numbers do not fit.
    """
    wanted = math.prod(len(control.values) for control in controls)
    if not controls or len(views) != wanted or len(words) != wanted:
        raise ValueError(f"got {len(views)} views and {len(words)} words; the controls have {wanted} settings")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ValueError(f"name: got {name!r}; expected letters, digits, - and _, a letter first")
    for control in controls:
        if not 0 <= control.start < len(control.values):
            raise ValueError(f"{control.label}: start is {control.start}; it has {len(control.values)} settings")
    first = int(np.ravel_multi_index([one.start for one in controls], [len(one.values) for one in controls]))
    data = json.dumps({"sizes": [len(one.values) for one in controls], "values": [list(one.values) for one in controls],
                       "views": list(views), "words": list(words)}).replace("<", "\\u003c")  # fmt: skip
    inputs = "".join(_control(control, f"{name}-{place}") for place, control in enumerate(controls))
    under = f'<p class="interp-caption">{escape(caption)}</p>' if caption else ""
    return (
        f"<style>{(HERE / 'sliders.css').read_text(encoding='utf-8')}</style>"
        f'<figure class="interp-slider" id="{name}" data-slider>'
        f'<div class="controls" role="group" aria-label="Settings" hidden>{inputs}</div>'
        f'<div class="view">{views[first]}</div>'
        f'<figcaption><p class="words" role="status">{escape(words[first])}</p>{under}</figcaption>'
        f"<noscript>{_all_settings(controls, words)}</noscript>"
        f'<script type="application/json">{data}</script></figure>{script("sliders.js")}'
    )


def image(frame: np.ndarray, words: str, *, kind: str = "webp", **options) -> str:
    """A view that is a picture: uint8 (H, W, 3) as an <img> with the alternative text `words`.

    kind: "webp" (quality=75 by default; lossless=True) or "png"; options go to Pillow.
    """
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"got a picture {frame.shape} of {frame.dtype}; expected uint8 (H, W, 3)")
    target = io.BytesIO()
    Image.fromarray(frame).save(target, kind.upper(), **({"quality": 75, "method": 4} | options))
    size = f'width="{frame.shape[1]}" height="{frame.shape[0]}"'
    address = data_address(f"image/{kind}", target.getvalue())
    return f'<img class="dark-light" src="{address}" {size} decoding="sync" alt="{escape(words)}">'


def _control(control: Control, name: str) -> str:
    label, start = escape(control.label), control.start
    if control.choice:
        buttons = "".join(
            f'<label><input type="radio" name="{name}" value="{place}"{" checked" * (place == start)}> '
            f"{escape(value)}</label>" for place, value in enumerate(control.values))  # fmt: skip
        return f'<fieldset class="control"><legend>{label}</legend>{buttons}</fieldset>'
    last, shown = len(control.values) - 1, escape(control.values[start])
    return (f'<div class="control"><label for="{name}">{label}</label><input type="range" id="{name}" min="0" '
            f'max="{last}" step="1" value="{start}" aria-valuetext="{shown}">'
            f'<output for="{name}">{shown}</output></div>')  # fmt: skip


def _all_settings(controls: Sequence[Control], words: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(one.label)}</th>' for one in controls)
    rows = []
    for setting, text in zip(itertools.product(*(one.values for one in controls)), words, strict=True):
        cells = "".join(f"<td>{escape(value)}</td>" for value in setting)
        rows.append(f"<tr>{cells}<td>{escape(text)}</td></tr>")
    return (f"<p>The controls of this figure need JavaScript. It shows one setting; this table tells of all.</p><table>"
            f'<thead><tr>{heads}<th scope="col">what it shows</th></tr></thead><tbody>{"".join(rows)}</tbody></table>')
