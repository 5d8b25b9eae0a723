"""Addresses of places in the page, for clients that show a link with each citation."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request

from pipeline.settings import Settings
from pipeline.types import Passage, SubjectKind


def make_link(request: Request[Any, Any, Any], settings: Settings, passage: Passage) -> str:
    """Return the absolute address at which the page opens this passage.

    It begins with PUBLIC_URL, or without it, with the address that the client has used.
    """
    if passage.source == SubjectKind.NOTE:
        place = {"note": passage.note_id, "start": passage.start, "end": passage.end}
    else:
        place = {"document": passage.document_id, "page": passage.page, "start": passage.start, "end": passage.end}
    return f"{settings.public_url or request.base_url}#{urlencode(place)}"
