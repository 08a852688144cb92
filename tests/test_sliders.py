"""The slider shows the picture of its setting; without JavaScript the start and a table of all settings."""

import json
import re

import numpy as np
import pytest
from offline import opened
from reading import Reader

from interp.show import figure, html

LEVELS = [[10, 60, 110], [160, 210, 250]]  # of two choices, three frames
CONTROLS = [html.Control("Weights <i>", ["per clip", "per frame"], choice=True),
            html.Control("Frame", ["1 of 3", "2 of 3", "3 of 3"], start=1)]  # fmt: skip


def pictures():
    frames = [np.full((1, 4, 6, 3), level, np.uint8) for row in LEVELS for level in row]
    words = [f"grey {frame[0, 0, 0, 0]} & <no more>" for frame in frames]
    films = [figure.encode(frame, kind="webp") for frame in frames]
    return [html.picture(film, text, lazy=False) for film, text in zip(films, words, strict=True)], words


def test_the_start_stands_in_the_page_and_all_settings_in_its_table():
    views, words = pictures()
    text = html.slider(CONTROLS, views, words, name="grey", caption="a <caption>")
    page = Reader(text.replace("<noscript>", "").replace("</noscript>", ""))
    assert page.open == [] and page.all("img")[0]["alt"] == words[1]
    assert "<i>" not in text.split("<script")[0] and "a <caption>" in page.text
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
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        html.slider([html.Control("a", "xyz", start=3)], views[:3], words[:3], name="a")
    with pytest.raises(ValueError, match="letters, digits"):
        html.slider(CONTROLS, views, words, name='a"b')


PIXEL = """async image => { await image.decode(); const c = document.createElement('canvas');
    c.width = image.naturalWidth; c.height = image.naturalHeight; const pen = c.getContext('2d');
    pen.drawImage(image, 0, 0); return pen.getImageData(2, 2, 1, 1).data[0]; }"""


@pytest.mark.browser
def test_keyboard_and_mouse_show_the_setting_they_choose(browser, tmp_path):
    views, words = pictures()
    text = html.slider(CONTROLS, views, words, name="grey") + html.slider(
        CONTROLS[1:], views[:3], words[:3], name="second")
    with opened(browser, text, tmp_path, viewport={"width": 360, "height": 700}) as page:
        slider = page.locator("#grey")

        def check(choice, frame):
            assert abs(page.eval_on_selector("#grey .view img", PIXEL) - LEVELS[choice][frame]) <= 2  # WebP
            assert slider.locator(".words").inner_text() == words[3 * choice + frame]
            assert slider.locator("img").get_attribute("alt") == words[3 * choice + frame]
            assert slider.locator("output").inner_text() == f"{frame + 1} of 3"

        check(0, 1)
        frame = page.get_by_role("slider", name="Frame").first
        frame.focus()
        page.keyboard.press("ArrowRight")
        check(0, 2)
        assert frame.get_attribute("aria-valuetext") == "3 of 3"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowDown")
        check(1, 2)
        page.get_by_label("per clip").check()
        frame.fill("0")
        check(0, 0)
        assert page.locator("#second .words").inner_text() == words[1]  # the other slider stays where it was
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


@pytest.mark.browser
def test_without_javascript_the_start_and_the_table(browser, tmp_path):
    text = html.slider(CONTROLS, *pictures(), name="grey")
    with opened(browser, text, tmp_path, java_script_enabled=False) as page:
        assert page.get_by_role("slider").count() == 0 and page.get_by_role("img").count() == 1
        assert page.locator("noscript tr").count() == 7 and page.locator("noscript tr").last.is_visible()
