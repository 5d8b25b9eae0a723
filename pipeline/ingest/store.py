"""Last step: check the lease, and store chunks, counts and `ready`, in one transaction."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.db import chunks, contents, embedding_models, queue
from pipeline.errors import ModelUnavailable
from pipeline.ingest.attempt import Attempt
from pipeline.ingest.embed import Content
from pipeline.ingest.progress import EMBEDDED
from pipeline.ingest.vectors import embed_with_next, require_dimension
from pipeline.stages.headings import add_headings
from pipeline.stages.words.lexemes import index_all
from pipeline.types import DocumentWarning, PageText, PageWarning, Stage, SubjectKind


async def store(attempt: Attempt, content: Content) -> None:
    """Replace the subject's chunks, and its text if it is a document, and mark it `ready`.

    Raises LeaseLost if this worker no longer holds the job, ModelUnavailable if another model has become active, or
    if the model makes vectors of another dimension than those stored. In these cases nothing is stored.
    """
    subject = attempt.subject
    vectors = {content.model: content.vectors, **await embed_with_next(attempt, content.texts, content.heading)}
    language = attempt.runtime.settings.text_search_config
    indexed = await asyncio.to_thread(index_all, content.texts, language)
    passages = await asyncio.to_thread(add_headings, content.pages, content.chunks, indexed.language)
    await attempt.reach(Stage.STORING, EMBEDDED)
    found: dict[str, object] = {"chunks": len(content.chunks)}
    async with attempt.transaction() as session:
        models = await embedding_models.hold(session)
        if models.active not in vectors:
            raise ModelUnavailable("Another model has become active.")
        for model, made in vectors.items():
            await require_dimension(attempt, session, model, made)
        await queue.complete(session, attempt.lease)
        if subject.kind == SubjectKind.DOCUMENT:
            await contents.replace_text(session, subject.owner_id, subject.id, content.pages)
            found |= _describe_pages(content.pages) | {"chunks_reused": content.reused}
        await chunks.replace(
            session,
            subject,
            passages,
            content.texts,
            {name: made for name, made in vectors.items() if name in (models.active, models.next)},
            indexed,
        )
        await queue.mark_ready(session, attempt.lease, **found)
        # After the document or note has its number of chunks, from which the sample is taken.
        await chunks.sample_words(session, len(content.chunks))
        await attempt.reach(Stage.FINISHING, EMBEDDED)
    await attempt.reach(Stage.STORED, 1.0)


def _describe_pages(pages: Sequence[PageText]) -> dict[str, object]:
    return {
        "pages": len(pages),
        "pages_with_text": sum(bool(page.text.strip()) for page in pages),
        "warnings": [asdict(warning) for warning in collect_warnings(pages)],
    }


def collect_warnings(pages: Sequence[PageText]) -> list[DocumentWarning]:
    """Return the warnings about the pages. The same warning about several pages is one warning."""
    numbers: dict[PageWarning, list[int]] = {}
    for page in pages:
        for warning in page.warnings:
            numbers.setdefault(warning, []).append(page.number)
    return [
        DocumentWarning(warning.code, warning.message, None if len(concerned) == len(pages) else concerned)
        for warning, concerned in numbers.items()
    ]
