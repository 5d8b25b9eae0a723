"""The files of the page: media types, headers, and no other files."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.web.page import FOLDER, MEDIA_TYPES
from pipeline.settings import Settings
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio

FILES = sorted(path.name for path in FOLDER.iterdir())


async def test_each_file_is_served_under_a_strict_policy(api: Api) -> None:
    for path, name in (("/", "index.html"), *((f"/static/{name}", name) for name in FILES)):
        response = await api.client.get(path)
        assert response.status_code == 200, path
        assert response.content == (FOLDER / name).read_bytes()
        assert response.headers["content-type"].partition(";")[0] == MEDIA_TYPES[Path(name).suffix]
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-cache"


async def test_head_has_the_same_headers_and_no_body(api: Api) -> None:
    for path in ("/", "/static/main.js"):
        answers = [await api.client.request(method, path) for method in ("GET", "HEAD")]
        assert answers[1].status_code == 200
        assert answers[1].content == b""
        for header in ("etag", "content-type", "content-length", "content-security-policy"):
            assert answers[0].headers[header] == answers[1].headers[header]


async def test_unchanged_files_are_not_sent_again(api: Api) -> None:
    etag = (await api.client.get("/static/main.js")).headers["etag"]
    again = await api.client.get("/static/main.js", headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert "default-src 'none'" in again.headers["content-security-policy"]
    other = await api.client.get("/static/main.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2fweb.py", "%2e%2e%2fweb.py", "../web.py", "a/b.js", ""])
async def test_nothing_else_is_served(api: Api, name: str) -> None:
    response = await api.client.get(f"/static/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_other_methods_are_refused(api: Api) -> None:
    for path in ("/", "/static/main.js"):
        assert (await api.client.post(path)).status_code == 405
        assert (await api.client.options(path)).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_page_is_not_part_of_the_openapi_document(api: Api) -> None:
    paths = json.loads((await api.client.get("/schema/openapi.json")).text)["paths"]
    assert [path for path in paths if path == "/" or path.startswith("/static")] == []


async def test_page_is_served_without_a_database(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://127.0.0.1:1/none")})
    app = create_app(away)
    transport = httpx2.ASGITransport(app)  # type: ignore[arg-type]  # Litestar types ASGI messages more narrowly
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/")).status_code == 200


def test_files_name_no_other_host() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text()
        assert re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", text, re.IGNORECASE) == [], name


def test_text_never_becomes_html() -> None:
    for name in FILES:
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|localStorage|sessionStorage|\.cookie",
            (FOLDER / name).read_text(),
        )
        # The page keeps only the fact that there is a session, without a secret.
        assert set(found) <= ({"localStorage"} if name == "session.js" else set()), name


@pytest.mark.parametrize("contact", ["mailto:security@example.org", "https://example.org/report"])
async def test_security_contact(api: Api, contact: str) -> None:
    unset = await api.client.get("/.well-known/security.txt")
    assert (unset.status_code, unset.json()["code"]) == (404, "not_found")
    settings = api.runtime.settings.model_copy(update={"security_contact": contact})
    api.app.state.runtime = replace(api.runtime, settings=settings)
    response = await api.client.get("/.well-known/security.txt")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in response.text.splitlines())
    assert set(fields) == {"Contact", "Expires"}
    assert fields["Contact"] == contact
    left = datetime.fromisoformat(fields["Expires"]) - datetime.now(UTC)
    assert timedelta(days=30) < left < timedelta(days=365)
