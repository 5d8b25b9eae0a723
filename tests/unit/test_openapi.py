"""The OpenAPI document is up to date and complete, and its examples match its schemas."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from openapi_spec_validator import validate

from api import ratelimit
from api.openapi.__main__ import describe, make_app
from api.openapi.examples import PROBLEMS

PROJECT = Path(__file__).resolve().parents[2]
METHODS = {"get", "put", "post", "patch", "delete"}
PROBLEM = "application/problem+json"
DOCUMENT: dict[str, Any] = json.loads(describe())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


def find_misfits(example: object, schema: dict[str, Any]) -> list[str]:
    """Return the ways in which the example breaks the schema."""
    validator = Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [error.message for error in validator.iter_errors(example)]


def find_examples(content: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield every example of a body with its schema. Each media type must have one."""
    for media_type, body in content.items():
        examples = [example["value"] for example in body.get("examples", {}).values()]
        examples += [body["example"]] if "example" in body else []
        assert examples, f"no example of {media_type}"
        for example in examples:
            assert example is not None
            yield example, body["schema"]


def test_file_in_the_repository_is_up_to_date() -> None:
    assert (PROJECT / "docs" / "openapi.json").read_text() == describe(), "run make openapi"


def test_document_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


@every_operation
def test_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    assert len([other for other in OPERATIONS.values() if other["operationId"] == operation["operationId"]]) == 1


@every_operation
def test_request_examples_fit_their_schemas(name: str) -> None:
    operation = OPERATIONS[name]
    for parameter in operation.get("parameters", []):
        if parameter["required"]:
            assert find_misfits(parameter["example"], parameter["schema"]) == [], parameter["name"]
    for example, schema in find_examples(operation.get("requestBody", {}).get("content", {})):
        assert find_misfits(example, schema) == []


@every_operation
def test_response_examples_fit_their_schemas(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        assert response["description"]
        assert "content" in response or status in ("204", "304")
        for example, schema in find_examples(response.get("content", {})):
            assert find_misfits(example, schema) == [], status


@every_operation
def test_errors_are_documented(name: str) -> None:
    method, path = name.split()
    responses = OPERATIONS[name]["responses"]
    expected = {"500"}
    if path.startswith("/v1/"):
        expected.add("503")
        if OPERATIONS[name].get("security") != []:
            expected.add("401")
    if "{" in path:
        expected.add("404")
    if "requestBody" in OPERATIONS[name]:
        expected |= {"408", "413", "422"}
    if path.startswith("/v1/") and method != "GET" and path not in ("/v1/auth/login", "/v1/search", "/v1/ask"):
        expected.add("507")
    assert expected <= responses.keys()
    assert "400" not in responses, "invalid input is 422"
    for status, response in responses.items():
        if int(status) < 400 or (name, status) == ("GET /health/ready", "503"):
            continue
        assert response["content"].keys() == {PROBLEM}
        for code, example in response["content"][PROBLEM]["examples"].items():
            problem = example["value"]
            assert (problem["code"], problem["status"]) == (code, int(status))
            assert problem["title"] == HTTPStatus(int(status)).phrase
            assert problem["type"]
            assert problem["detail"]
            assert problem["request_id"]


@every_operation
def test_headers_are_documented(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        headers = response["headers"].keys()
        assert "X-Request-Id" in headers
        assert ("Retry-After" in headers) >= (status in ("429", "503", "507"))
        assert ("WWW-Authenticate" in headers) == (status == "401")


def find_handlers() -> Iterator[tuple[set[str], HTTPRouteHandler]]:
    """Yield every documented handler with its operations."""
    for route in make_app().routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                names = {f"{method} {route.path_format}" for method in handler.http_methods}
                if names & OPERATIONS.keys():
                    yield names, handler


def test_summaries_are_written_by_hand() -> None:
    """Without a summary, Litestar makes one from the name of the handler."""
    described: set[str] = set()
    for names, handler in find_handlers():
        assert handler.summary, names
        described |= names
    assert described >= OPERATIONS.keys()


def test_limited_operations_document_their_limits() -> None:
    guards = {ratelimit.limit_queries, ratelimit.limit_uploads, ratelimit.limit_page_images}
    limited = {name for names, handler in find_handlers() if guards & set(handler.resolve_guards()) for name in names}
    by_address = {
        "POST /v1/auth/login",
        "POST /v1/auth/register",
        "PUT /v1/users/me/password",
        "DELETE /v1/users/me",
    }
    documented = {name for name, operation in OPERATIONS.items() if says_limit(operation)}
    assert documented == limited | by_address
    assert len(limited) >= 5


def says_limit(operation: dict[str, Any]) -> bool:
    return any("RateLimit" in response["headers"] for response in operation["responses"].values())


def test_codes_of_the_examples_are_those_of_the_source() -> None:
    codes: set[str] = set()
    for folder in ("api", "pipeline"):
        for file in (PROJECT / folder).rglob("*.py"):
            codes.update(re.findall(r'code\s*=\s*"([a-z_]+)"', file.read_text()))
    # No operation answers with these: base classes, and errors inside workers.
    codes -= {"error", "conflict", "unavailable", "lease_lost", "aborted"}
    shown = {
        code
        for operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(PROBLEM, {}).get("examples", {})
    }
    assert codes - shown == set()
    assert {problem.code for problem in PROBLEMS} == codes | {"internal_error"}
