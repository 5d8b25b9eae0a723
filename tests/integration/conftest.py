"""The API in the test process, and a worker that reports every step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from uuid import UUID

import httpx2
import pytest
import uvicorn
from litestar import Litestar
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from api.app import create_app
from pipeline.db import queue, users
from pipeline.embedding.encoder import Encoder
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.ingest.executor import ingest
from pipeline.ingest.sweeper import Sweeper
from pipeline.runtime import Runtime, Waits, open_runtime
from pipeline.sandbox.pool import Sandbox
from pipeline.settings import Settings
from pipeline.types import Caller, Identity, Lease, OnStage, Stage, new_id
from tests.conftest import SECRET
from tests.models import make_encoder

Opening = Callable[..., AbstractAsyncContextManager[Runtime]]
"""Opens a runtime with the settings and parts of one test."""
LEASE_SECONDS = 64.0
"""Lease of claims in tests. An eighth of it, added eight times, is exactly the whole."""
QUICK_HASHER = Argon2Hasher(memory_cost=8, time_cost=1, parallelism=1)
"""Makes hashes that the service can verify, in a thousandth of the usual time."""


@dataclass
class Person:
    """A user with an account and a token."""

    email: str
    password: str
    headers: dict[str, str] = field(default_factory=dict)


def make_transport(app: Litestar, address: str = "127.0.0.1") -> httpx2.ASGITransport:
    """Return a transport to the app in this process. Requests seem to come from `address`."""
    return httpx2.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))  # type: ignore[arg-type]  # Litestar types ASGI messages more narrowly


class Api:
    """The service as its clients see it."""

    def __init__(self, app: Litestar, client: httpx2.AsyncClient, runtime: Runtime) -> None:
        self.app = app
        self.client = client
        self.runtime = runtime

    async def register(self, name: str = "anna") -> Person:
        """Add an account and issue a token for it, without the cost of a request and of a strong hash."""
        person = Person(f"{name.lower()}@example.org", f"password of {name}")
        user_id = new_id()
        async with self.runtime.database.transaction(Caller(user_id)) as session:
            await users.add(session, user_id, person.email, QUICK_HASHER.hash(person.password))
        person.headers["Authorization"] = f"Bearer {self.app.state.tokens.issue(Identity(user_id, 0))}"
        return person

    async def register_over_http(self, name: str = "anna") -> Person:
        """Register and log in, as a client does."""
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
        """Do all waiting jobs, one after the other. Return their number."""
        return await work(self.runtime, on_stage)


@asynccontextmanager
async def serve(api: Api, max_connections: int = 800) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve the application on a socket, with the protocol of `python -m api`."""
    config = uvicorn.Config(
        api.app,
        port=0,
        http="api.http.protocol:TimeLimitedProtocol",
        lifespan="off",
        log_level="error",
        limit_concurrency=max_connections,
        proxy_headers=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        yield client
    await server.shutdown()


async def ignore_stage(_lease: Lease, _stage: Stage, _progress: float) -> None:
    """Report nothing."""


async def claim(
    runtime: Runtime,
    seconds: float = LEASE_SECONDS,
    *,
    alone: bool = True,
    only_short: bool = False,
    guest_of: Collection[UUID] = (),
) -> Lease | None:
    background = runtime.encoders.is_next_ready and not only_short
    async with runtime.database.transaction() as session:
        return await queue.claim(
            session, seconds, alone=alone, only_short=only_short, background=background, guest_of=guest_of
        )


async def claim_next(runtime: Runtime) -> Lease:
    """Wait for a job and claim it."""
    async with asyncio.timeout(30):
        while (lease := await claim(runtime)) is None:  # noqa: ASYNC110 - another task or process writes the row
            await asyncio.sleep(0.01)
    return lease


async def work(runtime: Runtime, on_stage: OnStage | None = None) -> int:
    await runtime.encoders.wait()
    done = 0
    while lease := await claim(runtime):
        await ingest(runtime, lease, on_stage or ignore_stage)
        done += 1
    return done


class Clock:
    """A monotonic clock that tests move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def observe(sweeper: Sweeper, clock: Clock) -> int:
    """Look at the leases several times, for the length of a lease. Return the number of jobs taken back."""
    taken = await sweeper.sweep()
    for _ in range(8):
        clock.now += LEASE_SECONDS / 8
        taken += await sweeper.sweep()
    return taken


async def wait_for(condition: Callable[[], object | Awaitable[object]]) -> None:
    """Wait until other tasks or processes have made something true."""
    async with asyncio.timeout(30):
        while True:
            result = condition()
            if (await result) if isawaitable(result) else result:
                return
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
async def encoder() -> AsyncIterator[Encoder]:
    """The packaged model, loaded once in each test process."""
    encoder = make_encoder(PACKAGED_MODEL)
    encoder.start()
    await encoder.wait()
    yield encoder
    encoder.close()


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """One fork server for each test process."""
    sandbox = Sandbox()
    yield sandbox
    await sandbox.close()


@pytest.fixture
def waits(request: pytest.FixtureRequest) -> Waits:
    """The intervals of the runtime. `@pytest.mark.waits(poll=60.0)` changes them for one test."""
    marker = request.node.get_closest_marker("waits")
    return Waits(**marker.kwargs) if marker else Waits()


class Application:
    """The application. It is built once in each test process, and each test opens it with its own runtime."""

    def __init__(self, librechat_secret: SecretStr | None = None) -> None:
        self.opening: Opening
        unused = SecretStr("postgresql://127.0.0.1:1/unused")
        settings = Settings(
            _env_file=None, jwt_secret=SecretStr(SECRET), librechat_secret=librechat_secret, database_url=unused
        )
        self.app = create_app(settings, open_runtime=lambda _settings, **_: self.opening())


@pytest.fixture(scope="session")
def application() -> Application:
    return Application()


@pytest.fixture
def opening(settings: Settings, encoder: Encoder, sandbox: Sandbox, waits: Waits) -> Opening:
    return partial(
        open_runtime,
        settings,
        database_timeout_seconds=settings.database_timeout_seconds,
        encoder=encoder,
        sandbox=sandbox,
        waits=waits,
    )


@asynccontextmanager
async def open_api(application: Application, opening: Opening) -> AsyncIterator[Api]:
    """Open the application with a runtime. The model may not be known yet."""
    application.opening = opening
    app = application.app
    transport = make_transport(app)
    async with app.lifespan(), httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        yield Api(app, client, app.state.runtime)


@pytest.fixture
async def api(application: Application, opening: Opening) -> AsyncIterator[Api]:
    async with open_api(application, opening) as api:
        await api.runtime.encoders.wait()
        yield api


@pytest.fixture
async def runtime(opening: Opening) -> AsyncIterator[Runtime]:
    async with opening(database_timeout_seconds=10) as opened:
        yield opened
