"""The API in this process, and a worker of which tests can see every step."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import pytest

from api.app import create_app
from pipeline.db import queue
from pipeline.ingest.attempt import ingest
from pipeline.runtime import Runtime, open_runtime
from pipeline.settings import Settings
from pipeline.types import Lease, OnStage, Stage


@dataclass
class Person:
    """Somebody with an account and a token."""

    email: str
    password: str
    headers: dict[str, str] = field(default_factory=dict)


class Api:
    """The service as its clients see it."""

    def __init__(self, client: httpx2.AsyncClient, runtime: Runtime) -> None:
        self.client = client
        self.runtime = runtime

    async def register(self, name: str = "anna") -> Person:
        person = Person(f"{name}@example.org", f"password of {name}")
        credentials = {"email": person.email, "password": person.password}
        response = await self.client.post("/v1/auth/register", json=credentials)
        assert response.status_code == 201, response.text
        response = await self.client.post("/v1/auth/login", json=credentials)
        person.headers["Authorization"] = f"Bearer {response.json()['access_token']}"
        return person

    async def upload(
        self, person: Person, content: bytes, name: str = "note.txt", media_type: str = ""
    ) -> httpx2.Response:
        return await self.client.post(
            "/v1/documents", headers=person.headers, files={"file": (name, content, media_type)}
        )

    async def replace(self, person: Person, location: str, content: bytes, name: str = "note.txt") -> httpx2.Response:
        return await self.client.put(f"{location}/content", headers=person.headers, files={"file": (name, content)})

    async def get(self, person: Person, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers={**person.headers, **headers})

    async def work(self, on_stage: OnStage | None = None) -> int:
        """Do all waiting jobs, one after the other; returns how many there were."""
        return await work(self.runtime, on_stage)


async def ignore_stage(_lease: Lease, _stage: Stage, _progress: float) -> None:
    """The hook of a worker that nobody watches."""


async def claim(runtime: Runtime, seconds: float = 60, *, alone: bool = True, only_short: bool = False) -> Lease | None:
    background = runtime.encoders.is_next_ready and not only_short
    async with runtime.database.transaction() as session:
        return await queue.claim(session, seconds, alone=alone, only_short=only_short, background=background)


async def work(runtime: Runtime, on_stage: OnStage | None = None) -> int:
    await runtime.encoders.wait()
    done = 0
    while lease := await claim(runtime):
        await ingest(runtime, lease, on_stage or ignore_stage)
        done += 1
    return done


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    app = create_app(settings)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with app.lifespan(), httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        runtime: Runtime = app.state.runtime
        await runtime.encoders.wait()
        yield Api(client, runtime)


@pytest.fixture
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    async with open_runtime(settings, database_timeout_seconds=10) as opened:
        yield opened
