"""Changing the embedding model while all goes on: new vectors beside the old ones, one switch, then the old ones go."""

import asyncio
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import chunks, embedding_models, queue
from pipeline.db.embedding_models import Models
from pipeline.db.session import Database
from pipeline.embedding.active_model import LOOK_SECONDS
from pipeline.embedding.model import EmbeddingModel

LARGEST_DIMENSION = 3_800
"""Vectors stand in the rows of the table, and a row fits into a page of 8 KiB."""
DATABASE_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 1.0
NOTICE_SECONDS = 3 * LOOK_SECONDS
"""After so long every process has noticed the next model, and delays the switch while it loads it."""

Tell = Callable[[str], None]


class ModelChangeError(Exception):
    """The model cannot be changed; the message says why, and what to do."""


async def reembed(owner_url: str, model: str, tell: Tell) -> None:
    """Let the workers embed everything with `model`, let it answer from then on, and delete the vectors of the old one.

    Whatever stops it, the old model goes on answering, and the same call goes on where it was. Called with the model
    that answers, it gives up a change that has not come to its end. `tell` hears how far it is.
    Raises ModelChangeError, DatabaseUnavailable.
    """
    database = Database(owner_url, pool_size=2, timeout_seconds=DATABASE_TIMEOUT_SECONDS, role=None)
    try:
        if await _is_wanted(database, model, tell):
            await _begin(database, model)
            await _wait_for_vectors(database, model, tell)
            tell(f"{model} answers from now on; set EMBEDDING_MODEL to it")
        await _delete_unused_vectors(database)
    finally:
        await database.close()


async def _is_wanted(database: Database, model: str, tell: Tell) -> bool:
    """Whether there is a change to be made; one that is under way to another model is given up for the one of now."""
    async with database.transaction() as session:
        if not await embedding_models.sees_everything(session):
            raise ModelChangeError("this is for the owner of the tables: set DATABASE_OWNER_URL, as for migrations")
        models = await embedding_models.read(session)
        if models.active is None:
            raise ModelChangeError(f"no model is in use yet: set EMBEDDING_MODEL to {model} and start")
        if models.active != model:
            return True
        if models.next:
            await embedding_models.drop_next(session)
            tell(f"the change to {models.next} is given up")
        tell(f"{model} answers already")
        return False


async def _begin(database: Database, model: str) -> None:
    """Register the model as the next one."""
    async with database.transaction() as session:
        _refuse_another(await embedding_models.read(session), model)
    await asyncio.to_thread(require_usable, model)
    # What a change that was given up has left has gaps, and would be taken for complete.
    await _delete_unused_vectors(database)
    async with database.transaction() as session:
        await embedding_models.register(session, model)
        _refuse_another(await embedding_models.read(session), model)
        await queue.forget_stuck(session)


def _refuse_another(models: Models, model: str) -> None:
    if models.next not in (None, model):
        raise ModelChangeError(
            f"the change to {models.next} is under way: let it come to its end with reembed --model {models.next}, "
            f"or give it up with reembed --model {models.active}"
        )


def require_usable(model: str) -> None:
    """Load a model.

    Raises ModelChangeError where that fails, or where its vectors could not be stored.
    """
    try:
        dimension = EmbeddingModel(model).dimension
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise ModelChangeError(f"{model} cannot be loaded: {error}") from error
    if dimension > LARGEST_DIMENSION:
        raise ModelChangeError(f"{model} makes vectors of {dimension} numbers; at most {LARGEST_DIMENSION} can be kept")


async def _wait_for_vectors(database: Database, model: str, tell: Tell) -> None:
    """Queue what lacks vectors, again and again, until nothing does; then switch."""
    began = monotonic()
    told = ""
    while True:
        looked_at = monotonic()
        async with database.transaction() as session:
            if await _has_ended(session, model):
                return
            progress = await chunks.measure(session, model)
            await queue.enqueue_vectors(session, model)
            waiting, stuck = await queue.count_background(session)
        line = f"{progress.done} of {progress.total} chunks"
        if line != told:
            tell(line)
            told = line
        if 0 < stuck == waiting:
            raise ModelChangeError(
                f"{stuck} documents or notes cannot be embedded with {model}: the workers' log says why, at "
                f"ingestion.failed and queue.swept. The old model goes on answering; call again to try them again"
            )
        if progress.done >= progress.total and monotonic() > began + NOTICE_SECONDS and await _switch(database, model):
            return
        # A look takes long where there is much to look at.
        await asyncio.sleep(max(POLL_SECONDS, monotonic() - looked_at))


async def _has_ended(session: AsyncSession, model: str) -> bool:
    """Whether another call has brought the change to its end; it may also have given it up."""
    models = await embedding_models.read(session)
    if model not in (models.active, models.next):
        raise ModelChangeError(f"the change to {model} was given up meanwhile; {models.active} goes on answering")
    return models.active == model


async def _switch(database: Database, model: str) -> bool:
    """Let the next model answer, if nothing lacks its vectors; in that moment nobody stores any."""
    async with database.transaction() as session:
        if not await embedding_models.close_for_switch(session):
            return False
        if await _has_ended(session, model):
            return True
        progress = await chunks.measure(session, model)
        if progress.done < progress.total:
            return False
        await embedding_models.switch(session)
        return True


async def _delete_unused_vectors(database: Database) -> None:
    behind: tuple[UUID, UUID] | None = chunks.FIRST_KEY
    while behind:
        async with database.transaction() as session:
            behind = await chunks.delete_unused(session, behind)
