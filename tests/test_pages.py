"""The built book as a reader meets it: every page in Chromium, which no other host may serve.

Skipped where Playwright, Chromium or the book is missing; a failure where INTERP_NEED_BROWSER is set.
"""

import ast
import contextlib
import functools
import html
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from offline import absent, served, watched

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[1]
HTML = ROOT / "_build" / "html"
CONFIG = (ROOT / "_config.yml").read_text(encoding="utf-8")
BOOK = sorted(path.relative_to(HTML).as_posix() for path in HTML.glob("book/*.html"))
NOTEBOOKS = [name for name in BOOK if (ROOT / name).with_suffix(".ipynb").exists()]
PAGES = [*BOOK, "search.html", "genindex.html"]


@pytest.fixture(scope="module")
def address():
    """The book on a port of this machine."""
    if not (HTML / "index.html").exists():
        absent("no built book: run 'make book' first")
    with served(HTML) as place:
        yield place


@pytest.fixture
def visit(browser, address):
    """Opens a page; returns it, and a list of requests to other hosts, failed requests and the console's errors."""
    with contextlib.ExitStack() as stack:

        def open_page(name, **options):
            page, wrong = stack.enter_context(watched(browser, (address, "data:", "blob:"), **options))
            page.goto(f"{address}/{name}", wait_until="load")
            page.wait_for_load_state("networkidle")
            # Pictures below the fold are loaded lazily: bring each into view, so that a broken one is seen.
            page.evaluate("() => document.querySelectorAll('img').forEach(i => { i.loading = 'eager'; })")
            page.wait_for_function("() => [...document.images].every(i => i.complete)")
            return page, wrong

        yield open_page


# A path or a file name, which Sphinx puts where there is no alt text, says nothing to a listener.
SILENT = """all => all.filter(i => i.getAttribute('role') !== 'presentation' &&
    (!i.hasAttribute('alt') || /^$|^\\S*\\.(png|gif|webp|svg|jpe?g)$/i.test(i.alt.trim())))
    .map(i => i.src.slice(0, 120) + ' in ' + (i.closest('[id]')?.id ?? '?'))"""
BLANK = "all => all.filter(i => !i.naturalWidth).map(i => i.src.slice(0, 120))"
WIDE = """() => document.scrollingElement.scrollWidth <= 360 && window.innerWidth <= 360 ? [] :
    [document.scrollingElement.scrollWidth, ...[...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > 361).slice(0, 8).map(e => e.outerHTML.slice(0, 160))]"""
# Every drawing of a chapter stands in a figure with a number and a caption of at least five words.
UNNUMBERED = """() => [...document.querySelectorAll(
        '.bd-article .cell_output :is(img, canvas, video, svg[role=img], table.interp-results, .interp-explorer)')]
    .filter(e => { const words = [...document.querySelectorAll('.bd-article figure')].filter(f => f.contains(e))
        .map(f => [...f.children].find(c => c.matches('figcaption') && c.querySelector('.caption-number'))
            ?.innerText ?? '');
        return !e.closest('mjx-container') && !words.some(w => /^Fig\\. [\\d.]+\\s+\\S+(\\s+\\S+){4}/.test(w)); })
    .map(e => e.outerHTML.slice(0, 100) + ' after ' + (e.closest('section[id]')?.id ?? '?'))"""
# What paper cannot use: menus, and boxes that scroll.
FRAME = """() => [...[...document.querySelectorAll('.bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article,' +
    '.prev-next-footer, #jb-print-docs-body')].filter(e => e.getClientRects().length),
    ...[...document.querySelectorAll('.bd-article .cell_output')]
    .filter(e => getComputedStyle(e).overflowX !== 'visible')].map(e => e.className)"""
MOVING = """() => [...document.querySelectorAll('.bd-article img')].filter(i => /^data:image.(gif|webp)/.test(i.src)
    && i.currentSrc === i.src && (i.closest('picture') || /^data:image.gif/.test(i.src))).map(i => i.alt)"""
OPAQUE = """() => [...document.querySelectorAll('.bd-article .cell_output img')].filter(i => {
    const c = document.createElement('canvas'); c.width = i.naturalWidth; c.height = i.naturalHeight;
    const pen = c.getContext('2d'); pen.drawImage(i, 0, 0);
    const all = pen.getImageData(0, 0, c.width, c.height).data;
    for (let k = 3; k < all.length; k += 4) if (all[k] < 255) return true;
    return false; }).map(i => i.alt.slice(0, 100))"""


@functools.cache
def axe() -> str:
    """The script of axe-core, as a package of the extra `test` carries it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None:
        absent("axe-playwright-python is not installed: pip install interp[test]")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


SERIOUS = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .filter(v => ['serious', 'critical'].includes(v.impact))
    .flatMap(v => v.nodes.map(n => `${v.id}: ${n.target}: ${n.any[0]?.message ?? v.help}`))"""


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_without_another_host(visit, name):
    page, wrong = visit(name, color_scheme="light", viewport={"width": 1280, "height": 900})
    assert page.eval_on_selector_all("img", BLANK) == []
    assert page.eval_on_selector_all("img", SILENT) == [], "pictures that do not say what they show"
    assert page.evaluate(UNNUMBERED) == [], "drawings without a numbered caption: see CONTRIBUTING.md, The chapters"
    assert page.evaluate(OPAQUE) == [], "figures through which a dark page would shine"
    if page.locator(".math").count():
        page.wait_for_selector("mjx-container", timeout=10_000)
        assert page.locator("mjx-container [data-mjx-error]").count() == 0
    assert wrong == []
    page.evaluate(axe())
    assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_in_the_dark_never_scrolls_sideways_and_nothing_moves(visit, name):
    page, _ = visit(name, viewport={"width": 360, "height": 740}, color_scheme="dark", is_mobile=True, has_touch=True,
                    reduced_motion="reduce")  # fmt: skip
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate(WIDE) == []
    assert page.evaluate(MOVING) == []
    assert page.evaluate("() => document.getAnimations().filter(a => a.playState === 'running').length") == 0
    page.evaluate(axe())
    assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("name", BOOK)
def test_prints_light_and_without_the_frame(visit, name):
    page, _ = visit(name, color_scheme="dark", viewport={"width": 760, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(FRAME) == []
    ink, paper = page.evaluate("""() => [['color', '.bd-article p, .bd-article li'], ['backgroundColor', 'body']].map(
        ([k, at]) => getComputedStyle(document.querySelector(at))[k].match(/[\\d.]+/g).slice(0, 3).map(Number))""")
    assert max(ink) < 100 and min(paper) > 240
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.get_attribute("html", "data-theme") == "dark"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_chapter_can_be_opened_in_colab_and_taken_home_and_says_how_long_it_runs(name):
    text, notebook = (HTML / name).read_text(encoding="utf-8"), name.replace(".html", ".ipynb")
    url = yaml.safe_load(CONFIG)["sphinx"]["config"]["html_theme_options"]["repository_url"]
    colab = url.replace("github.com", "colab.research.google.com/github") + f"/blob/main/{notebook}"
    assert text.count(f'href="{colab}"') == 1
    assert len(re.findall(rf'href="[^"]*_sources/{notebook}"', text)) == 1
    source = json.loads((HTML / "_sources" / notebook).read_text(encoding="utf-8"))
    assert source["nbformat"] == 4 and any(cell.get("outputs") for cell in source["cells"])
    times = (HTML / "book" / "run_times.html").read_text(encoding="utf-8").partition("<article")[2]
    assert f'href="{Path(name).name}"' in times and "<p>torch</p>" in times


def test_every_page_says_what_a_shared_link_shows():
    if not BOOK:
        absent("no built book")
    base = yaml.safe_load(CONFIG)["html"]["baseurl"]
    descriptions = set()
    for name in BOOK:
        pairs = re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', (HTML / name).read_text("utf-8"))
        tags = {key: html.unescape(value) for key, value in pairs}
        assert tags["og:url"] == base + name and tags["og:title"] and "<" not in tags["og:title"]
        assert tags["description"] == tags["og:description"] and 40 <= len(tags["description"]) <= 205, name
        assert tags["twitter:card"] == "summary_large_image" and len(tags["og:image:alt"]) > 20
        picture = (HTML / tags["og:image"].removeprefix(base)).read_bytes()
        size = [int.from_bytes(picture[k : k + 4], "big") for k in (16, 20)]  # of a PNG's header
        assert size == [int(tags["og:image:width"]), int(tags["og:image:height"])] == [1200, 630]
        assert len(picture) < 300_000  # some readers take no more
        descriptions.add(tags["description"])
    assert len(descriptions) == len(BOOK)


def test_the_interface_has_every_public_name_and_the_chapters_link_to_it(visit):
    page, _ = visit("book/explain.html")
    page.locator("a.interp-name", has_text="interp.explain").first.click()
    page.wait_for_url("**/interface_core.html#interp.core.explanation.explain")
    shown = page.locator('dt[id="interp.core.masks.find_masks"] + dd').inner_text()
    assert "temporal mask" in shown and "ValueError" in shown
    listed = {name for path in HTML.glob("book/interface_*.html")
              for name in re.findall(r'<dt class="sig[^>]* id="([^"]*)"', path.read_text(encoding="utf-8"))}
    public = set()
    for path in (ROOT / "interp").rglob("*.py"):
        parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                public.add(".".join([*parts, node.name]))
    assert {name for name in public if "._" not in name and "__main__" not in name} - listed == set()


def test_on_the_first_page_a_reader_paints_and_the_scores_fall(visit):
    page, _ = visit("index.html", viewport={"width": 1280, "height": 860})
    page.wait_for_url("**/book/intro.html")
    page.locator(".interp-explorer").scroll_into_view_if_needed()  # below the result; it loads once it is seen
    page.wait_for_selector(".ix[data-ready]")
    squares, scores = page.locator(".ix-square"), page.locator(".ix-model > .ix-row .ix-number b")
    squares.first.scroll_into_view_if_needed()
    before = [float(score) for score in scores.all_inner_texts()]
    for place, move in ((2, page.mouse.down), (14, page.mouse.up)):
        box = squares.nth(place).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
        move()
    after = [float(score) for score in scores.all_inner_texts()]
    assert len(before) >= 2 and max(after) < min(before) / 2


def test_on_the_first_page_the_networks_score_any_mask(visit):
    if not (HTML / "_static" / "networks" / "networks.json").exists():
        pytest.skip("the book was built without a network for onnxruntime-web")
    page, wrong = visit("book/intro.html", viewport={"width": 1280, "height": 860})
    page.locator(".interp-explorer").scroll_into_view_if_needed()
    page.wait_for_selector(".ix[data-ready]")
    for place in (2, 7, 11):
        page.locator(".ix-square").nth(place).click()
    page.wait_for_function("() => [...document.querySelectorAll('.ix-now')].every(now => /uess: /.test(now.innerText))",
                           timeout=120_000)  # fmt: skip
    assert page.locator(".ix").get_attribute("data-mask") == "0010000100010000" and wrong == []
