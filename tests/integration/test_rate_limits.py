"""Rate limits are exact across processes and reported in headers. Without Redis, they are off."""

import asyncio
import itertools
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import httpx2
import pytest
import redis
from prometheus_client import REGISTRY
from pydantic import SecretStr

from api.ratelimit import CHECKS_AT_ONCE, KEY_PREFIX, KEYS_SHARE, Policy, RateLimiter, Standing
from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.db.logins import FAILURES_BEFORE_PAUSE
from pipeline.errors import TooManyRequests
from pipeline.fair_queue import FairQueue
from pipeline.runtime import HASHES_WAITING_PER_CALLER
from pipeline.settings import Settings
from pipeline.types import new_id
from tests.databases import fetch
from tests.integration.conftest import Api, Person, make_transport

pytestmark = pytest.mark.anyio

LIMIT = 5
RATE = f"{LIMIT}/minute"
RATE_LIMIT = re.compile(r'"([\w-]+)";r=(\d+);t=(\d+)')


@pytest.fixture
def valkey(redis_url: str) -> Iterator[redis.Redis]:
    """The real server, without the counts of earlier tests."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for key in client.scan_iter(f"{KEY_PREFIX}:*"):
            client.delete(key)
        yield client


@pytest.fixture
def settings(settings: Settings, valkey: redis.Redis) -> Settings:
    assert valkey.ping()
    limits = dict.fromkeys(["rate_limit_login", "rate_limit_upload", "rate_limit_query"], RATE)
    return settings.model_copy(update=limits)


@asynccontextmanager
async def limiter(settings: Settings, breaker: CircuitBreaker | None = None) -> AsyncIterator[RateLimiter]:
    made = RateLimiter(settings, breaker or CircuitBreaker("redis", metrics.REDIS_FAILURES))
    yield made
    await made.close()


async def search(api: Api, person: Person, **body: object) -> httpx2.Response:
    return await api.client.post("/v1/search", headers=person.headers, json={"query": "text", **body})


async def log_in(api: Api, email: str, password: str, address: str = "127.0.0.1") -> httpx2.Response:
    transport = make_transport(api.app, address)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        return await client.post("/v1/auth/login", json={"email": email, "password": password})


def read_standing(response: httpx2.Response) -> tuple[str, int, int]:
    """Return policy, remaining requests and seconds until the reset. Check the policy header, too."""
    match = RATE_LIMIT.fullmatch(response.headers["ratelimit"])
    assert match
    assert response.headers["ratelimit-policy"] == f'"{match[1]}";q={LIMIT};w=60'
    assert 1 <= int(match[3]) <= 60
    return match[1], int(match[2]), int(match[3])


def assert_refused(response: httpx2.Response, policy: str) -> None:
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (429, 429, "rate_limited")
    assert response.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "error"}
    assert 1 <= int(response.headers["retry-after"]) <= 120
    assert read_standing(response) == (policy, 0, int(response.headers["retry-after"]))


def count_metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


# --- counts ---------------------------------------------------------------------------------------------------------


async def test_count_is_exact_under_concurrency(settings: Settings) -> None:
    settings = settings.model_copy(update={"rate_limit_query": "50/minute"})
    caller = str(new_id())
    async with limiter(settings) as one, limiter(settings) as other:
        standings = await asyncio.gather(*((one, other)[n % 2].count(Policy.QUERY, caller) for n in range(200)))
    assert all(standings), "every request was counted"
    assert sum(standing.is_within for standing in standings if standing) == 50


async def test_window_moves(settings: Settings) -> None:
    settings = settings.model_copy(update={"rate_limit_query": "2/second"})
    caller = str(new_id())
    async with limiter(settings) as one:
        assert await is_within(one, caller)
        await asyncio.sleep(0.6)
        assert [await is_within(one, caller), await is_within(one, caller)] == [True, False]
        await asyncio.sleep(0.5)
        # The first request has left the window, the second has not. At no time can twice the limit pass.
        assert [await is_within(one, caller), await is_within(one, caller)] == [True, False]


async def is_within(limiter: RateLimiter, caller: str) -> bool:
    standing = await limiter.count(Policy.QUERY, caller)
    assert standing
    return standing.is_within


async def test_clock_skew_does_not_extend_the_reset(settings: Settings, valkey: redis.Redis) -> None:
    async with limiter(settings) as one:
        await one.count(Policy.QUERY, "anna")
        (key,) = valkey.scan_iter(f"{KEY_PREFIX}:*")
        valkey.lset(key, 0, str(time.time() + 3600))
        standing = await one.count(Policy.QUERY, "anna")
    assert standing
    assert standing.reset_seconds == 60


@pytest.mark.parametrize(("wait", "promised"), [(-3.0, 1), (0.2, 1), (59.1, 60), (86_400, 120)])
def test_retry_after_is_a_number_of_seconds_up_to_two_minutes(wait: float, promised: int) -> None:
    assert TooManyRequests("", retry_after_seconds=wait).retry_after_seconds == promised


async def test_retry_after_of_a_long_window(settings: Settings) -> None:
    settings = settings.model_copy(update={"rate_limit_query": "1/day"})
    async with limiter(settings) as one:
        first = await one.count(Policy.QUERY, str(new_id()))
    assert first == Standing(Policy.QUERY, 1, 86_400, True, 0, 86_400)


# --- responses ------------------------------------------------------------------------------------------------------


async def test_uploads(api: Api) -> None:
    person = await api.register()
    answers = [
        await api.upload(person, b"one text"),
        await api.upload(person, b"one text"),
        await api.upload(person, b"\0\1\2", "a.exe"),
        await api.upload(person, b""),
        await api.upload(person, b"another text"),
    ]
    assert [answer.status_code for answer in answers] == [202, 200, 415, 422, 202]
    assert [read_standing(answer)[:2] for answer in answers] == [("upload", left) for left in (4, 3, 2, 1, 0)]
    assert_refused(await api.upload(person, b"one text"), "upload")
    assert_refused(await api.replace(person, answers[0].headers["location"], b"a new version"), "upload")


async def test_queries(api: Api) -> None:
    person = await api.register()
    answers = [await search(api, person), await search(api, person, top_k=0)]
    assert [answer.status_code for answer in answers] == [200, 422]
    assert [read_standing(answer)[:2] for answer in answers] == [("query", 4), ("query", 3)]
    asked = {"question": "text"}
    for _ in range(3):
        assert (await api.client.post("/v1/ask", headers=person.headers, json=asked)).status_code == 200
    assert_refused(await search(api, person), "query")
    assert_refused(await api.client.post("/v1/ask", headers=person.headers, json=asked), "query")


async def test_logins_and_registrations(api: Api) -> None:
    credentials = {"email": "anna@example.org", "password": "password of anna"}
    shouted = {**credentials, "email": "ANNA@example.org"}
    wrong = {**credentials, "password": "password of nobody"}
    for policy, path, statuses in (
        ("registration", "/v1/auth/register", [201, 409, 409, 409, 409]),
        ("login", "/v1/auth/login", [200, 200, 401, 200, 200]),
    ):
        bodies = [credentials, shouted, wrong, shouted, credentials]
        answers = [await api.client.post(path, json=body) for body in bodies]
        assert [answer.status_code for answer in answers] == statuses
        assert [read_standing(answer)[:2] for answer in answers] == [(policy, left) for left in (4, 3, 2, 1, 0)]
        assert_refused(await api.client.post(path, json=credentials), policy)


async def test_other_routes_have_no_rate_limit_headers(api: Api) -> None:
    person = await api.register()
    for path in ("/v1/users/me", "/v1/documents", "/health/live", "/nowhere"):
        assert "ratelimit" not in (await api.get(person, path)).headers
    # It is not counted, because the account is unknown.
    refused = await api.client.post("/v1/search", json={"query": "text"})
    assert (refused.status_code, "ratelimit" in refused.headers) == (401, False)


async def test_refused_upload_is_not_read(api: Api) -> None:
    person = await api.register()
    for _ in range(LIMIT):
        await api.upload(person, b"one text")
    pieces_read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal pieces_read
        for _ in range(3):
            pieces_read += 1
            yield b"x" * 1000

    headers = {**person.headers, "Content-Type": "multipart/form-data; boundary=b"}
    assert_refused(await api.client.post("/v1/documents", headers=headers, content=body()), "upload")
    assert pieces_read == 0


# --- separate limits ------------------------------------------------------------------------------------------------


async def test_one_user_does_not_use_up_anothers_limit(api: Api) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    for _ in range(LIMIT + 1):
        await api.upload(anna, b"one text")
        await search(api, anna)
    assert (await search(api, anna)).status_code == (await api.upload(anna, b"one text")).status_code == 429
    assert (await api.upload(bert, b"one text")).status_code == 202
    assert (await search(api, bert)).status_code == 200


async def test_each_key_has_a_limit_and_all_keys_of_an_account_together(api: Api) -> None:
    person = await api.register()

    async def make_program() -> Person:
        response = await api.client.post("/v1/api-keys", headers=person.headers, json={"name": "A program"})
        return Person(person.email, "", {"Authorization": f"Bearer {response.json()['secret']}"})

    for _ in range(KEYS_SHARE):
        program = await make_program()
        answers = [await search(api, program, top_k=0) for _ in range(LIMIT)]
        assert [read_standing(answer)[:2] for answer in answers] == [("query", left) for left in (4, 3, 2, 1, 0)]
        assert_refused(await search(api, program), "query")
    refused = await search(api, await make_program())
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["ratelimit-policy"] == f'"query-by-keys";q={KEYS_SHARE * LIMIT};w=60'
    assert read_standing(await search(api, person))[:2] == ("query", 4), "the user's own limit is not used up"
    assert read_standing(await api.upload(program, b"one text"))[:2] == ("upload", 4)


async def test_uploads_and_queries_are_counted_apart(api: Api) -> None:
    person = await api.register()
    for _ in range(LIMIT + 1):
        await search(api, person)
    assert (await api.upload(person, b"one text")).status_code == 202


async def test_another_account_or_address_may_log_in(api: Api) -> None:
    anna, bert = await api.register_over_http("anna"), await api.register_over_http("bert")
    for _ in range(LIMIT):
        last = await log_in(api, anna.email, anna.password)
    assert_refused(last, "login")  # api.register_over_http() has logged in once
    assert_refused(await log_in(api, f" {anna.email.upper()} ", anna.password), "login")
    assert (await log_in(api, bert.email, bert.password)).status_code == 200
    assert (await log_in(api, anna.email, anna.password, address="10.9.8.7")).status_code == 200


class TestAddress:
    """The limits of a network, for all accounts together."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        limits = {"rate_limit_login": "", "rate_limit_login_address": RATE, "rate_limit_registration_address": RATE}
        return settings.model_copy(update=limits)

    async def test_logins(self, api: Api) -> None:
        anna, bert = await api.register("anna"), await api.register("bert")
        assert (await log_in(api, anna.email, anna.password)).status_code == 200
        for number in range(LIMIT - 1):
            assert (await log_in(api, f"{number}@example.org", "wrong")).status_code == 401
        assert_refused(await log_in(api, "nobody@example.org", "wrong"), "login-address")
        assert_refused(await log_in(api, bert.email, bert.password), "login-address")
        assert (await log_in(api, bert.email, bert.password, address="10.9.8.7")).status_code == 200
        # Anna has logged in from here before.
        assert (await log_in(api, f" {anna.email.upper()}", anna.password)).status_code == 200

    async def test_registrations(self, api: Api) -> None:
        bodies = [{"email": f"{n}@example.org", "password": "too short" * (n % 2)} for n in range(1, LIMIT + 2)]
        answers = [await api.client.post("/v1/auth/register", json=body) for body in bodies]
        assert [answer.status_code for answer in answers][:2] == [201, 422]
        bodies = [{"email": f"{n}@example.net", "password": "long enough"} for n in range(LIMIT)]
        answers = [await api.client.post("/v1/auth/register", json=body) for body in bodies]
        assert_refused(answers[-1], "registration-address")

    async def test_ipv6_network_counts_as_one(self, api: Api) -> None:
        answers = [await log_in(api, f"{n}@example.org", "wrong", address=f"2001:db8::{n}") for n in range(LIMIT + 1)]
        assert_refused(answers[-1], "login-address")
        assert (await log_in(api, "a@example.org", "wrong", address="2001:db8:0:1::1")).status_code == 401


class CountedQueue(FairQueue):
    """Counts the turns that were asked for."""

    turns = 0

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        self.turns += 1
        async with super().turn(caller):
            yield


class TestOverTheLimit:
    """A network is over its limit, and an account that has logged in from there is guessed until it is limited too."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"rate_limit_login": "7/minute", "rate_limit_login_address": RATE})

    async def test_guesses_do_not_tell_who_has_logged_in_from_there(self, api: Api) -> None:
        anna = await api.register("anna")
        queue = CountedQueue(at_once=2, waiting=2, waiting_per_caller=1)
        api.app.state.runtime = replace(api.runtime, hashing_queue=queue)
        for _ in range(LIMIT):
            assert (await log_in(api, anna.email, anna.password)).status_code == 200
        details = set()
        for email in (anna.email, "nobody@example.org"):
            for _ in range(FAILURES_BEFORE_PAUSE + 3):
                turns = queue.turns
                response = await log_in(api, email, "wrong")
                assert_refused(response, "login-address")
                details.add(response.json()["detail"])
                assert queue.turns > turns, "a password is hashed"
        assert len(details) == 1


class TestProxy:
    """Behind a proxy at 10.0.0.1."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        limits = {"rate_limit_login_address": "2/minute", "forwarded_allow_ips": "10.0.0.0/24"}
        return settings.model_copy(update=limits)

    async def guess(self, api: Api, peer: str, header: str) -> int:
        transport = make_transport(api.app, peer)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            headers = {"X-Forwarded-For": header, "Forwarded": "for=192.0.2.66", "X-Real-IP": "192.0.2.66"}
            wrong = {"email": f"{new_id()}@example.org", "password": "wrong"}
            return (await client.post("/v1/auth/login", headers=headers, json=wrong)).status_code

    async def test_clients_of_the_proxy_are_told_apart(self, api: Api, database_url: str) -> None:
        assert [await self.guess(api, "10.0.0.1", f"{n}, 192.0.2.7, 10.0.0.2") for n in range(3)] == [401, 401, 429]
        assert await self.guess(api, "10.0.0.1", "192.0.2.8") == 401
        assert [await self.guess(api, "10.0.0.1", "fe80::1%" + "x" * 6000) for _ in range(3)] == [401, 401, 429]
        assert [await self.guess(api, "10.0.0.1", "x" * 6000) for _ in range(3)] == [401, 401, 429]
        rows = await fetch(database_url, "SELECT DISTINCT details ->> 'address' AS address FROM audit_logs")
        assert {row["address"] for row in rows} == {"192.0.2.7", "192.0.2.8", "fe80::1", "10.0.0.1"}

    async def test_others_are_not_believed(self, api: Api) -> None:
        assert [await self.guess(api, "192.0.2.9", f"192.0.2.{n}") for n in range(3)] == [401, 401, 429]


async def test_change_of_a_password_does_not_wait_behind_a_flood(api: Api) -> None:
    """Nor does a login of an account that has logged in from the flooding network before."""
    anna, bert = await api.register("anna"), await api.register("bert")
    assert (await log_in(api, anna.email, anna.password)).status_code == 200
    flood = [
        asyncio.create_task(log_in(api, f"{n}@example.org", "wrong")) for n in range(3 * HASHES_WAITING_PER_CALLER)
    ]
    await asyncio.sleep(0)
    change = {"current_password": bert.password, "new_password": "a new password"}
    changed, logged_in = await asyncio.gather(
        api.client.put("/v1/users/me/password", headers=bert.headers, json=change),
        log_in(api, anna.email, anna.password),
    )
    assert sum(task.done() for task in flood) < 2 * HASHES_WAITING_PER_CALLER + 4, "the flood still waits"
    assert [changed.status_code, logged_in.status_code] == [200, 200]
    statuses = Counter([(await task).status_code for task in flood])
    assert statuses[503] > 0
    refused = next(task.result() for task in flood if task.result().status_code == 503)
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("overloaded", "2")
    assert count_metric("sluice_refused_logins_total", code="overloaded") >= statuses[503]


async def test_redis_keys_contain_no_addresses(api: Api, valkey: redis.Redis) -> None:
    person = await api.register_over_http("anna")
    await search(api, person)
    keys = sorted(valkey.scan_iter(f"{KEY_PREFIX}:*"))
    assert len(keys) == 3
    assert all(re.search(r"/(login|query|registration)/[0-9a-f]{64}/5/1/minute$", key) for key in keys)
    assert all(0 < int(valkey.ttl(key)) <= 60 for key in keys)  # type: ignore[arg-type]  # redis types its answers for async clients, too


# --- no limits, and no Redis ----------------------------------------------------------------------------------------


class TestOff:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"rate_limit_login": "", "rate_limit_query": ""})

    async def test_empty_means_no_limit(self, api: Api, valkey: redis.Redis) -> None:
        person = await api.register()
        uncounted = count_metric("sluice_rate_limit_fail_opens_total")
        for _ in range(LIMIT + 1):
            answers = [await search(api, person), await log_in(api, person.email, person.password)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert not any("ratelimit" in name for answer in answers for name in answer.headers)
        assert not list(valkey.scan_iter(f"{KEY_PREFIX}:*"))
        assert count_metric("sluice_rate_limit_fail_opens_total") == uncounted
        assert read_standing(await api.upload(person, b"one text"))[0] == "upload"


class Stalled:
    """A port that accepts connections and never answers."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        server.setblocking(False)
        self.url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    def count_connections(self) -> int:
        """Return the number of connections since the last call."""
        for number in itertools.count():
            try:
                self._server.accept()[0].close()
            except BlockingIOError:
                return number
        raise AssertionError


@contextmanager
def run_stalled_server() -> Iterator[Stalled]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Stalled(server)


@contextmanager
def break_redis(kind: str, settings: Settings, valkey: redis.Redis) -> Iterator[Settings]:
    match kind:
        case "refused":
            yield settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
        case "stalled":
            with run_stalled_server() as stalled:
                yield settings.model_copy(update={"redis_url": SecretStr(stalled.url)})
        case "read-only":
            valkey.replicaof("127.0.0.1", "1")
            yield settings
            valkey.replicaof("NO", "ONE")


@pytest.fixture(params=["refused", "stalled", "read-only"])
def without_redis(settings: Settings, valkey: redis.Redis, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings with a Redis that cannot be used."""
    with break_redis(request.param, settings, valkey) as broken:
        yield broken


async def test_without_redis_all_requests_pass_after_one_timeout(without_redis: Settings) -> None:
    failures = count_metric("sluice_redis_failures_total")
    uncounted = count_metric("sluice_rate_limit_fail_opens_total")
    async with limiter(without_redis) as one:
        started = time.perf_counter()
        assert await one.count(Policy.LOGIN, "anna") is None
        first = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(100):
            assert await one.count(Policy.QUERY, "anna") is None
        others = time.perf_counter() - started
    assert first < 1  # one timeout is 0.1 s; the rest is margin for a busy machine
    assert others < 2  # a hundred timeouts would take 10 s
    assert count_metric("sluice_redis_failures_total") == failures + 1
    assert count_metric("sluice_rate_limit_fail_opens_total") == uncounted + 101


async def test_burst_waits_for_redis_once(without_redis: Settings) -> None:
    async with limiter(without_redis) as one:
        started = time.perf_counter()
        standings = await asyncio.gather(*(one.count(Policy.QUERY, "anna") for _ in range(200)))
        assert time.perf_counter() - started < 2
    assert standings == [None] * 200


async def test_unexpected_data_under_a_key_lets_the_request_pass(settings: Settings, valkey: redis.Redis) -> None:
    async with limiter(settings) as one:
        await one.count(Policy.QUERY, "anna")
        (key,) = valkey.scan_iter(f"{KEY_PREFIX}:*")
        valkey.set(key, "no list")
        assert await one.count(Policy.QUERY, "anna") is None


class TestApiWithoutRedis:
    @pytest.fixture
    def settings(self, without_redis: Settings) -> Settings:
        return without_redis

    async def test_login_upload_and_search_work(self, api: Api) -> None:
        failures = count_metric("sluice_redis_failures_total")
        person = await api.register_over_http()
        statuses = []
        for _ in range(LIMIT + 1):
            for answer in (
                await log_in(api, person.email, person.password),
                await api.upload(person, b"one text"),
                await search(api, person),
            ):
                statuses.append(answer.status_code)
                assert not any("ratelimit" in name for name in answer.headers)
        assert statuses == [200, 202, 200] + [200, 200, 200] * LIMIT
        # Limiter and doorbell share a circuit breaker: only one of them waits, once in five seconds.
        assert count_metric("sluice_redis_failures_total") == failures + 1


async def test_open_breaker_keeps_requests_from_redis(settings: Settings) -> None:
    with run_stalled_server() as stalled:
        settings = settings.model_copy(update={"redis_url": SecretStr(stalled.url)})
        async with limiter(settings) as one:
            for _ in range(20):
                assert await one.count(Policy.QUERY, "anna") is None
        assert stalled.count_connections() == 1


async def test_burst_while_redis_falls_silent(settings: Settings, valkey: redis.Redis) -> None:
    async with limiter(settings) as one:
        assert all(await asyncio.gather(*(one.count(Policy.QUERY, "anna") for _ in range(CHECKS_AT_ONCE))))
        valkey.client_pause(1000)
        started = time.perf_counter()
        standings = await asyncio.gather(*(one.count(Policy.QUERY, "anna") for _ in range(200)))
        assert time.perf_counter() - started < 2
    assert standings == [None] * 200
    valkey.ping()  # returns when the pause has ended


async def test_limits_return_with_redis(settings: Settings, valkey: redis.Redis) -> None:
    async with limiter(settings, CircuitBreaker("redis", metrics.REDIS_FAILURES, open_seconds=0.2)) as one:
        valkey.replicaof("127.0.0.1", "1")
        try:
            assert await one.count(Policy.QUERY, "anna") is None
        finally:
            valkey.replicaof("NO", "ONE")
        assert await one.count(Policy.QUERY, "anna") is None
        await asyncio.sleep(0.25)
        standing = await one.count(Policy.QUERY, "anna")
    assert standing
    assert standing.remaining == LIMIT - 1


async def test_each_query_of_a_search_in_a_vector_store_counts(api: Api) -> None:
    person = await api.register()
    store = (await api.client.post("/v1/vector_stores", headers=person.headers, json={})).json()["id"]
    answers = [
        await api.client.post(
            f"/v1/vector_stores/{store}/search", headers=person.headers, json={"query": ["a"] * number}
        )
        for number in (LIMIT - 1, 2)
    ]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert RATE_LIMIT.findall(answers[0].headers["RateLimit"])[0][1] == "1"
