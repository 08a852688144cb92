"""The networks in the page: the search in explorer.js against the package, then a page in Chromium, cut off."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from offline import served, watched

import interp
from interp import perturb, recipes, widgets
from interp.core import gradcam, windows
from interp.core.exact import MaskOrder
from interp.data import read_clip, to_clip
from interp.show import html

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
EVEN = recipes.MaskRecipe("even", 0.02, 0.04, border="even")


def node(script: str, **values):
    """What an expression in explorer.js gives under node."""
    if not shutil.which("node"):
        pytest.skip("no node on the PATH")
    source = (html.STATIC / "explorer.js").as_uri()
    program = f"""import explorer from {json.dumps(source)};
        const values = {json.dumps(values)};
        console.log(JSON.stringify(await (async () => {{ {script} }})()));"""
    answer = subprocess.run(["node", "--input-type=module", "-e", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def plain(recipe) -> dict:
    return {key: getattr(recipe, key) for key in ("lambda1", "lambda2", "border")}


@pytest.mark.parametrize("recipe", [recipes.SOMETHING_MASK, EVEN])
def test_a_mask_costs_what_it_costs_in_python(recipe):
    masks = (torch.rand(300, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    found = node("return values.masks.map(mask => explorer.penalty(mask, values.recipe));",
                 masks=masks.int().tolist(), recipe=plain(recipe))  # fmt: skip
    np.testing.assert_allclose(found, windows.penalty(masks.double(), recipe), atol=1e-12)


@pytest.mark.parametrize("kind", ["freeze", "reverse"])
@pytest.mark.parametrize("recipe", [recipes.SOMETHING_MASK, EVEN])
def test_the_search_walks_through_the_masks_of_the_package(kind, recipe):
    found = node("return explorer.masksByCost(9, values.recipe, values.kind).map(({cost, code}) => [code, cost]);",
                 recipe=plain(recipe), kind=kind)  # fmt: skip
    expected = {code: cost for cost, code in MaskOrder(9, recipe, kind).walk()}
    assert {code for code, _ in found} == set(expected)
    for code, cost in found:
        assert cost == pytest.approx(expected[code], abs=1e-12)
    assert [cost for _, cost in found] == sorted(cost for _, cost in found)


SEARCH = """const scores = new Map(values.scores), {order, bestMask} = explorer;
    const keyOf = mask => order(mask, values.kind).join(), bounds = [];
    const scored = new Map([[keyOf(Array(8).fill(false)), values.original]]);
    const found = await bestMask({count: 8, recipe: values.recipe, kind: values.kind, keyOf, scored,
        score: async mask => scores.get(keyOf(mask)), told: now => bounds.push([now.loss, now.bound]),
        stopped: () => values.stop !== null && bounds.length >= values.stop});
    return {...found, mask: found.mask.map(Number), bounds};"""


@pytest.mark.parametrize("kind", ["freeze", "reverse"])
def test_the_search_finds_the_least_loss_of_all_masks(kind):
    generator = torch.Generator().manual_seed(3)
    masks = torch.tensor([[code >> t & 1 for t in range(8)] for code in range(256)]).float()
    shown = perturb.time_mixing(kind, masks).argmax(2).tolist()
    for _ in range(5):
        table = {}
        for row in shown:
            table.setdefault(",".join(map(str, row)), float(torch.rand((), generator=generator)) ** 2)
        original = table[",".join(map(str, range(8)))] = 0.9
        losses = windows.penalty(masks.double()) + torch.tensor([table[",".join(map(str, row))] for row in shown])
        values = {"kind": kind, "scores": list(table.items()), "original": original,
                  "recipe": plain(recipes.SOMETHING_MASK)}  # fmt: skip
        found = node(SEARCH, **values, stop=None)
        assert found["loss"] == pytest.approx(float(losses.min())) and found["bound"] == found["loss"]
        code = int("".join(map(str, found["mask"][::-1])), 2)
        priced = min(losses[code], losses[code | (kind == "freeze")])  # freezing frame 0 does nothing
        assert float(priced) == pytest.approx(float(losses.min()))
        early = node(SEARCH, **values, stop=3)
        assert early["forwards"] <= 3 and early["bound"] - 1e-6 <= float(losses.min()) <= early["loss"] + 1e-6
        assert all(low[1] <= high[1] for low, high in zip(early["bounds"], early["bounds"][1:], strict=False))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with both networks as build.py exports them, served on a port of this machine."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    spec = importlib.util.spec_from_file_location("networks", ROOT / "book" / "_scripts" / "networks.py")
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    folder = tmp_path_factory.mktemp("site")
    try:
        networks.write(folder / "networks", CACHE)
    except OSError as error:
        pytest.skip(f"no network for the runtime: {error}")

    with served(folder) as address:
        yield folder, address


@pytest.fixture(scope="module")
def pair():
    return {"I3D": interp.load("i3d"), "C-LSTM": interp.load("clstm")}


def test_maps_lie_where_grad_cam_draws_them(site, pair):
    import onnxruntime

    about = json.loads((site[0] / "networks" / "networks.json").read_text())
    first = about["networks"][0]
    assert [network["shares"] is None for network in about["networks"]] == [False, True]
    clip = torch.rand(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(site[0] / "networks" / first["file"])
    logits, maps = session.run(None, {"clips": clip.numpy()})
    target = int(logits.argmax())
    found = node("const {width, height, bytes} = explorer.placed(values.map, values.shares);"
                 "return [width, height, [...bytes]];", map=maps[0, target].ravel().tolist(), shares=first["shares"])
    expected = gradcam.grad_cam(pair["I3D"], clip, target)[0].reshape(16, 32, 2, 32, 2).mean((2, 4))
    assert found[:2] == [32, 32]
    np.testing.assert_allclose(found[2], (255 * expected / expected.max()).flatten(), atol=0.51)


@pytest.fixture
def explorer_page(browser, site, pair):
    """Opens an Explorer of a generated clip beside the networks; at the end nothing went wrong on the page."""
    folder, address = site
    with watched(browser, (address, "data:", "blob:"), viewport={"width": 1280, "height": 1000},
                 reduced_motion="reduce") as (page, wrong):  # fmt: skip
        page.set_default_timeout(300_000)  # a search takes a minute on two cores

        def open_page(clip):
            short = recipes.MaskRecipe("short", 0.01, 0.02, iterations=2)
            explorer = widgets.Explorer(clip, pair, method="gradient", start="central", recipe=short)
            head = '<meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">'
            head += '<link rel="interp-networks" href="networks/networks.json">'
            body = f"<body><main>{explorer.to_html()}</main></body>"
            text = f'<!doctype html><html lang="en"><head>{head}</head>{body}</html>'
            (folder / "page.html").write_text(text, encoding="utf-8")
            page.goto(f"{address}/page.html")
            page.wait_for_selector(".ix[data-ready]")
            return page

        yield open_page
        assert wrong == []


def generated(index: int):
    from interp.data import motion, open_dataset

    data = motion.prepare() if (CACHE / "motion").is_dir() else pytest.skip("no generated clips")
    dataset = open_dataset("motion", data, "validation", 16, 64)
    return to_clip(dataset[index][0])


def paint(page, *frames: int) -> None:
    for frame in frames:
        page.locator(".ix-square").nth(frame - 1).click()


@pytest.mark.browser
def test_frames_that_no_run_holds_are_scored_in_the_page(explorer_page, pair):
    clip = generated(3)
    page = explorer_page(clip)
    paint(page, 3, 4, 10)
    page.locator(".ix-all summary").first.click()
    numbers = "[...document.querySelectorAll('.ix-all .ix-number b')]"
    page.wait_for_function(f"() => {numbers}.every(number => number.innerText !== '–')")
    mask = torch.zeros(1, 16)
    mask[0, [2, 3, 9]] = 1
    for place, model in enumerate(pair.values()):
        with torch.no_grad():
            expected = model(perturb.apply("freeze", clip[None], mask)).softmax(1)[0]
        widths = page.locator(".ix-model").nth(place).locator(".ix-all i").evaluate_all(
            "all => all.map(i => parseFloat(i.style.width))")  # fmt: skip
        np.testing.assert_allclose(np.array(widths) / 100, expected, atol=1e-4)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("index, kind", [(0, "freeze"), (4, "freeze"), (6, "freeze"), (10, "freeze"), (0, "reverse")])
def test_the_search_in_the_page_finds_pythons_mask(explorer_page, pair, index, kind):
    clip = generated(index)
    page = explorer_page(clip)
    page.get_by_role("radio", name=kind).check()
    for name, model in pair.items():
        best = interp.best_masks(model, clip[None], kind, progress=False)
        assert bool(best.proven[0])
        page.get_by_role("radio", name=name).check()
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="Find the best mask").click()
        done = f"() => /^{name}, {kind}.*Proven/.test(document.querySelector('.ix-found').innerText)"
        page.wait_for_function(done)
        found = page.locator(".ix").get_attribute("data-mask")
        assert found in ["".join(str(int(on)) for on in mask) for mask in best.ties[0].tolist()]
        assert f"loss {float(best.losses[0]):.3f}" in page.locator(".ix-found").inner_text()


@pytest.mark.browser
def test_a_readers_video_is_guessed_as_python_guesses_it(explorer_page, pair):
    videos = sorted((ROOT.parent / "shared" / "real" / "videos").glob("*.mp4"))
    if not videos:
        pytest.skip("needs ../shared")
    page = explorer_page(generated(0))
    page.locator('input[type="file"]').set_input_files(videos[0])
    page.wait_for_function("name => document.querySelector('.ix-title strong').innerText === name", arg=videos[0].name)
    page.wait_for_selector(".ix[data-ready]")
    clip = to_clip(read_clip(videos[0], 16, (64, 64)))[None]
    for place, model in enumerate(pair.values()):
        with torch.no_grad():
            guess = model.classes[int(model(clip).argmax())]
        assert page.locator(".ix-now").nth(place).inner_text().startswith(f"Guess: {guess}")
    page.get_by_role("button", name="The book's clip").click()
    page.wait_for_selector("text=The found mask")
    other = {"name": "no.mp4", "mimeType": "video/mp4", "buffer": b"no video"}
    page.locator('input[type="file"]').set_input_files(other)
    page.wait_for_function("() => /cannot decode no.mp4/.test(document.querySelector('.ix-note').innerText)")
