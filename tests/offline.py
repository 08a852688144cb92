"""A piece of HTML in real Chromium, the network off; skipped where there is none, but for INTERP_NEED_BROWSER."""

import contextlib
import functools
import http.server
import os
import shutil
import threading

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
def served(folder):
    """The address of a folder's files, on a port of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def watched(browser, addresses, **options):
    """A new page, and a list of what goes wrong on it: errors on the console, requests that fail or go elsewhere."""
    context = browser.new_context(**options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda request: None if request.url.startswith(addresses) else wrong.append(request.url[:100]))
    try:
        yield page, wrong
    finally:
        context.close()


@contextlib.contextmanager
def opened(browser, html: str, folder, *, address: str = "", **options):
    """HTML in a file, opened as a page of its own; fails on an error on the console or a request to anywhere."""
    path = folder / "page.html"
    head = '<meta charset="utf-8"><title>page</title><meta name="viewport" content="width=device-width">'
    whole = f'<!doctype html><html lang="en"><head>{head}</head><body><main>{html}</main></body></html>'
    path.write_text(whole, encoding="utf-8")
    options = {"viewport": {"width": 1280, "height": 900}, "offline": True} | options
    with watched(browser, ("file:", "data:", "blob:"), **options) as (page, wrong):
        page.goto(path.as_uri() + address)
        yield page
        assert wrong == []
