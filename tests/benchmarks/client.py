"""A client of the service, with an account of its own."""

import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from tests.benchmarks.processes import Service

LONG_POLL = {"Prefer": "wait=30"}
TERMINAL = ("ready", "failed")


class Client:
    """Calls the service for a new user."""

    def __init__(self, service: Service, name: str) -> None:
        self.http = httpx2.Client(base_url=service.url, timeout=600)
        credentials = {"email": f"{name}@example.org", "password": "password of a benchmark"}
        self.user_id = UUID(self.http.post("/v1/auth/register", json=credentials).raise_for_status().json()["id"])
        token = self.http.post("/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}
        self.http.headers.update(self.headers)

    def upload(self, file: Path) -> str:
        """Upload a file and return the path of the document."""
        answer = self.http.post("/v1/documents", files={"file": (file.name, file.read_bytes())}).raise_for_status()
        return f"/v1/documents/{answer.json()['id']}"

    def write_note(self, title: str) -> str:
        """Write a note of one page and return its path."""
        body = f"{time.time_ns()}. " + "The lock keeper opens the gate at seven in the morning. " * 25
        answer = self.http.post("/v1/notes", json={"title": title, "body": body}).raise_for_status()
        return f"/v1/notes/{answer.json()['id']}"

    def get(self, path: str) -> dict[str, Any]:
        """Return a document or note as it is now."""
        subject: dict[str, Any] = self.http.get(path).raise_for_status().json()
        return subject

    def wait(self, path: str) -> dict[str, Any]:
        """Return a document or note when it is ready. The service delays its answer until then."""
        while True:
            subject: dict[str, Any] = self.http.get(path, headers=LONG_POLL).raise_for_status().json()
            if subject["status"] in TERMINAL:
                assert subject["status"] == "ready", subject
                return subject
