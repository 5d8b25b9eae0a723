"""`sluice_client.Client` beside the OpenAPI document: which routes, parameters and fields it lacks."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sluice_client import Client, NotFound
from tests.processes import PROJECT
from tests.scripted_server import Answer, refuse, serve

ID = "01a2084b-9065-752d-aaf7-35b94206de34"
VALUES: dict[str, Any] = {
    **dict.fromkeys(("collection_id", "document_id", "note_id", "key_id", "webhook_id", "delivery_id"), ID),
    **dict.fromkeys(("name", "filename", "title", "body", "description", "query", "question", "external_id"), "a"),
    **dict.fromkeys(("secret", "invitation", "new_password", "url", "mode", "status", "sort"), "a"),
    **dict.fromkeys(("page", "start", "end", "top_k", "min_score"), 1),
    **dict.fromkeys(("details", "delete_contents"), True),
    "collection_ids": [ID],
    "document_ids": [ID],
    "metadata": {"year": 2026},
    "attributes": {"year": 2026},
    "filter": {"key": "year", "op": "eq", "value": 2026},
    "source": b"text",
    "scopes": ["read"],
    "events": ["document.ready"],
    "expires_at": datetime(2027, 1, 1, tzinfo=UTC),
    "history": [{"role": "user", "content": "Who?"}],
}
"""A value for each argument of a method. The client itself chooses the size of a page."""
MADE_OF_OTHERS = {"ask_stream", "close", "upload_and_wait", "wait"}
PAGING = {"limit", "cursor"}
NOT_FOR_PROGRAMS = {
    *("GET /health/live", "GET /health/ready", "GET /metrics"),
    # The browser's session, for which programs need a key or a password.
    *("POST /v1/auth/refresh", "POST /v1/auth/logout"),
    # Streams of changes: a program waits for its documents, or has a webhook.
    *("GET /v1/events", "GET /v1/documents/{document_id}/events"),
}
OTHER_WORDS = {"question", "query", "remember"}
"""`query` and `question` mean the same. `remember` is for browsers."""


def test_client_has_every_route_with_all_parameters_and_fields() -> None:
    def decide(asked: str, _: str | None) -> Answer:
        return (200, {}, {"access_token": "new"}) if asked.endswith("/auth/login") else refuse(404, "not_found")

    with serve(decide=decide) as script, Client(script.url, email="a@b.c", password="p", patience_seconds=0) as client:
        for method in list_methods(client):
            call(method)
    operations = list_operations()
    sent: dict[str, set[str]] = {}
    for (asked, _), body in zip(script.asked, script.bodies, strict=True):
        path = asked.partition("?")[0]
        [name] = [name for name in operations if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", name), path)]
        sent.setdefault(name, set()).update(parse_qs(urlsplit(asked).query), list_fields(body))
    assert operations.keys() - sent.keys() == NOT_FOR_PROGRAMS
    for name, fields in sent.items():
        assert operations[name] - fields <= OTHER_WORDS, name
        assert fields <= operations[name] | PAGING, name


def list_methods(client: Client) -> Iterator[Callable[..., Any]]:
    parts = [client, client.documents, client.notes, client.collections, client.keys, client.webhooks]
    for part in parts:
        for name, method in inspect.getmembers(part, inspect.ismethod):
            if not name.startswith("_") and name not in MADE_OF_OTHERS:
                yield method


def call(method: Callable[..., Any]) -> None:
    """Call a method with all of its arguments. The service answers that nothing is there."""
    arguments = {name: VALUES[name] for name in inspect.signature(method).parameters if name != "limit"}
    with suppress(NotFound):
        found = method(**arguments)
        if isinstance(found, Iterator):
            next(found)


def list_operations() -> dict[str, set[str]]:
    """Return the parameters and the fields of each operation."""
    described = json.loads((PROJECT / "docs" / "openapi.json").read_bytes())
    schemas = described["components"]["schemas"]
    operations = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
            for content in operation.get("requestBody", {"content": {}})["content"].values():
                schema = content["schema"]
                names |= schemas.get(schema.get("$ref", "").rpartition("/")[2], schema).get("properties", {}).keys()
            operations[f"{method.upper()} {path}"] = names - PAGING
    return operations


def list_fields(body: bytes) -> set[str]:
    """Return the fields of a JSON object or of a form."""
    if body.startswith(b"{"):
        return set(json.loads(body))
    return {name.decode() for name in re.findall(rb'; name="(\w+)"', body)}
