"""Original bytes, in slices, and extracted text, by page. A reader loads only the slices or pages it needs."""

from collections.abc import Iterable
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Document, DocumentPage, DocumentSlice
from pipeline.types import DocumentPieces, DocumentText, PageText

SLICE_BYTES = 1024 * 1024
PAGES_AT_ONCE = 200
MAX_CHARACTERS = 1_000_000
"""Maximum number of characters of extracted text that one request returns."""


async def write_original(session: AsyncSession, owner_id: UUID, document_id: UUID, file: BinaryIO) -> None:
    """Store the bytes of a file."""
    file.seek(0)
    position = 0
    while data := file.read(SLICE_BYTES):
        await session.execute(
            insert(DocumentSlice).values(owner_id=owner_id, document_id=document_id, position=position, data=data)
        )
        position += 1


async def replace_original(session: AsyncSession, owner_id: UUID, document_id: UUID, file: BinaryIO) -> None:
    """Store the bytes of a file in place of the old ones."""
    await session.execute(
        delete(DocumentSlice).where(DocumentSlice.owner_id == owner_id, DocumentSlice.document_id == document_id)
    )
    await write_original(session, owner_id, document_id, file)


async def read_slice(
    session: AsyncSession, owner_id: UUID, document_id: UUID, position: int, sha256: bytes
) -> bytes | None:
    """Return slice number `position`, counted from 0, of the original bytes with this hash.

    Returns None after the last slice, and if the document was deleted or replaced. So versions never mix.
    """
    return await session.scalar(
        select(DocumentSlice.data)
        .join(Document, and_(Document.owner_id == DocumentSlice.owner_id, Document.id == DocumentSlice.document_id))
        .where(
            DocumentSlice.owner_id == owner_id,
            DocumentSlice.document_id == document_id,
            DocumentSlice.position == position,
            Document.sha256 == sha256,
        )
    )


async def replace_text(session: AsyncSession, owner_id: UUID, document_id: UUID, pages: Iterable[PageText]) -> None:
    """Store the extracted text in place of the old one."""
    await session.execute(
        delete(DocumentPage).where(DocumentPage.owner_id == owner_id, DocumentPage.document_id == document_id)
    )
    rows = [
        {
            "owner_id": owner_id,
            "document_id": document_id,
            "page": page.number,
            "start": page.start,
            "length": len(page.text),
            "text": page.text,
        }
        for page in pages
    ]
    for first in range(0, len(rows), PAGES_AT_ONCE):
        await session.execute(insert(DocumentPage), rows[first : first + PAGES_AT_ONCE])


async def read_page(session: AsyncSession, owner_id: UUID, document_id: UUID, number: int) -> PageText | None:
    """Return the text of a page, counted from 1, or None if there is no such page."""
    page = await session.scalar(
        select(DocumentPage).where(
            DocumentPage.owner_id == owner_id, DocumentPage.document_id == document_id, DocumentPage.page == number
        )
    )
    return PageText(page.page, page.start, [page.text]) if page else None


async def read_pages(session: AsyncSession, owner_id: UUID, document_id: UUID) -> list[PageText]:
    """Return the text of all pages, in order."""
    query = select(DocumentPage.page, DocumentPage.start, DocumentPage.text).where(
        DocumentPage.owner_id == owner_id, DocumentPage.document_id == document_id
    )
    rows = await session.execute(query.order_by(DocumentPage.page))
    return [PageText(row.page, row.start, [row.text]) for row in rows]


async def read_text(
    session: AsyncSession, owner_id: UUID, document_id: UUID, start: int, end: int | None
) -> DocumentText:
    """Return characters `start` to `end` of the extracted text, at most MAX_CHARACTERS.

    Both are clamped to its length.
    """
    pieces = await read_pieces(session, owner_id, document_id, start, end)
    return DocumentText(text="".join(pieces.texts), start=pieces.start, end=pieces.end, length=pieces.length)


async def read_pieces(
    session: AsyncSession, owner_id: UUID, document_id: UUID, start: int, end: int | None
) -> DocumentPieces:
    """Return the same characters, those of each page apart. Pages without text are left out.

    A long page is cut by PostgreSQL, so that memory holds only the characters that are returned.
    """
    of_document = (DocumentPage.owner_id == owner_id, DocumentPage.document_id == document_id)
    page_end = DocumentPage.start + DocumentPage.length
    length = await session.scalar(select(func.coalesce(func.max(page_end), 0)).where(*of_document)) or 0
    start = min(start, length)
    end = max(start, min(length if end is None else end, length, start + MAX_CHARACTERS))
    first = func.greatest(start - DocumentPage.start, 0)
    pages = await session.scalars(
        select(func.substr(DocumentPage.text, first + 1, end - DocumentPage.start - first))
        .where(*of_document, DocumentPage.length > 0, DocumentPage.start < end, page_end > start)
        .order_by(DocumentPage.page)
    )
    return DocumentPieces(pages.all(), start, end, length)
