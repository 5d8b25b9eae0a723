"""Headers that tell browsers what they may do with responses."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import HttpUrl, SecretStr

from api.app import create_app
from api.openapi.examples import PARAMETERS
from pipeline.settings import Settings
from tests.conftest import SECRET
from tests.integration.conftest import Api, make_transport

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.example.org"
UNUSED = "01a2084b-9065-752d-aaf7-35b94206de34"


@pytest.fixture(scope="module")
async def public_client() -> AsyncIterator[httpx2.AsyncClient]:
    """The API at a public https address, open to pages of one other origin. Its database is never used."""
    settings = Settings(
        _env_file=None,
        jwt_secret=SecretStr(SECRET),
        database_url=SecretStr("postgresql://127.0.0.1:1/unused"),
        public_url=HttpUrl("https://sluice.example.org"),
        cors_allow_origins=f"{ORIGIN}, https://other.example.org",
    )
    async with httpx2.AsyncClient(transport=make_transport(create_app(settings)), base_url="http://test") as client:
        yield client


async def test_every_response_is_protected(api: Api) -> None:
    anna = await api.register()
    location = (await api.upload(anna, b"A few words.")).headers["location"]
    etag = (await api.get(anna, location)).headers["etag"]
    responses = [
        await api.get(anna, location),
        await api.get(anna, location, **{"If-None-Match": etag}),
        await api.get(anna, f"{location}/content"),
        await api.get(anna, f"/v1/documents/{UNUSED}"),
        await api.client.delete("/v1/users/me"),
        await api.client.post("/v1/auth/login", content=b"\xff"),
        *[
            await api.client.get(path)
            for path in ("/", "/nowhere", "/static/main.js", "/docs", "/health/live", "/metrics")
        ],
    ]
    statuses = [200, 304, 200, 404, 401, 422, 200, 404, 200, 200, 200, 200]
    assert [response.status_code for response in responses] == statuses
    for response in responses:
        assert response.headers["x-content-type-options"] == "nosniff", response.url
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] in {"no-store", "no-cache", "private, no-cache"}
        assert "strict-transport-security" not in response.headers


async def test_tokens_and_private_data_are_not_stored(api: Api) -> None:
    anna = await api.register_over_http()
    credentials = {"email": anna.email, "password": anna.password}
    login = await api.client.post("/v1/auth/login", json=credentials)
    assert login.headers["cache-control"] == "no-store"
    for path in ("/v1/users/me", "/v1/documents", "/v1/notes", "/v1/audit-logs"):
        assert (await api.get(anna, path)).headers["cache-control"] == "no-store"


async def test_browsers_use_https_if_the_public_address_does(public_client: httpx2.AsyncClient) -> None:
    for path in ("/health/live", "/nowhere", "/v1/users/me"):
        response = await public_client.get(path)
        assert response.headers["strict-transport-security"] == "max-age=31536000"


async def test_other_origins_are_not_allowed_by_default(api: Api) -> None:
    response = await api.client.get("/health/live", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    refused = await api.client.options("/v1/search", headers=preflight)
    assert not [name for name in refused.headers if name.startswith("access-control")]


async def test_named_origin_may_call_every_route(api: Api, public_client: httpx2.AsyncClient) -> None:
    for path, methods in api.app.openapi_schema.to_schema()["paths"].items():
        for method in methods:
            response = await public_client.options(
                path.format(**PARAMETERS),
                headers={
                    "Origin": ORIGIN,
                    "Access-Control-Request-Method": method.upper(),
                    "Access-Control-Request-Headers": "authorization, content-type, last-event-id",
                },
            )
            assert response.status_code in {200, 204}, (path, response.text)
            assert response.headers["access-control-allow-origin"] == ORIGIN
            assert method.upper() in response.headers["access-control-allow-methods"]


async def test_page_of_a_named_origin_can_read_errors_and_headers(public_client: httpx2.AsyncClient) -> None:
    response = await public_client.get("/v1/users/me", headers={"Origin": ORIGIN})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-Id" in response.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in response.headers


async def test_other_origin_is_not_allowed(public_client: httpx2.AsyncClient) -> None:
    response = await public_client.get("/health/live", headers={"Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in response.headers
