"""Rotation of JWT_SECRET by the runbook: a new line in `.env`, a restart, and every old token is worth nothing."""

import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from tests.e2e.conftest import PROJECT
from tests.e2e.test_parts import find_port, running, wait_for

CREDENTIALS = {"email": "a@example.org", "password": "password of a test"}


class Traffic:
    """A client that asks all the time and counts the answers."""

    def __init__(self, urls: list[str], token: str) -> None:
        self._urls = urls
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.statuses: Counter[int | str] = Counter()

    def _ask(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            try:
                self.statuses[ask(self._urls[number % 2], self._token)] += 1
            except httpx2.TransportError:
                self.statuses["no connection"] += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def ask(url: str, token: str) -> int:
    return httpx2.get(f"{url}/v1/users/me", headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code


def log_in(url: str) -> str:
    token: str = httpx2.post(f"{url}/v1/auth/login", json=CREDENTIALS).raise_for_status().json()["access_token"]
    return token


@contextmanager
def two_apis(ports: list[int], environment: dict[str, str], folder: Path) -> Iterator[list[str]]:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(running(["-m", "api"], {**environment, "PORT": str(port)}, folder))
        for url in urls:
            wait_for(url, "live")
        yield urls


def write_secret(folder: Path) -> None:
    # What `openssl rand -base64 48` prints, by the same command.
    secret = subprocess.run(
        ["openssl", "rand", "-base64", "48"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert len(secret) == 64
    (folder / ".env").write_text(f"JWT_SECRET={secret}\n")


def test_row_27_new_secret_signs_everybody_out(tmp_path: Path, database_url: str, redis_url: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "RATE_LIMIT_LOGIN": "",
    }
    ports = [find_port(), find_port()]
    write_secret(tmp_path)
    with two_apis(ports, environment, tmp_path) as urls:
        httpx2.post(f"{urls[0]}/v1/auth/register", json=CREDENTIALS).raise_for_status()
        old = log_in(urls[0])
        assert [ask(url, old) for url in urls] == [200, 200]
        traffic = Traffic(urls, old)
        traffic.start()
        time.sleep(1)
        write_secret(tmp_path)
        assert [ask(url, old) for url in urls] == [200, 200], "nothing changes before the restart"
    try:
        with two_apis(ports, environment, tmp_path) as urls:
            assert [ask(url, old) for url in urls for _ in range(5)] == [401] * 10
            new = log_in(urls[1])
            assert [ask(url, new) for url in urls] == [200, 200]
            forged = f"{new.rsplit('.', 1)[0]}.{secrets.token_urlsafe(32)}"
            assert [ask(url, forged) for url in urls] == [401, 401]
            time.sleep(1)
    finally:
        traffic.stop()
    assert set(traffic.statuses) <= {200, 401, "no connection"}
    assert traffic.statuses[200]
    assert traffic.statuses[401]


def test_no_secret_no_api(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "DATABASE_URL": "postgresql://h/d"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "JWT_SECRET is not set" in done.stderr
