"""The explorer without a browser: what is shipped equals what the models answer, and the live widget answers so too."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from toy_explorer import CLASSES, SHORT, Net, clip_of, truth

import interp
from interp import figures, masks, widgets, widgets_data
from interp.explain import describe

MODELS = {"I3D": Net(), "C-LSTM": Net(shift=25)}
CLIP, TARGET = clip_of(), 0


def floats(text: str, kind: str = "<f4") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def explorer():
    return widgets.Explorer(CLIP, MODELS, TARGET, recipe=SHORT)


def rows_of(data) -> list[str]:
    count = data["frames"]["count"]
    windows = ["".join(str(int(on)) for on in window) for window in masks.windows(count)]
    return ["0" * count, *windows, *data["extra"]]


def test_every_shipped_score_is_the_models_own(explorer):
    data = explorer.data
    rows = rows_of(data)
    for shipped, model in zip(data["models"], MODELS.values(), strict=True):
        for kind in ("freeze", "reverse"):
            table = shipped["tables"][kind]
            expected = torch.stack([truth(model, CLIP, mask, kind) for mask in rows])  # (R, K)
            scores = floats(table["scores"]).reshape(len(shipped["columns"]), len(rows))
            np.testing.assert_allclose(scores.T, expected[:, shipped["columns"]], atol=2e-6)
            assert np.array_equal(floats(table["top"], "<u2"), expected.argmax(1))
            np.testing.assert_allclose(floats(table["topScores"]), expected.max(1).values, atol=2e-6)


def test_the_scores_fall_somewhere(explorer):
    for shipped in explorer.data["models"]:
        rows = len(rows_of(explorer.data))
        scores = floats(shipped["tables"]["freeze"]["scores"])[-rows:]  # the guess is the last column
        assert scores[0] > 0.5 and scores.min() < 0.1


def test_target_and_guess_are_shown_once_each(explorer):
    guesses = [int(truth(model, CLIP, "0" * 16, "freeze").argmax()) for model in MODELS.values()]
    columns = [list(dict.fromkeys([TARGET, guess])) for guess in guesses]
    assert [one["columns"] for one in explorer.data["models"]] == columns
    assert [one["guess"] for one in explorer.data["models"]] == guesses
    assert all(explorer.data["classes"][str(index)] == CLASSES[index] for own in columns for index in own)
    bare = widgets.explorer_data(CLIP, MODELS["I3D"], recipe=SHORT)  # no target: the guess alone
    assert bare["target"] is None and bare["models"][0]["columns"] == guesses[:1]
    assert bare["models"][0]["name"] == "toy"


def test_the_best_window_is_that_of_best_windows(explorer):
    for shipped, (name, model) in zip(explorer.data["models"], MODELS.items(), strict=True):
        for kind in ("freeze", "reverse"):
            best = masks.best_windows(model, CLIP[None], kind, None, SHORT)
            assert shipped["best"][kind] == "".join(str(int(on)) for on in best.masks[0])
            torch.testing.assert_close(explorer.windows[kind, name].losses, best.losses)


def test_explanations_are_taken_as_they_are():
    records = [interp.explain(model, CLIP[None], TARGET, SHORT, about="target")[0] for model in MODELS.values()]
    data = widgets.explorer_data(records, MODELS)
    assert data["target"] == TARGET and data["title"] == CLASSES[TARGET]
    for shipped, record in zip(data["models"], records, strict=True):
        assert shipped["found"]["mask"] == "".join(str(int(on)) for on in record.snapped)
        assert shipped["found"]["scores"] == {"freeze": record.FS, "reverse": record.RS}
        assert shipped["explained"] == TARGET
        assert shipped["words"] == describe(record.to_dict() | {"model": shipped["name"]})
    assert json.loads(json.dumps(data)) == data


def test_frames_and_maps_come_back(explorer):
    frames = explorer.data["frames"]
    sheet = Image.open(io.BytesIO(base64.b64decode(frames["sprite"].partition(",")[2]))).convert("RGB")
    sheet, expected = np.asarray(sheet).astype(int), figures.clip_frames(CLIP)
    for t in (0, 7, 15):
        top, left = t // frames["columns"] * 32, t % frames["columns"] * 32
        assert np.abs(sheet[top : top + 32, left : left + 32] - expected[t]).mean() < 15  # WebP, of noise
    for shipped, record in zip(explorer.data["models"], explorer.explanations, strict=True):
        grid = shipped["map"]
        levels = floats(grid["levels"], np.uint8).reshape(16, grid["height"], grid["width"])
        small = torch.tensor(levels.astype(np.float32)) * grid["highest"] / 255
        again = interpolate(small[:, None], (32, 32), mode="bilinear")[:, 0].clamp(0, 1)
        assert grid["width"] == 8 and float((again - record.map).abs().max()) < 0.01


def test_a_page_stays_small(explorer):
    assert len(widgets.page_script()) < 40_000
    assert len(widgets.mount_html(explorer.data, "a")) < 60_000
    nets = {"I3D": Net(32), "C-LSTM": Net(32, 25)}
    data = widgets.explorer_data(clip_of(32, 16), nets, TARGET, recipe=SHORT)
    noise = np.random.default_rng(0).integers(0, 256, (32, 112, 112, 3), np.uint8)
    data["frames"] = widgets_data._sprite(noise.repeat(2, 1).repeat(2, 2))  # 224 pixels, and hard to pack
    assert 250_000 < len(widgets.mount_html(data, "a")) < 600_000


def test_html_is_safe_and_asks_nobody(explorer):
    html = explorer.to_html()
    inside = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S)
    assert len(inside) == 1 and "<" not in inside[0] and json.loads(inside[0]) == explorer.data
    assert not re.search(r"(?:src|href)=|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", html)
    assert "<noscript><p>I3D guesses" in html
    assert html.count("<script>") == 1 and explorer.to_html(script=False).count("<script>") == 0
    assert explorer.to_html() != explorer.to_html()  # two on one page do not share an id


def test_without_anywidget_there_is_the_static_form(explorer, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "interp.widgets_live", None)
    again = widgets.Explorer(explorer.explanations, MODELS)
    forms = again._repr_mimebundle_()
    assert set(forms) == {"text/plain", "text/html"} and "I3D guesses" in forms["text/plain"]


def test_a_live_widget_scores_any_mask(explorer):
    pytest.importorskip("anywidget")
    live = explorer.widget
    for kind, mask in (("freeze", "0010011100010000"), ("reverse", "0111000000111110"), ("reverse", "0" * 16)):
        live.perturbation = kind
        live.mask = [digit == "1" for digit in mask]
        assert (live.answer["mask"], live.answer["perturbation"]) == (mask, kind)
        for own, shipped, model in zip(live.answer["models"], explorer.data["models"], MODELS.values(), strict=True):
            expected = truth(model, CLIP, mask, kind)
            np.testing.assert_allclose(own["scores"], expected[shipped["columns"]], atol=2e-6)
            assert own["top"] == int(expected.argmax())
            assert live.answer["names"][str(own["top"])] == CLASSES[own["top"]]
    with pytest.raises(Exception, match="expected 16 values"):
        live.mask = [True]


def test_a_live_widget_shows_both_forms(explorer):
    pytest.importorskip("anywidget")
    bundle, _ = explorer._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)


def test_a_live_found_mask_gives_what_explain_gives():
    """Where the search ends in zeros and ones, hard and soft are one: FS and RS of the Explanation."""
    pytest.importorskip("anywidget")
    import dataclasses

    record = interp.explain(MODELS["I3D"], CLIP[None], None, SHORT)[0]
    frozen, turned = (float(truth(MODELS["I3D"], CLIP, "0001111100000110", kind)[record.guess])
                      for kind in ("freeze", "reverse"))
    hard = torch.tensor([float(digit) for digit in "0001111100000110"])
    one = widgets.Explorer(dataclasses.replace(record, mask=hard, FS=frozen, RS=turned), MODELS["I3D"])
    for kind, expected in (("freeze", frozen), ("reverse", turned)):
        one.widget.perturbation = kind
        one.widget.mask = (hard > 0).tolist()
        assert one.widget.answer["models"][0]["scores"] == pytest.approx([expected], abs=2e-6)


@pytest.mark.parametrize(("arguments", "words"), [
    ((CLIP[0], MODELS), "expected"),
    (("clip.mp4", MODELS), "expected a float tensor"),
    ((CLIP, {}), "expected a model"),
    ((CLIP, {"I3D": len}), "expected a torch.nn.Module"),
])
def test_what_does_not_fit_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        widgets.explorer_data(*arguments)


def test_explanations_must_be_of_one_clip_and_one_a_model(explorer):
    with pytest.raises(ValueError, match="1 Explanations for 2 models"):
        widgets.explorer_data(explorer.explanations[0], MODELS)
    other = interp.explain(MODELS["I3D"], CLIP.flip(1)[None], TARGET, SHORT)[0]
    with pytest.raises(ValueError, match="different clips"):
        widgets.explorer_data([explorer.explanations[0], other], MODELS)
    with pytest.raises(ValueError, match="id: expected"):
        widgets.mount_html(explorer.data, "a b")
