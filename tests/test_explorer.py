"""The explorer in Chromium, without network: painting by mouse, finger or keyboard shows the models' frames and scores.

As a static page, and against a kernel that the test plays.
"""

import base64
import re

import numpy as np
import pytest
import torch
from offline import opened
from toy_explorer import CLASSES, SHORT, Net, clip_of, truth

from interp import widgets
from interp.core import perturb
from interp.show import figure, html

pytestmark = pytest.mark.browser
MODELS = {"I3D": Net(), "C-LSTM": Net(shift=25)}
CLIP = clip_of()
STILL, PHONE = {"reduced_motion": "reduce"}, {"viewport": {"width": 360, "height": 740}, "has_touch": True}


@pytest.fixture(scope="module")
def explorer():
    return widgets.Explorer(CLIP, MODELS, 0, recipe=SHORT)


@pytest.fixture
def page(browser, explorer, tmp_path):
    with opened(browser, explorer.to_html(), tmp_path, **STILL) as shown:
        shown.wait_for_selector(".ix[data-ready]")
        yield shown


def squares(page):
    return page.locator(".ix-square")


def painted(page) -> str:
    selected = squares(page).evaluate_all("all => all.map(s => s.getAttribute('aria-selected') === 'true')")
    return "".join("1" if on else "0" for on in selected)


def middle(page, frame: int) -> tuple[float, float]:
    box = squares(page).nth(frame).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, first: int, last: int) -> None:
    page.mouse.move(*middle(page, first))
    page.mouse.down()
    page.mouse.move(*middle(page, last), steps=3)
    page.mouse.up()


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def check_scores(page, explorer, mask: str, kind: str) -> None:
    """Every number on the page is the model's own score, rounded."""
    assert painted(page) == mask
    for place, (shipped, model) in enumerate(zip(explorer.data["models"], MODELS.values(), strict=True)):
        before, now = (truth(model, CLIP, one, kind) for one in ("0" * 16, mask))
        board = page.locator(".ix-model").nth(place)
        texts = board.locator(".ix-number").all_inner_texts()
        expected = [f"{now[index]:.2f} was {before[index]:.2f}" for index in shipped["columns"]]
        assert [re.sub(r"\s+", " ", text) for text in texts] == expected
        widths = board.locator(".ix-bar i").evaluate_all("all => all.map(i => parseFloat(i.style.width))")
        np.testing.assert_allclose(widths, [100 * float(now[index]) for index in shipped["columns"]], atol=1e-3)
        top = int(now.argmax())
        word = "Guess" if top == shipped["guess"] else "New guess"
        assert board.locator(".ix-now").inner_text() == f"{word}: {CLASSES[top]}, {now[top]:.2f}"


def pixels(page, panel: int) -> np.ndarray:
    """What a panel's canvas holds, uint8 (H, W, 3)."""
    height, width, text = page.evaluate("""panel => {
        const c = document.querySelectorAll('.ix-panels canvas')[panel];
        const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let text = '';
        for (const value of data) text += String.fromCharCode(value);
        return [c.height, c.width, btoa(text)]; }""", panel)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]


def test_the_order_of_frames_is_that_of_perturb(page):
    known = "() => ['freeze', 'reverse'].map(kind => window.interpExplorer.order([1, 1, 0, 1, 1, 1], kind))"
    assert page.evaluate(known) == [[0, 0, 2, 2, 2, 2], [1, 0, 2, 5, 4, 3]]
    masks = (torch.rand(200, 16, generator=torch.Generator().manual_seed(0)) < 0.6).float()
    numbers = torch.arange(16.0).view(1, 1, 16, 1, 1).expand(200, -1, -1, -1, -1)
    for kind in ("freeze", "reverse"):
        expected = perturb.apply(kind, numbers, masks).flatten(1).int().tolist()
        given = [[bool(on) for on in mask] for mask in masks.tolist()]
        script = "([all, kind]) => all.map(mask => window.interpExplorer.order(mask, kind))"
        shown = page.evaluate(script, [given, kind])
        assert shown == expected


def test_the_panels_show_the_clip_and_the_perturbed_clip(page):
    drag(page, 4, 9)
    for kind in ("freeze", "reverse"):
        page.get_by_role("radio", name=kind).check()
        hard = torch.tensor([[float(digit) for digit in painted(page)]])
        sources = perturb.apply(kind, torch.arange(16.0).view(1, 1, 16, 1, 1), hard).flatten().int().tolist()
        clip, perturbed = {}, {}
        for _ in range(16):
            page.get_by_role("button", name="One frame on").click()
            frame = int(re.search(r"frame (\d+) of 16", page.locator(".ix-counter").inner_text())[1]) - 1
            clip[frame], perturbed[frame] = pixels(page, 0).tobytes(), pixels(page, 2).tobytes()
        assert len(set(clip.values())) == 16
        assert [perturbed[frame] for frame in range(16)] == [clip[source] for source in sources]


def test_the_map_is_drawn_as_in_the_figures(page, explorer):
    for shipped in explorer.data["models"]:
        page.get_by_role("radio", name=shipped["name"]).check()
        grid = shipped["map"]
        cells = np.frombuffer(base64.b64decode(grid["levels"]), np.uint8).reshape(16, grid["height"], grid["width"])
        frames = [pixels(page, 0), pixels(page, 1)]
        expected = figure.overlay(frames[0][None], cells[:1] * np.float32(grid["highest"] / 255))[0]
        apart = np.abs(frames[1].astype(int) - expected).max(-1)
        assert (apart > 2).mean() < 0.002  # at the very border of a line rounding may decide


def test_painting_by_keyboard_alone(page, explorer):
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Frame 1"
    press(page, *["ArrowRight"] * 4, *["Shift+ArrowRight"] * 5)
    check_scores(page, explorer, "0000111111000000", "freeze")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Frame 10"
    press(page, "Delete", "ArrowLeft", "Space")
    check_scores(page, explorer, "0000111100000000", "freeze")
    press(page, "End", "ArrowRight", "Home", "ArrowLeft", "Control+a")
    check_scores(page, explorer, "1" * 16, "freeze")
    press(page, *["Tab"] * 5, "ArrowRight")  # past back, play, on and speed to the choices
    assert page.get_by_role("radio", name="reverse").is_checked()
    check_scores(page, explorer, "1" * 16, "reverse")


def test_mouse_and_buttons_set_the_masks(page, explorer):
    check_scores(page, explorer, "0" * 16, "freeze")
    drag(page, 12, 6)
    check_scores(page, explorer, "0000001111111000", "freeze")
    drag(page, 6, 6)  # a second time erases
    check_scores(page, explorer, "0000000111111000", "freeze")
    for name, shipped in zip(MODELS, explorer.data["models"], strict=True):
        page.get_by_role("radio", name=name).check()
        for kind in ("freeze", "reverse"):
            page.get_by_role("radio", name=kind).check()
            page.get_by_role("button", name="Best window").click()
            check_scores(page, explorer, shipped["best"][kind], kind)
            page.get_by_role("button", name="The found mask").click()
            check_scores(page, explorer, shipped["found"]["mask"], kind)
            note = page.locator(".ix-note").inner_text()
            soft = shipped["found"]["scores"]
            assert f"{name}" in note and f"{soft['freeze']:.2f} frozen and {soft['reverse']:.2f} reversed" in note
        page.get_by_role("button", name="Clear").click()
        check_scores(page, explorer, "0" * 16, "reverse")


def test_several_runs_need_a_kernel(page, explorer):
    drag(page, 2, 4)
    drag(page, 9, 11)
    assert "needs a kernel" in page.locator(".ix-note").inner_text()
    assert page.locator(".ix-number b").all_inner_texts() == ["–"] * 3
    page.wait_for_function("() => /needs a kernel/.test(document.querySelector('[role=status]').innerText)")
    page.get_by_role("button", name="One frame back").click()
    shown = page.locator(".ix").evaluate("e => [e.dataset.frame, e.dataset.shows]")
    assert shown == ["10", "8"]  # frames are shown all the same
    drag(page, 9, 11)
    check_scores(page, explorer, "0011100000000000", "freeze")
    # What does the same to the clip as a single run has its scores: a frame reversed alone stays.
    page.get_by_role("radio", name="reverse").check()
    drag(page, 9, 9)
    check_scores(page, explorer, "0011100001000000", "reverse")


def test_painting_by_finger_on_a_phone(browser, explorer, tmp_path):
    with opened(browser, explorer.to_html(), tmp_path, **STILL, **PHONE) as page:
        page.wait_for_selector(".ix[data-ready]")
        assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 360
        boxes = [squares(page).nth(t).bounding_box() for t in range(16)]
        assert min(min(box["width"], box["height"]) for box in boxes) >= 30
        assert len({round(box["y"]) for box in boxes}) == 2
        assert page.locator(".ix-timeline").evaluate("e => getComputedStyle(e).touchAction") == "none"
        page.touchscreen.tap(*middle(page, 3))
        check_scores(page, explorer, "0001" + "0" * 12, "freeze")
        finger = page.context.new_cdp_session(page)
        squares(page).first.scroll_into_view_if_needed()
        before = page.evaluate("() => scrollY")

        def touch(kind, *points):
            places = [{"x": x, "y": y} for x, y in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        touch("touchStart", middle(page, 4))
        for frame in (5, 7, 10):  # from the first row into the second
            touch("touchMove", middle(page, frame))
        touch("touchEnd")
        check_scores(page, explorer, "00011111111" + "0" * 5, "freeze")
        assert page.evaluate("() => scrollY") == before


def test_it_plays_unless_less_motion_is_preferred(browser, explorer, tmp_path, page):
    assert page.get_by_role("button", name="Play", exact=True).count() == 1
    frame = page.locator(".ix-counter").inner_text()
    page.wait_for_timeout(600)
    assert page.locator(".ix-counter").inner_text() == frame
    with opened(browser, explorer.to_html(), tmp_path) as moving:
        moving.wait_for_function("() => /frame [3-9] of/.test(document.querySelector('.ix-counter').innerText)")
        moving.get_by_role("button", name="Pause").click()
        frame = moving.locator(".ix-counter").inner_text()
        moving.wait_for_timeout(600)
        assert moving.locator(".ix-counter").inner_text() == frame


def test_many_on_a_page_share_a_script_and_wait_until_they_are_seen(browser, explorer, tmp_path):
    below = '<div style="height:3000px"></div>'
    text = widgets.page_script() + widgets.page_script() + widgets.mount_html(explorer.data, "a")
    text += f"<details><summary>more</summary>{widgets.mount_html(explorer.data, 'b')}</details>"
    text += below + widgets.mount_html(explorer.data, "c")
    with opened(browser, text, tmp_path, **STILL) as page:
        page.wait_for_selector("#a .ix[data-ready]")
        assert page.locator(".ix").count() == 1
        page.locator("summary").click()
        page.wait_for_selector("#b .ix[data-ready]")
        page.locator("#c").scroll_into_view_if_needed()
        page.wait_for_selector("#c .ix[data-ready]")
        page.locator("#b").get_by_role("button", name="Best window").click()
        assert "1" in page.locator("#b .ix").get_attribute("data-mask")
        assert page.locator("#a .ix").get_attribute("data-mask") == "0" * 16
        assert page.evaluate("() => window.interpExplorer.mount(document.getElementById('a'), {}) !== undefined")
        page.evaluate("() => document.getElementById('a').interpExplorer.destroy()")
        assert page.locator("#a").inner_html() == ""


LIVE = """async ([source, data]) => {
    const module = await import('data:text/javascript;base64,' + source);
    const listeners = {}, traits = {data, mask: Array(16).fill(false), perturbation: 'freeze', scores: {}};
    window.sent = [];
    window.kernel = {get: name => traits[name], set: (name, value) => { traits[name] = value; },
        on: (name, done) => { listeners[name] = done; }, off: name => { delete listeners[name]; },
        save_changes: () => window.sent.push([traits.mask.map(Number).join(''), traits.perturbation]),
        bring: (name, value) => { traits[name] = value; listeners['change:' + name](); }};
    window.leave = module.default.render({model: window.kernel, el: document.getElementById('here')}); }"""


def test_a_live_page_sends_any_mask_to_the_kernel(browser, explorer, tmp_path):
    style = f"<style>{html.static('explorer.css')}</style>"
    with opened(browser, f'{style}<div id="here"></div>', tmp_path, **STILL) as page:
        source = base64.b64encode(html.static('explorer.js').encode()).decode()
        page.evaluate(LIVE, [source, explorer.data])
        drag(page, 1, 3)
        drag(page, 8, 12)
        page.wait_for_function("() => window.sent.length > 0")
        page.wait_for_timeout(300)
        mask = "0111000011111000"
        assert page.evaluate("() => window.sent.at(-1)") == [mask, "freeze"]
        assert "the networks score it" in page.locator(".ix-hint").inner_text()
        models = []
        for shipped, model in zip(explorer.data["models"], MODELS.values(), strict=True):
            scores = truth(model, CLIP, mask, "freeze")
            models.append({"scores": scores[shipped["columns"]].tolist(), "top": int(scores.argmax()),
                           "topScore": float(scores.max())})
        names = {str(index): name for index, name in enumerate(CLASSES)}
        received = {"mask": mask, "perturbation": "freeze", "models": models, "names": names}
        page.evaluate("scores => window.kernel.bring('scores', scores)", received)
        check_scores(page, explorer, mask, "freeze")
        sent = page.evaluate("() => window.sent.length")
        page.evaluate("() => window.kernel.bring('mask', [...'0000111100000000'].map(d => d === '1'))")
        check_scores(page, explorer, "0000111100000000", "freeze")  # Python moves the page, too
        page.wait_for_timeout(300)
        assert page.evaluate("() => window.sent.length") == sent  # and sends nothing back
        page.evaluate("() => window.leave()")
        assert page.locator("#here").inner_html() == ""
