"""API and worker processes on the servers of the tests, and a client of their HTTP API."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from pipeline.db.models import SERVICE_ROLE
from tests.databases import clone_database, find_violations, run_sql
from tests.processes import PROJECT, LoggedProcess, Process, find_port, start_logged, start_module
from tests.waiting import wait_until

SECRET = secrets.token_urlsafe(48)
PASSWORD = "password of a test"
START_SECONDS = 90
INGESTION_SECONDS = 90
STOP_SECONDS = 15
NO_LIMITS = {
    "RATE_LIMIT_LOGIN": "",
    "RATE_LIMIT_LOGIN_ADDRESS": "",
    "RATE_LIMIT_REGISTRATION_ADDRESS": "",
    "RATE_LIMIT_UPLOAD": "",
    "RATE_LIMIT_QUERY": "",
}

Headers = dict[str, str]


class Client:
    """Calls a service for several users."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=60, verify=False)

    def login(self, name: str | None = None) -> Headers:
        """Return the headers of an account, which is made if it is not there."""
        credentials = {"email": f"{name or secrets.token_hex(4)}@example.org", "password": PASSWORD}
        self.http.post("/v1/auth/register", json=credentials)
        response = self.http.post("/v1/auth/login", json=credentials)
        return {"Authorization": f"Bearer {response.raise_for_status().json()['access_token']}"}

    def upload(self, headers: Headers, name: str, content: bytes) -> httpx2.Response:
        return self.http.post("/v1/documents", headers=headers, files={"file": (name, content)})

    def show(self, headers: Headers, document_id: str) -> dict[str, Any]:
        response = self.http.get(f"/v1/documents/{document_id}", headers=headers)
        document: dict[str, Any] = response.raise_for_status().json()
        return document

    def wait(self, headers: Headers, document_id: str) -> dict[str, Any]:
        """Return the document once it is ready or failed."""
        document: dict[str, Any] = {}

        def is_terminal() -> bool:
            document.update(self.show(headers, document_id))
            return document["status"] in {"ready", "failed"}

        wait_until(is_terminal, INGESTION_SECONDS, "the document is ready or failed")
        return document

    def search(self, headers: Headers, query: str, **options: Any) -> list[dict[str, Any]]:
        response = self.http.post("/v1/search", headers=headers, json={"query": query, **options})
        passages: list[dict[str, Any]] = response.raise_for_status().json()["passages"]
        return passages

    def close(self) -> None:
        self.http.close()


class Service(Client):
    """An API and a worker with a database of their own. The API can be killed and started again on its port."""

    def __init__(self, folder: Path, postgres_url: str, redis_url: str, **settings: str) -> None:
        """Start both. The database is a clone of `sluice_template`."""
        port = find_port()
        super().__init__(f"http://127.0.0.1:{port}")
        self.log = folder / "log.jsonl"
        self.database_url = clone_database(postgres_url, f"service_{uuid4().hex}", template="sluice_template")
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.database_url.replace("//postgres:@", f"//{SERVICE_ROLE}:@"),
            "DATABASE_TIMEOUT_SECONDS": "20",
            "REDIS_URL": redis_url,
            "JWT_SECRET": SECRET,
            "LEASE_SECONDS": "3",
            "PORT": str(port),
            **NO_LIMITS,
            **settings,
        }
        self.api = self._start("api")
        self.worker = self._start("workers")
        wait_until_answering(self.url)

    def _start(self, module: str) -> LoggedProcess:
        return start_logged(module, environment=self.environment, log=self.log)

    def start_api(self, secret: str) -> None:
        """Start the API again, with another JWT_SECRET."""
        self.environment["JWT_SECRET"] = secret
        self.api = self._start("api")

    def find_violations(self) -> dict[str, int]:
        """Wait until the queue is empty, but for deliveries of webhooks; return how many rows break each invariant."""
        wait_until(
            lambda: run_sql(self.database_url, "SELECT FROM jobs WHERE kind <> 'webhook'") == [],
            INGESTION_SECONDS,
            "the queue is empty",
        )
        return find_violations(self.database_url)

    def stop(self) -> None:
        """Kill both: a clean stop is another test."""
        self.close()
        for process in (self.api, self.worker):
            process.kill()


@contextmanager
def running(module: str, *arguments: str, environment: dict[str, str], folder: Path = PROJECT) -> Iterator[Process]:
    """Run `python -m MODULE` for a while. It must end within 15 s of SIGTERM."""
    with start_module(module, *arguments, environment=environment, folder=folder) as process:
        yield process
        process.terminate()
        process.wait(STOP_SECONDS)


def request(method: str, url: str, **options: Any) -> httpx2.Response:
    """Make one request on a connection of its own."""
    # Loading certificates, which http:// does not need, would take 20 ms.
    return httpx2.request(method, url, verify=False, **options)


def wait_until_answering(url: str, health: str = "ready") -> None:
    """Wait until the API says that it is ready, or live."""

    def answers() -> bool:
        with suppress(httpx2.TransportError):
            return request("GET", f"{url}/health/{health}", timeout=5).status_code == httpx2.codes.OK
        return False

    wait_until(answers, START_SECONDS, f"{url} is {health}")
