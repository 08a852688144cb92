"""The built book as a reader meets it: every page in real Chromium, with every other host out of reach.

Skipped where Playwright, Chromium or the book is not there; a failure where INTERP_NEED_BROWSER is set.
"""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
HTML = Path(__file__).parents[1] / "_build" / "html"
# Without these Chromium calls home at every start.
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
NARROW = {"width": 360, "height": 740}
BOOK = sorted(path.relative_to(HTML).as_posix() for path in HTML.glob("book/*.html"))
PAGES = [*BOOK, "search.html"]


def absent(reason: str):
    (pytest.fail if os.environ.get("INTERP_NEED_BROWSER") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def address():
    """The book on a port of this machine, as `make serve` gives it."""
    if not (HTML / "index.html").exists():
        absent("no built book: run 'make book' first")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        absent("no Chromium on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """Opens a page; returns it with its requests to other hosts, its failures, and the console's errors."""
    contexts = []

    def open_page(name, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page, elsewhere, failed, said = context.new_page(), [], [], []

        def guard(route):
            if route.request.url.startswith((address, "data:", "blob:")):
                route.continue_()
            else:
                elsewhere.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page.on("response", lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{address}/{name}", wait_until="load")
        page.wait_for_load_state("networkidle")
        # Pictures below the fold are loaded lazily: bring each into view, so that a broken one is seen.
        page.evaluate("() => document.querySelectorAll('img').forEach(i => { i.loading = 'eager'; })")
        page.wait_for_function("() => [...document.images].every(i => i.complete)")
        return page, elsewhere, failed, said

    yield open_page
    for context in contexts:
        context.close()


# A path or a file name, which Sphinx puts where there is no alt text, tells a listener nothing.
SILENT = """all => all.filter(i => i.getAttribute('role') !== 'presentation' &&
    (!i.hasAttribute('alt') || /^$|^\\S*\\.(png|gif|webp|svg|jpe?g)$/i.test(i.alt.trim())))
    .map(i => i.src.slice(0, 120) + ' in ' + (i.closest('[id]')?.id ?? '?'))"""
BLANK = "all => all.filter(i => !i.naturalWidth).map(i => i.src.slice(0, 120))"
WIDE = """() => document.scrollingElement.scrollWidth <= 360 && window.innerWidth <= 360 ? [] :
    [document.scrollingElement.scrollWidth, ...[...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > 361).slice(0, 8).map(e => e.outerHTML.slice(0, 160))]"""


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_without_another_host(visit, name):
    page, elsewhere, failed, said = visit(name)
    assert elsewhere == []
    assert failed == []
    assert said == []
    assert page.eval_on_selector_all("img", BLANK) == []
    assert page.eval_on_selector_all("img", SILENT) == [], "pictures that do not say what they show"
    if page.locator(".math").count():
        page.wait_for_selector("mjx-container", timeout=10_000)
        assert page.locator("mjx-container [data-mjx-error]").count() == 0


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_in_the_dark_never_scrolls_sideways(visit, name):
    page, *_ = visit(name, viewport=NARROW, color_scheme="dark", is_mobile=True, has_touch=True)
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate(WIDE) == []


def test_the_first_page_leads_into_the_book(browser, address):
    page = browser.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_url("**/book/intro.html")
    page.wait_for_selector("article h1")
    page.close()


def test_the_book_stays_small():
    if not HTML.exists():
        absent("no built book")
    sizes = {path.relative_to(HTML): path.stat().st_size for path in HTML.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 60 * 2**20
    assert {name: size for name, size in sizes.items() if name.suffix == ".html" and size > 6 * 2**20} == {}
