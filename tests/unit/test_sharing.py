"""Embedding with helpers: whatever happens to a helper, each text gets its own vector."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.embedding.helpers import PIECES_AT_ONCE, Helpers, Places
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.sealing import KeyUnusable, Seal
from pipeline.embedding.sharing import PIECE_TEXTS, encode_together
from pipeline.embedding.text_encoder import ModelIdentity
from pipeline.embedding.windows import Window
from pipeline.errors import DatabaseUnavailable, FailureCode, IngestionError

pytestmark = pytest.mark.anyio

KEY, OTHER_KEY = bytes(32), b"k" * 32
MODEL, OTHER = ModelIdentity(b"model", 4), ModelIdentity(b"other", 4)
TEXTS = [f"text {number} " + "x" * (number * 37 % 101) for number in range(50)]


class DigestEncoder:
    """Makes vectors from digests of the texts, when it is let."""

    model_name = "digests"
    is_ready, is_interrupted, is_unavailable, has_failed = True, False, False, False

    def __init__(self, identity: ModelIdentity | None = MODEL) -> None:
        self.identity = identity
        self.embedded: list[str] = []
        self.fails = False
        self.change: Callable[[np.ndarray], np.ndarray] = lambda vectors: vectors
        self.may_embed = asyncio.Event()
        self.may_embed.set()

    def start(self) -> None: ...
    async def wait(self) -> None: ...
    def close(self) -> None: ...

    async def cut(self, texts: Sequence[str], heading: str) -> list[list[Window]]:
        raise NotImplementedError

    async def encode(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:
        assert purpose == Purpose.DOCUMENT
        await self.may_embed.wait()
        if self.fails or "unreadable" in texts:
            raise IngestionError(FailureCode.EMBEDDING_FAILED, "The text could not be embedded.")
        self.embedded += texts
        return self.change(make_vectors(texts))


def make_vectors(texts: Sequence[str]) -> np.ndarray:
    digests = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
    vectors = np.stack([np.frombuffer(digest, "<u4") for digest in digests]).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@dataclass
class Redis:
    """Passes messages on, unless `passes` says no."""

    workers: list["Worker"] = field(default_factory=list)
    passes: Callable[[str, bytes], bool] = lambda _channel, _message: True
    sent: list[bytes] = field(default_factory=list)
    delivered: list[tuple[str, bytes]] = field(default_factory=list)
    """Channels and messages."""
    receiving: set[asyncio.Task[None]] = field(default_factory=set)

    async def send(self, channel: str, message: bytes) -> int:
        self.sent.append(message)
        receivers = [worker for worker in self.workers if channel in worker.helpers.channels]
        if self.passes(channel, message):
            self.delivered.append((channel, message))
            for worker in receivers:
                task = asyncio.create_task(worker.receive(channel, message))
                self.receiving.add(task)
        await asyncio.sleep(0)
        return len(receivers)

    async def settle(self) -> None:
        """Return when all messages have been received, with those that were sent in return."""
        await asyncio.sleep(0.001)
        while pending := [task for task in self.receiving if not task.done()]:
            await asyncio.wait(pending)
            await asyncio.sleep(0.001)


class Worker:
    def __init__(
        self,
        redis: Redis,
        *,
        identity: ModelIdentity | None = MODEL,
        is_idle: bool = False,
        answer_seconds: float = 0.05,
    ) -> None:
        self.encoder = DigestEncoder(identity)
        self.breaker = CircuitBreaker("helper", metrics.HELPER_FAILURES, 60.0)
        self.helpers = Helpers(
            redis.send, lambda: self.encoder, self.breaker, self.find_key, group="0", answer_seconds=answer_seconds
        )
        self.key = KEY
        self.listens = True
        self.is_idle = is_idle
        redis.workers.append(self)

    async def find_key(self) -> bytes:
        return self.key

    async def receive(self, channel: str, message: bytes) -> None:
        await self.helpers.start()
        await self.helpers.receive(channel, message, is_idle=self.is_idle)

    async def embed(self, texts: Sequence[str] = TEXTS) -> np.ndarray:
        if self.listens:
            await self.helpers.start()
        async with asyncio.timeout(5):
            return await encode_together(self.encoder, self.helpers, texts)


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def owner(redis: Redis) -> Worker:
    return Worker(redis)


def let_when(owner: Worker, condition: Callable[[], object]) -> asyncio.Task[None]:
    """Keep the owner from embedding until the condition is true."""
    owner.encoder.may_embed.clear()

    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - whatever the condition reads
            await asyncio.sleep(0.001)
        owner.encoder.may_embed.set()

    return asyncio.create_task(wait())


async def test_idle_workers_embed_pieces(redis: Redis, owner: Worker) -> None:
    helpers = [Worker(redis, is_idle=True), Worker(redis, is_idle=True)]
    await owner.embed()  # it now knows how many workers there are
    for worker in redis.workers:
        worker.encoder.embedded.clear()
    letting = let_when(owner, lambda: any(helper.encoder.embedded for helper in helpers))
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    await letting
    await redis.settle()
    assert all(task.exception() is None for task in redis.receiving)
    assert sorted(text for worker in redis.workers for text in worker.encoder.embedded) == sorted(TEXTS)


@pytest.mark.parametrize(
    "helper",
    [{"is_idle": False}, {"is_idle": True, "identity": OTHER}, {"is_idle": True, "identity": None}],
    ids=["busy", "other model", "no model"],
)
async def test_worker_that_cannot_help_gets_no_texts(redis: Redis, owner: Worker, helper: dict[str, object]) -> None:
    unable = Worker(redis, **helper)  # type: ignore[arg-type]  # the parameters above
    letting = let_when(owner, lambda: owner.helpers.peers and redis.receiving)
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    await letting
    assert {channel for channel, _ in redis.delivered} == {owner.helpers.offers}
    assert not unable.encoder.embedded


async def test_worker_alone_and_few_texts_send_no_texts(redis: Redis, owner: Worker) -> None:
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    assert owner.helpers.peers == 0
    offers = len(redis.sent)  # which only the worker itself receives
    Worker(redis, is_idle=True)
    few = TEXTS[:PIECE_TEXTS]
    assert np.array_equal(await owner.embed(few), make_vectors(few))
    assert len(redis.sent) == offers
    assert {channel for channel, _ in redis.delivered} == {owner.helpers.offers}


async def test_server_shares_its_work_itself(redis: Redis) -> None:
    owner = Worker(redis, identity=None)
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    assert redis.sent == []


@pytest.mark.parametrize("listens", [True, False])
async def test_redis_is_away(redis: Redis, owner: Worker, *, listens: bool) -> None:
    redis.workers.clear()
    owner.listens = listens
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    assert bool(redis.sent) == listens


async def test_helper_is_lost(redis: Redis, owner: Worker) -> None:
    lost = Worker(redis, is_idle=True)
    lost.encoder.may_embed.clear()
    letting = let_when(owner, lambda: owner.breaker.is_open)
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    await letting
    asked = len(redis.sent)
    await owner.embed()
    assert len(redis.sent) == asked  # no offer for a while
    lost.encoder.may_embed.set()
    await asyncio.sleep(0.01)  # the late answer arrives, and is ignored
    await redis.settle()
    assert len(redis.sent) > asked
    assert all(task.exception() is None for task in redis.receiving)


async def test_helper_takes_the_last_pieces_and_is_lost(redis: Redis, owner: Worker) -> None:
    """The worker has nothing left to embed while it waits for the answer."""
    lost = Worker(redis, is_idle=True)
    letting = let_when(owner, lambda: lost.encoder.embedded)
    redis.passes = lambda channel, _: channel in lost.helpers.channels or not lost.encoder.embedded
    texts = TEXTS[: 3 * PIECE_TEXTS]
    assert np.array_equal(await owner.embed(texts), make_vectors(texts))
    await letting
    assert owner.breaker.is_open


async def test_helper_accepts_as_many_pieces_as_it_embeds_at_once(redis: Redis, owner: Worker) -> None:
    """Of several helpers that accept a piece, only one keeps a place for it."""
    helpers = [Worker(redis, is_idle=True, answer_seconds=60.0) for _ in range(2)]
    await owner.helpers.start()
    async with asyncio.timeout(5):
        found = []
        for _ in range(PIECES_AT_ONCE * len(helpers)):
            found.append(await owner.helpers.find(MODEL))
            await redis.settle()
    addresses = [acceptance.helper for acceptance in found if acceptance]
    assert sorted(addresses) == sorted(PIECES_AT_ONCE * [helper.helpers.address for helper in helpers])
    refused = asyncio.create_task(owner.helpers.find(MODEL))
    await asyncio.sleep(0.01)
    await redis.settle()
    assert not refused.done()
    refused.cancel()


async def test_helper_accepts_again_after_it_has_embedded(redis: Redis, owner: Worker) -> None:
    Worker(redis, is_idle=True, answer_seconds=60.0)
    await owner.helpers.start()
    async with asyncio.timeout(5):
        for _ in range(2 * PIECES_AT_ONCE):
            acceptance = await owner.helpers.find(MODEL)
            assert acceptance
            await owner.helpers.ask(acceptance, MODEL, TEXTS)


async def test_helper_does_not_wait_for_texts_that_will_not_come(redis: Redis, owner: Worker) -> None:
    """The worker itself has begun the last pieces before a helper accepts."""
    helper = Worker(redis, is_idle=True, answer_seconds=60.0)
    letting = let_when(owner, lambda: [channel for channel, _ in redis.delivered if channel == helper.helpers.address])
    texts = TEXTS[: PIECES_AT_ONCE * PIECE_TEXTS]
    assert np.array_equal(await owner.embed(texts), make_vectors(texts))
    await letting
    await redis.settle()
    assert not helper.encoder.embedded
    async with asyncio.timeout(5):
        for _ in range(PIECES_AT_ONCE):
            assert await owner.helpers.find(MODEL)


async def test_helper_accepts_a_passed_offer_when_a_place_is_free(redis: Redis, owner: Worker) -> None:
    Worker(redis, is_idle=True, answer_seconds=60.0)
    await owner.helpers.start()
    async with asyncio.timeout(5):
        found = [await owner.helpers.find(MODEL) for _ in range(PIECES_AT_ONCE)]
        finding = asyncio.create_task(owner.helpers.find(MODEL))
        await redis.settle()
        assert not finding.done()
        assert found[0]
        owner.helpers.withdraw(found[0])
        await redis.settle()
    assert finding.done()


async def test_helper_does_not_wait_for_a_worker_that_was_cancelled(redis: Redis) -> None:
    """The document ended at the moment when a helper accepted."""
    finding: list[asyncio.Task[object]] = []

    class Ending(Worker):
        async def receive(self, channel: str, message: bytes) -> None:
            await super().receive(channel, message)
            if channel == self.helpers.address and finding:
                finding.pop().cancel()

    owner = Ending(redis)
    Worker(redis, is_idle=True, answer_seconds=60.0)
    await owner.helpers.start()
    finding.append(ended := asyncio.create_task(owner.helpers.find(MODEL)))
    async with asyncio.timeout(5):
        await asyncio.wait({ended})
        await redis.settle()
        assert ended.cancelled()
        for _ in range(PIECES_AT_ONCE):
            assert await owner.helpers.find(MODEL)


def test_place_is_taken_until_the_piece_is_embedded() -> None:
    places = Places(60.0)
    pieces = [places.reserve() for _ in range(PIECES_AT_ONCE)]
    piece = pieces[0]
    assert piece
    assert places.reserve() is None
    assert places.take(piece)
    places.withdraw(piece)  # too late
    assert places.reserve() is None
    assert not places.take(piece)
    places.leave(piece)
    assert not places.take(piece)
    assert places.reserve()


def test_place_is_free_again_if_no_texts_come() -> None:
    places = Places(0.0)
    assert len({places.reserve() for _ in range(3 * PIECES_AT_ONCE)} - {None}) == 3 * PIECES_AT_ONCE


def replace_one(vectors: np.ndarray) -> np.ndarray:
    changed = vectors.copy()
    changed[-1, 0] = np.nan
    return changed


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dimension": lambda vectors: vectors[:, :2],
    "not a number": replace_one,
    "infinite": lambda vectors: vectors * np.inf,
    "too long": lambda vectors: vectors * 1.01,
    "zero": np.zeros_like,
}


@pytest.mark.parametrize("change", ["model", "failure", *CHANGES])
async def test_helper_cannot_embed_after_all(redis: Redis, owner: Worker, change: str) -> None:
    helper = Worker(redis, is_idle=True)

    given = 0

    def switch(channel: str, _message: bytes) -> bool:
        nonlocal given
        if channel == helper.helpers.address:  # it has accepted, and now receives the texts
            given += 1
            helper.encoder = DigestEncoder(OTHER if change == "model" else MODEL)
            helper.encoder.fails = change == "failure"
            helper.encoder.change = CHANGES.get(change, helper.encoder.change)
        return True

    redis.passes = switch
    letting = let_when(owner, lambda: len(redis.sent) >= 4 * PIECES_AT_ONCE)  # with the answers
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    await letting
    assert sorted(owner.encoder.embedded) == sorted(TEXTS)
    assert given == PIECES_AT_ONCE  # a helper that has failed is not asked again


async def test_error_of_a_text_is_raised_as_it_is(redis: Redis, owner: Worker) -> None:
    Worker(redis)  # busy, so that offers are repeated
    with pytest.raises(IngestionError, match="could not be embedded"):
        await owner.embed([*TEXTS, "unreadable"])
    assert not [task for task in asyncio.all_tasks() if "_share" in repr(task)]  # it no longer asks helpers


async def test_worker_with_another_key_gets_nothing(redis: Redis, owner: Worker) -> None:
    stranger = Worker(redis, is_idle=True)
    stranger.key = OTHER_KEY
    letting = let_when(owner, lambda: owner.helpers.peers and redis.receiving)
    assert np.array_equal(await owner.embed(), make_vectors(TEXTS))
    await letting
    assert {channel for channel, _ in redis.delivered} == {owner.helpers.offers}  # nobody has accepted


async def test_redis_can_neither_read_nor_change_nor_repeat_what_helpers_get(redis: Redis, owner: Worker) -> None:
    helper = Worker(redis, is_idle=True)
    letting = let_when(owner, lambda: helper.encoder.embedded)
    await owner.embed()
    await letting
    texts = [message for channel, message in redis.delivered if Seal(KEY).open(channel, message).count(b"text ")]
    assert texts
    assert not any(b"text " in message for message in redis.sent)
    embedded = len(helper.encoder.embedded)
    changed = texts[0][:-1] + bytes([texts[0][-1] ^ 1])
    await helper.helpers.receive(helper.helpers.address, changed, is_idle=True)
    await helper.helpers.receive(owner.helpers.address, texts[0], is_idle=True)  # sealed for another channel
    for channel, message in list(redis.delivered):  # offers and texts again
        await helper.receive(channel, message)
    await asyncio.sleep(0.01)
    assert len(helper.encoder.embedded) == embedded


async def test_key_is_sought_until_the_database_answers() -> None:
    """A worker goes on if the database has no key."""
    answers: list[bytes | DatabaseUnavailable | None] = [KEY, None, DatabaseUnavailable("It does not respond.")]

    async def find_key() -> bytes | None:
        answer = answers.pop()
        if isinstance(answer, DatabaseUnavailable):
            raise answer
        return answer

    helpers = Helpers(
        Redis().send, DigestEncoder, CircuitBreaker("helper", metrics.HELPER_FAILURES), find_key, group="0"
    )
    assert not helpers.is_started
    async with asyncio.timeout(5):
        await helpers.start()
    assert helpers.is_started


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(33)], ids=len)
async def test_key_of_another_length_is_refused(redis: Redis, owner: Worker, key: bytes) -> None:
    owner.key = key
    with pytest.raises(KeyUnusable, match=f"has {len(key)} bytes"):
        await owner.helpers.start()
    assert not owner.helpers.is_started
    assert not redis.sent


async def test_unknown_messages_are_ignored(owner: Worker) -> None:
    await owner.helpers.start()
    for message in (b"", b"\x81", b"not a message"):
        for sealed in (message, Seal(KEY).close(owner.helpers.offers, message)):
            await owner.helpers.receive(owner.helpers.offers, sealed, is_idle=True)
