"""The explorer without a browser: the page's scores are the models' own, and the live widget gives the same."""

import base64
import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from toy_explorer import CLASSES, SHORT, Net, clip_of, truth

import interp
from interp import widgets
from interp.core import windows
from interp.show import explorer as explorer_module
from interp.show import figure

MODELS = {"I3D": Net(), "C-LSTM": Net(shift=25)}
CLIP, TARGET = clip_of(), 0


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
            np.testing.assert_allclose(scores.T, expected[:, shipped["columns"]], atol=2e-6)
            assert np.array_equal(floats(table["top"], "<u2"), expected.argmax(1))
            np.testing.assert_allclose(floats(table["topScores"]), expected.max(1).values, atol=2e-6)


def test_target_guess_and_best_window(explorer):
    guesses = [int(truth(model, CLIP, "0" * 16, "freeze").argmax()) for model in MODELS.values()]
    for shipped, guess, (name, model) in zip(explorer.data["models"], guesses, MODELS.items(), strict=True):
        assert shipped["guess"] == guess and shipped["columns"] == list(dict.fromkeys([TARGET, guess]))
        assert all(explorer.data["classes"][str(index)] == CLASSES[index] for index in shipped["columns"])
        for kind in ("freeze", "reverse"):
            best = interp.best_windows(model, CLIP[None], kind, None, SHORT)
            assert shipped["best"][kind] == digits(best.masks[0])
            torch.testing.assert_close(explorer.windows[kind, name].losses, best.losses)
    bare = widgets.explorer_data(CLIP, MODELS["I3D"], recipe=SHORT)  # no target: the guess alone
    assert bare["target"] is None and bare["models"][0]["columns"] == guesses[:1]
    assert bare["models"][0]["name"] == "toy"


def test_explanations_are_taken_as_they_are():
    records = [interp.explain(model, CLIP[None], TARGET, SHORT, explained_class="target")[0]
               for model in MODELS.values()]
    data = widgets.explorer_data(records, MODELS)
    assert data["target"] == TARGET and data["title"] == CLASSES[TARGET]
    for shipped, record in zip(data["models"], records, strict=True):
        assert shipped["found"]["mask"] == digits(record.binary_mask)
        assert shipped["found"]["scores"] == {"freeze": record.FS, "reverse": record.RS}
        assert shipped["explained"] == TARGET
        assert shipped["words"] == figure.describe(dataclasses.replace(record, model=shipped["name"]))
    assert json.loads(json.dumps(data)) == data


def test_frames_and_maps_come_back(explorer):
    frames = explorer.data["frames"]
    sheet = Image.open(io.BytesIO(base64.b64decode(frames["sprite"].partition(",")[2]))).convert("RGB")
    sheet, expected = np.asarray(sheet).astype(int), figure.clip_frames(CLIP)
    for t in (0, 7, 15):
        top, left = t // frames["columns"] * 32, t % frames["columns"] * 32
        assert np.abs(sheet[top : top + 32, left : left + 32] - expected[t]).mean() < 15  # WebP, of noise
    for shipped, record in zip(explorer.data["models"], explorer.explanations, strict=True):
        grid = shipped["map"]
        levels = floats(grid["levels"], np.uint8).reshape(16, grid["height"], grid["width"])
        small = torch.tensor(levels.astype(np.float32)) * grid["highest"] / 255
        enlarged = interpolate(small[:, None], (32, 32), mode="bilinear")[:, 0].clamp(0, 1)
        assert float((enlarged - record.map).abs().max()) < 0.02


def test_a_page_stays_small(explorer):
    assert len(widgets.page_script()) < 45_000 and len(widgets.mount_html(explorer.data, "a")) < 60_000
    noise = np.random.default_rng(0).integers(0, 256, (32, 112, 112, 3), np.uint8)
    frames = explorer_module._sprite(noise.repeat(2, 1).repeat(2, 2))  # 224 pixels, and hard to compress
    assert 250_000 < len(widgets.mount_html(explorer.data | {"frames": frames}, "a")) < 600_000


def test_html_is_safe_and_loads_nothing(explorer):
    html = explorer.to_html()
    inside = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S)
    assert len(inside) == 1 and "<" not in inside[0] and json.loads(inside[0]) == explorer.data
    assert not re.search(r"(?:src|href)=|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", html)
    assert "<noscript><p>I3D guesses" in html
    assert html.count("<script>") == 1 and explorer.to_html(script=False).count("<script>") == 0
    assert explorer.to_html() != explorer.to_html()  # two on one page do not share an id


def test_both_forms_are_in_one_output_or_the_static_one_alone(explorer, monkeypatch):
    pytest.importorskip("anywidget")
    bundle, _ = explorer._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    forms = widgets.Explorer(explorer.explanations, MODELS)._repr_mimebundle_()
    assert set(forms) == {"text/plain", "text/html"} and "I3D guesses" in forms["text/plain"]


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
            np.testing.assert_allclose(scored["scores"], expected[shipped["columns"]], atol=2e-6)
            assert scored["top"] == int(expected.argmax())
            assert live.scores["names"][str(scored["top"])] == CLASSES[scored["top"]]
    with pytest.raises(Exception, match="mask"):
        live.mask = [True]


@pytest.mark.parametrize(("arguments", "words"), [
    ((CLIP[0], MODELS), "expected"),
    (("clip.mp4", MODELS), "expected a float tensor"),
    ((CLIP, {}), "expected a torch.nn.Module"),
    ((CLIP, {"I3D": len}), "expected a torch.nn.Module"),
])
def test_arguments_that_do_not_fit_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        widgets.explorer_data(*arguments)


def test_explanations_must_be_of_one_clip_and_one_a_model(explorer):
    with pytest.raises(ValueError, match="got 1 for 2"):
        widgets.explorer_data(explorer.explanations[0], MODELS)
    other = dataclasses.replace(explorer.explanations[1], clip=CLIP.flip(1))
    with pytest.raises(ValueError, match="different clips"):
        widgets.explorer_data([explorer.explanations[0], other], MODELS)
    with pytest.raises(ValueError, match="id: expected"):
        widgets.mount_html(explorer.data, "a b")
