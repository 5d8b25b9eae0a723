"""The page at `/`: the files of `api/static` as they are, under a policy that lets them ask nobody but this service."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from litestar import HttpMethod, Response, Router, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, HeaderParameter

from api.auth import PUBLIC
from api.etags import is_known

FOLDER = Path(__file__).resolve().parent / "static"
PAGE = "index.html"
# Not `mimetypes`, which reads tables of the machine.
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        # Text never becomes HTML: the browser refuses `innerHTML`.
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Kept, but asked for anew: the modules of two releases must not meet.
    "Cache-Control": "no-cache",
}

METHODS = [HttpMethod.GET, HttpMethod.HEAD]

IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match")]


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


@cache
def read_files() -> dict[str, StaticFile]:
    """Return the files of the page by their names; nothing else on the disk can be named."""
    return {path.name: _read_file(path) for path in FOLDER.iterdir()}


def _read_file(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@route("/", http_method=METHODS, status_code=200)
async def show_page(if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return the page."""
    return _answer(read_files()[PAGE], if_none_match)


@route("/static/{name:str}", http_method=METHODS, status_code=200)
async def show_file(name: FromPath[str], if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return a file that the page loads."""
    file = read_files().get(name)
    if file is None:
        raise NotFoundException
    return _answer(file, if_none_match)


def _answer(file: StaticFile, if_none_match: str | None) -> Response[bytes]:
    headers = {**HEADERS, "ETag": file.etag}
    if is_known(file.etag, if_none_match):
        return Response(b"", status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


page_router = Router("/", route_handlers=[show_page, show_file], opt=PUBLIC, include_in_schema=False)
