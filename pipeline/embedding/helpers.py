"""Idle workers help to embed a long document.

A worker offers a piece of its texts to all workers. Those that are idle and use the same model accept. The first of
them receives the texts and answers with the vectors. All messages are sealed. Redis passes them on and does not store
them. The worker that holds the job decides everything: it embeds a piece itself if the piece does not come back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar
from uuid import uuid4

import msgspec
import numpy as np
from sqlalchemy.exc import ProgrammingError

from pipeline.circuit_breaker import CircuitBreaker
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.sealing import Seal, SealBroken
from pipeline.embedding.text_encoder import ModelIdentity, TextEncoder
from pipeline.errors import DatabaseUnavailable, IngestionError, ModelUnavailable

ACCEPT_SECONDS = 0.5
"""Time after which an offer that nobody has accepted is repeated."""
KEY_SECONDS = 1.0
"""Pause before the key is sought again."""
ANSWER_SECONDS = 5.0
"""Time after which the worker embeds a piece itself. A piece takes 0.1 to 0.6 s on an idle processor."""
PIECES_AT_ONCE = 2
"""Number of pieces that a process embeds at once, so that its encoder always has one waiting."""

Send = Callable[[str, bytes], Awaitable[int]]
"""Sends a message to a channel. Returns the number of processes that receive it, or 0 if it cannot be sent."""


class Offer(msgspec.Struct, frozen=True, tag=True):
    """A worker has texts for a helper that uses this model."""

    model: bytes
    sender: str
    piece: bytes


class Acceptance(msgspec.Struct, frozen=True, tag=True):
    """A worker is idle and would embed the piece."""

    helper: str
    piece: bytes


class Texts(msgspec.Struct, frozen=True, tag=True):
    """The texts of a piece, without the prompt of the model."""

    model: bytes
    sender: str
    piece: bytes
    texts: list[str]


class Vectors(msgspec.Struct, frozen=True, tag=True):
    """The vectors of a piece as little-endian float32, or nothing if the helper could not make them."""

    piece: bytes
    values: bytes


Value = TypeVar("Value")
Message = Offer | Acceptance | Texts | Vectors

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Helpers:
    """The other workers as helpers of this one, and this one as a helper of the others."""

    def __init__(
        self,
        send: Send,
        find_encoder: Callable[[], TextEncoder],
        breaker: CircuitBreaker,
        find_key: Callable[[], Awaitable[bytes | None]],
        *,
        group: str,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Take the encoder of the active model from `find_encoder`. The breaker opens if a helper is lost.

        `find_key` reads the key of the messages from the database. Only workers of the same `group` help each other.
        """
        self.address = f"sluice:worker:{uuid4().hex}"
        self.offers = f"sluice:offers:{group}"
        """The channel on which all workers offer pieces. Answers go to the address of the worker."""
        self._seal: Seal | None = None
        self.peers = 0
        """Number of other workers that have received the last offer."""
        self._send = send
        self._find_encoder = find_encoder
        self._breaker = breaker
        self._find_key = find_key
        self._answer_seconds = answer_seconds
        self._accepted: dict[bytes, asyncio.Future[str]] = {}
        self._answered: dict[bytes, asyncio.Future[Vectors]] = {}
        self._helping: set[asyncio.Task[None]] = set()

    @property
    def channels(self) -> tuple[str, str]:
        """The channels whose messages must be passed to `receive`."""
        return self.offers, self.address

    async def start(self) -> None:
        """Return when messages can be sealed. Messages to the channels must be passed to `receive` until `stop`."""
        while self._seal is None:
            # Readiness reports a database that is down or not migrated.
            with suppress(DatabaseUnavailable, ProgrammingError):
                if key := await self._find_key():
                    self._seal = Seal(key)
                    return
            await asyncio.sleep(KEY_SECONDS)

    def stop(self) -> None:
        """Offer and accept nothing until the next start."""
        self._seal = None

    @property
    def is_started(self) -> bool:
        """True between `start` and `stop`. Otherwise nothing is offered."""
        return self._seal is not None

    async def receive(self, channel: str, data: bytes, *, is_idle: bool) -> None:
        """Handle a message. `is_idle` means that this process may accept an offer.

        A message that is not from a worker of this version and of the same database is ignored.
        """
        try:
            message = self._open(channel, data)
        except (SealBroken, msgspec.DecodeError):
            return
        match message:
            case Offer():
                may_help = is_idle and len(self._helping) < PIECES_AT_ONCE
                if may_help and self._has(message.model):
                    await self._post(message.sender, Acceptance(self.address, message.piece))
            case Acceptance(helper, piece):
                _resolve(self._accepted.get(piece), helper)
            case Texts():
                task = asyncio.create_task(self._help(message))
                self._helping.add(task)
                task.add_done_callback(self._helping.discard)
            case Vectors():
                _resolve(self._answered.get(message.piece), message)

    async def find(self, model: ModelIdentity) -> str | None:
        """Offer a piece until a helper accepts, and return its address. Return None if no other worker listens."""
        piece = uuid4().bytes
        accepted = self._accepted[piece] = asyncio.get_running_loop().create_future()
        try:
            while await self._offer(model, piece):
                with suppress(TimeoutError):
                    async with asyncio.timeout(ACCEPT_SECONDS):
                        return await asyncio.shield(accepted)
            return None
        finally:
            del self._accepted[piece]

    async def ask(self, helper: str, model: ModelIdentity, texts: list[str]) -> np.ndarray | None:
        """Return vectors of shape (texts, dimension) from this helper, or None if it does not make them in time."""
        piece = uuid4().bytes
        answered = self._answered[piece] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._answer_seconds):
                if not await self._post(helper, Texts(model.fingerprint, self.address, piece, texts)):
                    return None
                return _read(await answered, model, len(texts))
        except TimeoutError as error:
            self._breaker.trip(error)
            return None
        finally:
            del self._answered[piece]

    async def _offer(self, model: ModelIdentity, piece: bytes) -> bool:
        """Return True if another process has received the offer."""
        if self._seal is None or self._breaker.is_open:
            return False
        received = await self._post(self.offers, Offer(model.fingerprint, self.address, piece))
        self.peers = max(0, received - 1)  # one of those that receive it is this process
        return self.peers > 0

    def _has(self, model: bytes) -> bool:
        identity = self._find_encoder().identity
        return identity is not None and identity.fingerprint == model

    async def _help(self, message: Texts) -> None:
        values = b""
        if self._has(message.model):
            with suppress(IngestionError, ModelUnavailable):
                vectors = await self._find_encoder().encode(message.texts, Purpose.DOCUMENT)
                values = vectors.astype("<f4").tobytes()
        await self._post(message.sender, Vectors(message.piece, values))

    async def _post(self, channel: str, message: Message) -> int:
        if self._seal is None:
            return 0
        return await self._send(channel, self._seal.close(channel, msgspec.msgpack.encode(message)))

    def _open(self, channel: str, data: bytes) -> Message:
        if self._seal is None:
            raise SealBroken
        return _decoder.decode(self._seal.open(channel, data))


def _resolve(future: asyncio.Future[Value] | None, value: Value) -> None:
    if future and not future.done():
        future.set_result(value)


def _read(answer: Vectors, model: ModelIdentity, texts: int) -> np.ndarray | None:
    if len(answer.values) != 4 * model.dimension * texts:
        return None
    return np.frombuffer(answer.values, "<f4").reshape(texts, model.dimension)
