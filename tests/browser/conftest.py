"""One service and one browser for all browser tests. After each test the requests and complaints of its pages are checked.

Both end with this folder: the loop of a running Playwright keeps other tests from running theirs.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

from tests.browser.chromium import PATH, run_chromium
from tests.service import Service

HOST = "127.0.0.1"
PATIENCE_MILLISECONDS = 60_000
UPLOADS_AT_ONCE = 6
"""Uploads that an account may make within two seconds."""


def require_chromium() -> None:
    if PATH is None:
        pytest.skip("no chromium is installed, and BROWSER_PATH is not set")


class Watch:
    """The hosts that the pages of one test asked, and the complaints on their consoles."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.expected: list[str] = []
        """Patterns of complaints that the test causes."""

    def follow(self, page: Page) -> None:
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("pageerror", lambda error: self.complaints.append(f"pageerror {error}"))
        page.on("console", self._read)

    def _read(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} {urlsplit(message.location['url']).path}")

    def check(self) -> None:
        # Pictures have addresses such as blob:http://127.0.0.1:8000/…, which have no host of their own.
        assert self.hosts - {""} == {HOST}
        unexpected = [text for text in self.complaints if not any(re.search(one, text) for one in self.expected)]
        assert unexpected == []


@pytest.fixture(scope="package")
def service(
    postgres_url: str, template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    require_chromium()
    assert template_url
    folder = tmp_path_factory.mktemp("browser")
    service = Service(folder, postgres_url, redis_url, RATE_LIMIT_UPLOAD=f"{UPLOADS_AT_ONCE}/2 second")
    yield service
    service.stop()


@pytest.fixture(scope="package")
def playwright(service: Service) -> Iterator[Playwright]:
    assert service, "starts first: it runs a loop itself"
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with run_chromium(playwright) as running:
        yield running


@pytest.fixture
def watch() -> Iterator[Watch]:
    watching = Watch()
    yield watching
    watching.check()


@pytest.fixture
def open_page(browser: Browser, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Open pages that share nothing, not even cookies."""
    contexts: list[BrowserContext] = []

    def open_one(**options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE_MILLISECONDS)
        page = contexts[-1].new_page()
        watch.follow(page)
        return page

    yield open_one
    for context in contexts:
        context.close()
