"""The documentation in a browser: everything is listed, nothing is refused, nobody else is asked."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from api.openapi.__main__ import describe, make_app

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = Path(os.environ.get("BROWSER_PATH", "/usr/bin/chromium"))

pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason="there is no browser at BROWSER_PATH or /usr/bin/chromium")


@pytest.fixture
def docs_url() -> Iterator[str]:
    """The API without its parts: the documentation needs none of them."""
    server = uvicorn.Server(uvicorn.Config(make_app(), port=0, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_everything_is_listed_and_nobody_else_is_asked(docs_url: str) -> None:
    operations = {
        (method.upper(), path)
        for path, methods in json.loads(describe())["paths"].items()
        for method in methods
        if method != "parameters"
    }
    complaints: list[str] = []
    hosts: set[str] = set()
    tokens: list[str | None] = []
    with playwright.sync_playwright() as player, player.chromium.launch(executable_path=BROWSER) as browser:
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(f"{docs_url}/docs")
        page.wait_for_selector(".opblock-summary")
        seen = {
            (
                block.locator(".opblock-summary-method").inner_text(),
                block.locator("[data-path]").get_attribute("data-path"),
            )
            for block in page.locator(".opblock-summary").all()
        }
        assert seen == operations

        page.locator(".authorize").first.click()
        page.locator(".auth-container input").fill("a-token")
        page.locator(".auth-btn-wrapper .authorize").click()
        page.locator(".btn-done").click()
        page.locator("[data-path='/v1/users/me']").click()
        page.locator(".try-out__btn").wait_for()
        assert complaints == []
        page.on("request", lambda request: tokens.append(request.headers.get("authorization")))
        page.locator(".try-out__btn").click()
        page.locator(".execute").click()
        page.locator(".live-responses-table").wait_for()
    assert tokens == ["Bearer a-token"]
    assert hosts - {""} == {urlsplit(docs_url).netloc}
