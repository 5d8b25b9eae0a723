"""The doorbell: one small arq job that wakes a worker. Losing a ring costs a second, never a document."""

import json
from uuid import UUID

from arq import ArqRedis
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from pipeline.circuit_breaker import CircuitBreaker, wait_within

QUEUE_NAME = "sluice:rings"
RING_TASK = "ring"
BUDGET_SECONDS = 0.25
SOCKET_SECONDS = 2.0
"""Only the last resort: the budget counts."""


def connect(dsn: str, *, timeout_seconds: float) -> ArqRedis:
    """Return a client that connects when first used; none of its calls outlasts the timeout by much.

    arq's own `RedisSettings` knows no socket timeout: against a stalled server it would wait for ever.
    """
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        dsn,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        timeout=timeout_seconds,
        max_connections=10,
    )
    return ArqRedis(
        pool,
        default_queue_name=QUEUE_NAME,
        job_serializer=serialize,
        job_deserializer=json.loads,
        expires_extra_ms=60_000,
    )


def serialize(job: object) -> bytes:
    """JSON instead of arq's pickle: what lies in Redis can never run code."""
    return json.dumps(job, default=str).encode()


class Doorbell:
    """Rings without ever raising: Redis may be away, stalled, full or read-only."""

    def __init__(self, dsn: str, breaker: CircuitBreaker) -> None:
        self._redis = connect(dsn, timeout_seconds=SOCKET_SECONDS)
        self._breaker = breaker

    async def ring(self, document_id: UUID) -> None:
        """Tell some worker to look into the queue, if Redis answers in time."""
        if self._breaker.is_open:
            return
        try:
            await wait_within(self._redis.enqueue_job(RING_TASK, str(document_id)), BUDGET_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.trip(error)

    async def is_answering(self) -> bool:
        """Whether Redis answers a ping within the budget."""
        try:
            return bool(await wait_within(self._redis.ping(), BUDGET_SECONDS))
        except (RedisError, OSError, TimeoutError):
            return False

    async def read_eviction_policy(self) -> str:
        """What Redis does when its memory is full; must be `noeviction`.

        Raises RedisError where it does not tell.
        """
        answer = await self._redis.config_get("maxmemory-policy")
        return str(answer["maxmemory-policy"])

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose(close_connection_pool=True)
