"""The embedding models of this process: the one that answers, and while models change, the one that takes over."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

from sqlalchemy.exc import ProgrammingError

from pipeline.db import embedding_models
from pipeline.db.embedding_models import Models
from pipeline.db.session import Database
from pipeline.embedding.encoder import Encoder
from pipeline.errors import DatabaseUnavailable, ModelUnavailable
from pipeline.logs import get_logger

LOOK_SECONDS = 1.0

log = get_logger()


class Encoders:
    """Follows what the database says: which model answers, and which one to have loaded when it takes over."""

    def __init__(self, database: Database, configured: str) -> None:
        self.active = Encoder(configured)
        """Until the database has said which one answers, a guess."""
        self.next: Encoder | None = None
        self.is_mismatched = False
        """Whether EMBEDDING_MODEL was never, since this process began, a model that has a part in searches."""
        self._database = database
        self._configured = configured
        self._known = asyncio.Event()
        self._is_accepted = False
        self._looking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to follow and to load."""
        self._spawn(self._follow())

    async def close(self) -> None:
        """Stop loading, and let what was asked for be answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for encoder in (self.active, self.next):
            if encoder:
                encoder.close()

    @property
    def is_ready(self) -> bool:
        """Whether the model that answers is known and loaded."""
        return self._known.is_set() and self.active.is_ready

    @property
    def is_next_ready(self) -> bool:
        """Whether there is a model that takes over, and it is loaded."""
        return self.next is not None and self.next.is_ready

    async def wait(self) -> None:
        """Return when the model that answers is known and loaded."""
        while not self.is_ready:
            await self._known.wait()
            with suppress(ModelUnavailable):  # another one has taken over meanwhile
                await self.active.wait()

    async def has_replaced(self, name: str) -> bool:
        """Look whether another model answers than the one of this name.

        Raises DatabaseUnavailable.
        """
        await self._look(besides=name)
        return self.active.model_name != name

    async def _follow(self) -> None:
        while True:
            with suppress(DatabaseUnavailable, ProgrammingError):  # away, or not migrated yet: readiness says so
                await self._look()
            self.active.start()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, besides: str | None = None) -> None:
        async with self._looking:
            if besides is not None and self.active.model_name != besides:
                return  # somebody looked while we waited
            async with self._database.transaction() as session:
                if not self._known.is_set():
                    await embedding_models.adopt(session, self._configured)
                self._switch_to(await embedding_models.read(session))

    def _switch_to(self, models: Models) -> None:
        if models.active is None:
            return
        self._known.set()
        self._is_accepted |= self._configured in (models.active, models.next)
        self.is_mismatched = not self._is_accepted
        if self.active.model_name != models.active:
            log.info("model.switched", before=self.active.model_name, after=models.active)
            self.active.close()
            took_over = self.next is not None and self.next.model_name == models.active
            self.active, self.next = (
                (self.next, None) if took_over and self.next else (Encoder(models.active), self.next)
            )
            self.active.start()
        if self.next and self.next.model_name != models.next:
            self.next.close()
            self.next = None
        if models.next and not self.next:
            self.next = Encoder(models.next)
            self.next.start()
            self._spawn(self._delay_switch(self.next))

    async def _delay_switch(self, encoder: Encoder) -> None:
        """Let no model take over that would first have to be loaded here."""
        with suppress(DatabaseUnavailable, ModelUnavailable):
            async with self._database.statement() as connection:
                await embedding_models.delay_switch(connection)
                try:
                    await encoder.wait()
                finally:
                    await embedding_models.allow_switch(connection)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
