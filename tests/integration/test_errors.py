"""All errors are RFC 9457 problems, and show no internals."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

import pytest
import structlog
from openapi_spec_validator import validate
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pipeline.db.session import Database
from pipeline.logs import configure_logging, get_logger
from pipeline.types import Caller
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio

FIELDS = {"type", "title", "status", "detail", "code", "request_id", "error"}


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
        problem = response.json()
        invalid = problem.get("errors", [])
        param = invalid[0]["field"] if status == 422 else None
        reasons = [f"`{error['field']}`: {error['message']}." for error in invalid]
        assert problem["error"] == {
            "message": " ".join([problem["detail"].replace(" Correct the fields listed in `errors`.", ""), *reasons]),
            "type": "invalid_request_error",
            "param": param,
            "code": problem["code"],
        }


async def test_valid_request_id_of_the_caller_is_kept(api: Api) -> None:
    kept = await api.client.get("/health/live", headers={"X-Request-Id": "job-7.a_b"})
    assert kept.headers["x-request-id"] == "job-7.a_b"
    replaced = await api.client.get("/health/live", headers={"X-Request-Id": "a b"})
    assert replaced.headers["x-request-id"] != "a b"


class BrokenDatabase(Database):
    """Raises an error that no code expects."""

    def transaction(self, caller: Caller | None = None) -> NoReturn:  # noqa: ARG002 - the signature of the base class
        raise ZeroDivisionError("secret /path")


async def test_unexpected_error_is_a_500_without_details(api: Api) -> None:
    person = await api.register()
    broken = BrokenDatabase(api.runtime.settings.sqlalchemy_url, pool_size=1, timeout_seconds=1)
    api.app.state.runtime = replace(api.runtime, database=broken)
    response = await api.get(person, "/v1/users/me")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert not any(word in response.text for word in ("secret", "ZeroDivision", "Traceback", ".py"))


@contextmanager
def log_as_the_service() -> Iterator[None]:
    """Log as the service does, and not as pytest does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("INFO")
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


async def test_log_of_an_unexpected_error_has_its_stack_but_no_values(capfd: pytest.CaptureFixture[str]) -> None:
    with log_as_the_service():
        try:
            raise ValueError("secret value") from KeyError("secret key")
        except ValueError as error:
            get_logger().error("request.crashed", exc_info=error)
            logging.getLogger("library").exception("it failed")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["exception"][0] for line in lines] == ["builtins.ValueError"] * 2
    assert "builtins.KeyError" in lines[0]["exception"]
    assert "test_errors.py" in lines[0]["exception"][1]
    assert "secret" not in json.dumps(lines)


async def test_errors_of_the_database_hide_the_parameters(api: Api) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with api.runtime.database.transaction() as session:
            await session.execute(text("SELECT CAST(:value AS integer) / 0"), {"value": 41_297})
    assert "41297" not in str(caught.value)


BROKEN_BODIES = {
    "Latin-1": '{"query": "caf\u00e9"}'.encode("latin-1"),
    "UTF-16": '{"query": "a"}'.encode("utf-16"),
    "1,000 deep": b"[" * 1000 + b"]" * 1000,
    "100,000 deep": b'{"query":' * 100_000,
    "cut off": b'{"query": "a',
}


@pytest.mark.parametrize("kind", BROKEN_BODIES)
async def test_body_that_is_no_json(api: Api, kind: str) -> None:
    person = await api.register()
    for path, credentials in (("/v1/auth/login", {}), ("/v1/search", person.headers)):
        headers = {**credentials, "Content-Type": "application/json"}
        response = await api.client.post(path, content=BROKEN_BODIES[kind], headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_accept_header_with_an_endless_weight(api: Api) -> None:
    person = await api.register()
    headers = {**person.headers, "Accept": "text/event-stream;q=inf"}
    response = await api.client.post("/v1/ask", headers=headers, json={"question": "why?"})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "Accept")


async def test_event_id_that_no_stream_sent(api: Api) -> None:
    person = await api.register()
    response = await api.get(person, "/v1/events", **{"Last-Event-ID": "999999999999999999"})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


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
        others = re.findall(r"https://[^/\"]+", response.text)
        assert set(others) <= {"https://spec.openapis.org", "https://app.example.org"}  # a specification and an example
