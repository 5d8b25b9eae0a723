"""Sends the original bytes of a document."""

from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import quote

from litestar.response import Stream

from api.auth import UserRequest, work_while_current
from pipeline.errors import NotAuthenticated
from pipeline.types import Document


def send_original(request: UserRequest, document: Document, original: AsyncIterator[bytes]) -> Stream:
    """Return the response with the original bytes of a document, which ends early with the token."""
    return Stream(
        _send_while_current(request, original),
        media_type=document.media_type,
        headers={
            "Content-Disposition": _attachment(document.filename),
            "Content-Length": str(document.size_bytes),
            # Uploaded HTML must never run with the rights of this site.
            "Content-Security-Policy": "sandbox; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _send_while_current(request: UserRequest, slices: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the slices, fewer of them if the token ends meanwhile. The client then misses bytes."""
    with suppress(NotAuthenticated):
        while data := await work_while_current(request, anext(slices, None)):
            yield data


def _attachment(filename: str) -> str:
    """Return a Content-Disposition (RFC 6266) with the name in UTF-8, and in ASCII for clients that need it."""
    plain = filename.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
