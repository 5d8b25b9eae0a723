"""The API reference at `/docs` is served completely, and loads nothing from other hosts."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx2
import pytest
from litestar import Litestar

from api.openapi.__main__ import make_app
from api.web.docs import OWN_FILES, POLICY, SWAGGER_FILES

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def app() -> Litestar:
    return make_app()


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]  # Litestar types ASGI messages more narrowly
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class Links(HTMLParser):
    """The URLs that a page loads, and its inline code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value for name in ("src", "href") if (value := values.get(name))]
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)


async def test_page_loads_from_here_alone(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    links = Links(page.text)
    assert links.inline == []
    assert len(links.addresses) == 4
    for address in links.addresses:
        assert address.startswith("/docs/assets/"), address
        asset = await client.get(address)
        assert asset.status_code == 200, address
        assert len(asset.content) > 100


@pytest.mark.parametrize("path", ["/docs", *(f"/docs/assets/{name}" for name in OWN_FILES | SWAGGER_FILES)])
async def test_every_file_has_the_policy(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.headers["x-content-type-options"] == "nosniff"
    sources = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert {word for words in sources.values() for word in words.split()} <= {*("'self'", "'none'", "data:", "blob:")}
    assert sources["default-src"] == "'none'"
    assert sources["connect-src"] == sources["script-src"] == "'self'"
    again = await client.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_our_code_names_no_other_host(client: httpx2.AsyncClient) -> None:
    for name in OWN_FILES:
        assert re.findall(r"(?:https?:)?//\w", (await client.get(f"/docs/assets/{name}")).text) == []
    css = (await client.get("/docs/assets/swagger-ui.css")).text
    assert [
        address for address in re.findall(r"url\(([^)]*)\)", css) if not address.strip("\"'").startswith("data:")
    ] == []
    assert "@import" not in css


@pytest.mark.parametrize(
    "name", ["nothing.js", "swagger-initializer.js", "..%2f__init__.py", "%2e%2e/%2e%2e/pyproject.toml", "index.j2"]
)
async def test_nothing_else_is_served(client: httpx2.AsyncClient, name: str) -> None:
    assert (await client.get(f"/docs/assets/{name}")).status_code == 404


async def test_only_get_and_head(client: httpx2.AsyncClient) -> None:
    assert (await client.head("/docs")).headers["content-security-policy"] == POLICY
    assert (await client.post("/docs")).status_code == 405
