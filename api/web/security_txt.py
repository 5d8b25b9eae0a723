"""`/.well-known/security.txt` (RFC 9116): whom to tell of a vulnerability."""

from datetime import UTC, datetime, timedelta

from litestar import Response, route

from api.auth import PUBLIC
from api.deps import RuntimeDependency
from api.web.assets import METHODS
from pipeline.errors import NotFound

VALID_DAYS = 180
"""Days until the contact must be looked up again. RFC 9116 recommends less than a year."""


@route("/.well-known/security.txt", http_method=METHODS, status_code=200, opt=PUBLIC, include_in_schema=False)
async def show_security_contact(runtime: RuntimeDependency) -> Response[str]:
    """Return the operator's contact. 404 if SECURITY_CONTACT is not set."""
    contact = runtime.settings.security_contact
    if contact is None:
        raise NotFound("The operator of this service has not named a security contact.")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    expires = (today + timedelta(days=VALID_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Response(f"Contact: {contact}\nExpires: {expires}\n", media_type="text/plain")
