"""Limits on requests, counted in Redis for all processes together. Redis away: no limit at all."""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker, wait_within
from pipeline.errors import TooManyRequests
from pipeline.settings import Settings

BUDGET_SECONDS = 0.1
"""Longest that Redis may take for one answer."""
SOCKET_SECONDS = 2.0
"""Only the last resort: the budget counts."""
CHECKS_AT_ONCE = 2
KEY_PREFIX = "sluice:limits"
STANDING = "rate_limit"

Connection = ASGIConnection[Any, Any, Any, Any]


class Policy(StrEnum):
    """What is limited, by the name that the headers show."""

    LOGIN = "login"
    REGISTRATION = "registration"
    """As many as logins, but counted apart: who has just registered may log in as often as everybody."""
    UPLOAD = "upload"
    QUERY = "query"
    PICTURE = "picture"
    """As many as queries, but counted apart: who looks at what was found may go on asking."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands under a policy, the present request included."""

    policy: Policy
    limit: int
    window_seconds: int
    is_within: bool
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={self.window_seconds}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_seconds}',
        }


class RateLimiter:
    """Counts over a moving window, exactly, however many processes count. Connects when first used."""

    def __init__(self, settings: Settings, breaker: CircuitBreaker) -> None:
        rates = {
            Policy.LOGIN: settings.rate_limit_login,
            Policy.REGISTRATION: settings.rate_limit_login,
            Policy.UPLOAD: settings.rate_limit_upload,
            Policy.QUERY: settings.rate_limit_query,
            Policy.PICTURE: settings.rate_limit_query,
        }
        self._limits = {policy: parse(rate) for policy, rate in rates.items() if rate}
        self._breaker = breaker
        # A pool of our own, for `limits` reads fewer kinds of address than redis-py does.
        self._pool: ConnectionPool = ConnectionPool.from_url(
            settings.redis_dsn, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        self._window = MovingWindowRateLimiter(
            RedisStorage(
                "redis://",
                implementation="redispy",
                key_prefix=KEY_PREFIX,
                connection_pool=self._pool,  # type: ignore[arg-type]  # documented, but not in its annotation
            )
        )
        # Waiting for each other must not count as waiting for Redis: a burst would switch its own limit off.
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def count(self, policy: Policy, *caller: str) -> Standing | None:
        """Count a request of this caller; None where nothing limits it: the limit is off, or Redis is away."""
        limit = self._limits.get(policy)
        if limit is None:
            return None
        async with self._slots:
            if not self._breaker.is_open:
                try:
                    return await self._ask_redis(policy, limit, _digest(caller))
                except (RedisError, OSError, TimeoutError) as error:
                    self._breaker.trip(error)
        metrics.RATE_LIMIT_FAIL_OPENS.inc()
        return None

    async def _ask_redis(self, policy: Policy, limit: RateLimitItem, key: str) -> Standing:
        is_within = await wait_within(self._window.hit(limit, policy, key), BUDGET_SECONDS)
        stats = await wait_within(self._window.get_window_stats(limit, policy, key), BUDGET_SECONDS)
        window_seconds = limit.get_expiry()
        return Standing(
            policy=policy,
            limit=limit.amount,
            window_seconds=window_seconds,
            is_within=is_within,
            # Between the two questions the oldest request may have left the window.
            remaining=max(0, stats.remaining) if is_within else 0,
            # Another machine, whose clock is ahead, may have counted the oldest request.
            reset_seconds=min(max(1, ceil(stats.reset_time - time.time())), window_seconds),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


async def limit_login(connection: Connection, email: str) -> None:
    """Count a login, for address and account together.

    Raises TooManyRequests.
    """
    await _enforce(connection, Policy.LOGIN, find_address(connection), email.strip().lower())


async def limit_registration(connection: Connection, email: str) -> None:
    """Count a registration, for address and account together.

    Raises TooManyRequests.
    """
    await _enforce(connection, Policy.REGISTRATION, find_address(connection), email.strip().lower())


def find_address(connection: Connection) -> str:
    """Network address of the client, as far as the server knows it."""
    return connection.client.host if connection.client else "unknown"


async def limit_uploads(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard: count an upload of this user, before its body is read.

    Raises TooManyRequests.
    """
    await _enforce(connection, Policy.UPLOAD, str(connection.user))


async def limit_queries(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard: count a query of this user.

    Raises TooManyRequests.
    """
    await _enforce(connection, Policy.QUERY, str(connection.user))


async def limit_page_images(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard: count a picture for this user.

    Raises TooManyRequests.
    """
    await _enforce(connection, Policy.PICTURE, str(connection.user))


async def send_rate_limit(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook: say where the caller stands, wherever that was looked up."""
    standing: Standing | None = scope.get("state", {}).get(STANDING)
    if standing is not None and message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message).update(standing.headers)


async def _enforce(connection: Connection, policy: Policy, *caller: str) -> None:
    limiter: RateLimiter = connection.app.state.limiter
    standing = await limiter.count(policy, *caller)
    if standing is None:
        return
    connection.scope["state"][STANDING] = standing
    if not standing.is_within:
        raise TooManyRequests(
            f"More than {standing.limit} requests in {standing.window_seconds} seconds. Wait before the next one.",
            retry_after_seconds=standing.reset_seconds,
        )


def _digest(caller: tuple[str, ...]) -> str:
    """What names a caller in Redis: of one length, and no address or e-mail address to read there."""
    return hashlib.sha256("\0".join(caller).encode()).hexdigest()
