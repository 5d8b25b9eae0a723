"""Addresses of places in the page, for clients that show links."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request

from pipeline.settings import Settings
from pipeline.types import Passage, SubjectKind


def make_link(request: Request[Any, Any, Any], settings: Settings, passage: Passage) -> str:
    """Return the absolute address at which the page opens this passage."""
    if passage.source == SubjectKind.NOTE:
        return _make(request, settings, note=passage.note_id, start=passage.start, end=passage.end)
    place = {"page": passage.page, "start": passage.start, "end": passage.end}
    return _make(request, settings, document=passage.document_id, **place)


def make_link_to_document(request: Request[Any, Any, Any], settings: Settings, document_id: UUID) -> str:
    """Return the absolute address at which the page opens this document."""
    return _make(request, settings, document=document_id)


def make_link_to_note(request: Request[Any, Any, Any], settings: Settings, note_id: UUID) -> str:
    """Return the absolute address at which the page opens this note."""
    return _make(request, settings, note=note_id)


def _make(request: Request[Any, Any, Any], settings: Settings, **place: object) -> str:
    """Return the address of a place. It begins with PUBLIC_URL, or else with the address that the client has used."""
    return f"{settings.public_url or request.base_url}#{urlencode(place)}"
