"""The slider shows the picture of its setting, pixel for pixel Python's; the search's picture holds the path."""

import base64
import io
import json
import re

import numpy as np
import pytest
from offline import opened
from PIL import Image
from reading import Reader

from interp import sliders, sliders_path

LEVELS = [[10, 60, 110], [160, 210, 250]]  # of two choices, three frames
CONTROLS = [sliders.Control("Weights <i>", ["per clip", "per frame"], choice=True),
            sliders.Control("Frame", ["1 of 3", "2 of 3", "3 of 3"], start=1)]  # fmt: skip


def pictures():
    frames = [np.full((4, 6, 3), level, np.uint8) for row in LEVELS for level in row]
    words = [f"grey {frame[0, 0, 0]} & <no more>" for frame in frames]
    views = [sliders.image(frame, text, lossless=True) for frame, text in zip(frames, words, strict=True)]
    return views, words


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_the_start_stands_in_the_page_and_all_settings_in_its_table():
    views, words = pictures()
    html = sliders.slider(CONTROLS, views, words, name="grey", caption="a <caption>")
    page = Reader(html.replace("<noscript>", "").replace("</noscript>", ""))
    image = next(attrs for tag, attrs in page.tags if tag == "img")
    assert pixels(image["src"])[0, 0].tolist() == [60] * 3 and image["alt"] == words[1]
    assert "<i>" not in html.split("<script")[0] and "a <caption>" in page.text
    cells = [text for text in page.text if text in words]
    assert cells == [words[1], *words]  # under the picture, and a line for each setting
    assert page.all("input")[0]["type"] == "radio" and "checked" in page.all("input")[0]
    assert page.all("input")[2] == {"type": "range", "id": "grey-1", "min": "0", "max": "2", "step": "1",
                                    "value": "1", "aria-valuetext": "2 of 3"}  # fmt: skip
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])
    assert data["views"] == views and data["sizes"] == [2, 3]


def test_numbers_that_do_not_fit_are_refused():
    views, words = pictures()
    with pytest.raises(ValueError, match="got 5 views and 6 words; the controls have 6 settings"):
        sliders.slider(CONTROLS, views[:5], words, name="a")
    with pytest.raises(ValueError, match="start is 3"):
        sliders.slider([sliders.Control("a", "xyz", start=3)], views[:3], words[:3], name="a")
    with pytest.raises(ValueError, match="letters, digits"):
        sliders.slider(CONTROLS, views, words, name='a"b')
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        sliders.image(np.zeros((4, 4)), "")


@pytest.fixture(scope="module")
def path():
    return np.random.default_rng(0).random((40, 16))


def test_a_search_is_drawn_from_its_own_numbers(path):
    losses = np.linspace(1, 0.25, 39)
    svg = sliders_path.search_view(path, losses, "it <falls>", highest=1.25, snap=0.5)
    levels = pixels(re.search(r'href="([^"]+)"', svg)[1])
    assert np.array_equal(levels, (path.T * 255).round().astype(np.uint8))
    points = np.array([pair.split(",") for pair in re.search(r'points="([^"]+)"', svg)[1].split()], float)
    bottom = float(re.search(r'd="M[\d.]+ ([\d.]+)V([\d.]+)', svg)[2])
    assert np.allclose((bottom - points[:, 1]) / sliders_path.LOW * 1.25, losses, atol=0.01)
    assert np.all(np.diff(points[:, 0]) > 0) and points[-1, 0] <= sliders_path.WIDTH
    fills = re.findall(r'fill="(#\w{6})"', svg)
    assert fills == ["#e66e14" if on else "#0072b2" for on in path[-1] > 0.5]
    assert svg.count("<circle") == (path[-1] > 0.5).sum() and 'aria-label="it &lt;falls&gt;"' in svg


def test_a_long_path_keeps_its_ends(path):
    long = np.repeat(path, 10, axis=0)
    levels = sliders_path.levels(long)
    assert levels.shape == (16, sliders_path.COLUMNS)
    assert np.array_equal(levels[:, [0, -1]], (path[[0, -1]].T * 255).round())
    with pytest.raises(ValueError, match=r"expected \(S,T\)"):
        sliders_path.search_view(path[0], [1.0], "", highest=1)


PIXEL = """async image => { await image.decode(); const c = document.createElement('canvas');
    c.width = image.naturalWidth; c.height = image.naturalHeight; const pen = c.getContext('2d');
    pen.drawImage(image, 0, 0); return [...pen.getImageData(2, 2, 1, 1).data].slice(0, 3); }"""


@pytest.mark.browser
def test_keyboard_and_mouse_show_the_setting_they_choose(browser, tmp_path):
    views, words = pictures()
    html = sliders.slider(CONTROLS, views, words, name="grey") + sliders.slider(
        CONTROLS[1:], views[:3], words[:3], name="second"
    )
    with opened(browser, html, tmp_path, viewport={"width": 360, "height": 700}) as page:
        one = page.locator("#grey")

        def shown(choice, frame):
            assert page.eval_on_selector("#grey .view img", PIXEL) == [LEVELS[choice][frame]] * 3
            assert one.locator(".words").inner_text() == words[3 * choice + frame]
            assert one.locator("img").get_attribute("alt") == words[3 * choice + frame]
            assert one.locator("output").inner_text() == f"{frame + 1} of 3"

        shown(0, 1)
        frame = page.get_by_role("slider", name="Frame").first
        frame.focus()
        page.keyboard.press("ArrowRight")
        shown(0, 2)
        assert frame.get_attribute("aria-valuetext") == "3 of 3"
        page.keyboard.press("Home")
        shown(0, 0)
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowDown")
        shown(1, 0)
        page.get_by_label("per clip").check()
        shown(0, 0)
        for place in range(3):
            page.get_by_label("per frame").check()
            frame.fill(str(place))
            shown(1, place)
        assert page.locator("#second .words").inner_text() == words[1]  # the other slider stays where it was
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


@pytest.mark.browser
def test_a_search_in_the_browser_has_pythons_levels(browser, tmp_path, path):
    views = [sliders_path.search_view(one, [1, 0.5], "x", highest=1) for one in (path, 1 - path)]
    rate = sliders.Control("Learning rate", ["0.001", "0.2"])
    with opened(browser, sliders.slider([rate], views, ["a", "b"], name="rate"), tmp_path) as page:
        for place, one in enumerate((path, 1 - path)):
            page.get_by_role("slider", name="Learning rate").fill(str(place))
            colours = page.evaluate("""async () => { const image = new Image();
                image.src = document.querySelector('.view image').getAttribute('href'); await image.decode();
                const c = document.createElement('canvas'); c.width = image.width; c.height = image.height;
                const pen = c.getContext('2d'); pen.drawImage(image, 0, 0);
                return [...pen.getImageData(0, 0, image.width, image.height).data]; }""")
            from matplotlib import colormaps

            wanted = colormaps["inferno"]((one.T * 255).round().astype(int))[..., :3] * 255
            assert abs(np.reshape(colours, (16, 40, 4))[..., :3] - wanted).max() <= 0.51


@pytest.mark.browser
def test_without_javascript_the_start_and_the_table(browser, tmp_path):
    html = sliders.slider(CONTROLS, *pictures(), name="grey")
    with opened(browser, html, tmp_path, java_script_enabled=False) as page:
        assert page.get_by_role("slider").count() == 0 and page.get_by_role("img").count() == 1
        assert page.locator("noscript tr").count() == 7 and page.locator("noscript tr").last.is_visible()
