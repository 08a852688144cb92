"""A piece of HTML in real Chromium, the network off; skipped where there is none, but for INTERP_NEED_BROWSER."""

import contextlib
import os
import shutil

import pytest

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


def absent(reason: str):
    (pytest.fail if os.environ.get("INTERP_NEED_BROWSER") else pytest.skip)(reason)


@contextlib.contextmanager
def chromium():
    """A running Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        absent("no Chromium on the PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield running
        running.close()


@contextlib.contextmanager
def opened(browser, html: str, folder, *, address: str = "", **options):
    """HTML in a file, opened as a page of its own; fails on an error on the console or a request to anywhere."""
    path = folder / "page.html"
    head = '<meta charset="utf-8"><title>page</title><meta name="viewport" content="width=device-width">'
    whole = f'<!doctype html><html lang="en"><head>{head}</head><body><main>{html}</main></body></html>'
    path.write_text(whole, encoding="utf-8")
    context = browser.new_context(offline=True, **({"viewport": {"width": 1280, "height": 900}} | options))
    page, said = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url[:100]))
    page.goto(path.as_uri() + address)
    try:
        yield page
        assert said == []
    finally:
        context.close()
