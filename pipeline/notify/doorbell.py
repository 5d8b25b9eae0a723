"""The doorbell: a small arq job that wakes a worker. If one is lost, the job only waits for the next poll."""

import json
from uuid import UUID

from arq import ArqRedis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

from pipeline.circuit_breaker import CircuitBreaker, wait_within

QUEUE_NAME = "sluice:rings"
RING_TASK = "ring"
BUDGET_SECONDS = 0.25
"""Time limit of one call."""
SOCKET_SECONDS = 2.0
"""Socket timeout, a last resort: `BUDGET_SECONDS` normally ends the call."""


def connect(dsn: str, *, timeout_seconds: float) -> ArqRedis:
    """Return a client that connects at its first use. Its socket operations end after `timeout_seconds`.

    arq's own `RedisSettings` has no socket timeout and would wait forever for a stalled server.
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


def read_database_number(dsn: str) -> int:
    """Return the number of the database in Redis. Channels of messages do not belong to one."""
    return int(parse_url(dsn).get("db", 0))


def serialize(job: object) -> bytes:
    """Encode a job as JSON. arq's default is pickle, which would let data in Redis run code."""
    return json.dumps(job, default=str).encode()


class Doorbell:
    """Rings, and sends messages, without raising, even if Redis is down, stalled, full or read-only."""

    def __init__(self, dsn: str, breaker: CircuitBreaker) -> None:
        self._redis = connect(dsn, timeout_seconds=SOCKET_SECONDS)
        self._breaker = breaker

    async def ring(self, subject_id: UUID) -> None:
        """Wake one worker to claim a job. Do nothing if Redis does not answer within 0.25 s."""
        if self._breaker.is_open:
            return
        try:
            await wait_within(self._redis.enqueue_job(RING_TASK, str(subject_id)), BUDGET_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.trip(error)

    async def send(self, channel: str, message: bytes) -> int:
        """Send a message that Redis does not store to all that listen to the channel. Return their number.

        Return 0 if Redis does not answer within 0.25 s.
        """
        if self._breaker.is_open:
            return 0
        try:
            return int(await wait_within(self._redis.publish(channel, message), BUDGET_SECONDS))
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.trip(error)
            return 0

    async def is_answering(self) -> bool:
        """Return True if Redis answers a ping within 0.25 s."""
        try:
            await self.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def ping(self) -> None:
        """Ask Redis for an answer.

        Raises RedisError, OSError or TimeoutError if it does not give one within 0.25 s, or refuses the login.
        """
        await wait_within(self._redis.ping(), BUDGET_SECONDS)

    async def read_eviction_policy(self) -> str:
        """Return the policy of Redis for full memory. It must be `noeviction`.

        Raises RedisError if Redis does not answer, or does not allow the command.
        """
        answer = await self._redis.config_get("maxmemory-policy")
        return str(answer["maxmemory-policy"])

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose(close_connection_pool=True)
