"""HTML: escaped and whole without JavaScript; with it a table is sorted, filtered and linked, a slider moves."""

import json
import re

import numpy as np
import pytest
import torch
from offline import opened
from reading import Reader
from test_figures import explanation
from toy_explorer import SHORT, Net

from interp import widgets
from interp.show import figure, html

CLASSES = ("Moving <b>left</b>", "right & up")
# label, then for each of two models: OS, FS, RS, frames on, guess
ROWS = [
    ("a", 0, (0.9, 0.05, 0.4, 3, 0), (0.2, 0.1, 0.05, 5, 0)),
    ("b", 1, (0.10, 0.02, 0.01, 4, 1), (0.8, 0.0001, 0.0002, 1, 0)),
    ("c", 0, (0.95, 0.5, 0.25, 2, 0), (0.7, 0.3, 0.6, 8, 1)),
    ("d", 1, (0.5, 0.25, 0.5, 1, 1), (0.3, 0.2, 0.1, 2, 1)),
]


def rows(explorer=None):
    made = []
    for name, target, *scores in ROWS:
        pair = [explanation(on=range(on), id=name, model=model, target=target, guess=guess, explained=guess,
                            classes=CLASSES, OS=OS, FS=FS, RS=RS, CS=0.08 if guess != target else None)
                for model, (OS, FS, RS, on, guess) in zip(("i3d", "clstm"), scores, strict=True)]  # fmt: skip
        made.append(html.TableRow(CLASSES[target], pair, explorer and {**explorer, "id": name}))
    return made


@pytest.fixture(scope="module")
def table():
    return html.results_table(rows(), panel=16)


def numbers(page: Reader, key: str) -> list[str]:
    return [cell["data-value"] for cell in page.all("td") if cell.get("data-label") == key]


def test_figure_html_says_what_it_shows():
    page = Reader(html.figure_html(explanation(), min_width=16))
    (image,), (source,) = page.all("img"), page.all("source")
    assert page.open == [] and image["src"].startswith("data:image/webp") and image["width"] == "48"
    assert image["alt"] == figure.describe(explanation()) and image["alt"] in "".join(page.text)
    assert "print" in source["media"] and "prefers-reduced-motion" in source["media"]
    still = Reader(html.picture(figure.encode(np.zeros((1, 4, 4, 3), np.uint8), kind="webp"), "a"))
    assert len(still.all("img")) == 1 and still.all("picture") == []


def test_the_table_is_the_papers_escaped_and_described():
    pair = explanation(), explanation(model="clstm", CS=None, target=0)
    row = html.TableRow('Moving "<something>" & more', pair)
    text = html.results_table([row, row], panel=16)
    page = Reader(text)
    assert page.open == []
    assert len(page.all("th")) == 1 + 6 + 1 + 1 + 6 + 2 and [a["scope"] for a in page.all("th")][-2:] == ["row"] * 2
    order = re.findall(r"Figure, [\w-]+|OS\n?<|length\n?<|Class and", text.split("</thead>")[0])
    assert order == ["Class and", "OS<", "length<", "Figure, I3D", "Figure, C-LSTM", "OS<", "length<"]
    assert "<b>" not in text and 'Moving "<something>" & more' in page.text
    assert "right & up" not in text and "Moving <b>left</b>" in page.text  # the wrong guess of I3D
    images = page.all("img")
    assert len(images) == 4 and all(image["loading"] == "lazy" for image in images)
    assert "frames 4-6 of 8 frozen the score is 0.05" in images[0]["alt"] and "C-LSTM guesses" in images[1]["alt"]
    assert numbers(page, "OS") == ["0.9"] * 4 and numbers(page, "CS") == ["0.08", ""] * 2
    assert numbers(page, "RS/FS") == ["8"] * 4 and numbers(page, "length") == ["3"] * 4
    assert [row.get("id") for row in page.all("tr")] == [None, "clip-7", "clip-7--2"]
    assert [link["href"] for link in page.all("a")] == ["#clip-7", "#clip-7--2"]


def test_missing_numbers_and_one_model(table):
    page = Reader(table)
    assert numbers(page, "RS/FS")[3] == ""  # both scores are printed as 0.000
    assert numbers(page, "CS")[3] == numbers(page, "CS")[5] == "0.08"
    assert [row.get("data-right") for row in page.all("tr")] == [None, "11", "10", "10", "11"]
    assert numbers(Reader(html.results_table(rows()[:1], panel=16)), "CS") == []  # no guess is wrong: no such column
    one = html.TableRow("a", (explanation(target=None, CS=None),))
    assert Reader(html.results_table([one], ("I3D",), panel=16)).open == []
    for models in (("I3D", "C-LSTM"), ("a", "b", "c")):
        with pytest.raises(ValueError, match="expected one or two models"):
            html.results_table([one], models)


ORDER = "all => all.filter(r => r.getClientRects().length).map(r => r.id.slice(5))"
FILMS = "all => all.map(i => i.currentSrc === i.src)"  # true where the film, not its still, is shown


def order(page):
    return "".join(page.eval_on_selector_all("tbody tr", ORDER))


@pytest.mark.browser
def test_the_table_sorts_filters_finds_and_stops(browser, table, tmp_path):
    tall = "<p style='height:3000px'>before</p>" + table + "<p style='height:3000px'>after</p>"
    seen = "e => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; }"
    with opened(browser, tall, tmp_path, address="#clip-c") as page:
        page.wait_for_selector("#clip-c.found")
        assert page.eval_on_selector("#clip-c", seen)
        page.wait_for_function(f"() => ({FILMS})([...document.querySelectorAll('#clip-c img')]).every(Boolean)")
        page.get_by_role("button", name="Stop all motion").click()
        page.wait_for_function(f"() => !({FILMS})([...document.images]).some(Boolean)")
        for place, model in enumerate(("I3D", "C-LSTM")):
            for number, key in ((0, "OS"), (3, "length")):
                values = {row[0]: row[2 + place][number] for row in ROWS}
                button = page.get_by_role("button", name=f"{key} of {model}", exact=True)
                for down, words in ((False, "ascending"), (True, "descending")):
                    button.click()
                    assert order(page) == "".join(sorted(values, key=values.get, reverse=down)), (key, model)
                    assert button.locator("xpath=..").get_attribute("aria-sort") == words
        page.get_by_role("button", name="RS/FS of C-LSTM").click()
        assert order(page) == "adcb"  # 0.5, 0.5 in the first order, 2, none
        page.get_by_role("button", name="RS/FS of C-LSTM").click()
        assert order(page) == "cadb"  # rows without a number come last both ways
        page.get_by_role("button", name="All clips").click()
        assert order(page) == "abcd" and page.locator('th[aria-sort="none"]').count() == 13
        page.get_by_label("Class").select_option(label="Moving <b>left</b>")
        assert order(page) == "ac" and page.inner_text(".count") == "2 of 4 clips."
        page.get_by_label("Guesses").select_option(label="only I3D right")
        assert order(page) == "c"
        page.evaluate("() => { location.hash = 'clip-b'; }")  # filtered away
        page.wait_for_selector("#clip-b.found")
        assert order(page) == "abcd" and page.eval_on_selector("#clip-b", seen)
    calm = {"reduced_motion": "reduce", "java_script_enabled": False, "viewport": {"width": 360, "height": 800}}
    with opened(browser, table, tmp_path, **calm) as page:
        assert page.eval_on_selector_all("img", FILMS) == [False] * 8
        assert page.locator("tbody tr").count() == 4 and page.locator("tbody tr").last.is_visible()
        assert page.get_by_role("button").count() == page.get_by_role("combobox").count() == 0


@pytest.mark.browser
def test_the_window_holds_the_clips_own_explorer(browser, tmp_path):
    changes = {"id": "9", "size": (32, 32), "classes": CLASSES * 2, "probabilities": torch.full((4,), 0.25)}
    pair = [explanation(model=model, **changes) for model in ("i3d", "clstm")]
    data = widgets.Explorer(pair, {"I3D": Net(8), "C-LSTM": Net(8, 25)}, recipe=SHORT).data | {"title": "</script><b>"}
    text = widgets.page_script() + html.results_table([html.TableRow("a", pair, data)], panel=16)
    with opened(browser, text, tmp_path) as page:
        assert page.get_by_role("listbox").count() == 0  # nothing is made before the window opens
        page.get_by_role("button", name="Explore a, clip 9").click()
        dialog = page.get_by_role("dialog", name="Explorer of clip 9, a")
        assert dialog.get_by_role("listbox").get_by_role("option").count() == 8
        assert "</script><b>" in dialog.inner_text()
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Explore a, clip 9"


CONTROLS = [html.Control("Weights <i>", ["per clip", "per frame"], choice=True),
            html.Control("Frame", ["1 of 3", "2 of 3", "3 of 3"], start=1)]  # fmt: skip


def pictures():
    frames = [np.full((1, 4, 6, 3), level, np.uint8) for level in range(10, 250, 40)]
    words = [f"grey {frame[0, 0, 0, 0]} & <no more>" for frame in frames]
    films = [figure.encode(frame, kind="webp") for frame in frames]
    return [html.picture(film, text, lazy=False) for film, text in zip(films, words, strict=True)], words


def test_the_start_stands_in_the_page_and_all_settings_in_its_table():
    views, words = pictures()
    text = html.slider(CONTROLS, views, words, name="grey")
    page = Reader(text.replace("<noscript>", "").replace("</noscript>", ""))
    assert page.open == [] and page.all("img")[0]["alt"] == words[1]
    assert "<i>" not in text.split("<script")[0]
    assert [cell for cell in page.text if cell in words] == [words[1], *words]  # under the picture, and in the table
    inputs = page.all("input")
    assert [each["type"] for each in inputs] == ["radio", "radio", "range"] and "checked" in inputs[0]
    assert inputs[2] == {"type": "range", "id": "grey-1", "min": "0", "max": "2", "step": "1", "value": "1",
                         "aria-valuetext": "2 of 3"}
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])
    assert data["views"] == views and data["sizes"] == [2, 3] and data["words"] == words


def test_numbers_that_do_not_fit_are_refused():
    views, words = pictures()
    with pytest.raises(ValueError, match="each of 6 settings, got 5 views and 6 words"):
        html.slider(CONTROLS, views[:5], words, name="a")
    with pytest.raises(ValueError, match="invalid entry"):
        html.slider([html.Control("a", "xyz", start=3)], views[:3], words[:3], name="a")


@pytest.mark.browser
def test_keyboard_and_mouse_show_the_setting_they_choose(browser, tmp_path):
    views, words = pictures()
    text = html.slider(CONTROLS, views, words, name="grey")
    text += html.slider(CONTROLS[1:], views[:3], words[:3], name="second")
    with opened(browser, text, tmp_path, viewport={"width": 360, "height": 700}) as page:
        slider, frame = page.locator("#grey"), page.get_by_role("slider", name="Frame").first

        def check(choice, number):
            assert slider.locator(".words").inner_text() == words[3 * choice + number]
            assert slider.locator("img").get_attribute("alt") == words[3 * choice + number]
            assert slider.locator("output").inner_text() == f"{number + 1} of 3"
            assert frame.get_attribute("aria-valuetext") == f"{number + 1} of 3"

        check(0, 1)
        frame.focus()
        page.keyboard.press("ArrowRight")
        check(0, 2)
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowDown")
        check(1, 2)
        page.get_by_label("per clip").check()
        frame.fill("0")
        check(0, 0)
        assert page.locator("#second .words").inner_text() == words[1]  # the other slider stays where it was
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_a_data_frame_is_shown_whole_and_escaped():
    pandas = pytest.importorskip("pandas")
    text = html.table(pandas.DataFrame({"a": ["<b>" + 80 * "x"], "number": [1]}))
    assert 80 * "x" in text and "&lt;b&gt;" in text and "<th>number</th>" in text
