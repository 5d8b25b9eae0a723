"""Two hundred logins at once over two API processes: exactly as many pass as the limit says, and all without Redis."""

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import pytest

from tests.e2e.conftest import SECRET
from tests.e2e.test_parts import find_port, running, wait_for

CREDENTIALS = {"email": "a@example.org", "password": "password of a test"}


@pytest.mark.parametrize("redis", ["there", "away"])
def test_two_hundred_logins_at_once(redis: str, database_url: str, redis_url: str) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url if redis == "there" else "redis://127.0.0.1:1/0",
        "JWT_SECRET": SECRET,
        "RATE_LIMIT_LOGIN": "10/minute",
    }
    ports = [find_port(), find_port()]
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(running(["-m", "api"], {**environment, "PORT": str(port)}))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            wait_for(url)
        httpx2.post(f"{urls[0]}/v1/auth/register", json=CREDENTIALS).raise_for_status()

        def log_in(number: int) -> int:
            return httpx2.post(f"{urls[number % 2]}/v1/auth/login", json=CREDENTIALS, timeout=60).status_code

        started = time.monotonic()
        with ThreadPoolExecutor(200) as threads:
            statuses = Counter(threads.map(log_in, range(200)))
        assert time.monotonic() - started < 55, "too slow a machine to tell"
        assert statuses == ({200: 10, 429: 190} if redis == "there" else {200: 200})

        def guess(_number: int) -> tuple[int, str]:
            wrong = {"email": f"{redis}@example.org", "password": "wrong"}
            response = httpx2.post(f"{urls[0]}/v1/auth/login", json=wrong, timeout=60)
            return response.status_code, response.json()["code"]

        guesses = [guess(number) for number in range(7)]
        assert guesses == [(401, "invalid_credentials")] * 5 + [(429, "login_paused")] * 2
