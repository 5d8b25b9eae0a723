"""Idle workers help to embed a long document.

A worker offers a piece of its texts to all workers. Those that are idle and use the same model accept. The first of
them receives the texts and answers with the vectors. All messages are sealed. Redis passes them on and does not store
them. The worker that holds the job decides everything: it embeds a piece itself if the piece does not come back.

A helper gives each piece that it accepts a new number, and embeds only texts with a number that it waits for. So a
message that is sent again has no effect.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import monotonic
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
LENGTH_TOLERANCE = 0.001
"""How much the length of a vector may differ from 1."""
PIECES_AT_ONCE = 2
"""Number of pieces that a process embeds at once, so that its encoder always has one waiting."""
OFFERS_KEPT = 8
"""Number of offers that a helper may still accept when a place becomes free."""

Send = Callable[[str, bytes], Awaitable[int]]
"""Sends a message to a channel. Returns the number of processes that receive it, or 0 if it cannot be sent."""


class Offer(msgspec.Struct, frozen=True, tag=True):
    """A worker has texts for a helper that uses this model."""

    model: bytes
    sender: str
    offer: bytes


class Acceptance(msgspec.Struct, frozen=True, tag=True):
    """A worker is idle and waits for the texts."""

    helper: str
    offer: bytes
    piece: bytes
    """Number that the helper gives to the piece."""


class Withdrawal(msgspec.Struct, frozen=True, tag=True):
    """A worker will not send the texts of a piece that a helper has accepted."""

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
Message = Offer | Acceptance | Withdrawal | Texts | Vectors

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Places:
    """The pieces that a helper has accepted, at most PIECES_AT_ONCE."""

    def __init__(self, seconds: float) -> None:
        """A place is free again if no texts come within these seconds."""
        self._seconds = seconds
        self._awaited: dict[bytes, float] = {}
        """Pieces whose texts have not come, and the times at which their places are free again."""
        self._embedding: set[bytes] = set()

    def reserve(self) -> bytes | None:
        """Return the number of a new piece, or None if no place is free."""
        now = monotonic()
        self._awaited = {piece: end for piece, end in self._awaited.items() if end > now}
        if len(self._awaited) + len(self._embedding) >= PIECES_AT_ONCE:
            return None
        piece = uuid4().bytes
        self._awaited[piece] = now + self._seconds
        return piece

    def take(self, piece: bytes) -> bool:
        """Return True if the texts of this piece were awaited. They are not awaited again."""
        if self._awaited.pop(piece, None) is None:
            return False
        self._embedding.add(piece)
        return True

    def withdraw(self, piece: bytes) -> None:
        """Free the place of a piece whose texts will not come."""
        self._awaited.pop(piece, None)

    def leave(self, piece: bytes) -> None:
        """Free the place of a piece that was embedded."""
        self._embedding.discard(piece)


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
        self._accepted: dict[bytes, asyncio.Future[Acceptance]] = {}
        self._answered: dict[bytes, asyncio.Future[Vectors]] = {}
        self._places = Places(answer_seconds)
        self._passed: deque[Offer] = deque(maxlen=OFFERS_KEPT)
        """The last offers that came while no place was free."""
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def channels(self) -> tuple[str, str]:
        """The channels whose messages must be passed to `receive`."""
        return self.offers, self.address

    async def start(self) -> None:
        """Return when messages can be sealed. Messages to the channels must be passed to `receive` until `stop`.

        Raises KeyUnusable.
        """
        while self._seal is None:
            # Readiness reports a database that is down or not migrated.
            with suppress(DatabaseUnavailable, ProgrammingError):
                if (key := await self._find_key()) is not None:
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
            case Offer() if is_idle:
                await self._accept(message)
            case Acceptance():
                if not _resolve(self._accepted.get(message.offer), message):
                    self.withdraw(message)  # another helper was faster
            case Withdrawal(piece):
                self._places.withdraw(piece)
                if is_idle and self._passed:
                    await self._accept(self._passed.pop())  # otherwise it is idle until the next offer
            case Texts():
                if self._places.take(message.piece):
                    self._start(self._help(message))
            case Vectors():
                _resolve(self._answered.get(message.piece), message)

    async def find(self, model: ModelIdentity) -> Acceptance | None:
        """Offer a piece until a helper accepts. Return None if no other worker listens.

        The helper waits for `ask` or `withdraw`.
        """
        offer = uuid4().bytes
        accepted = self._accepted[offer] = asyncio.get_running_loop().create_future()
        try:
            while await self._offer(model, offer):
                with suppress(TimeoutError):
                    async with asyncio.timeout(ACCEPT_SECONDS):
                        return await asyncio.shield(accepted)
        except asyncio.CancelledError:
            if accepted.done():
                self.withdraw(accepted.result())
            raise
        finally:
            del self._accepted[offer]
        return None

    def withdraw(self, acceptance: Acceptance) -> None:
        """Tell a helper that no texts will come, even if the caller is cancelled."""
        self._start(self._post(acceptance.helper, Withdrawal(acceptance.piece)))

    async def ask(self, acceptance: Acceptance, model: ModelIdentity, texts: list[str]) -> np.ndarray | None:
        """Return vectors of shape (texts, dimension) from the helper, or None if it does not make them in time."""
        piece = acceptance.piece
        answered = self._answered[piece] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._answer_seconds):
                if not await self._post(acceptance.helper, Texts(model.fingerprint, self.address, piece, texts)):
                    return None
                return _read(await answered, model, len(texts))
        except TimeoutError as error:
            self._breaker.trip(error)
            return None
        finally:
            del self._answered[piece]

    async def _offer(self, model: ModelIdentity, offer: bytes) -> bool:
        """Return True if another process has received the offer."""
        if self._seal is None or self._breaker.is_open:
            return False
        received = await self._post(self.offers, Offer(model.fingerprint, self.address, offer))
        self.peers = max(0, received - 1)  # one of those that receive it is this process
        return self.peers > 0

    def _has(self, model: bytes) -> bool:
        identity = self._find_encoder().identity
        return identity is not None and identity.fingerprint == model

    async def _accept(self, offer: Offer) -> None:
        """Accept an offer, or keep it if no place is free."""
        if not self._has(offer.model):
            return
        if piece := self._places.reserve():
            await self._post(offer.sender, Acceptance(self.address, offer.offer, piece))
        elif offer not in self._passed:
            self._passed.append(offer)

    def _start(self, work: Coroutine[None, None, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _help(self, message: Texts) -> None:
        try:
            values = await self._embed(message)
        finally:
            self._places.leave(message.piece)  # before the answer, because the next offer follows it
        await self._post(message.sender, Vectors(message.piece, values))

    async def _embed(self, message: Texts) -> bytes:
        """Return the values of the vectors, or nothing if they cannot be made."""
        if self._has(message.model):
            with suppress(IngestionError, ModelUnavailable):
                vectors = await self._find_encoder().encode(message.texts, Purpose.DOCUMENT)
                return vectors.astype("<f4").tobytes()
        return b""

    async def _post(self, channel: str, message: Message) -> int:
        if self._seal is None:
            return 0
        return await self._send(channel, self._seal.close(channel, msgspec.msgpack.encode(message)))

    def _open(self, channel: str, data: bytes) -> Message:
        if self._seal is None:
            raise SealBroken
        return _decoder.decode(self._seal.open(channel, data))


def _resolve(future: asyncio.Future[Value] | None, value: Value) -> bool:
    """Return True if this value is the first for the future."""
    if future is None or future.done():
        return False
    future.set_result(value)
    return True


def _read(answer: Vectors, model: ModelIdentity, texts: int) -> np.ndarray | None:
    """Return the vectors, or None if they are not unit vectors of the right shape."""
    if len(answer.values) != 4 * model.dimension * texts:
        return None
    vectors = np.frombuffer(answer.values, "<f4").reshape(texts, model.dimension)
    # A comparison with NaN is false.
    are_unit = abs(np.linalg.norm(vectors, axis=1) - 1) < LENGTH_TOLERANCE
    return vectors if are_unit.all() else None
