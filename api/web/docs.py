"""The API documentation at `/docs`: Swagger UI from an installed package, allowed to contact only this service.

Litestar's own documentation pages load Swagger UI from another host.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path

from litestar import Response, Router, route
from litestar.params import FromPath

from api.auth import PUBLIC
from api.http.etags import IfNoneMatch
from api.web.assets import METHODS, Asset, make_asset, send_asset

FOLDER = Path(__file__).resolve().parent / "documentation"
PAGE = "index.html"
OWN_FILES = {PAGE: "text/html", "start.js": "text/javascript"}
SWAGGER_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@cache
def read_assets() -> dict[str, Asset]:
    """Return the files by name. No other file on the disk can be requested."""
    [swagger] = [folder for folder in files("swagger_ui_bundle").joinpath("vendor").iterdir() if folder.is_dir()]
    own = {name: make_asset((FOLDER / name).read_bytes(), kind) for name, kind in OWN_FILES.items()}
    return own | {name: make_asset(swagger.joinpath(name).read_bytes(), kind) for name, kind in SWAGGER_FILES.items()}


@route("/", http_method=METHODS, status_code=200)
async def show_docs(if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return the documentation page."""
    return send_asset(read_assets()[PAGE], POLICY, if_none_match)


@route("/assets/{name:str}", http_method=METHODS, status_code=200)
async def show_asset(name: FromPath[str], if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """Return a file that the documentation page loads."""
    return send_asset(read_assets().get(name), POLICY, if_none_match)


docs_router = Router("/docs", route_handlers=[show_docs, show_asset], opt=PUBLIC, include_in_schema=False)
