"""Rate limits, counted in Redis across all processes. While Redis is unavailable, requests are not limited.

Litestar's own middleware reads and writes its counter in two steps, so concurrent processes lose counts.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from litestar.datastructures import MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from api.http.addresses import Connection, find_address
from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker, wait_within
from pipeline.errors import SluiceError, TooManyRequests
from pipeline.fair_queue import FairQueue
from pipeline.networks import find_network
from pipeline.settings import Settings
from pipeline.types import Caller

BUDGET_SECONDS = 0.1
"""Longest wait for one reply from Redis. After that, the request is not limited."""
SOCKET_SECONDS = 2.0
"""Socket timeout, a last resort: `BUDGET_SECONDS` normally ends the wait."""
CHECKS_AT_ONCE = 2
"""Maximum number of concurrent Redis checks by one process."""
CHECKS_WAITING, CHECKS_WAITING_PER_CALLER = 10_000, 1000
"""Maximum number of requests that wait for their check, and of those from one user or network."""
KEY_PREFIX = "sluice:limits"
STANDING = "rate_limit"
"""Key of the caller's `Standing` in the state of a request."""


class Policy(StrEnum):
    """A limited kind of request. The values appear in the response headers."""

    LOGIN = "login"
    """Per account and network."""
    LOGIN_ADDRESS = "login-address"
    """Per network, for all accounts together."""
    REGISTRATION = "registration"
    """The same rate as `LOGIN`, counted separately: registering does not use up logins."""
    REGISTRATION_ADDRESS = "registration-address"
    """Per network, for all e-mail addresses together."""
    UPLOAD = "upload"
    QUERY = "query"
    PAGE_IMAGE = "picture"
    """The same rate as `QUERY`, counted separately: viewing sources does not use up queries."""
    UPLOAD_BY_KEYS = "upload-by-keys"
    """By all API keys of an account together."""
    QUERY_BY_KEYS = "query-by-keys"
    PAGE_IMAGE_BY_KEYS = "picture-by-keys"


BY_KEYS = {
    Policy.UPLOAD: Policy.UPLOAD_BY_KEYS,
    Policy.QUERY: Policy.QUERY_BY_KEYS,
    Policy.PAGE_IMAGE: Policy.PAGE_IMAGE_BY_KEYS,
}
"""Policies that count for each API key and, apart from that, for all API keys of an account."""
KEYS_SHARE = 4
"""How many times the limit of one key all keys of an account have together. More keys do not raise it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller's use of a policy, including the current request."""

    policy: Policy
    limit: int
    window_seconds: int
    is_within: bool
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Headers defined by draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={self.window_seconds}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_seconds}',
        }


class RateLimiter:
    """Counts requests in a moving window, exactly, across all processes. Connects on first use."""

    def __init__(self, settings: Settings, breaker: CircuitBreaker) -> None:
        rates = {
            Policy.LOGIN: settings.rate_limit_login,
            Policy.LOGIN_ADDRESS: settings.rate_limit_login_address,
            Policy.REGISTRATION: settings.rate_limit_login,
            Policy.REGISTRATION_ADDRESS: settings.rate_limit_registration_address,
            Policy.UPLOAD: settings.rate_limit_upload,
            Policy.QUERY: settings.rate_limit_query,
            Policy.PAGE_IMAGE: settings.rate_limit_query,
        }
        self._limits = {policy: parse(rate) for policy, rate in rates.items() if rate}
        for policy, by_keys in BY_KEYS.items():
            if limit := self._limits.get(policy):
                self._limits[by_keys] = type(limit)(KEYS_SHARE * limit.amount, limit.multiples)
        self._breaker = breaker
        # The pool is created here because `limits` accepts fewer kinds of Redis URL than redis-py.
        self._pool: ConnectionPool = ConnectionPool.from_url(
            settings.redis_dsn, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        self._window = MovingWindowRateLimiter(
            RedisStorage(
                "redis://",
                implementation="redispy",
                key_prefix=KEY_PREFIX,
                connection_pool=self._pool,  # type: ignore[arg-type]  # documented by `limits`, but not annotated
            )
        )
        # Checks queue here before their Redis budget starts. Otherwise a burst would time out, and lift its own limit.
        # Callers take turns, because a flood is checked, too.
        self._check_queue = FairQueue(
            at_once=CHECKS_AT_ONCE, waiting=CHECKS_WAITING, waiting_per_caller=CHECKS_WAITING_PER_CALLER
        )

    async def count(self, policy: Policy, *caller: str) -> Standing | None:
        """Count a request of this caller. Return None if there is no limit, or if Redis is unavailable.

        Raises Overloaded if too many requests wait for their check.
        """
        limit = self._limits.get(policy)
        if limit is None:
            return None
        async with self._check_queue.turn(caller[0]):
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
            # The oldest request may leave the window between the two Redis calls.
            remaining=max(0, stats.remaining) if is_within else 0,
            # The oldest request may have been counted by a machine whose clock is ahead.
            reset_seconds=min(max(1, ceil(stats.reset_time - time.time())), window_seconds),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


async def limit_network(connection: Connection) -> None:
    """Count a login from the caller's network, to any account.

    Raises TooManyRequests if the limit is exceeded.
    """
    await _enforce(connection, Policy.LOGIN_ADDRESS, _find_network(connection))


async def limit_login(connection: Connection, email: str) -> None:
    """Count a login from the caller's network to this account.

    Raises TooManyRequests if the limit is exceeded.
    """
    await _enforce(connection, Policy.LOGIN, _find_network(connection), email.strip().lower())


@contextmanager
def keeping_standing(connection: Connection) -> Iterator[None]:
    """Report the caller's standing from before the block, if the block raises an error."""
    before = connection.scope["state"].get(STANDING)
    try:
        yield
    except SluiceError:
        connection.scope["state"][STANDING] = before
        raise


async def limit_registration(connection: Connection, email: str) -> None:
    """Count a registration from the caller's network, and one for this e-mail address.

    Raises TooManyRequests if a limit is exceeded.
    """
    network = _find_network(connection)
    await _enforce(connection, Policy.REGISTRATION_ADDRESS, network)
    await _enforce(connection, Policy.REGISTRATION, network, email.strip().lower())


def _find_network(connection: Connection) -> str:
    return find_network(find_address(connection))


async def limit_uploads(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard: count an upload of this user or key, before its body is read.

    Raises TooManyRequests if the limit is exceeded.
    """
    await _limit_user(connection, Policy.UPLOAD)


async def limit_queries(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard: count a query of this user or key.

    Raises TooManyRequests if the limit is exceeded.
    """
    await count_query(connection)


async def count_query(connection: Connection) -> None:
    """Count a query of this user, if one request may have several or none.

    Raises TooManyRequests if the limit is exceeded.
    """
    await _limit_user(connection, Policy.QUERY)


async def limit_page_images(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard: count a page image for this user or key.

    Raises TooManyRequests if the limit is exceeded.
    """
    await _limit_user(connection, Policy.PAGE_IMAGE)


async def send_rate_limit(message: Message, scope: Scope) -> None:
    """Litestar `before_send` hook: add the rate limit headers to the response if the request was counted."""
    standing: Standing | None = scope.get("state", {}).get(STANDING)
    if standing is not None and message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message).update(standing.headers)


async def _limit_user(connection: Connection, policy: Policy) -> None:
    """Count a request of the user or, if it was sent with an API key, of the key and of all keys of the account."""
    caller: Caller = connection.user
    owner = str(caller.owner_id)
    if caller.key_id is None:
        await _enforce(connection, policy, owner)
        return
    await _enforce(connection, policy, owner, str(caller.key_id))
    standing = connection.scope["state"].get(STANDING)
    await _enforce(connection, BY_KEYS[policy], owner)
    connection.scope["state"][STANDING] = standing


async def _enforce(connection: Connection, policy: Policy, *caller: str) -> None:
    limiter: RateLimiter = connection.app.state.limiter
    standing = await limiter.count(policy, *caller)
    if standing is None:
        return
    connection.scope["state"][STANDING] = standing
    if not standing.is_within:
        message = f"More than {standing.limit} requests in {standing.window_seconds} seconds. Wait before the next one."
        raise TooManyRequests(message, retry_after_seconds=standing.reset_seconds)


def _digest(caller: tuple[str, ...]) -> str:
    """Return the caller's key in Redis. It has a fixed length and hides network and e-mail addresses."""
    return hashlib.sha256("\0".join(caller).encode()).hexdigest()
