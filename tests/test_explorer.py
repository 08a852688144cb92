"""The explorer's page holds the models' own scores, painting shows them, a kernel scores any mask; an upload's figures.

The page is tried in Chromium, without network, and against a kernel that the test plays.
"""

import base64
import dataclasses
import json
import re
import sys

import numpy as np
import pytest
import torch
from offline import opened
from torch.nn.functional import interpolate
from toy_explorer import CLASSES, SHORT, Net, clip_of, truth

import interp
from interp import widgets
from interp.core import perturb, windows
from interp.show import explorer as explorer_module
from interp.show import figure, html

MODELS = {"I3D": Net(), "C-LSTM": Net(shift=25)}
CLIP, TARGET = clip_of(), 0
STILL, PHONE = {"reduced_motion": "reduce"}, {"viewport": {"width": 360, "height": 740}, "has_touch": True}


def floats(text: str, kind: str = "<f4") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def digits(mask) -> str:
    return "".join(str(int(on)) for on in mask)


@pytest.fixture(scope="module")
def explorer():
    return widgets.Explorer(CLIP, MODELS, TARGET, recipe=SHORT)


def test_every_score_on_the_page_is_the_models_own(explorer):
    data = explorer.data
    rows = ["0" * 16, *map(digits, windows.windows(16)), *data["extra"]]
    for shipped, model in zip(data["models"], MODELS.values(), strict=True):
        for kind in ("freeze", "reverse"):
            table = shipped["tables"][kind]
            expected = torch.stack([truth(model, CLIP, mask, kind) for mask in rows])  # (R, K)
            scores = floats(table["scores"]).reshape(len(shipped["columns"]), len(rows))
            np.testing.assert_allclose(scores.T, expected[:, shipped["columns"]], atol=5e-6)
            assert np.array_equal(floats(table["top"], "<u2"), expected.argmax(1))
            np.testing.assert_allclose(floats(table["topScores"]), expected.max(1).values, atol=5e-6)


def test_target_guess_and_best_window(explorer):
    guesses = [int(truth(model, CLIP, "0" * 16, "freeze").argmax()) for model in MODELS.values()]
    for shipped, guess, (name, model) in zip(explorer.data["models"], guesses, MODELS.items(), strict=True):
        assert shipped["guess"] == guess and shipped["columns"] == list(dict.fromkeys([TARGET, guess]))
        for kind in ("freeze", "reverse"):
            best = interp.best_windows(model, CLIP[None], kind, None, SHORT)
            assert shipped["best"][kind] == digits(best.masks[0])
            torch.testing.assert_close(explorer.windows[kind, name].losses, best.losses)
    bare = widgets.Explorer(CLIP, MODELS["I3D"], recipe=SHORT).data  # no target: the guess alone
    assert bare["target"] is None and bare["models"][0]["columns"] == guesses[:1]
    assert bare["models"][0]["name"] == "toy" and bare["classes"] == {str(k): name for k, name in enumerate(CLASSES)}


def test_explanations_are_taken_as_they_are():
    records = [interp.explain(model, CLIP[None], TARGET, SHORT, explained_class="target")[0]
               for model in MODELS.values()]
    data = widgets.Explorer(records, MODELS).data
    assert (data["target"], data["title"]) == (TARGET, CLASSES[TARGET]) and json.loads(json.dumps(data)) == data
    for shipped, record in zip(data["models"], records, strict=True):
        assert shipped["found"]["mask"] == digits(record.binary_mask) and shipped["explained"] == TARGET
        assert shipped["found"]["scores"] == {"freeze": record.FS, "reverse": record.RS}
        assert shipped["words"] == figure.describe(dataclasses.replace(record, model=shipped["name"]))


def test_maps_come_back(explorer):
    for shipped, record in zip(explorer.data["models"], explorer.explanations, strict=True):
        grid = shipped["map"]
        levels = floats(grid["levels"], np.uint8).reshape(16, grid["height"], grid["width"])
        small = torch.tensor(levels.astype(np.float32)) / 255
        enlarged = interpolate(small[:, None], (32, 32), mode="bilinear")[:, 0].clamp(0, 1)
        assert float((enlarged - record.map).abs().max()) < 0.02


def test_html_is_small_and_safe_and_loads_nothing(explorer):
    text = explorer.to_html()
    assert len(text) < 200_000 and text.count('<script type="module">') == 1
    inside = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    assert len(inside) == 1 and "<" not in inside[0] and json.loads(inside[0]) == explorer.data
    text = text.replace("fetch(address)", "")  # of the networks that the page itself names
    assert not re.search(r"(?:src|href)=|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "<noscript><p>I3D guesses" in text
    noise = np.random.default_rng(0).integers(0, 256, (32, 56, 56, 3), np.uint8)
    sprite = explorer_module._sprite(noise.repeat(4, 1).repeat(4, 2))["sprite"]  # 224 pixels, and hard to compress
    assert 100_000 < len(sprite) < 430_000


def test_both_forms_are_in_one_output_or_the_static_one_alone(explorer, monkeypatch):
    pytest.importorskip("anywidget")
    bundle, _ = explorer._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    forms = widgets.Explorer(explorer.explanations, MODELS)._repr_mimebundle_()
    assert set(forms) == {"text/plain", "text/html"} and forms["text/plain"] == "Explorer of I3D, C-LSTM"


def test_a_live_widget_scores_any_mask_with_one_forward_pass(explorer, monkeypatch):
    pytest.importorskip("anywidget")
    live, clips = explorer.widget, []
    for model in MODELS.values():
        monkeypatch.setattr(model, "forward", lambda x, forward=model.forward: (clips.append(len(x)), forward(x))[1])
    for kind, mask in (("reverse", "0111000000111110"), ("freeze", "0010011100010000"), ("freeze", "0" * 16)):
        live.perturbation = kind
        clips.clear()
        live.mask = [digit == "1" for digit in mask]
        assert clips == [1, 1]
        assert (live.scores["mask"], live.scores["perturbation"]) == (mask, kind)
        for scored, shipped, model in zip(live.scores["models"], explorer.data["models"], MODELS.values(), strict=True):
            expected = truth(model, CLIP, mask, kind)
            np.testing.assert_allclose(scored["scores"], expected[shipped["columns"]], atol=5e-6)
            assert scored["top"] == int(expected.argmax())
    with pytest.raises(Exception, match="mask"):
        live.mask = [True]


def test_arguments_that_do_not_fit_are_named(explorer):
    other = dataclasses.replace(explorer.explanations[1], clip=CLIP.flip(1))
    for clip, models, words in [
        (CLIP[0], MODELS, "expected"), ("clip.mp4", MODELS, "expected a float tensor"),
        (CLIP, {}, "expected a torch.nn.Module"), (CLIP, {"I3D": len}, "expected a torch.nn.Module"),
        (explorer.explanations[:1], MODELS, "expected 2 Explanations of one clip"),
        ([explorer.explanations[0], other], MODELS, "expected 2 Explanations of one clip"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            widgets.Explorer(clip, models)


@pytest.fixture
def page(browser, explorer, tmp_path):
    with opened(browser, explorer.to_html(), tmp_path, **STILL) as shown:
        shown.wait_for_selector(".ix[data-ready]")
        yield shown


def painted(page) -> str:
    return page.evaluate("""() => [...document.querySelectorAll('.ix-square')].map(
        square => Number(square.getAttribute('aria-selected') === 'true')).join('')""")


def middle(page, frame: int) -> tuple[float, float]:
    box = page.locator(".ix-square").nth(frame).bounding_box()
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
        texts = board.locator("> .ix-row .ix-number").all_inner_texts()
        expected = [f"{now[index]:.2f} was {before[index]:.2f}" for index in shipped["columns"]]
        assert [re.sub(r"\s+", " ", text) for text in texts] == expected
        widths = board.locator("> .ix-row .ix-bar i").evaluate_all("all => all.map(i => parseFloat(i.style.width))")
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


@pytest.mark.browser
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


@pytest.mark.browser
def test_the_map_is_drawn_as_in_the_figures(page, explorer):
    for shipped in explorer.data["models"]:
        page.get_by_role("radio", name=shipped["name"]).check()
        grid = shipped["map"]
        cells = np.frombuffer(base64.b64decode(grid["levels"]), np.uint8).reshape(16, grid["height"], grid["width"])
        frames = [pixels(page, 0), pixels(page, 1)]
        expected = figure.overlay(frames[0][None], cells[:1] / np.float32(255))[0]
        apart = np.abs(frames[1].astype(int) - expected).max(-1)
        assert (apart > 2).mean() < 0.002  # at the very border of a line rounding may decide


@pytest.mark.browser
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


@pytest.mark.browser
def test_mouse_and_buttons_set_the_masks(page, explorer):
    drag(page, 12, 6)
    check_scores(page, explorer, "0000001111111000", "freeze")
    drag(page, 6, 6)  # a second time erases
    check_scores(page, explorer, "0000000111111000", "freeze")
    for name, shipped, kind in zip(MODELS, explorer.data["models"], ("freeze", "reverse"), strict=True):
        page.get_by_role("radio", name=name).check()
        page.get_by_role("radio", name=kind).check()
        page.get_by_role("button", name="Best window").click()
        check_scores(page, explorer, shipped["best"][kind], kind)
        page.get_by_role("button", name="The found mask").click()
        check_scores(page, explorer, shipped["found"]["mask"], kind)
        page.get_by_role("button", name="Clear").click()
        check_scores(page, explorer, "0" * 16, kind)


@pytest.mark.browser
def test_several_runs_need_a_kernel(page, explorer):
    drag(page, 2, 4)
    drag(page, 9, 11)
    assert "needs a kernel" in page.locator(".ix-note").inner_text()
    assert page.locator(".ix-model > .ix-row .ix-number b").all_inner_texts() == ["–"] * 3
    page.get_by_role("button", name="One frame back").click()
    shown = page.locator(".ix").evaluate("e => [e.dataset.frame, e.dataset.shows]")
    assert shown == ["10", "8"]  # frames are shown all the same
    drag(page, 9, 11)
    # What does the same to the clip as a single run has its scores: a frame reversed alone stays.
    page.get_by_role("radio", name="reverse").check()
    drag(page, 9, 9)
    check_scores(page, explorer, "0011100001000000", "reverse")


@pytest.mark.browser
def test_painting_by_finger_on_a_phone(browser, explorer, tmp_path):
    with opened(browser, explorer.to_html(), tmp_path, **STILL, **PHONE) as page:
        page.wait_for_selector(".ix[data-ready]")
        assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 360
        page.touchscreen.tap(*middle(page, 3))
        check_scores(page, explorer, "0001" + "0" * 12, "freeze")
        finger, before = page.context.new_cdp_session(page), page.evaluate("() => scrollY")
        for kind, *frames in (("touchStart", 4), ("touchMove", 5), ("touchMove", 10), ("touchEnd",)):  # two rows
            points = [dict(zip("xy", middle(page, frame), strict=True)) for frame in frames]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        check_scores(page, explorer, "00011111111" + "0" * 5, "freeze")
        assert page.evaluate("() => scrollY") == before


@pytest.mark.browser
def test_two_on_a_page_wait_until_they_are_seen_and_play(browser, explorer, tmp_path):
    text = f'<div id="a">{explorer.to_html()}</div>'
    text += f'<details id="b"><summary>more</summary>{explorer.to_html()}</details>'
    with opened(browser, text, tmp_path) as page:
        page.wait_for_selector("#a .ix[data-ready]")
        assert page.locator(".ix").count() == 1
        page.locator("#b > summary").click()
        page.wait_for_selector("#b .ix[data-ready]")
        page.locator("#b").get_by_role("button", name="Best window").click()
        page.locator("#b").get_by_role("radio", name="reverse").check()
        assert "1" in page.locator("#b .ix").get_attribute("data-mask")
        assert page.locator("#a .ix").get_attribute("data-mask") == "0" * 16
        assert page.locator("#a").get_by_role("radio", name="freeze").is_checked()
        page.wait_for_function("() => /frame [3-9] of/.test(document.querySelector('#b .ix-counter').innerText)")
        page.locator("#b").get_by_role("button", name="Pause").click()
        frame = page.locator("#b .ix-counter").inner_text()
        page.wait_for_timeout(600)
        assert page.locator("#b .ix-counter").inner_text() == frame


LIVE = """async ([source, data]) => {
    const module = await import('data:text/javascript;base64,' + source);
    const listeners = {}, traits = {data, mask: Array(16).fill(false), perturbation: 'freeze', scores: {}};
    window.sent = [];
    window.kernel = {get: name => traits[name], set: (name, value) => { traits[name] = value; },
        on: (name, done) => { listeners[name] = done; }, off: name => { delete listeners[name]; },
        save_changes: () => window.sent.push([traits.mask.map(Number).join(''), traits.perturbation]),
        bring: (name, value) => { traits[name] = value; listeners['change:' + name](); }};
    window.leave = module.default.render({model: window.kernel, el: document.getElementById('here')}); }"""


@pytest.mark.browser
def test_a_live_page_sends_any_mask_to_the_kernel(browser, explorer, tmp_path):
    style = f"<style>{html.static('explorer.css')}</style>"
    with opened(browser, f'{style}<div id="here"></div>', tmp_path, **STILL) as page:
        source = base64.b64encode(html.static("explorer.js").encode()).decode()
        page.evaluate(LIVE, [source, explorer.data])
        drag(page, 1, 3)
        drag(page, 8, 12)
        mask = "0111000011111000"
        page.wait_for_function("mask => window.sent.length > 0 && window.sent.at(-1)[0] === mask", arg=mask)
        received = {"mask": mask, **explorer._live_scores([digit == "1" for digit in mask], "freeze")}
        page.evaluate("scores => window.kernel.bring('scores', scores)", received)
        check_scores(page, explorer, mask, "freeze")
        sent = page.evaluate("() => window.sent.length")
        page.evaluate("() => window.kernel.bring('mask', [...'0000111100000000'].map(d => d === '1'))")
        check_scores(page, explorer, "0000111100000000", "freeze")  # Python moves the page, too
        page.wait_for_timeout(300)
        assert page.evaluate("() => window.sent.length") == sent  # and sends nothing back
        page.evaluate("() => window.leave()")
        assert page.locator("#here").inner_html() == ""
