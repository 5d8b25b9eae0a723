"""Litestar's OpenAPI configuration."""

from litestar import Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from api.auth import PUBLIC

CONFIG = OpenAPIConfig(
    title="Sluice",
    version="1",
    description="Upload documents, follow their ingestion, and find the passages that answer a question.",
    openapi_router=Router(path="/schema", route_handlers=[], opt=PUBLIC, include_in_schema=False),
    # Only JSON: Litestar's documentation pages load code from other hosts.
    render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    use_handler_docstrings=True,
    components=Components(
        security_schemes={
            "bearer": SecurityScheme(
                type="http", scheme="bearer", description="An access token (JWT), or the secret of an API key (`sk-…`)."
            )
        }
    ),
    security=[{"bearer": []}],
)
