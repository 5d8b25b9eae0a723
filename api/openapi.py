"""What Litestar cannot see by itself in the handlers, for the OpenAPI document."""

from dataclasses import dataclass

from litestar import Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
)

from api.auth import PUBLIC

CONFIG = OpenAPIConfig(
    title="Sluice",
    version="1",
    description="Upload documents, watch them being ingested, find the passages that answer a question.",
    openapi_router=Router(path="/schema", route_handlers=[], opt=PUBLIC),
    # The JSON alone: the pages that Litestar offers load their code from other hosts.
    render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    use_handler_docstrings=True,
    components=Components(
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
    ),
    security=[{"bearer": []}],
)


def _file_body() -> RequestBody:
    file = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    form = Schema(type=OpenAPIType.OBJECT, properties={"file": file}, required=["file"])
    return RequestBody(content={"multipart/form-data": OpenAPIMediaType(schema=form)}, required=True)


@dataclass
class UploadOperation(Operation):
    """Operation whose body is one file, streamed past Litestar's own parsing."""

    def __post_init__(self) -> None:
        self.request_body = _file_body()
