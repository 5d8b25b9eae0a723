"""First step: the text of a document or note as a stream of pages."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, chunks, contents
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.errors import LeaseLost, translate_file_errors
from pipeline.ingest.attempt import Attempt
from pipeline.ingest.progress import measure_extraction
from pipeline.sandbox.pool import make_limits
from pipeline.stages.extract import get_format
from pipeline.types import Document, Note, PageText, Stage


@dataclass(frozen=True)
class ReadPage:
    """A page, and the share of the file read so far (0.0 to 1.0)."""

    page: PageText
    share: float


@dataclass(frozen=True)
class Source:
    """The input of an attempt."""

    encoder: TextEncoder
    """The encoder of the model that was active when the attempt began."""
    pages: AsyncGenerator[ReadPage]
    known: Mapping[bytes, np.ndarray]
    """Vectors of each text of the previous version, of shape (windows, dimension), by the text's fingerprint."""
    heading: str = ""
    """Text that is embedded with every chunk."""
    no_text: str = ""
    """What the owner is told if a document has no text. Empty for notes, which may consist of signs."""


async def open_document(attempt: Attempt) -> Source:
    """Return the document's pages as a stream from a child process.

    Raises NotFound if the document is deleted, and IngestionError if its format is no longer read.
    """
    subject, encoder = attempt.subject, attempt.runtime.encoder
    async with attempt.transaction() as session:
        document = await access.get_document(session, subject.owner_id, subject.id)
        charset = await access.get_charset(session, subject.owner_id, subject.id)
        known = await _find_known(attempt, session, encoder.model_name)
    no_text = get_format(document.media_type).no_text
    return Source(encoder, _read_document(attempt, document, charset), known, no_text=no_text)


async def open_note(attempt: Attempt) -> Source:
    """Return the note's body as one page.

    Raises NotFound if the note is deleted.
    """
    subject, encoder = attempt.subject, attempt.runtime.encoder
    async with attempt.transaction() as session:
        note = await access.get_note(session, subject.owner_id, subject.id)
        known = await _find_known(attempt, session, encoder.model_name)
    return Source(encoder, _read_note(note), known, make_heading(note))


async def _find_known(attempt: Attempt, session: AsyncSession, model: str) -> Mapping[bytes, np.ndarray]:
    if not attempt.lease.has_chunks:
        return {}
    return await chunks.find_vectors(session, attempt.subject, model)


def make_heading(note: Note) -> str:
    """Return the text that is embedded with every chunk of a note."""
    return f"{note.title}\n\n"


async def read_ahead(pages: AsyncGenerator[ReadPage]) -> AsyncGenerator[list[ReadPage]]:
    """Read pages in a separate task, and yield the pages that have arrived as one batch.

    So the first chunks are embedded while later pages are still being read, and a slow model does not use up the
    time limit of the extraction.
    """
    arrived: asyncio.Queue[ReadPage | None] = asyncio.Queue()
    reading = asyncio.create_task(_fill(arrived, pages))
    try:
        is_complete = False
        while not is_complete:
            taken = [await arrived.get()]
            while not arrived.empty():
                taken.append(arrived.get_nowait())
            batch = [page for page in taken if page is not None]
            is_complete = len(batch) < len(taken)
            if batch:
                yield batch
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def read_first(pages: AsyncGenerator[ReadPage]) -> AsyncGenerator[list[ReadPage]]:
    """Read all pages, then yield them one by one, so that each attempt at a suspect takes the same steps."""
    async with aclosing(pages):
        read = [page async for page in pages]
    for page in read:
        yield [page]


async def _fill(arrived: asyncio.Queue[ReadPage | None], pages: AsyncGenerator[ReadPage]) -> None:
    try:
        async with aclosing(pages):
            async for page in pages:
                arrived.put_nowait(page)
    finally:
        arrived.put_nowait(None)


async def _read_note(note: Note) -> AsyncGenerator[ReadPage]:
    yield ReadPage(PageText(number=1, start=0, sections=[note.body]), share=1.0)


async def _read_document(attempt: Attempt, document: Document, charset: str | None) -> AsyncGenerator[ReadPage]:
    limits = make_limits(attempt.runtime.settings)
    number = start = 0
    with translate_file_errors(), tempfile.TemporaryFile() as file:
        await _fetch_original(attempt, document, file)
        await attempt.reach(Stage.EXTRACTING, 0.0)
        extracted = attempt.runtime.sandbox.extract(file, document.media_type, limits, charset=charset)
        async with aclosing(extracted):
            async for page in extracted:
                number += 1
                share = number / page.pages
                text = PageText(number=number, start=start, sections=page.sections, warnings=page.warnings)
                yield ReadPage(text, share)
                start += len(page.text)
                await attempt.reach(Stage.EXTRACTING, measure_extraction(share))


async def _fetch_original(attempt: Attempt, document: Document, file: BinaryIO) -> None:
    """Copy the original bytes from PostgreSQL to a file, slice by slice.

    Raises LeaseLost if the document was replaced or deleted meanwhile.
    """
    subject, sha256 = attempt.subject, bytes.fromhex(document.sha256)
    fetched = position = 0
    while fetched < document.size_bytes:
        async with attempt.transaction() as session:
            data = await contents.read_slice(session, subject.owner_id, subject.id, position, sha256)
        if data is None:
            raise LeaseLost
        await asyncio.to_thread(file.write, data)
        fetched += len(data)
        position += 1
