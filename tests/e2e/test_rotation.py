"""Rotation of JWT_SECRET by the runbook: after a new line in `.env` and a restart, every old token is refused."""

import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from tests.processes import PROJECT, find_port, run_program
from tests.service import NO_LIMITS, request, running, wait_until_answering
from tests.waiting import wait_until

CREDENTIALS = {"email": "a@example.org", "password": "password of a test"}
REQUEST_SECONDS = 10
ANSWERS = 20
"""Answers of each kind that are awaited, before and after the restart."""


class Traffic(threading.Thread):
    """A client that makes requests all the time and counts the answers."""

    def __init__(self, urls: list[str], token: str) -> None:
        super().__init__(daemon=True)
        self._urls = urls
        self._token = token
        self._done = threading.Event()
        self.statuses: Counter[int | str] = Counter()

    def run(self) -> None:
        number = 0
        while not self._done.wait(0.02):
            number += 1
            try:
                self.statuses[ask(self._urls[number % 2], self._token)] += 1
            except httpx2.TransportError:
                self.statuses["no connection"] += 1

    def wait_for(self, status: int) -> None:
        wait_until(lambda: self.statuses[status] >= ANSWERS, 30, f"{ANSWERS} answers {status}")

    def stop(self) -> None:
        self._done.set()
        self.join(2 * REQUEST_SECONDS)
        assert not self.is_alive()


def ask(url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return request("GET", f"{url}/v1/users/me", headers=headers, timeout=REQUEST_SECONDS).status_code


def log_in(url: str) -> str:
    response = request("POST", f"{url}/v1/auth/login", json=CREDENTIALS).raise_for_status()
    token: str = response.json()["access_token"]
    return token


@contextmanager
def two_apis(ports: list[int], environment: dict[str, str], folder: Path) -> Iterator[list[str]]:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(running("api", environment={**environment, "PORT": str(port)}, folder=folder))
        for url in urls:
            wait_until_answering(url, "live")
        yield urls


def write_secret(folder: Path) -> None:
    """Write a new secret, made by the command of the runbook."""
    secret = run_program("openssl", "rand", "-base64", "48").stdout.strip()
    assert len(secret) == 64
    (folder / ".env").write_text(f"JWT_SECRET={secret}\n")


def test_row_27_new_secret_signs_everybody_out(tmp_path: Path, database_url: str, redis_url: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        **NO_LIMITS,
    }
    ports = [find_port(), find_port()]
    write_secret(tmp_path)
    with two_apis(ports, environment, tmp_path) as urls:
        request("POST", f"{urls[0]}/v1/auth/register", json=CREDENTIALS).raise_for_status()
        old = log_in(urls[0])
        assert [ask(url, old) for url in urls] == [200, 200]
        traffic = Traffic(urls, old)
        traffic.start()
        traffic.wait_for(200)
        write_secret(tmp_path)
        assert [ask(url, old) for url in urls] == [200, 200], "nothing changes before the restart"
    try:
        with two_apis(ports, environment, tmp_path) as urls:
            assert [ask(url, old) for url in urls for _ in range(5)] == [401] * 10
            new = log_in(urls[1])
            assert [ask(url, new) for url in urls] == [200, 200]
            forged = f"{new.rsplit('.', 1)[0]}.{secrets.token_urlsafe(32)}"
            assert [ask(url, forged) for url in urls] == [401, 401]
            traffic.wait_for(401)
    finally:
        traffic.stop()
    assert set(traffic.statuses) <= {200, 401, "no connection"}
