"""HTML for a page without a kernel: moving figures, the paper's results table, other tables, sliders.

The templates are static/*.html; names are escaped there. Everything can be read without JavaScript, which adds what
static/*.js describe; a still stands for a film on paper and for readers who prefer less motion.
"""

import base64
import io
import itertools
import json
import math
import re
from collections import namedtuple
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
import numpy as np
import torch
from markupsafe import Markup
from PIL import Image

from interp.core.explanation import Explanation
from interp.show.figure import describe, encode, three_panel
from interp.study import import_extra, measures

STATIC = Path(__file__).parent / "static"
SCORES = ("OS", "FS", "RS", "CS", "RS/FS", "length")


# One clip under one or two models: its label, an explanation for each, and `Explorer.data` of the clip or None.
TableRow = namedtuple("TableRow", "label explanations explorer", defaults=(None,))
# One setting of a slider: its label, the words of its places, the place to start at; choice: buttons, not a slider.
Control = namedtuple("Control", "label settings start choice", defaults=(0, False))


def figure_html(explanation: Explanation, min_width: int = 192) -> str:
    """Return one moving figure with alternative text, a button that stops all motion, and a caption how to read it."""
    film = _film(explanation, min_width=min_width, lazy=False)
    return captioned(film, f"{describe(explanation)} {_legend(explanation.perturbation)}")


def picture(film: bytes, words: str, *, lazy: bool = True, still: int = 0) -> str:
    """Return a gif, webp or png as <img> with the alternative text `words`, or where it moves as <picture>.

    still: the frame for paper and for readers who prefer less motion.
    """
    with Image.open(io.BytesIO(film)) as moving:
        mime, (width, height) = Image.MIME[moving.format], moving.size
        num_frames, first = getattr(moving, "n_frames", 1), io.BytesIO()
        if num_frames > 1:
            moving.seek(min(still, num_frames - 1))
            moving.convert("RGB").save(first, "WEBP", quality=75)
    still_address = data_address("image/webp", first.getvalue()) if num_frames > 1 else None
    return _render("picture.html", address=data_address(mime, film), width=width, height=height, words=words, lazy=lazy,
                   still=still_address)


def captioned(image: str, caption: str | None = None) -> str:
    """Return a `picture` as a figure: below it the caption, and a button that stops all motion where it moves."""
    return _render("figure.html", image=Markup(image), caption=caption)


def results_table(rows: Sequence[TableRow], models: Sequence[str] = ("I3D", "C-LSTM"), *, panel: int = 128) -> str:
    """Return the results table of Mänttäri, Broomé et al., ACCV 2020: scores and figures, sortable and filtered.

    The row of a clip has the address #clip-ID. Where rows have explorers, put `explorer.page_script()` on the page.
    models: one or two names, in the order of every row's explanations. panel: width in pixels of a figure's panels.
    """
    counts = {len(row.explanations) for row in rows} | {len(models)}
    if counts not in ({1}, {2}):
        raise ValueError(f"expected one or two models and an explanation for each in every row, got {sorted(counts)}")
    explanations = [explanation for row in rows for explanation in row.explanations]
    keys = [key for key in SCORES if key != "CS" or any(explanation.CS is not None for explanation in explanations)]
    numbers, figure = list(enumerate(keys)), [(0, None)]
    parts = [(0, numbers), (0, figure), (1, figure), (1, numbers)][: 2 * len(models)]
    columns = [(place, number, key) for place, part in parts for number, key in part]
    lines = []
    for row in rows:
        address = "clip-" + re.sub(r"[^A-Za-z0-9_-]+", "-", row.explanations[0].id)
        while address in (line[1] for line in lines):
            address += "--2"
        right = "".join(str(int(e.guess == e.target)) for e in row.explanations if e.target is not None)
        cells = [_score(row.explanations[place], key) if key else
                 Markup(_film(row.explanations[place], min_width=panel, quality=60)) for place, _, key in columns]
        lines.append((row, address, right, list(zip(columns, cells, strict=True))))
    labels = list(dict.fromkeys(row.label for row in rows))
    menus = [("Class", "by-class", {"": f"all {len(labels)}", **dict(zip(labels, labels, strict=True))})]
    if all(explanation.target is not None for explanation in explanations):
        options = {"1": "right", "0": "wrong"} if len(models) == 1 else {
            "11": "both right", "10": f"only {models[0]} right", "01": f"only {models[1]} right", "00": "both wrong"}
        menus.append(("Guesses", "by-guess", {"": "all", **options}))
    caption = f"Scores, maps and masks of {' and '.join(models)}. {_legend()}"
    return _render("comparison.html", models=models, menus=menus, caption=caption, columns=columns, rows=lines)


def slider(controls: Sequence[Control], views: Sequence[str], words: Sequence[str], *, name: str) -> str:
    """Return controls over views made beforehand, of which the page shows one; without JavaScript, a table of words.

    Settings count like the places of an array, the last control fastest. For each of them, views: HTML, not escaped;
    words: what it shows. name: id of this slider on its page.
    """
    sizes = [len(control.settings) for control in controls]
    if not len(views) == len(words) == math.prod(sizes):
        raise ValueError(f"expected a view and words for each of {math.prod(sizes)} settings, got {len(views)} views "
                         f"and {len(words)} words")
    values = [list(control.settings) for control in controls]
    first = int(np.ravel_multi_index([control.start for control in controls], sizes))
    data = {"sizes": sizes, "values": values, "views": list(views), "words": list(words)}
    return _render("slider.html", name=name, controls=controls, first=first, rows=itertools.product(*values), **data)


def table(frame) -> str:
    """Return a pandas DataFrame as a table, nothing cut off."""
    with import_extra("pandas").option_context("display.max_colwidth", None):
        return frame.rename_axis(columns=None).to_html(index=False, border=0)  # a name would make a column of its own


def data_address(mime: str, content: bytes) -> str:
    """Content as an address that holds it: data:MIME;base64,..."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def json_text(value) -> str:
    """JSON that can stand inside a <script>."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@cache
def static(name: str) -> str:
    """The text of a file in static/."""
    return (STATIC / name).read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=True, **options)
    templates.globals.update(static=lambda name: Markup(static(name)), json_text=lambda value: Markup(json_text(value)))
    return templates


def _render(template: str, **values) -> str:
    return _templates().get_template(template).render(values)  # plain: Markup would escape what is added to it


def _legend(perturbation: str = "freeze") -> str:
    """How to read a figure, for its caption."""
    done = {"freeze": "frozen", "reverse": "reversed"}.get(perturbation, f"perturbed ({perturbation})")
    return (f"Left to right: the clip; Grad-CAM, brighter where the decision rests; the clip with the mask's frames "
            f"{done}. In the bar of frames a purple square with a dot is on ({done}), a grey one off; the current one "
            "is framed.")


def _film(explanation: Explanation, *, min_width: int, lazy: bool = True, quality: int = 80) -> str:
    """The three panels as a picture; its still is the middle one of the frames that are on, or of all."""
    film = encode(three_panel(explanation, min_width=min_width), kind="webp", quality=quality)
    on = np.flatnonzero(explanation.binary_mask).tolist() or range(len(explanation.mask))
    return picture(film, describe(explanation), lazy=lazy, still=on[len(on) // 2])


def _score(explanation: Explanation, key: str) -> tuple[str, str]:
    """A cell's number to sort by, and as it is shown; "" and a dash where there is none."""
    if key == "length":
        return (str(int(explanation.binary_mask.sum())),) * 2
    if key != "RS/FS":
        value = getattr(explanation, key)
        return ("", "–") if value is None else (f"{value:.6g}", f"{value:.3f}")
    scores = (torch.tensor([score], dtype=torch.float64) for score in (explanation.RS, explanation.FS))
    ratio = float(measures.order_ratio(*scores, measures.RESOLUTION))
    return ("", "–") if math.isnan(ratio) else (f"{ratio:.6g}", f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2g}")
