"""Describes, for the OpenAPI document, the requests and responses that Litestar cannot infer from a handler."""

from dataclasses import dataclass, replace
from http import HTTPStatus

from litestar.openapi import ResponseSpec
from litestar.openapi.spec import (
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)

from api.errors import Problem
from pipeline.properties import MAX_COLLECTION_IDS, MAX_EXTERNAL_ID_CHARACTERS


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the error responses of a route. 503 is added, because every route may return it."""
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description=HTTPStatus(status).phrase,
            media_type="application/problem+json",
        )
        for status in sorted({*statuses, 503})
    }


NOT_MODIFIED = {304: ResponseSpec(None, generate_examples=False, description="The client already has this version.")}
"""Response of a route that supports `If-None-Match`."""


def _file_body(**fields: Schema) -> RequestBody:
    file = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    form = Schema(type=OpenAPIType.OBJECT, properties={"file": file, **fields}, required=["file"])
    return RequestBody(content={"multipart/form-data": OpenAPIMediaType(schema=form)}, required=True)


@dataclass
class PublicOperation(Operation):
    """Operation that needs no token."""

    def __post_init__(self) -> None:
        self.security = []


UPLOAD_FIELDS = {
    "metadata": Schema(type=OpenAPIType.OBJECT, description="A JSON object of at most 16 KiB."),
    "external_id": Schema(
        type=OpenAPIType.STRING,
        min_length=1,
        max_length=MAX_EXTERNAL_ID_CHARACTERS,
        description="Id in your own system. If a document has it, the file becomes the new version of that document.",
    ),
    "collection_id": Schema(
        type=OpenAPIType.ARRAY,
        items=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.UUID),
        max_items=MAX_COLLECTION_IDS,
        description="Collection to put the document into. May be repeated.",
    ),
    "attributes": Schema(
        type=OpenAPIType.OBJECT,
        description="Attributes in these collections: a JSON object of at most 16 strings, numbers and booleans.",
    ),
}


@dataclass
class NewVersionOperation(Operation):
    """Operation whose body is one file, which is streamed and not parsed by Litestar."""

    def __post_init__(self) -> None:
        self.request_body = _file_body()
        if self.responses and isinstance(accepted := self.responses["202"], OpenAPIResponse):
            self.responses["200"] = replace(
                accepted, description="A document already has these bytes. It is returned, and nothing changes."
            )


@dataclass
class UploadOperation(NewVersionOperation):
    """Operation whose body is one file, with fields beside it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.request_body = _file_body(**UPLOAD_FIELDS)


@dataclass
class AskOperation(Operation):
    """Operation whose response may be a stream of events."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content["text/event-stream"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


@dataclass
class PageImageOperation(Operation):
    """Operation whose response is a PNG."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse):
            png = Schema(type=OpenAPIType.STRING, content_media_type="image/png")
            answer.content = {"image/png": OpenAPIMediaType(schema=png)}


@dataclass
class EventsOperation(Operation):
    """Operation whose response is a stream of events."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse):
            answer.description = "Stream of events"
            answer.content = {"text/event-stream": OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))}
