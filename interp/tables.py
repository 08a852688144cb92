"""Figures and the results table as HTML: class | scores I3D | figure I3D | figure C-LSTM | scores C-LSTM.
The columns of the results tables of Mänttäri, Broomé et al., ACCV 2020. No tensor axes. Names are escaped; a
picture has alternative text computed from the numbers and a still for readers who prefer less motion.

    from interp import figures
    row = figures.TableRow("Moving something left", (record_i3d, record_clstm))
    html = figures.results_table([row])
"""

from __future__ import annotations

import base64
import io
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from interp.explain import describe

SCORES = {
    "OS": "original score of the guessed class",
    "FS": "score with the mask's frames frozen",
    "RS": "score with the same frames reversed",
    "CS": "score of the true class where the guess is wrong",
    "P": "guessed class",
}
# The colours are the page's own, so that the table follows a light or a dark theme.
CSS = """
.interp-scroll{overflow-x:auto;max-width:100%}
.interp-scroll:focus-visible{outline:2px solid currentColor;outline-offset:2px}
.interp-results{border-collapse:collapse;color:inherit;background:transparent;width:auto;margin:0}
.interp-results caption{text-align:left;caption-side:top;padding:.4em 0;color:inherit}
.interp-results caption span{display:block;position:sticky;left:0;max-width:min(60em,88vw)}
.interp-results th,.interp-results td{padding:.5em .6em;vertical-align:middle;text-align:left;
border-bottom:1px solid color-mix(in srgb,currentColor 30%,transparent)}
.interp-results thead th{white-space:nowrap}
.interp-results th[scope=row]{font-weight:600;min-width:8em;max-width:13em}
.interp-results img,.interp-figure img{display:block;max-width:none;height:auto;border-radius:3px}
.interp-results img{width:var(--interp-width,432px)}
.interp-results dl{display:grid;grid-template-columns:auto auto;gap:.1em .7em;margin:0;
font-variant-numeric:tabular-nums;white-space:nowrap}
.interp-results dt{font-weight:400;opacity:.8}.interp-results dd{margin:0;font-weight:600}
.interp-results .guess{font-weight:400;font-size:.9em;display:block;margin-top:.3em}
.interp-figure{margin:0 0 1em}.interp-figure img{max-width:100%}
.interp-figure figcaption{margin-top:.4em;text-align:left}
"""


@dataclass(frozen=True)
class TableRow:
    """One clip under the models of the table.

    records: one a model, an Explanation or its `to_dict()`. figures: one a model, the moving picture: bytes
    (gif, webp or png), a path or address to link to, or None to draw it from the Explanation.
    """

    label: str
    records: Sequence
    figures: Sequence | None = None


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


def results_table(
    rows: Sequence[TableRow], models: Sequence[str] = ("I3D", "C-LSTM"), *, caption: str | None = None,
    width: int = 432, kind: str = "webp", fps: float = 6, palette: str = "safe",
) -> str:  # fmt: skip
    """Return the paper's table as one piece of accessible HTML, to be shown as it is.

    models: the one or two names of the columns, in the order of every row's records; with two, their figures
    stand next to each other as in the paper. width: of a figure in pixels. kind, fps, palette: of the figures
    drawn here. The table scrolls sideways inside its own box on a narrow screen. ValueError where a row has
    other than one record (and figure) a model.
    """
    if len(models) not in (1, 2):
        raise ValueError(f"got {len(models)} models; the table has room for one or two")
    order = [("scores", 0), ("figure", 0), ("figure", 1), ("scores", 1)][: 2 * len(models)]
    heads = "".join(f'<th scope="col">{part.capitalize()}, {escape(models[k])}</th>' for part, k in order)
    body = []
    for row in rows:
        figures = row.figures if row.figures is not None else [None] * len(row.records)
        if len(row.records) != len(models) or len(figures) != len(models):
            counts = f"{len(row.records)} records and {len(figures)} figures"
            raise ValueError(f"row {row.label!r} has {counts} for {len(models)} models; give one of each")
        records = [_record(record) for record in row.records]
        guesses = "".join(f'<span class="guess">{escape(model)}: {escape(record["P"])}</span>'
                          for model, record in zip(models, records, strict=True))
        cells = [f'<th scope="row">{escape(row.label)}{guesses}</th>']
        for part, k in order:
            if part == "scores":
                cells.append(f"<td>{_scores(records[k])}</td>")
                continue
            picture = figures[k] if figures[k] is not None else _draw(row.records[k], kind, fps, palette)
            cells.append(f"<td>{_image(picture, describe(records[k]))}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    caption = caption or f"Scores, maps and masks of {' and '.join(models)}. {legend(palette)}"
    return (
        f'<style>{CSS}</style><div class="interp-scroll" role="region" tabindex="0" '
        f'aria-label="Results table, scrolls sideways" style="--interp-width:{int(width)}px">'
        f'<table class="interp-results"><caption><span>{escape(caption)}</span></caption>'
        f'<thead><tr><th scope="col">Class and guesses</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def figure_html(explanation, figure=None, *, caption: str | None = None, frames=None, kind: str = "webp",
                fps: float = 6, palette: str = "safe") -> str:
    """Return one moving figure as HTML with alternative text, and `caption` (else what it shows) below it."""
    picture = _draw(explanation, kind, fps, palette, frames) if figure is None else figure
    words = describe(explanation)
    caption = caption or f"{words} {legend(palette, getattr(explanation, 'perturbation', 'freeze'))}"
    return (f'<style>{CSS}</style><figure class="interp-figure">{_image(picture, words, lazy=False)}'
            f"<figcaption>{escape(caption)}</figcaption></figure>")  # fmt: skip


def moving_html(frames, words: str, caption: str | None = None, *, kind: str = "webp", fps: float = 6) -> str:
    """Return uint8 frames (T, H, W, 3) as a moving picture with the alternative text `words`, in HTML."""
    from interp.films import encode

    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    picture = _image(encode(frames, fps, kind), words, lazy=False)
    return f'<style>{CSS}</style><figure class="interp-figure">{picture}{text}</figure>'


def _record(explanation) -> Mapping:
    return explanation if isinstance(explanation, Mapping) else explanation.to_dict()


def _scores(record: Mapping) -> str:
    terms = []
    for key, words in SCORES.items():
        value = record.get(key)
        if key == "P" or value is None:
            continue
        terms.append(f'<dt><abbr title="{words}">{key}</abbr></dt><dd>{value:.3f}</dd>')
    return f"<dl>{''.join(terms)}</dl>"


def _draw(explanation, kind: str, fps: float, palette: str, frames=None) -> bytes:
    from interp import figures

    if isinstance(explanation, Mapping):
        raise ValueError("a record without its clip cannot be drawn; give the Explanation, or figures")
    return figures.encode(figures.three_panel(explanation, frames, palette=palette), fps, kind)


def _image(picture, words: str, lazy: bool = True) -> str:
    """An <img>; of bytes, in a <picture> whose first frame serves readers who prefer less motion."""
    tail = f'alt="{escape(words)}"' + ' loading="lazy" decoding="async"' * lazy
    if not isinstance(picture, bytes):
        return f'<img class="dark-light" src="{escape(_address(picture))}" {tail}>'
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as film:
        mime, (width, height) = Image.MIME[film.format], film.size
        moving = getattr(film, "n_frames", 1) > 1
        still = io.BytesIO()
        film.convert("RGB").save(still, "WEBP", quality=80)
    size = f'width="{width}" height="{height}"'
    image = f'<img class="dark-light" src="{_data(mime, picture)}" {size} {tail}>'
    if not moving:
        return image
    still = _data("image/webp", still.getvalue())
    return f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">{image}</picture>'


def _data(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _address(picture) -> str:
    """A path becomes a relative or file address with its odd characters quoted; an address stays as it is."""
    schemes = ("http", "https", "data", "file")
    if isinstance(picture, str) and urllib.parse.urlsplit(picture).scheme in schemes:
        return picture
    path = Path(os.fspath(picture))
    return path.as_uri() if path.is_absolute() else urllib.parse.quote(path.as_posix())
