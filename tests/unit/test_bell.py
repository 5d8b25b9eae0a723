"""Both connections of a worker to Redis can fail at once."""

import asyncio
import gc

import pytest

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.embedding.helpers import Helpers
from tests.conftest import Logged
from tests.unit.test_sharing import DigestEncoder, Redis
from workers.bell import listen

pytestmark = pytest.mark.anyio


class Lost:
    """Fails when it is asked, as if Redis had closed both connections."""

    is_idle = False

    @property
    def has_free_slot(self) -> bool:
        raise ConnectionError("of the rings")

    def wake(self) -> None: ...


class LostHelpers(Helpers):
    @property
    def channels(self) -> tuple[str, str]:
        raise ConnectionError("of the messages")


async def find_key() -> bytes:
    return bytes(32)


async def test_no_error_is_left_unhandled(logged: Logged) -> None:
    loop = asyncio.get_running_loop()
    before, unhandled = loop.get_exception_handler(), list[dict[str, object]]()
    loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
    helpers = LostHelpers(
        Redis().send, DigestEncoder, CircuitBreaker("helper", metrics.HELPER_FAILURES), find_key, group="0"
    )
    listening = asyncio.create_task(listen("redis://127.0.0.1:1/0", Lost(), helpers))
    async with asyncio.timeout(5):
        while not logged:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.001)
    listening.cancel()
    await asyncio.wait({listening})
    del listening  # and what it refers to, so that Python reports errors that nobody has looked at
    gc.collect()
    loop.set_exception_handler(before)
    assert [event["event"] for event in logged] == ["doorbell.unreachable"]
    assert unhandled == []
