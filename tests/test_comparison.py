"""The results table: escaped and whole without JavaScript; with it sorted, filtered, linked, explored, stilled."""

import re

import pytest
import torch
from offline import opened
from reading import Reader
from test_figures import explanation
from toy_explorer import SHORT, Net

from interp import widgets
from interp.show import html

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
    with pytest.raises(ValueError, match="each of 2 models, got 1"):
        html.results_table([one])
    with pytest.raises(ValueError, match="got 3 models"):
        html.results_table([], models=("a", "b", "c"))


def test_addresses_hold_only_what_an_address_may():
    assert html._addresses(["7", "7", "a b/ü", 'x"><', "7"]) == [
        "clip-7", "clip-7--2", "clip-a-b-", "clip-x-", "clip-7--3"]  # fmt: skip


ORDER = "all => all.filter(r => r.getClientRects().length).map(r => r.id.slice(5))"
FILMS = "all => all.map(i => i.currentSrc === i.src)"  # true where the film, not its still, is shown


def order(page):
    return "".join(page.eval_on_selector_all("tbody tr", ORDER))


@pytest.mark.browser
def test_columns_sort_by_their_numbers(browser, table, tmp_path):
    with opened(browser, table, tmp_path) as page:
        assert page.locator("thead button").count() == 1 + 6 + 6
        for place, model in enumerate(("I3D", "C-LSTM")):
            for number, key in enumerate(("OS", "FS", "RS", "length")):
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
        page.get_by_role("button", name="Class and guesses").click()
        assert order(page) == "acbd" and "sorted by Class and guesses, A to Z" in page.inner_text(".count")
        page.get_by_role("button", name="All clips").click()
        assert order(page) == "abcd" and page.locator('th[aria-sort="none"]').count() == 13


@pytest.mark.browser
def test_filters_links_and_paper(browser, table, tmp_path):
    tall = "<p style='height:3000px'>before</p>" + table + "<p style='height:3000px'>after</p>"
    seen = "e => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; }"
    with opened(browser, tall, tmp_path, address="#clip-c") as page:
        page.wait_for_selector("#clip-c.found")
        assert page.eval_on_selector("#clip-c", seen)
        page.get_by_label("Class").select_option(label="Moving <b>left</b>")
        assert order(page) == "ac" and page.inner_text(".count") == "2 of 4 clips."
        page.get_by_label("Guesses").select_option(label="only I3D right")
        assert order(page) == "c"
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert order(page) == "abcd"
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert order(page) == "c"
        page.evaluate("() => { location.hash = 'clip-b'; }")  # filtered away
        page.wait_for_selector("#clip-b.found")
        assert order(page) == "abcd" and page.eval_on_selector("#clip-b", seen)
        assert page.evaluate("document.activeElement.getAttribute('href')") == "#clip-b"


@pytest.mark.browser
def test_motion_stops_and_starts_and_waits_for_the_window(browser, table, tmp_path):
    tall = table + "<p style='height:3000px'></p>" + table.replace("clip-", "other-")
    playing = f"() => ({FILMS})([...document.querySelectorAll('#clip-a img')]).every(Boolean)"
    with opened(browser, tall, tmp_path) as page:
        page.wait_for_function(playing)
        assert page.eval_on_selector_all("[id^=other] img", FILMS) == [False] * 8  # far below the window
        page.get_by_role("button", name="Stop all motion").first.click()
        page.wait_for_function(f"() => !({FILMS})([...document.images]).some(Boolean)")
        page.get_by_role("button", name="Start all motion").first.click()
        page.wait_for_function(playing)
    with opened(browser, table, tmp_path, reduced_motion="reduce") as page:
        assert page.eval_on_selector_all("img", FILMS) == [False] * 8
    with opened(browser, table, tmp_path, reduced_motion="reduce", java_script_enabled=False) as page:
        assert page.locator("tbody tr").count() == 4 and page.locator("tbody tr").last.is_visible()
        assert page.get_by_role("button").count() == page.get_by_role("combobox").count() == 0


@pytest.mark.browser
def test_the_window_holds_the_clips_own_explorer(browser, tmp_path):
    changes = {"id": "9", "size": (32, 32), "classes": CLASSES * 2, "probabilities": torch.full((4,), 0.25)}
    pair = [explanation(model=model, **changes) for model in ("i3d", "clstm")]
    data = widgets.explorer_data(pair, {"I3D": Net(8), "C-LSTM": Net(8, 25)}, title="</script><b>", recipe=SHORT)
    text = widgets.page_script() + html.results_table([html.TableRow("a", pair, data)], panel=16)
    with opened(browser, text, tmp_path) as page:
        assert page.get_by_role("listbox").count() == 0  # nothing is made before the window opens
        for _ in range(2):
            page.get_by_role("button", name="Explore a, clip 9").focus()
            page.keyboard.press("Enter")
            dialog = page.get_by_role("dialog", name="Explorer of clip 9, a")
            frames = dialog.get_by_role("listbox").get_by_role("option")
            assert frames.count() == 8 and "</script><b>" in dialog.inner_text()
            frames.nth(7).click()
            assert frames.nth(7).get_attribute("aria-selected") == "true"
            page.keyboard.press("Escape")
            dialog.wait_for(state="detached")
            assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Explore a, clip 9"


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 700, 1280])
def test_no_width_scrolls_sideways_or_lays_cells_over_each_other(browser, table, tmp_path, width):
    with opened(browser, table, tmp_path, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        over = page.evaluate("""() => [...document.querySelectorAll('tr')].flatMap(row => {
            const boxes = [...row.cells].map(c => [c, c.getBoundingClientRect()]).filter(([, r]) => r.width);
            return boxes.flatMap(([a, r], i) => boxes.slice(i + 1).filter(([b, s]) => r.left < s.right - 1 &&
                s.left < r.right - 1 && r.top < s.bottom - 1 && s.top < r.bottom - 1)
                .map(([b]) => a.textContent + ' over ' + b.textContent)); })""")
        assert over == []
        assert page.get_by_role("columnheader").count() >= 13 and page.get_by_role("rowheader").count() == 4
