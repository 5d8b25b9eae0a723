"""A client that remembers every answer, and the comparison of these answers with the database in the end."""

import hashlib
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2

from tests.databases import find_violations, run_sql
from tests.waiting import wait_until

TERMINAL = ("ready", "failed")


@dataclass(frozen=True)
class Answer:
    """The outcome of one request. Status 0: the connection broke."""

    operation: str
    status: int
    seconds: float
    at: float
    sha256: str = ""
    document_id: str = ""


@dataclass
class History:
    """Answers of all threads, in the order of their arrival."""

    answers: list[Answer] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answer: Answer) -> None:
        with self._lock:
            self.answers.append(answer)

    def count(self) -> dict[str, Counter[int]]:
        """Return how often each status answered each operation."""
        counts: dict[str, Counter[int]] = {}
        for answer in self.answers:
            counts.setdefault(answer.operation, Counter())[answer.status] += 1
        return counts


class Client:
    """One user of the service."""

    def __init__(self, url: str, history: History | None = None) -> None:
        self.url = url
        self.history = history or History()
        self.http = httpx2.Client(base_url=url, timeout=30, verify=False)
        credentials = {"email": f"{secrets.token_hex(6)}@example.org", "password": "password of a test"}
        self.credentials = credentials
        self.id = self.http.post("/v1/auth/register", json=credentials).raise_for_status().json()["id"]
        self.login()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def login(self) -> None:
        token = self.http.post("/v1/auth/login", json=self.credentials).raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(
        self, operation: str, method: str, path: str, *, sha256: str = "", **options: Any
    ) -> httpx2.Response | None:
        """Return the answer, or None if the connection broke. Both are remembered."""
        started, at = time.monotonic(), time.time()
        try:
            response = self.http.request(method, path, **options)
        except httpx2.TransportError:
            response = None
        found = response is not None and operation == "upload" and response.status_code in (200, 202)
        self.history.add(
            Answer(
                operation,
                response.status_code if response is not None else 0,
                time.monotonic() - started,
                at,
                sha256,
                response.json()["id"] if response is not None and found else "",
            )
        )
        return response

    def upload(self, content: bytes, name: str = "a.txt") -> httpx2.Response | None:
        digest = hashlib.sha256(content).hexdigest()
        return self.call("upload", "POST", "/v1/documents", sha256=digest, files={"file": (name, content)})

    def accept(self, content: bytes, name: str = "a.txt") -> str:
        """Upload a file that must be accepted; return its id."""
        response = self.upload(content, name)
        assert response is not None
        assert response.status_code == 202, response.text
        document_id: str = response.json()["id"]
        return document_id

    def show(self, document_id: str) -> dict[str, Any]:
        response = self.call("show", "GET", f"/v1/documents/{document_id}")
        assert response is not None
        document: dict[str, Any] = response.raise_for_status().json()
        return document

    def wait(self, document_id: str, seconds: float = 30) -> dict[str, Any]:
        """Return the document once it is ready or failed."""
        document: dict[str, Any] = {}

        def is_terminal() -> bool:
            document.update(self.show(document_id))
            return document["status"] in TERMINAL

        wait_until(is_terminal, seconds, f"{document_id} is ready or failed")
        return document

    def search(self, query: str = "what is said") -> httpx2.Response | None:
        return self.call("search", "POST", "/v1/search", json={"query": query})


def find_losses(history: History, database_url: str, deleted: frozenset[str] = frozenset()) -> list[str]:
    """Return what contradicts the answers.

    After 202 the document is there, once. After 4xx it is not there. After 5xx or a broken connection it is there as a
    whole or not at all.
    """
    rows = run_sql(database_url, "SELECT id::text, owner_id, encode(sha256, 'hex') AS sha256, status FROM documents")
    by_id = {row["id"]: row for row in rows}
    hashes = {row["sha256"] for row in rows}
    accepted = {answer.sha256 for answer in history.answers if answer.document_id}
    losses = []
    for answer in history.answers:
        if answer.operation != "upload":
            continue
        if answer.status == 202 and answer.document_id not in by_id and answer.document_id not in deleted:
            losses.append(f"lost: {answer}")
        if 400 <= answer.status < 500 and answer.sha256 in hashes - accepted:
            losses.append(f"refused, but stored: {answer}")
    return losses + [f"{name}: {count}" for name, count in find_violations(database_url).items()]


def unique(name: str, lines: int = 1) -> bytes:
    """Return a text that no other test uploads."""
    return "\n".join(f"{name} {time.time_ns()} says sentence number {line}." for line in range(lines)).encode()
