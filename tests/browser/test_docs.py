"""The documentation in a browser: every operation is listed, nothing is refused, and no other host is asked."""

import json
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser

from api.openapi.__main__ import describe, make_app
from tests.waiting import wait_until

SERVER_SECONDS = 10
"""Longest wait for the server to start, and to stop."""


@pytest.fixture
def docs_url() -> Iterator[str]:
    """The API without database, Redis and model, which the documentation does not need."""
    server = uvicorn.Server(uvicorn.Config(make_app(), port=0, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, SERVER_SECONDS, "the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(SERVER_SECONDS)


def test_every_operation_is_listed_and_no_other_host_is_asked(docs_url: str, browser: Browser) -> None:
    operations = {
        (method.upper(), path)
        for path, methods in json.loads(describe())["paths"].items()
        for method in methods
        if method != "parameters"
    }
    complaints: list[str] = []
    hosts: set[str] = set()
    tokens: list[str | None] = []
    with browser.new_context() as context:
        page = context.new_page()
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
        page.locator(".opblock-get [data-path='/v1/users/me']").click()
        page.locator(".try-out__btn").wait_for()
        assert complaints == []
        page.on("request", lambda request: tokens.append(request.headers.get("authorization")))
        page.locator(".try-out__btn").click()
        page.locator(".execute").click()
        page.locator(".live-responses-table").wait_for()
    assert tokens == ["Bearer a-token"]
    assert hosts - {""} == {urlsplit(docs_url).netloc}
