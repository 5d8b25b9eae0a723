"""Without a usable Redis, everything except the doorbell works."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.notify.doorbell import BUDGET_SECONDS, Doorbell
from pipeline.settings import Settings
from pipeline.types import new_id
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio


@contextmanager
def stalled_server() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["refused", "stalled", "wrong type", "read-only"])
def settings(settings: Settings, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Settings]:
    import redis

    client = redis.Redis.from_url(redis_url)
    match request.param:
        case "refused":
            yield settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
        case "stalled":
            with stalled_server() as port:
                yield settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")})
        case "wrong type":
            client.delete("sluice:rings")
            client.set("sluice:rings", "not a queue")
            yield settings
            client.delete("sluice:rings")
        case "read-only":
            client.replicaof("127.0.0.1", "1")
            yield settings
            client.replicaof("NO", "ONE")
    client.close()


async def test_everything_works_without_redis(api: Api) -> None:
    person = await api.register()
    seconds = []
    for number in range(3):
        started = time.perf_counter()
        response = await api.upload(person, f"text {number}".encode())
        seconds.append(time.perf_counter() - started)
        assert response.status_code == 202
    # The first request waits for the timeout. Then the breaker is open.
    assert seconds[0] < BUDGET_SECONDS + 1
    assert min(seconds[1:]) < BUDGET_SECONDS
    assert await api.work() == 3
    response = await api.client.post("/v1/search", headers=person.headers, json={"query": "text"})
    assert len(response.json()["passages"]) == 3
    ready = await api.client.get("/health/ready")
    assert ready.status_code == 200


async def test_ring_never_raises(settings: Settings) -> None:
    bell = Doorbell(settings.redis_dsn, CircuitBreaker("redis", metrics.REDIS_FAILURES))
    started = time.perf_counter()
    for _ in range(20):
        await bell.ring(new_id())
    assert time.perf_counter() - started < BUDGET_SECONDS + 2  # twenty timeouts would take 5 s
    await bell.close()
