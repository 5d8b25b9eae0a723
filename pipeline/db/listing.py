"""Lists of documents: chosen, sorted, and page by page.

A cursor of a list in order of creation is the last id, because ids sort by creation time. Other cursors hold the order,
the last value and the last id. So a page begins where the page before ended, also if documents come and go meanwhile.
"""

import base64
import binascii
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access
from pipeline.db.filters import choose_documents
from pipeline.db.models import Document
from pipeline.types import Caller, DocumentList, Listing, Sort

KEYS: dict[str, tuple[ColumnElement[Any], type]] = {
    Sort.NAME: (func.lower(Document.filename).collate("C"), str),
    Sort.SMALLEST: (Document.size_bytes.expression, int),
}
"""Expression by which each order sorts, except that of creation, and the type of its values."""


class _Last(NamedTuple):
    """Where a page ended."""

    sort: str
    value: str | Annotated[int, msgspec.Meta(ge=0, lt=2**63 - 1)]
    id: UUID


async def list_documents(
    session: AsyncSession, caller: Caller, listing: Listing, *, limit: int, cursor: str | None
) -> DocumentList:
    """Return a page of the caller's documents.

    Raises InvalidInput if the cursor is malformed, or belongs to another order.
    """
    conditions = _list_conditions(caller, listing)
    order, value = _order_by(listing.sort)
    query = select(Document, *([value.label("value")] if value is not None else [])).where(*conditions)
    is_falling = listing.sort.startswith("-")
    if cursor is not None:
        last = tuple_(*_decode(listing.sort, cursor))
        query = query.where(tuple_(*order) < last if is_falling else tuple_(*order) > last)
    directed = [column.desc() if is_falling else column for column in order]
    rows = (await session.execute(query.order_by(*directed).limit(limit + 1))).all()
    shown = rows[:limit]
    documents = await access.to_documents(session, [row[0] for row in shown])
    next_cursor = _encode(listing.sort, shown[-1]) if len(rows) > limit else None
    total = None
    if listing.has_total:
        total = await session.scalar(select(func.count()).select_from(Document).where(*conditions))
    return DocumentList(documents, next_cursor, total)


def _list_conditions(caller: Caller, listing: Listing) -> list[ColumnElement[bool]]:
    conditions = [Document.owner_id == caller.owner_id, choose_documents(caller, listing.selection)]
    if listing.status is not None:
        conditions.append(Document.status == listing.status)
    if listing.name is not None:
        conditions.append(Document.filename.icontains(listing.name, autoescape=True))
    return conditions


def _order_by(sort: Sort) -> tuple[list[ColumnElement[Any]], ColumnElement[Any] | None]:
    """Return the columns to sort by, and the first of them if it is not the id."""
    key = KEYS.get(sort.removeprefix("-"))
    if key is None:
        return [Document.id.expression], None
    return [key[0], Document.id.expression], key[0]


def _encode(sort: Sort, row: Any) -> str:
    last_id = row[0].id
    if sort.removeprefix("-") not in KEYS:
        return access.encode_cursor(last_id)
    return base64.urlsafe_b64encode(msgspec.json.encode(_Last(sort, row.value, last_id))).rstrip(b"=").decode()


def _decode(sort: Sort, cursor: str) -> tuple[Any, ...]:
    key = KEYS.get(sort.removeprefix("-"))
    if key is None:
        return (access.decode_cursor(cursor),)
    try:
        data = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        last = msgspec.json.decode(data, type=_Last)
    except (ValueError, binascii.Error):
        raise access.invalid_cursor() from None
    if last.sort != sort or type(last.value) is not key[1] or "\0" in str(last.value):
        raise access.invalid_cursor()
    return last.value, last.id
