"""Words and headings of stored chunks, made anew in the background after their rules have changed."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, chunks, contents
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable, NotFound
from pipeline.ingest.read import make_heading
from pipeline.logs import get_logger
from pipeline.stages.headings import add_headings
from pipeline.stages.repair import repair
from pipeline.stages.words.lexemes import Indexed, index_all
from pipeline.types import Caller, PageText, Subject, SubjectKind, TextChunk

AWAKE_SECONDS = 2.0
"""Interval of statements in a transaction while words are made. PostgreSQL ends transactions that do nothing."""

log = get_logger()


async def renew_outdated(database: Database, default_language: str, wait: Callable[[], Awaitable[None]]) -> int:
    """Make the words of some documents and notes anew. Return their number.

    `wait` is called before each. Each is one transaction, so nothing is lost if the call ends early. Several workers
    may do this at once. Raises DatabaseUnavailable.
    """
    async with database.transaction() as session:
        outdated = await chunks.list_outdated(session)
    if not outdated:
        return 0
    # Workers that begin at different ones seldom meet.
    random.shuffle(outdated)
    renewed = 0
    for subject in outdated:
        await wait()
        began = monotonic()
        try:
            renewed += await _renew(database, subject, default_language)
        except DatabaseUnavailable:
            raise
        except Exception:
            # The boundary of one subject: its words stay as they are, and a search still finds them.
            log.exception("words.failed", kind=subject.kind, subject_id=str(subject.id))
        # At most half of the time, so that other processes get a processor.
        await asyncio.sleep(monotonic() - began)
    log.info("words.renewed", subjects=renewed)
    return renewed


async def _renew(database: Database, subject: Subject, default_language: str) -> bool:
    """Return False if another worker renews this subject, or if it was deleted or replaced in the meantime."""
    async with database.transaction(Caller(subject.owner_id)) as session:
        if not await chunks.try_to_reserve(session, subject):
            return False
        if not (stored := await chunks.find_outdated(session, subject)):
            return False
        # After the chunks: if the pages are of a later version, the chunks are gone, and nothing is stored.
        pages, heading = await _read_source(session, subject)
        chosen = list(stored.values())
        making = asyncio.create_task(asyncio.to_thread(_make_words, chosen, pages, heading, default_language))
        while not making.done():
            await asyncio.wait((making,), timeout=AWAKE_SECONDS)
            await session.execute(select(1))
        passages, indexed = making.result()
        number = await chunks.renew_words(session, subject, dict(zip(stored, passages, strict=True)), indexed)
        if number:
            await chunks.sample_words(session, number)
    return number > 0


async def _read_source(session: AsyncSession, subject: Subject) -> tuple[list[PageText], str]:
    """Return the pages of a document, or the heading that is indexed with every chunk of a note."""
    if subject.kind == SubjectKind.DOCUMENT:
        return await contents.read_pages(session, subject.owner_id, subject.id), ""
    try:
        return [], make_heading(await access.get_note(session, subject.owner_id, subject.id))
    except NotFound:
        return [], ""


def _make_words(
    stored: Sequence[TextChunk], pages: Sequence[PageText], heading: str, default_language: str
) -> tuple[Sequence[TextChunk], Indexed]:
    indexed = index_all([heading + repair(chunk.text) for chunk in stored], default_language)
    numbers = {page.number for page in pages}
    # Pages of a later version may be fewer.
    has_pages = all(chunk.page in numbers for chunk in stored)
    return add_headings(pages, stored, indexed.language) if has_pages else stored, indexed
