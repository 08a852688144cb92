"""The explorer in real Chromium, the network off: painting shows the frames and the scores that the models give.

By mouse, by finger, by keyboard alone; as a static page and against a kernel played by the test.
"""

import base64
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from offline import opened
from toy_explorer import CLASSES, SHORT, Net, clip_of, truth

from interp import figures, perturb, widgets, widgets_data

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
    """Every number on the page is the model's own answer, rounded."""
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
        expected = figures.overlay(frames[0][None], cells[:1] * np.float32(grid["highest"] / 255))[0]
        apart = np.abs(frames[1].astype(int) - expected).max(-1)
        assert (apart > 2).mean() < 0.002  # at the very border of a line rounding may decide


@pytest.mark.parametrize("kind", ["freeze", "reverse"])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (3, 9), (12, 6), (0, 15), (7, 8)])
def test_painting_by_mouse_gives_the_models_scores(page, explorer, first, last, kind):
    page.get_by_role("radio", name=kind).check()
    check_scores(page, explorer, "0" * 16, kind)
    drag(page, first, last)
    low, high = sorted((first, last))
    check_scores(page, explorer, "0" * low + "1" * (high - low + 1) + "0" * (15 - high), kind)
    drag(page, low, low)  # a second time erases
    check_scores(page, explorer, "0" * (low + 1) + "1" * (high - low) + "0" * (15 - high), kind)


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
    # One stop in the page's order of keys; then back, play, on, speed, and the choices.
    names = []
    for _ in range(9):
        page.keyboard.press("Tab")
        names.append(page.evaluate("() => document.activeElement.ariaLabel || document.activeElement.value || "
                                   "document.activeElement.innerText"))
    presets = ["The found mask", "Best window", "Clear"]
    assert names == ["One frame back", "Play", "One frame on", "Speed", "freeze", "0", *presets]
    press(page, "Enter")
    check_scores(page, explorer, "0" * 16, "freeze")
    press(page, *["Shift+Tab"] * 4, "ArrowRight")
    assert page.get_by_role("radio", name="reverse").is_checked()
    press(page, "Tab", "ArrowRight", "Tab", "Enter")
    assert page.locator(".ix-panels figcaption").nth(1).inner_text() == "Where C-LSTM looked"
    check_scores(page, explorer, explorer.data["models"][1]["found"]["mask"], "reverse")


def test_the_buttons_set_the_masks(page, explorer):
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


def test_several_runs_need_a_kernel_unless_they_were_found(page, explorer, browser, tmp_path):
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
    many = dict(explorer.data["models"][0]["found"], mask="0110001110000000")
    own = widgets_data.class_scores
    mask = torch.tensor([[float(digit) for digit in many["mask"]]])
    data = json.loads(json.dumps(explorer.data))
    data["extra"].append(many["mask"])
    for shipped, model in zip(data["models"], MODELS.values(), strict=True):
        shipped["found"] = many
        for kind, table in shipped["tables"].items():
            scores = own(model, CLIP, mask, kind, SHORT)
            rows = np.frombuffer(base64.b64decode(table["scores"]), "<f4").reshape(len(shipped["columns"]), -1)
            rows = np.concatenate([rows, scores[:, shipped["columns"]].T.numpy()], axis=1)
            for key, value in {"scores": rows, "top": np.append(
                    np.frombuffer(base64.b64decode(table["top"]), "<u2"), scores.argmax().numpy().astype("<u2")),
                    "topScores": np.append(np.frombuffer(base64.b64decode(table["topScores"]), "<f4"),
                                           scores.max().numpy())}.items():
                table[key] = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    with opened(browser, widgets.mount_html(data, "a") + widgets.page_script(), tmp_path, **STILL) as other:
        other.get_by_role("button", name="The found mask").click()
        check_scores(other, explorer, many["mask"], "freeze")


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


def test_a_listener_is_told_once_when_the_hand_rests(page, explorer):
    said = page.locator("[role=status]")
    page.evaluate("""() => { window.told = 0; new MutationObserver(() => { window.told += 1; }).observe(
        document.querySelector('[role=status]'), {childList: true, characterData: true, subtree: true}); }""")
    page.mouse.move(*middle(page, 2))
    page.mouse.down()
    for frame in range(3, 12):
        page.mouse.move(*middle(page, frame))
        page.wait_for_timeout(60)
    assert page.evaluate("() => window.told") == 0
    page.mouse.up()
    page.wait_for_function("() => window.told > 0")
    now = truth(MODELS["I3D"], CLIP, "0011111111110000", "freeze")[0]
    assert f"I3D, {CLASSES[0]}: {now:.2f}, was" in said.inner_text() and page.evaluate("() => window.told") == 1


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
    html = widgets.page_script() + widgets.page_script() + widgets.mount_html(explorer.data, "a")
    html += f"<details><summary>more</summary>{widgets.mount_html(explorer.data, 'b')}</details>"
    html += below + widgets.mount_html(explorer.data, "c")
    with opened(browser, html, tmp_path, **STILL) as page:
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


def test_thirty_two_frames_of_one_model(browser, tmp_path):
    data = widgets.explorer_data(clip_of(32, 16), {"I3D": Net(32)}, recipe=SHORT)
    for options, rows in (({}, 2), (PHONE, 4)):
        html = widgets.mount_html(data, "a") + widgets.page_script()
        with opened(browser, html, tmp_path, **STILL, **options) as page:
            page.wait_for_selector(".ix[data-ready]")
            assert len(set(squares(page).evaluate_all("all => all.map(s => s.getBoundingClientRect().y)"))) == rows
            assert page.evaluate("() => document.scrollingElement.scrollWidth") <= page.viewport_size["width"]
            squares(page).first.focus()
            press(page, "ArrowRight", "Shift+ArrowDown", "ArrowUp", "ArrowUp")
            columns = 32 // rows
            assert painted(page) == "0" + "1" * (columns + 1) + "0" * (30 - columns)
            assert page.get_by_role("radio", name="I3D").count() == 0


LIVE = """async ([source, data]) => {
    const module = await import('data:text/javascript;base64,' + source);
    const listeners = {}, traits = {data, mask: Array(16).fill(false), perturbation: 'freeze', answer: {}};
    window.sent = [];
    window.kernel = {get: name => traits[name], set: (name, value) => { traits[name] = value; },
        on: (name, done) => { listeners[name] = done; }, off: name => { delete listeners[name]; },
        save_changes: () => window.sent.push([traits.mask.map(Number).join(''), traits.perturbation]),
        bring: (name, value) => { traits[name] = value; listeners['change:' + name](); }};
    window.leave = module.default.render({model: window.kernel, el: document.getElementById('here')}); }"""


def test_a_live_page_asks_the_kernel_for_any_mask(browser, explorer, tmp_path):
    style = f"<style>{widgets_data.style()}</style>"
    with opened(browser, f'{style}<div id="here"></div>', tmp_path, **STILL) as page:
        source = base64.b64encode(widgets_data.source().encode()).decode()
        page.evaluate(LIVE, [source, explorer.data])
        drag(page, 1, 3)
        drag(page, 8, 12)
        page.wait_for_function("() => window.sent.length > 0")
        page.wait_for_timeout(300)
        mask = "0111000011111000"
        assert page.evaluate("() => window.sent.at(-1)") == [mask, "freeze"]
        assert "asking" in page.locator(".ix-hint").inner_text()
        own = []
        for shipped, model in zip(explorer.data["models"], MODELS.values(), strict=True):
            scores = truth(model, CLIP, mask, "freeze")
            own.append({"scores": scores[shipped["columns"]].tolist(), "top": int(scores.argmax()),
                        "topScore": float(scores.max())})
        names = {str(index): name for index, name in enumerate(CLASSES)}
        answer = {"mask": mask, "perturbation": "freeze", "models": own, "names": names}
        page.evaluate("answer => window.kernel.bring('answer', answer)", answer)
        check_scores(page, explorer, mask, "freeze")
        asked = page.evaluate("() => window.sent.length")
        page.evaluate("() => window.kernel.bring('mask', [...'0000111100000000'].map(d => d === '1'))")
        check_scores(page, explorer, "0000111100000000", "freeze")  # Python moves the page, too
        page.wait_for_timeout(300)
        assert page.evaluate("() => window.sent.length") == asked  # and is not asked back
        page.evaluate("() => window.leave()")
        assert page.locator("#here").inner_html() == ""


def test_without_scripts_there_is_a_sentence(browser, explorer, tmp_path):
    with opened(browser, explorer.to_html(), tmp_path, java_script_enabled=False) as page:
        assert "I3D guesses" in page.locator("main").inner_text()


@pytest.mark.parametrize("theme", ["#fff; color: #222832", "#121212; color: #ced6dd"])
def test_axe_finds_nothing_serious_in_any_state(browser, explorer, tmp_path, theme):
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None:
        pytest.skip("axe-playwright-python is not installed: pip install interp[test]")
    script = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    html = f"<style>body {{ background: {theme} }}</style><h1>An explorer</h1>{explorer.to_html()}"
    with opened(browser, html, tmp_path, **STILL) as page:
        page.wait_for_selector(".ix[data-ready]")
        page.evaluate(script)
        for step in (lambda: None, lambda: drag(page, 3, 8), lambda: drag(page, 11, 12),
                     lambda: page.get_by_role("radio", name="reverse").check()):
            step()
            wrong = page.evaluate("""async () => (await axe.run(document, {resultTypes: ['violations']})).violations
                .flatMap(v => v.nodes.map(n => `${v.impact} ${v.id}: ${n.target}: ${n.any[0]?.message ?? v.help}`))""")
            assert [line for line in wrong if line.startswith(("serious", "critical"))] == []
