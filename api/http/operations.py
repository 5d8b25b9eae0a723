"""How handlers describe their requests and responses to the OpenAPI document, where Litestar cannot infer it."""

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


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Responses of a route that are errors, for its documentation; 503 is possible everywhere."""
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description=HTTPStatus(status).phrase,
            media_type="application/problem+json",
        )
        for status in sorted({*statuses, 503})
    }


NOT_MODIFIED = {304: ResponseSpec(None, generate_examples=False, description="It is what `If-None-Match` names.")}
"""Response of a route that knows what the client has."""


def _file_body() -> RequestBody:
    file = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    form = Schema(type=OpenAPIType.OBJECT, properties={"file": file}, required=["file"])
    return RequestBody(content={"multipart/form-data": OpenAPIMediaType(schema=form)}, required=True)


@dataclass
class PublicOperation(Operation):
    """Operation that needs no token."""

    def __post_init__(self) -> None:
        self.security = []


@dataclass
class UploadOperation(Operation):
    """Operation whose body is one file, streamed past Litestar's own parsing."""

    def __post_init__(self) -> None:
        self.request_body = _file_body()
        if self.responses and isinstance(accepted := self.responses["202"], OpenAPIResponse):
            self.responses["200"] = replace(
                accepted, description="These bytes are there already: the document that has them, and nothing happens."
            )


@dataclass
class AskOperation(Operation):
    """Operation whose answer may also be a stream of events."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content["text/event-stream"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


@dataclass
class PageImageOperation(Operation):
    """Operation whose answer is a PNG."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse):
            picture = Schema(type=OpenAPIType.STRING, content_media_type="image/png")
            answer.content = {"image/png": OpenAPIMediaType(schema=picture)}


@dataclass
class EventsOperation(Operation):
    """Operation whose answer is a stream of events."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse):
            answer.description = "Events, until the stream ends"
            answer.content = {"text/event-stream": OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))}
