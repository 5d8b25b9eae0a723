"""The web page at `/`: the files of `api/static`, allowed to contact only this service."""

from functools import cache
from pathlib import Path

from litestar import Response, Router, route
from litestar.params import FromPath

from api.auth import PUBLIC
from api.http.etags import IfNoneMatch
from api.web.assets import METHODS, Asset, make_asset, send_asset

FOLDER = Path(__file__).resolve().parents[1] / "static"
PAGE = "index.html"
# Not `mimetypes`: its result depends on files of the machine.
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    # The browser refuses `innerHTML`, so text never becomes HTML.
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@cache
def read_assets() -> dict[str, Asset]:
    """Return the files by name. No other file on the disk can be requested."""
    return {path.name: make_asset(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in FOLDER.iterdir()}


@route("/", http_method=METHODS, status_code=200)
async def show_page(if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return the page."""
    return send_asset(read_assets()[PAGE], POLICY, if_none_match)


@route("/static/{name:str}", http_method=METHODS, status_code=200)
async def show_file(name: FromPath[str], if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return a file that the page loads."""
    return send_asset(read_assets().get(name), POLICY, if_none_match)


page_router = Router("/", route_handlers=[show_page, show_file], opt=PUBLIC, include_in_schema=False)
