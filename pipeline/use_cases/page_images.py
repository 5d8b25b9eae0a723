"""Page images: a page of a document as a PNG, with a passage marked."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import BinaryIO
from uuid import UUID

from pipeline.db import contents
from pipeline.errors import (
    Conflict,
    FailureCode,
    IngestionError,
    NotFound,
    Overloaded,
    PageImageFailed,
    PageImageUnavailable,
    SandboxUnavailable,
    translate_file_errors,
)
from pipeline.runtime import Runtime
from pipeline.sandbox.protocol import ProcessLimits
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import Mark, make_mark
from pipeline.types import Caller, Document, PageView, Status
from pipeline.use_cases import documents

DRAW_SECONDS = 10.0
"""Time limit for drawing one page."""


async def find_document(runtime: Runtime, caller: Caller, document_id: UUID, page: int) -> Document:
    """Return the owner's document if this page of it can be drawn.

    A document that is not `ready` may hold the bytes of a new version, while passages still come from the old one.
    Raises NotFound if the page does not exist or the format has no page images, Conflict if the document is not ready.
    """
    document = await documents.get(runtime, caller, document_id)
    if not _has_page_images(document.media_type):
        raise NotFound("Files of this format have no page images. Read the text instead.", code="no_picture")
    if document.status != Status.READY:
        message = f"Page images need a document that is ready; this one, or its new version, is {document.status}."
        raise Conflict(message, code="no_picture")
    if not 1 <= page <= (document.pages or 0):
        raise _no_such_page(page)
    return document


def _has_page_images(media_type: str) -> bool:
    try:
        return get_format(media_type).draw is not None
    except IngestionError:
        return False  # a format of an earlier release


async def draw(runtime: Runtime, caller: Caller, document: Document, view: PageView) -> bytes:
    """Return a PNG of the page, drawn from the original bytes.

    Raises NotFound if the page does not exist, Conflict if the document was replaced or deleted, PageImageFailed if the
    page cannot be drawn, PageImageUnavailable if too many page images are requested, TooManyFiles if no more files can
    be opened.
    """
    limits = ProcessLimits(DRAW_SECONDS, runtime.settings.extract_memory_bytes)
    async with _take_turn(runtime, caller):
        mark = await _find_mark(runtime, caller, document.id, view)
        with translate_file_errors(), tempfile.TemporaryFile() as file:
            await _fetch_original(runtime, caller, document, file)
            try:
                return await runtime.sandbox.draw(file, document.media_type, limits, view.page, mark)
            except SandboxUnavailable as error:
                raise PageImageUnavailable("No process can be started to draw the page. Try again.") from error
            except IngestionError as error:
                if error.failure == FailureCode.WORKER_LOST:
                    raise PageImageUnavailable("The process that draws pages was lost. Try again.") from error
                raise PageImageFailed(f"This page cannot be drawn. {error.message}") from error


@asynccontextmanager
async def _take_turn(runtime: Runtime, caller: Caller) -> AsyncIterator[None]:
    """Wait until a page of this account may be drawn. Accounts take turns, because a page can take 10 s."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(runtime.drawing_queue.turn(str(caller.owner_id)))
        except Overloaded:
            raise PageImageUnavailable("Too many page images are being drawn. Try again in a moment.") from None
        yield


def _no_such_page(page: int) -> NotFound:
    return NotFound(f"The document has no page {page}. Its pages are numbered from 1 to `pages`.")


async def _find_mark(runtime: Runtime, caller: Caller, document_id: UUID, view: PageView) -> Mark | None:
    if view.start is None and view.end is None:
        return None
    async with runtime.database.transaction(caller) as session:
        page = await contents.read_page(session, caller.owner_id, document_id, view.page)
    if page is None:
        raise _no_such_page(view.page)
    start = max(0, (view.start or 0) - page.start)
    end = len(page.text) if view.end is None else max(0, view.end - page.start)
    return await asyncio.to_thread(make_mark, page.text, start, end)


async def _fetch_original(runtime: Runtime, caller: Caller, document: Document, file: BinaryIO) -> None:
    async for data in documents.read_content(runtime, caller, document):
        await asyncio.to_thread(file.write, data)
    if file.tell() < document.size_bytes:
        raise Conflict("The document was replaced or deleted meanwhile. Try again.", code="no_picture")
    file.flush()
