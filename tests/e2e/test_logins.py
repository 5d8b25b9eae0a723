"""Two hundred logins at once over two API processes: as many pass as the limit says, and most wait without Redis."""

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from pipeline.runtime import HASHES_WAITING_PER_CALLER
from tests.databases import run_sql
from tests.processes import find_port
from tests.service import SECRET, running, wait_until_answering

CONNECTIONS = httpx2.Limits(max_connections=200)
CREDENTIALS = {"email": "a@example.org", "password": "password of a test"}
QUICK_HASH = Argon2Hasher(memory_cost=8, time_cost=1, parallelism=1).hash(CREDENTIALS["password"])
"""Verified in a thousandth of the usual time, which the tests would spend 200 times."""


@pytest.mark.parametrize("has_redis", [True, False], ids=["with Redis", "without Redis"])
def test_two_hundred_logins_at_once(has_redis: bool, database_url: str, redis_url: str) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url if has_redis else "redis://127.0.0.1:1/0",
        "JWT_SECRET": SECRET,
        "RATE_LIMIT_LOGIN": "10/minute",
    }
    ports = [find_port(), find_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack, httpx2.Client(timeout=60, verify=False, limits=CONNECTIONS) as client:
        for port in ports:
            stack.enter_context(running("api", environment={**environment, "PORT": str(port)}))
        for url in urls:
            wait_until_answering(url)
        client.post(f"{urls[0]}/v1/auth/register", json=CREDENTIALS).raise_for_status()
        run_sql(database_url, "UPDATE users SET password_hash = $1", arguments=(QUICK_HASH,))

        def log_in(number: int) -> int:
            return client.post(f"{urls[number % 2]}/v1/auth/login", json=CREDENTIALS).status_code

        started = time.monotonic()
        with ThreadPoolExecutor(200) as threads:
            statuses = Counter(threads.map(log_in, range(200)))
        assert time.monotonic() - started < 55, "too slow a machine to tell"
        if has_redis:
            assert statuses == {200: 10, 429: 190}
        else:
            # The queue is short, and without limits it refuses the others.
            assert set(statuses) == {200, 503}
            assert statuses[200] >= 2 * HASHES_WAITING_PER_CALLER

        def guess(number: int) -> tuple[int, str]:
            wrong = {"email": f"{has_redis}@example.org", "password": "wrong"}
            # No proxy is trusted, so this header makes no other address.
            headers = {"X-Forwarded-For": f"192.0.2.{number}"}
            response = client.post(f"{urls[0]}/v1/auth/login", json=wrong, headers=headers)
            return response.status_code, response.json()["code"]

        guesses = [guess(number) for number in range(7)]
        assert guesses == [(401, "invalid_credentials")] * 5 + [(429, "login_paused")] * 2
