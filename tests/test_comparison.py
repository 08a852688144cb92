"""The results table: escaped and whole without JavaScript; with it sorted, filtered, linked, explored, stilled."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from offline import opened
from PIL import Image
from reading import Reader
from test_figures import record

from interp import comparison, figures, films, widgets

CLASSES = ("Moving <b>left</b>", "right & up")
# label, then for each of two models: OS, FS, RS, frames on, guess
ROWS = [
    ("a", 0, (0.9, 0.05, 0.4, 3, 0), (0.2, 0.1, 0.05, 5, 0)),
    ("b", 1, (0.10, 0.02, 0.01, 4, 1), (0.8, 0.0001, 0.0002, 1, 0)),
    ("c", 0, (0.95, 0.5, 0.25, 2, 0), (0.7, 0.3, 0.6, 8, 1)),
    ("d", 1, (0.5, 0.25, 0.5, 1, 1), (0.3, 0.2, 0.1, 2, 1)),
]
FILM = films.encode(np.stack([np.full((8, 24, 3), level, np.uint8) for level in (0, 120, 240)]), kind="webp")


def rows(explorer=None):
    made = []
    for name, target, *scores in ROWS:
        pair = []
        for model, (OS, FS, RS, on, guess) in zip(("i3d", "clstm"), scores, strict=True):
            wrong = guess != target
            pair.append(record(on=range(on), id=name, model=model, target=target, guess=guess, explained=guess,
                               classes=CLASSES, OS=OS, FS=FS, RS=RS, CS=0.08 if wrong else None))  # fmt: skip
        made.append(comparison.TableRow(CLASSES[target], pair, (FILM, FILM), explorer and {**explorer, "id": name}))
    return made


def numbers(page: Reader, key: str) -> list[str]:
    return [cell["data-value"] for cell in page.all("td") if cell.get("data-label") == key]


def test_the_table_is_the_papers_escaped_and_described():
    one, other = record(), record(model="clstm", CS=None, target=0)
    row = figures.TableRow('Moving "<something>" & more', (one, other.to_dict()), (None, "figs/a ü<.gif"))
    html = figures.results_table([row, row])
    page = Reader(html)
    assert page.open == []
    heads = [cell.get("title", "") for cell in page.all("th")]
    assert len(heads) == 1 + 6 + 1 + 1 + 6 + 2 and [a["scope"] for a in page.all("th")][-2:] == ["row"] * 2
    order = re.findall(r"Figure, [\w-]+|OS<|length<|Class and", html.split("</thead>")[0])
    assert order == ["Class and", "OS<", "length<", "Figure, I3D", "Figure, C-LSTM", "OS<", "length<"]
    assert "<b>" not in html and 'Moving "<something>" & more' in page.text
    assert "right & up" not in html and "Moving <b>left</b>" in page.text  # the wrong guess of I3D
    images = page.all("img")
    assert len(images) == 4 and all(image["loading"] == "lazy" for image in images)
    assert images[0]["src"].startswith("data:image/webp;base64,")
    assert images[1]["src"] == "figs/a%20%C3%BC%3C.gif"
    assert "frames 4-6 of 8 frozen it gives 0.05" in images[0]["alt"]
    assert "C-LSTM guesses" in images[1]["alt"]
    assert numbers(page, "OS") == ["0.9"] * 4 and numbers(page, "CS") == ["0.08", ""] * 2
    assert numbers(page, "RS/FS") == ["8"] * 4 and numbers(page, "length") == ["3"] * 4
    assert [row.get("id") for row in page.all("tr")] == [None, "clip-7", "clip-7--2"]
    assert [link["href"] for link in page.all("a")] == ["#clip-7", "#clip-7--2"]


def test_numbers_that_are_not_there():
    page = Reader(comparison.results_table(rows()))
    assert numbers(page, "RS/FS")[3] == ""  # both scores are printed as 0.000
    assert numbers(page, "CS")[3] == numbers(page, "CS")[5] == "0.08"
    right = Reader(comparison.results_table([rows()[0]]))
    assert numbers(right, "CS") == []  # nobody is wrong: no such column
    assert [row.get("data-right") for row in page.all("tr")] == [None, "11", "10", "10", "11"]


def test_addresses_hold_only_what_an_address_may():
    assert comparison._addresses(["7", "7", "a b/ü", 'x"><', "7"]) == [
        "clip-7", "clip-7--2", "clip-a-b-", "clip-x-", "clip-7--3"]  # fmt: skip


def test_one_model_and_wrong_numbers_of_records():
    assert Reader(comparison.results_table([comparison.TableRow("a", (record(),), (FILM,))], ("I3D",))).open == []
    with pytest.raises(ValueError, match="1 records and 1 figures for 2 models"):
        figures.results_table([figures.TableRow("a", (record(),))])
    with pytest.raises(ValueError, match="cannot be drawn"):
        figures.results_table([figures.TableRow("a", (record().to_dict(),))], models=("I3D",))
    with pytest.raises(ValueError, match="got 3 models"):
        figures.results_table([], models=("a", "b", "c"))


def test_the_still_is_a_frame_of_the_mask():
    page = Reader(comparison.results_table([replace(rows()[0], figures=None)], panel=16))
    for source, wanted in zip(page.all("source"), (1, 2), strict=True):  # of 3 and of 5 frames from the first
        still = Image.open(io.BytesIO(base64.b64decode(source["srcset"].partition(",")[2])))
        assert abs(np.asarray(still.convert("RGB"))[4, 4].astype(int) - 20 * wanted).max() < 8
        assert "print" in source["media"] and "prefers-reduced-motion" in source["media"]


@pytest.fixture(scope="module")
def html():
    return comparison.results_table(rows())


ORDER = "all => all.filter(r => r.getClientRects().length).map(r => r.id.slice(5))"
FILMS = "all => all.map(i => i.currentSrc === i.src)"  # true where the film, not its still, is shown


def order(page):
    return "".join(page.eval_on_selector_all("tbody tr", ORDER))


@pytest.mark.browser
def test_every_column_sorts_by_its_numbers(browser, html, tmp_path):
    with opened(browser, html, tmp_path) as page:
        assert page.locator("thead button").count() == 1 + 6 + 6
        for place, model in enumerate(("I3D", "C-LSTM")):
            for number, key in enumerate(("OS", "FS", "RS", "length")):
                values = {row[0]: row[2 + place][number] for row in ROWS}
                button = page.get_by_role("button", name=f"{key} of {model}", exact=True)
                button.click()
                head = button.locator("xpath=..")
                assert order(page) == "".join(sorted(values, key=values.get)), (key, model)
                assert head.get_attribute("aria-sort") == "ascending"
                button.click()
                assert order(page) == "".join(sorted(values, key=values.get, reverse=True)), (key, model)
                assert head.get_attribute("aria-sort") == "descending"
                assert page.locator('th[aria-sort="descending"], th[aria-sort="ascending"]').count() == 1
        page.get_by_role("button", name="RS/FS of C-LSTM").click()
        assert order(page) == "adcb"  # 0.5, 0.5 in the first order, 2, none
        page.get_by_role("button", name="RS/FS of C-LSTM").click()
        assert order(page) == "cadb"  # what has no number comes last both ways
        page.get_by_role("button", name="Class and guesses").click()
        assert order(page) == "acbd"
        assert "sorted by Class and guesses, A to Z" in page.inner_text(".count")
        page.get_by_role("button", name="All clips").click()
        assert order(page) == "abcd" and page.locator('th[aria-sort="none"]').count() == 13


@pytest.mark.browser
def test_filters_count_and_keyboard(browser, html, tmp_path):
    with opened(browser, html, tmp_path) as page:
        assert page.inner_text(".count") == "4 of 4 clips."
        page.get_by_label("Class").select_option(label="Moving <b>left</b>")
        assert order(page) == "ac" and page.inner_text(".count") == "2 of 4 clips."
        page.get_by_label("Guesses").select_option(label="only I3D right")
        assert order(page) == "c"
        page.get_by_role("button", name="All clips").focus()
        page.keyboard.press("Enter")
        assert order(page) == "abcd"
        page.get_by_role("button", name="OS of I3D").focus()
        page.keyboard.press("Space")
        assert order(page) == "bdac"
        assert page.evaluate("document.activeElement.textContent") == "OS of I3D"


@pytest.mark.browser
def test_a_link_to_a_clip_finds_it_even_where_it_is_filtered_away(browser, html, tmp_path):
    tall = "<p style='height:3000px'>before</p>" + html + "<p style='height:3000px'>after</p>"
    seen = "e => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; }"
    with opened(browser, tall, tmp_path, address="#clip-c") as page:
        page.wait_for_selector("#clip-c.found")
        assert page.eval_on_selector("#clip-c", seen)
        page.get_by_label("Guesses").select_option(label="both right")
        assert order(page) == "ad"
        page.evaluate("() => { location.hash = 'clip-b'; }")
        page.wait_for_selector("#clip-b.found")
        assert order(page) == "abcd" and page.eval_on_selector("#clip-b", seen)
        assert page.evaluate("document.activeElement.getAttribute('href')") == "#clip-b"
        assert page.locator(".found").count() == 1


@pytest.mark.browser
def test_motion_stops_and_starts_and_waits_for_the_window(browser, html, tmp_path):
    tall = html + "<p style='height:3000px'></p>" + html.replace("clip-", "other-")
    with opened(browser, tall, tmp_path) as page:
        page.wait_for_function(f"() => ({FILMS})([...document.querySelectorAll('#clip-a img')]).every(Boolean)")
        assert page.eval_on_selector_all("[id^=other] img", FILMS) == [False] * 8  # far below the window
        page.get_by_role("button", name="Stop all motion").first.click()
        page.wait_for_function(f"() => !({FILMS})([...document.images]).some(Boolean)")
        page.get_by_role("button", name="Start all motion").first.click()
        page.wait_for_function(f"() => ({FILMS})([...document.querySelectorAll('#clip-a img')]).every(Boolean)")
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        page.wait_for_function(f"() => !({FILMS})([...document.images]).some(Boolean)")


@pytest.mark.browser
@pytest.mark.parametrize("script", [True, False])
def test_stills_for_readers_who_prefer_less_motion(browser, html, tmp_path, script):
    with opened(browser, html, tmp_path, reduced_motion="reduce", java_script_enabled=script) as page:
        assert page.locator("tbody tr").count() == 4 and page.locator("tbody tr").last.is_visible()
        assert page.get_by_role("button").count() == (15 if script else 0)
        assert page.get_by_role("combobox").count() == (2 if script else 0)
    with opened(browser, html, tmp_path, reduced_motion="reduce") as page:
        assert page.eval_on_selector_all("img", FILMS) == [False] * 8
        page.get_by_role("button", name="Start all motion").click()
        page.wait_for_function(f"() => ({FILMS})([...document.images]).every(Boolean)")


@pytest.mark.browser
def test_paper_gets_every_row(browser, html, tmp_path):
    with opened(browser, html, tmp_path) as page:
        page.get_by_label("Guesses").select_option(label="both right")
        page.emulate_media(media="print")
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert order(page) == "abcd" and not page.locator(".tools").is_visible()
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen")
        assert order(page) == "ad"


@pytest.mark.browser
def test_an_explorer_is_made_when_its_window_opens(browser, tmp_path):
    stand_in = """<script>window.interpExplorer = {mount(place, data) {
        place.innerHTML = '<button>paint</button>'; place.dataset.id = data.id + data.words; window.mounted = true;
        return {destroy() { window.mounted = false; }}; }}</script>"""
    with opened(browser, stand_in + comparison.results_table(rows({"words": "</script><b>"})), tmp_path) as page:
        button = page.get_by_role("button", name="Explore right & up, clip b")
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Explorer of clip b, right & up")
        assert dialog.locator("[data-id]").get_attribute("data-id") == "b</script><b>"
        assert page.evaluate("document.activeElement.closest('dialog') !== null && window.mounted")
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        assert page.evaluate("window.mounted") is False
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Explore right & up, clip b"
        button.click()
        page.get_by_role("button", name="Close").click()
        page.get_by_role("dialog").wait_for(state="detached")


class Net(torch.nn.Module):
    """Two classes, from the light of the last frame."""

    def forward(self, clips):
        light = clips[:, :, -1].mean((1, 2, 3))
        return torch.stack([4 * light, 2 - light], dim=1)


@pytest.mark.browser
def test_the_window_holds_the_clips_own_explorer(browser, tmp_path):
    pair = [record(id="9"), record(id="9", model="clstm")]
    data = widgets.explorer_data(pair, {"I3D": Net(), "C-LSTM": Net()})
    html = widgets.page_script() + comparison.results_table([comparison.TableRow("a", pair, (FILM, FILM), data)])
    with opened(browser, html, tmp_path) as page:
        assert page.get_by_role("listbox").count() == 0  # nothing is made before it is asked for
        page.get_by_role("button", name="Explore a, clip 9").click()
        frames = page.get_by_role("dialog").get_by_role("listbox").get_by_role("option")
        assert frames.count() == 8
        frames.nth(7).click()
        assert frames.nth(7).get_attribute("aria-selected") == "true"
        page.keyboard.press("Escape")
        page.get_by_role("listbox").wait_for(state="detached")
        page.get_by_role("button", name="Explore a, clip 9").click()  # and again
        assert frames.count() == 8


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 700, 1000, 1280])
def test_no_width_scrolls_sideways_or_lays_cells_over_each_other(browser, html, tmp_path, width):
    with opened(browser, html, tmp_path, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        over = page.evaluate("""() => [...document.querySelectorAll('tr')].flatMap(row => {
            const boxes = [...row.cells].map(c => [c, c.getBoundingClientRect()]).filter(([, r]) => r.width);
            return boxes.flatMap(([a, r], i) => boxes.slice(i + 1).filter(([b, s]) => r.left < s.right - 1 &&
                s.left < r.right - 1 && r.top < s.bottom - 1 && s.top < r.bottom - 1)
                .map(([b]) => a.textContent + ' over ' + b.textContent)); })""")
        assert over == []
        assert page.get_by_role("columnheader").count() >= 13 and page.get_by_role("rowheader").count() == 4
