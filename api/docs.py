"""The documentation at `/docs`: Swagger UI from its package, under a policy that lets it ask this service alone."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from litestar import HttpMethod, Response, Router, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, HeaderParameter

from api.auth import PUBLIC
from api.etags import is_known

FOLDER = Path(__file__).resolve().parent / "documentation"
PAGE = "index.html"
OUR_FILES = {PAGE: "text/html", "start.js": "text/javascript"}
FILES_OF_SWAGGER = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
METHODS = [HttpMethod.GET, HttpMethod.HEAD]

IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match")]


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the documentation."""

    content: bytes
    media_type: str
    etag: str


@cache
def read_assets() -> dict[str, Asset]:
    """Return the files by their names; nothing else on the disk can be named."""
    [swagger] = [folder for folder in files("swagger_ui_bundle").joinpath("vendor").iterdir() if folder.is_dir()]
    ours = {name: _make_asset((FOLDER / name).read_bytes(), kind) for name, kind in OUR_FILES.items()}
    return ours | {
        name: _make_asset(swagger.joinpath(name).read_bytes(), kind) for name, kind in FILES_OF_SWAGGER.items()
    }


def _make_asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@route("/", http_method=METHODS, status_code=200)
async def show_docs(if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return the page."""
    return _answer(read_assets()[PAGE], if_none_match)


@route("/assets/{name:str}", http_method=METHODS, status_code=200)
async def show_asset(name: FromPath[str], if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return a file that the page loads."""
    asset = read_assets().get(name)
    if asset is None:
        raise NotFoundException
    return _answer(asset, if_none_match)


def _answer(asset: Asset, if_none_match: str | None) -> Response[bytes]:
    headers = {**HEADERS, "ETag": asset.etag}
    if is_known(asset.etag, if_none_match):
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


docs_router = Router("/docs", route_handlers=[show_docs, show_asset], opt=PUBLIC, include_in_schema=False)
