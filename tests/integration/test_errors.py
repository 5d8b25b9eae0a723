"""All errors are RFC 9457 problems, and show no internals."""

import json
from dataclasses import replace
from typing import NoReturn
from uuid import UUID

import pytest
from openapi_spec_validator import validate

from pipeline.db.session import Database
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio

FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


async def test_every_error_is_a_problem(api: Api) -> None:
    person = await api.register()
    requests = [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/documents/not-an-id", 404),
        ("GET", "/v1/documents/01a2084b-9065-752d-aaf7-35b94206de34", 404),
        ("PUT", "/v1/users/me", 405),
        ("GET", "/v1/documents?limit=0", 422),
        ("GET", "/v1/documents?limit=x", 422),
        ("GET", "/v1/documents?status=lost", 422),
        ("GET", "/v1/documents?cursor=%00", 422),
        ("POST", "/v1/search", 422),
        ("POST", "/v1/documents", 415),
    ]
    for method, path, status in requests:
        response = await api.client.request(method, path, headers=person.headers)
        assert response.status_code == status, (path, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert set(response.json()) - {"errors"} == FIELDS
        assert response.headers["x-request-id"] == response.json()["request_id"]


async def test_valid_request_id_of_the_caller_is_kept(api: Api) -> None:
    kept = await api.client.get("/health/live", headers={"X-Request-Id": "job-7.a_b"})
    assert kept.headers["x-request-id"] == "job-7.a_b"
    replaced = await api.client.get("/health/live", headers={"X-Request-Id": "a b"})
    assert replaced.headers["x-request-id"] != "a b"


class BrokenDatabase(Database):
    """Raises an error that no code expects."""

    def transaction(self, user_id: UUID | None = None) -> NoReturn:  # noqa: ARG002 - the signature of the base class
        raise ZeroDivisionError("secret /path")


async def test_unexpected_error_is_a_500_without_details(api: Api) -> None:
    person = await api.register()
    broken = BrokenDatabase(api.runtime.settings.sqlalchemy_url, pool_size=1, timeout_seconds=1)
    api.app.state.runtime = replace(api.runtime, database=broken)
    response = await api.get(person, "/v1/users/me")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert not any(word in response.text for word in ("secret", "ZeroDivision", "Traceback", ".py"))


async def test_openapi_document_is_valid_and_needs_no_token(api: Api) -> None:
    response = await api.client.get("/schema/openapi.json")
    assert response.status_code == 200
    document = json.loads(response.text)
    validate(document)
    operations = [
        (method, path) for path, methods in document["paths"].items() for method in methods if method != "parameters"
    ]
    assert ("post", "/v1/documents") in operations
    assert document["paths"]["/v1/documents"]["post"]["requestBody"]["content"].keys() == {"multipart/form-data"}
    answers = document["paths"]["/v1/ask"]["post"]["responses"]["200"]["content"]
    assert answers.keys() == {"application/json", "text/event-stream"}


async def test_no_page_loads_code_from_elsewhere(api: Api) -> None:
    for path in ("/schema", "/schema/swagger", "/schema/redoc"):
        response = await api.client.get(path)
        assert "https://" not in response.text.replace("https://spec.openapis.org", "")
