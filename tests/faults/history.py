"""A client that remembers every answer, and the comparison of its memory with what is true in the end."""

import hashlib
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.databases import find_violations, run_sql

TERMINAL = ("ready", "failed")


@dataclass(frozen=True)
class Answer:
    """What came of one request; status 0 is a connection that broke."""

    operation: str
    status: int
    seconds: float
    at: float
    sha256: str = ""
    document_id: str = ""


@dataclass
class History:
    """Answers in the order in which they came, of all threads together."""

    answers: list[Answer] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answer: Answer) -> None:
        with self._lock:
            self.answers.append(answer)

    def count(self) -> dict[str, Counter[int]]:
        """Statuses by operation."""
        counts: dict[str, Counter[int]] = {}
        for answer in self.answers:
            counts.setdefault(answer.operation, Counter())[answer.status] += 1
        return counts


class Client:
    """One user of the service."""

    def __init__(self, url: str, history: History | None = None) -> None:
        self.history = history or History()
        self.http = httpx2.Client(base_url=url, timeout=30)
        credentials = {"email": f"{secrets.token_hex(6)}@example.org", "password": "password of a test"}
        self.credentials = credentials
        self.id = self.http.post("/v1/auth/register", json=credentials).raise_for_status().json()["id"]
        self.login()

    def login(self) -> None:
        token = self.http.post("/v1/auth/login", json=self.credentials).raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(
        self, operation: str, method: str, path: str, *, sha256: str = "", **options: Any
    ) -> httpx2.Response | None:
        """The answer, or None where the connection broke; either is remembered."""
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
        """Upload what must be accepted; returns the id."""
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
        """The document when it is terminal."""
        deadline = time.monotonic() + seconds
        while (document := self.show(document_id))["status"] not in TERMINAL:
            assert time.monotonic() < deadline, f"not terminal within {seconds:g} s: {document}"
            time.sleep(0.03)
        return document

    def search(self, query: str = "what is said") -> httpx2.Response | None:
        return self.call("search", "POST", "/v1/search", json={"query": query})


def find_losses(history: History, database_url: str, deleted: frozenset[str] = frozenset()) -> list[str]:
    """What contradicts the answers: 202 is present, once; 4xx is absent; broken or 5xx is either, never half."""
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
            losses.append(f"refused, yet there: {answer}")
    return losses + [f"{name}: {count}" for name, count in find_violations(database_url).items()]
