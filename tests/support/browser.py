"""The page of `serve` in the system's Chromium, watched for what a page must not do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

# A busy machine may take long; nothing here waits when all is well.
_PATIENCE_MS = 60_000
expect.set_options(timeout=_PATIENCE_MS)
Opener = Callable[..., Page]


def chromium() -> str:
    """Where the system's Chromium is; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no chromium on PATH, and CHROMIUM does not name one")
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser without a window."""
    executable = chromium()
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opening(browser: Browser, url: str) -> Iterator[Opener]:
    """Opens pages of a server; at the end nothing was wrong with them.

    Wrong are: errors on the console, violations of the Content-Security-Policy among them, uncaught
    exceptions, and requests to another host. A page's own failed requests are not: `expected`
    names what the console may say.
    """
    wrong: list[str] = []
    context: Any = None

    def open_page(where: str = "", *, expected: str = "", **options: Any) -> Page:
        nonlocal context
        context = context or browser.new_context(**options)
        page: Page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)

        def said(message: Any) -> None:
            if message.type in ("error", "warning") and not (expected and expected in message.text):
                wrong.append(f"{message.type}: {message.text}")

        def asked(request: Any) -> None:
            if not request.url.startswith((url, "blob:", "data:")):
                wrong.append(f"a request to {request.url}")

        page.on("console", said)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", asked)
        page.goto(f"{url}/{where}")
        return page

    try:
        yield open_page
    finally:
        if context is not None:
            context.close()
    assert not wrong, wrong
