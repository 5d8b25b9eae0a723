"""The embedding models of this process: the active one, and the next one while models change."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

from sqlalchemy.exc import ProgrammingError

from pipeline.db import embedding_models, schema
from pipeline.db.embedding_models import Models
from pipeline.db.session import Database
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.errors import DatabaseUnavailable, ModelUnavailable
from pipeline.logs import get_logger

CHECK_SECONDS = 1.0
"""Interval at which a process checks which model is active."""

log = get_logger()


class Encoders:
    """Loads the models that the database names: the one that answers searches, and the next one during a change."""

    def __init__(
        self,
        database: Database,
        configured: str,
        *,
        make: Callable[[str], TextEncoder],
        shared: TextEncoder | None = None,
        check_seconds: float,
    ) -> None:
        """Start with the model `configured`. `make` returns the encoder of a model by its name.

        If `shared` is given, it is the first encoder, and the caller closes it.
        """
        self.active = shared or make(configured)
        """The configured model until the database has been read."""
        self.next: TextEncoder | None = None
        self.is_mismatched = False
        """True if EMBEDDING_MODEL has been neither the active nor the next model since this process started."""
        self._database = database
        self._configured = configured
        self._make = make
        self._shared = shared
        self._check_seconds = check_seconds
        self._known = asyncio.Event()
        self._is_accepted = False
        self._checking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to load the model and to follow the database."""
        self._following = self._spawn(self._follow())

    async def close(self) -> None:
        """Stop loading. Requests that were accepted are still answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for encoder in (self.active, self.next):
            if encoder:
                self._close(encoder)

    @property
    def is_known(self) -> bool:
        """True if the database has been migrated and has named the active model."""
        return self._known.is_set()

    @property
    def is_ready(self) -> bool:
        """True if the active model is known and texts can be embedded."""
        return self.is_known and self.active.is_ready

    @property
    def is_interrupted(self) -> bool:
        """True if the server of the active model does not embed texts now, but has done so before."""
        return self.is_known and self.active.is_interrupted

    @property
    def is_unavailable(self) -> bool:
        """True if the last try to load the active model, or to use its server, has failed."""
        return self.active.is_unavailable

    @property
    def has_failed(self) -> bool:
        """True if the encoder of the active model, or the task that follows the database, has ended by an error."""
        return self.active.has_failed or (self._following is not None and self._following.done())

    @property
    def is_next_ready(self) -> bool:
        """True if there is a next model, and it is loaded."""
        return self.next is not None and self.next.is_ready

    async def wait(self) -> None:
        """Return when the active model is known and loaded."""
        while not self.is_ready:
            await self._known.wait()
            with suppress(ModelUnavailable):  # another model has become active
                await self.active.wait()

    async def is_replaced(self, name: str) -> bool:
        """Return True if the database says that the model `name` is no longer active.

        Raises DatabaseUnavailable.
        """
        await self._check(expected=name)
        return self.active.model_name != name

    async def _follow(self) -> None:
        while True:
            # Readiness reports a database that is down or not migrated.
            with suppress(DatabaseUnavailable, ProgrammingError):
                await self._check()
            self.active.start()
            await asyncio.sleep(self._check_seconds)

    async def _check(self, expected: str | None = None) -> None:
        async with self._checking:
            if expected is not None and self.active.model_name != expected:
                return  # another call has already noticed the switch
            async with self._database.transaction() as session:
                if not self._known.is_set():
                    if schema.compare_revision(await schema.read_revision(session)) == "behind":
                        return  # the migrations are not finished
                    await embedding_models.adopt(session, self._configured)
                self._switch_to(await embedding_models.read(session))

    def _switch_to(self, models: Models) -> None:
        if models.active is None:
            return
        self._known.set()
        self._is_accepted |= self._configured in (models.active, models.next)
        if not self._is_accepted and not self.is_mismatched:
            log.warning("model.mismatched", configured=self._configured, active=models.active)
        self.is_mismatched = not self._is_accepted
        if self.active.model_name != models.active:
            self._replace_active(models.active)
        if self.next and self.next.model_name != models.next:
            self._close(self.next)
            self.next = None
        if models.next and not self.next:
            self.next = self._make(models.next)
            self.next.start()
            self._spawn(self._delay_switch(self.next))

    def _replace_active(self, name: str) -> None:
        log.info("model.switched", before=self.active.model_name, after=name)
        self._close(self.active)
        if self.next and self.next.model_name == name:
            self.active, self.next = self.next, None
        else:
            self.active = self._make(name)
        self.active.start()

    async def _delay_switch(self, encoder: TextEncoder) -> None:
        """Delay the switch to the next model until this process has loaded it."""
        with suppress(DatabaseUnavailable, ModelUnavailable):
            async with self._database.transaction() as session:
                await embedding_models.delay_switch(session)
                await encoder.wait()

    def _close(self, encoder: TextEncoder) -> None:
        if encoder is not self._shared:
            encoder.close()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("model.following_failed", exc_info=error)
