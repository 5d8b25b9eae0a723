"""Changes the embedding model while the service runs: adds the new vectors, switches, deletes the old vectors."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import chunks, embedding_models, queue
from pipeline.db.embedding_models import Models
from pipeline.db.session import Database
from pipeline.embedding.active_model import CHECK_SECONDS
from pipeline.embedding.factory import ModelUnusable, UsableModel, try_model
from pipeline.settings import Settings

DATABASE_TIMEOUT_SECONDS = 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ReembedWaits:
    """Intervals in seconds. Tests shorten them."""

    poll: float = 1.0
    """Between two checks of the progress."""
    notice: float = 3 * CHECK_SECONDS
    """Until every process has noticed the next model and delays the switch while it loads the model.

    Three times the interval at which processes check the active model."""


class ModelChangeError(Exception):
    """The model cannot be changed. The message gives the reason."""


async def reembed(settings: Settings, model: str, tell: Tell, waits: ReembedWaits | None = None) -> None:
    """Embed everything with `model`, make it the active model, and delete the vectors of the old one.

    If it is interrupted, the old model stays active, and the same call continues the change. A call with the active
    model abandons an unfinished change. `tell` is called with each progress message.
    Raises ModelChangeError, DatabaseUnavailable, SettingsError.
    """
    waits = waits or ReembedWaits()
    database = Database(settings.owner_url, pool_size=2, timeout_seconds=DATABASE_TIMEOUT_SECONDS, role=None)
    try:
        if await _needs_change(database, model, tell):
            await _begin(database, settings, model)
            await _wait_for_vectors(database, model, tell, waits)
            tell(f"{model} is the active model now; set EMBEDDING_MODEL to it")
        await _delete_unused_vectors(database)
    finally:
        await database.close()


async def _needs_change(database: Database, model: str, tell: Tell) -> bool:
    """Return True if `model` is not active yet. If it is active, abandon an unfinished change to another model."""
    async with database.transaction() as session:
        if not await embedding_models.sees_everything(session):
            raise ModelChangeError("only the owner of the tables can do this; set DATABASE_OWNER_URL")
        models = await embedding_models.read(session)
        if models.active is None:
            raise ModelChangeError(f"no model is in use yet; set EMBEDDING_MODEL to {model} and start the service")
        if models.active != model:
            return True
        if models.next:
            await embedding_models.drop_next(session)
            tell(f"the change to {models.next} is abandoned")
        tell(f"{model} is already the active model")
        return False


async def _begin(database: Database, settings: Settings, model: str) -> None:
    """Register the model as the next one."""
    async with database.transaction() as session:
        _refuse_other_change(await embedding_models.read(session), model)
    await require_usable(settings, model)
    # Vectors of an abandoned change are incomplete, but would be counted as complete.
    await _delete_unused_vectors(database)
    async with database.transaction() as session:
        await embedding_models.register(session, model)
        _refuse_other_change(await embedding_models.read(session), model)
        await queue.forget_stuck(session)


def _refuse_other_change(models: Models, model: str) -> None:
    if models.next not in (None, model):
        raise ModelChangeError(
            f"the change to {models.next} is not finished; finish it with reembed --model {models.next}, "
            f"or abandon it with reembed --model {models.active}"
        )


async def require_usable(settings: Settings, model: str) -> UsableModel:
    """Load a model, or ask its server. Return what was learned.

    Raises ModelChangeError, with the error of the loading as its cause, if that fails.
    """
    try:
        return await try_model(settings, model)
    except ModelUnusable as error:
        raise ModelChangeError(str(error)) from error.__cause__


async def _wait_for_vectors(database: Database, model: str, tell: Tell, waits: ReembedWaits) -> None:
    """Queue everything that lacks vectors until nothing does. Then switch."""
    began = monotonic()
    last_line = ""
    while True:
        checked_at = monotonic()
        async with database.transaction() as session:
            if await _has_ended(session, model):
                return
            progress = await chunks.measure(session, model)
            await queue.enqueue_vectors(session, model)
            waiting, stuck = await queue.count_background(session)
        line = f"{progress.done} of {progress.total} chunks"
        if line != last_line:
            tell(line)
            last_line = line
        if 0 < stuck == waiting:
            raise ModelChangeError(
                f"{stuck} documents or notes cannot be embedded with {model}; see ingestion.failed and queue.swept "
                f"in the workers' log. The old model stays active. Run the command again to retry them"
            )
        is_noticed = monotonic() > began + waits.notice
        if progress.done >= progress.total and is_noticed and await switch_if_complete(database, model):
            return
        # A check of a large corpus takes long. Spend at most half of the time on checks.
        await asyncio.sleep(max(waits.poll, monotonic() - checked_at))


async def _has_ended(session: AsyncSession, model: str) -> bool:
    """Return True if another call has finished the change.

    Raises ModelChangeError if another call has abandoned it.
    """
    # Locked until the transaction ends. Otherwise the change could be abandoned before this call queues its jobs.
    models = await embedding_models.hold(session)
    if model not in (models.active, models.next):
        raise ModelChangeError(f"another command has abandoned the change to {model}; {models.active} stays active")
    return models.active == model


async def switch_if_complete(database: Database, model: str) -> bool:
    """Make the next model active if nothing lacks its vectors. Return True if it is active.

    Other transactions cannot store vectors during the switch.
    """
    async with database.transaction() as session:
        if not await embedding_models.lock_for_switch(session):
            return False
        if await _has_ended(session, model):
            return True
        progress = await chunks.measure(session, model)
        if progress.done < progress.total:
            return False
        await embedding_models.switch(session)
        return True


async def _delete_unused_vectors(database: Database) -> None:
    last_key: chunks.VectorKey | None = chunks.FIRST_KEY
    while last_key:
        async with database.transaction() as session:
            last_key = await chunks.delete_unused(session, last_key)
