"""The results table as a page: class | scores I3D | figure I3D | figure C-LSTM | scores C-LSTM, sortable and filtered.

The columns of the results tables of Mänttäri, Broomé et al., ACCV 2020. No tensor axes. Names are escaped. Without
JavaScript it is the plain table; comparison.js adds buttons in the headers, filters, a link to every clip, and a
window with the clip's explorer; films.js stops and starts the figures.

    from interp import figures, widgets
    row = figures.TableRow("Moving something left", (record_i3d, record_clstm), explorer=data)
    html = widgets.page_script() + figures.results_table([row])
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import torch

from interp import measure, published
from interp.explain import describe
from interp.tables import CSS, HERE, draw, legend, picture, script, shown_frame

SCORES = {
    "OS": "original score of the guessed class",
    "FS": "score with the mask's frames frozen",
    "RS": "score with the same frames reversed",
    "CS": "score of the true class where the guess is wrong",
    "RS/FS": "the order of the frames matters less than their absence where this is well above 1",
    "length": "mask length: how many frames are on",
}
QUALITY = 60  # of the small figures drawn here; they are many


@dataclass(frozen=True)
class TableRow:
    """One clip under the models of the table.

    records: one a model, an Explanation or its `to_dict()`. figures: one a model, the moving picture: bytes
    (gif, webp or png), a path or address to link to, or None to draw it from the Explanation. explorer: what
    `widgets.explorer_data` gives for the clip, or None.
    """

    label: str
    records: Sequence
    figures: Sequence | None = None
    explorer: Mapping | None = None


def results_table(
    rows: Sequence[TableRow], models: Sequence[str] = ("I3D", "C-LSTM"), *, caption: str | None = None,
    kind: str = "webp", fps: float = 6, palette: str = "safe", panel: int = 128,
) -> str:  # fmt: skip
    """Return the paper's table as one piece of accessible HTML, to be shown as it is.

    models: the one or two names of the columns, in the order of every row's records; with two, their figures
    stand next to each other as in the paper. kind, fps, palette: of the figures drawn here; panel: how wide, in
    pixels, each of a figure's three panels is. A row is found under the address #clip-ID, with the id of its
    record. Where rows have explorers, put `widgets.page_script()` on the page too. ValueError where a row has
    other than one record (and figure) a model.
    """
    if len(models) not in (1, 2):
        raise ValueError(f"got {len(models)} models; the table has room for one or two")
    pictures = [row.figures if row.figures is not None else [None] * len(row.records) for row in rows]
    for row, drawn in zip(rows, pictures, strict=True):
        if len(row.records) != len(models) or len(drawn) != len(models):
            counts = f"{len(row.records)} records and {len(drawn)} figures"
            raise ValueError(f"row {row.label!r} has {counts} for {len(models)} models; give one of each")
    records = [[_record(record) for record in row.records] for row in rows]
    keys = [key for key in SCORES if key != "CS" or any(one["CS"] is not None for own in records for one in own)]
    addresses = _addresses([own[0]["id"] for own in records])
    body, explorers = [], []
    for row, own, drawn, address in zip(rows, records, pictures, addresses, strict=True):
        images = []
        for place, record in enumerate(row.records):
            film = drawn[place]
            if film is None:
                film = draw(record, kind, fps, palette, panel, quality=QUALITY)
            images.append(picture(film, describe(own[place]), still=shown_frame(own[place])))
        body.append(_row(row.label, own, images, models, keys, address))
        if row.explorer is not None:
            content = json.dumps(row.explorer, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
            explorers.append(f'<script type="application/json" data-clip="{address}">{content}</script>')
    caption = caption or f"Scores, maps and masks of {' and '.join(models)}."
    tools = _tools(rows, records, models)
    return (
        f"<style>{CSS}{(HERE / 'comparison.css').read_text(encoding='utf-8')}</style>"
        f'<div class="interp-comparison models-{len(models)}">{tools}'
        f'<table class="interp-results keep" role="table"><caption>{escape(f"{caption} {legend(palette)}")}</caption>'
        f'<thead role="rowgroup">{_head(models, keys)}</thead>'
        f'<tbody role="rowgroup">{"".join(body)}</tbody></table>{"".join(explorers)}</div>'
        + script("films.js") + script("comparison.js")
    )  # fmt: skip


def _head(models: Sequence[str], keys: Sequence[str]) -> str:
    cells = ['<th class="class" role="columnheader" scope="col" data-sort="class">Class and guesses</th>']
    for part, place in _order(models):
        name = escape(models[place])
        if part == "figure":
            cells.append(f'<th class="figure m{place}" role="columnheader" scope="col">Figure, {name}</th>')
            continue
        for number, key in enumerate(keys):
            cells.append(f'<th class="number m{place} c{number % 3} r{number // 3}" role="columnheader" scope="col" '
                         f'style="--line:{number // 2 + 2};--side:{number % 2}" data-sort="number" '
                         f'title="{escape(SCORES[key])}">{key}<span class="of"> of {name}</span></th>')  # fmt: skip
    words = "".join(f' data-m{place}="Scores, {escape(name)}"' for place, name in enumerate(models))
    return f'<tr role="row"{words}>{"".join(cells)}</tr>'


def _row(label: str, records, images, models, keys, address: str) -> str:
    right = "".join("" if one["target"] is None else str(int(one["guess"] == one["target"])) for one in records)
    guesses = "".join(f'<span class="guess">{_guess(name, one)}</span>'
                      for name, one in zip(models, records, strict=True))  # fmt: skip
    link = f'<a class="link" href="#{address}">clip {escape(str(records[0]["id"]))}</a>'
    cells = [f'<th class="class" role="rowheader" scope="row"><span class="name">{escape(label)}</span>{guesses}'
             f'<span class="links">{link}</span></th>']  # fmt: skip
    for part, place in _order(models):
        if part == "figure":
            name = escape(models[place])
            cells.append(f'<td class="figure m{place}" role="cell" data-label="{name}">{images[place]}</td>')
            continue
        for number, key in enumerate(keys):
            value = _value(records[place], key)
            shown = "–" if math.isnan(value) else f"{value:.0f}" if key == "length" else f"{value:.3f}"
            if key == "RS/FS" and not math.isnan(value):
                shown = f"{value:.0f}" if value >= 100 else f"{value:.2g}"
            exact = "" if math.isnan(value) else f"{value:.6g}"
            cells.append(f'<td class="number m{place} c{number % 3} r{number // 3}" role="cell" '
                         f'style="--line:{number + 1}" data-label="{key}" data-value="{exact}">{shown}</td>')
    return f'<tr role="row" id="{address}" data-right="{right}">{"".join(cells)}</tr>'


def _guess(name: str, record: Mapping) -> str:
    if record["target"] is None:
        return f"{escape(name)}: {escape(record['P'])}"
    if record["guess"] == record["target"]:
        return f"{escape(name)}: right"
    return f"{escape(name)}: wrong, <em>{escape(record['P'])}</em>"


def _tools(rows, records, models: Sequence[str]) -> str:
    """What only a page with JavaScript shows: filters, the button for motion, how many clips are shown."""
    names = list(dict.fromkeys(row.label for row in rows))
    options = [f'<option value="">all {len(names)}</option>', *(f"<option>{escape(name)}</option>" for name in names)]
    parts = [f'<label>Class <select class="by-class">{"".join(options)}</select></label>']
    if all(one["target"] is not None for own in records for one in own):
        words = {"1": "right", "0": "wrong"}
        if len(models) == 2:
            words = {"11": "both right", "10": f"only {models[0]} right", "01": f"only {models[1]} right",
                     "00": "both wrong"}  # fmt: skip
        options = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in words.items())
        parts.append(f'<label>Guesses <select class="by-guess"><option value="">all</option>{options}</select></label>')
    parts.append('<button type="button" class="again">All clips, in the first order</button>')
    parts.append('<button type="button" class="interp-motion" hidden>Stop all motion</button>')
    parts.append('<p class="count" role="status"></p>')
    return f'<div class="tools" role="group" aria-label="Choose and sort clips" hidden>{"".join(parts)}</div>'


def _order(models: Sequence[str]) -> list[tuple[str, int]]:
    return [("scores", 0), ("figure", 0), ("figure", 1), ("scores", 1)][: 2 * len(models)]


def _value(record: Mapping, key: str) -> float:
    if key == "length":
        return float(sum(record["snapped"]))
    if key == "RS/FS":
        scores = (torch.tensor([record[name]], dtype=torch.float64) for name in ("RS", "FS"))
        return float(measure.order_ratio(*scores, published.RESOLUTION))
    return math.nan if record[key] is None else float(record[key])


def _addresses(ids: Sequence) -> list[str]:
    """clip-ID for every id, in the letters that an address may hold; the second of the same name gets a number."""
    found: list[str] = []
    for one in ids:
        plain = "clip-" + re.sub(r"[^A-Za-z0-9_-]+", "-", str(one))
        same = sum(re.fullmatch(rf"{re.escape(plain)}(--\d+)?", other) is not None for other in found)
        found.append(f"{plain}--{same + 1}" if same else plain)
    return found


def _record(explanation) -> Mapping:
    return explanation if isinstance(explanation, Mapping) else explanation.to_dict()
