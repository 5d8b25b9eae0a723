"""Documents, as clients in the format of OpenAI see them: light, and with a purpose."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access
from pipeline.db.list_parts import read_part
from pipeline.db.models import Document
from pipeline.types import ListPart, Status, StoredFile

DEFAULT_PURPOSE = "assistants"
"""Purpose of documents that came another way."""

_PURPOSE = func.coalesce(Document.purpose, DEFAULT_PURPOSE)


async def get_file(session: AsyncSession, owner_id: UUID, document_id: UUID) -> StoredFile:
    """Return the owner's document.

    Raises NotFound if it does not exist or belongs to another user.
    """
    row = (await session.execute(_select(owner_id).where(Document.id == document_id))).one_or_none()
    if row is None:
        raise access.no_such_document()
    return _show(row)


async def list_files(
    session: AsyncSession, owner_id: UUID, part: ListPart, purpose: str | None
) -> tuple[list[StoredFile], bool]:
    """Return a part of the owner's documents with this purpose, or with any, and whether more follow.

    Raises InvalidInput if the owner has no document next to which the part would begin.
    """
    conditions = [] if purpose is None else [_PURPOSE.in_([purpose])]
    rows, has_more = await read_part(session, _select(owner_id), [Document.id.expression], part, *conditions)
    return [_show(row) for row in rows], has_more


def _select(owner_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(
        Document.id,
        Document.filename,
        Document.size_bytes,
        _PURPOSE.label("purpose"),
        Document.status,
        Document.error_code,
        Document.error_message,
        Document.created_at,
    ).where(Document.owner_id == owner_id)


def _show(row: Row[*tuple[Any, ...]]) -> StoredFile:
    return StoredFile(
        row.id,
        row.filename,
        row.size_bytes,
        row.purpose,
        Status(row.status),
        access.to_failure(row),
        row.created_at,
    )
