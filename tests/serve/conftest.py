"""A browser with the page open, for the tests of the page: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from parvis.serve.service import Service
from served import listening, running

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 40
Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; PARVIS_BROWSER names one that is installed elsewhere. Closed with the module: while Playwright is
    there the thread has an event loop, and other tests cannot run theirs."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    found = os.environ.get("PARVIS_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("needs a browser: apt-get install chromium, or PARVIS_BROWSER=/path/to/chrome")
    playwright.expect.set_options(timeout=SECONDS * 1000)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with running(models, slots=4) as service:
        yield service


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with listening(service) as server:
        yield server.url


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Visit]:
    """Opens the page as somebody new. When the test is over, nothing may have gone wrong in the browser, and nobody
    but the server may have been asked for anything."""
    contexts: list[Any] = []
    wrong: list[str] = []
    hosts: set[str] = set()

    def opened(url: str = address, ready: bool = True, **how: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", lambda told: told.type in ("error", "warning") and wrong.append(told.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
        hosts.add(urlsplit(url).netloc)
        page.goto(url)
        if ready:
            page.wait_for_selector("body[data-ready=yes]")
        return page

    opened.wrong = wrong  # type: ignore[attr-defined]
    yield opened
    served = {urlsplit(page.url).netloc for context in contexts for page in context.pages}
    for context in contexts:
        context.close()
    assert hosts - {""} <= served, "the page asked another host"
    # that an answer had an error's status is the browser's own remark; the tests look at what the page says of it
    assert [text for text in wrong if not text.startswith("Failed to load resource")] == []
