"""Without PostgreSQL, requests get 503 and nothing is accepted."""

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from threading import Thread

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from api.openapi.examples import PARAMETERS
from pipeline.db.session import Database, open_database
from pipeline.errors import DatabaseUnavailable
from pipeline.settings import Settings
from pipeline.types import Identity, new_id
from tests.databases import fetch, run_sql
from tests.integration.conftest import Api, Application, Opening, open_api

pytestmark = pytest.mark.anyio


async def test_without_database_requests_are_503_and_nothing_is_accepted(api: Api, database_url: str) -> None:
    person = await api.register()
    name = database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    server = database_url.replace(f"/{name}", "/postgres")
    await fetch(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await fetch(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    try:
        for method, path, body in [
            ("GET", "/v1/users/me", None),
            ("GET", "/v1/documents", None),
            ("POST", "/v1/search", {"query": "x"}),
            ("POST", "/v1/auth/login", {"email": "a@b.example", "password": "password"}),
        ]:
            started = time.perf_counter()
            response = await api.client.request(method, path, headers=person.headers, json=body)
            assert response.status_code == 503, (path, response.text)
            assert 1 <= int(response.headers["retry-after"]) <= 120
            assert time.perf_counter() - started < 2
        assert (await api.upload(person, b"text")).status_code == 503
        assert (await api.client.get("/health/live")).status_code == 200
        ready = await api.client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "unavailable")
    finally:
        await fetch(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await asyncio.sleep(0.1)
    assert (await api.get(person, "/v1/users/me")).status_code == 200
    assert (await api.get(person, "/v1/documents")).json()["items"] == []


@pytest.mark.own_database
async def test_readiness_notices_old_migrations(api: Api, database_url: str) -> None:
    await fetch(database_url, "UPDATE alembic_version SET version_num = '0000'")
    ready = await api.client.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["migrations"]) == (503, "behind")
    await fetch(database_url, "REVOKE ALL ON alembic_version FROM sluice_service")
    ready = await api.client.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["migrations"]) == (503, "behind")
    await fetch(database_url, "DROP TABLE alembic_version")
    assert (await api.client.get("/health/ready")).json()["checks"]["migrations"] == "behind"


WITHOUT_COOKIE = {"/v1/auth/refresh": 401, "/v1/auth/logout": 204}
"""What routes answer that read nothing but the cookie of a session, if there is none."""


class TestUnreachable:
    @pytest.fixture(params=["refused", "stalled"])
    def settings(self, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1] if request.param == "stalled" else 1
            url = SecretStr(f"postgresql://u:p@127.0.0.1:{port}/d")
            yield settings.model_copy(update={"database_url": url, "database_timeout_seconds": 0.5})

    async def test_every_route_says_503(self, application: Application, opening: Opening) -> None:
        async with open_api(application, opening) as api:
            token = api.app.state.tokens.issue(Identity(new_id(), 0))
            document = (await api.client.get("/schema/openapi.json")).json()
            requests = [
                (method, path)
                for path, methods in document["paths"].items()
                for method in methods
                if path.startswith("/v1")
            ]
            assert len(requests) >= 18
            answers = await asyncio.gather(*(ask(api.client, token, method, path) for method, path in requests))
            for (method, path), (status, took) in zip(requests, answers, strict=True):
                assert status == WITHOUT_COOKIE.get(path, 503), (method, path)
                assert took < 2.5, (method, path)
            started = time.perf_counter()
            assert (await api.client.get("/health/ready")).status_code == 503
            assert time.perf_counter() - started < 1.5
            assert (await api.client.get("/health/live")).status_code == 200
            metrics = await api.client.get("/metrics")
            assert metrics.status_code == 200
            assert 'sluice_subjects{kind="document",status="ready"} NaN' in metrics.text


async def ask(client: httpx2.AsyncClient, token: str, method: str, path: str) -> tuple[int, float]:
    """Send a valid request; returns its status and how many seconds it took."""
    bodies: dict[str, dict[str, object]] = {
        "/v1/auth/register": {"email": "a@b.example", "password": "correct horse"},
        "/v1/auth/login": {"email": "a@b.example", "password": "password"},
        "/v1/search": {"query": "x"},
        "/v1/ask": {"question": "x"},
        "/v1/notes": {"title": "x", "body": "x"},
        "/v1/notes/{note_id}": {"body": "x"},
        "/v1/users/me/password": {"current_password": "password", "new_password": "correct horse"},
        "/v1/webhooks": {"url": "https://93.184.215.14/", "events": ["document.ready"]},
        "/v1/users/me": {"password": "password"},
    }
    options: dict[str, object] = {"json": bodies[path]} if method != "get" and path in bodies else {}
    if (method, path) == ("post", "/v1/documents"):
        options = {"files": {"file": ("a.txt", b"text")}}
    url = path.format(**PARAMETERS)
    started = time.perf_counter()
    response = await client.request(method, url, headers={"Authorization": f"Bearer {token}"}, **options)  # type: ignore[arg-type]  # the parameters of all cases
    if response.status_code == 503:
        assert 1 <= int(response.headers["retry-after"]) <= 120
        assert response.json()["code"] == "database_unavailable"
    return response.status_code, time.perf_counter() - started


async def test_closed_connections_are_replaced_without_errors(api: Api, database_url: str) -> None:
    person = await api.register()
    await api.upload(person, b"The horse sleeps in the barn.")
    await fetch(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    await asyncio.sleep(0.1)  # the client must notice the closed connections
    for _ in range(3):
        assert (await api.client.post("/v1/search", headers=person.headers, json={"query": "x"})).status_code == 200


async def read_pid(database: Database) -> int:
    async with database.statement() as connection:
        [row] = await connection.execute(select(func.pg_backend_pid().label("pid")))
    pid: int = row.pid
    return pid


async def test_connection_of_a_cancelled_statement_is_replaced(settings: Settings, database_url: str) -> None:
    async with open_database(settings.sqlalchemy_url, pool_size=1, timeout_seconds=5) as database:
        first = await read_pid(database)
        assert await read_pid(database) == first
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), database.statement() as connection:
                await connection.execute(select(func.pg_sleep(30)))
        second = await read_pid(database)
        assert second != first
        await fetch(database_url, "SELECT pg_terminate_backend($1, 5000)", second)
        assert await read_pid(database) != second


async def execute_on_ended_connection(database: Database, database_url: str, pid: int) -> None:
    async with database.statement() as connection:
        ending = Thread(target=run_sql, args=(database_url, f"SELECT pg_terminate_backend({pid}, 5000)"))
        ending.start()
        ending.join()  # without the event loop
        # It now receives the error of PostgreSQL, but not yet the end of the connection.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await connection.execute(select(func.pg_backend_pid()))


async def test_connection_that_postgresql_has_just_ended_is_unavailable(settings: Settings, database_url: str) -> None:
    async with open_database(settings.sqlalchemy_url, pool_size=1, timeout_seconds=5) as database:
        pid = await read_pid(database)
        with pytest.raises(DatabaseUnavailable):
            await execute_on_ended_connection(database, database_url, pid)
        assert await read_pid(database) != pid


def make_message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


LOGIN = make_message(b"R", bytes(4)) + make_message(b"S", b"server_version\x0017.0\0") + make_message(b"Z", b"I")
"""What PostgreSQL answers to a login without a password."""
ENDED = make_message(b"E", b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0")


def end_at_login(server: socket.socket) -> None:
    """Act as a PostgreSQL that ends every connection right after the login, until the socket is shut down."""
    with ExitStack() as opened, suppress(OSError):
        while True:
            connection = opened.enter_context(server.accept()[0])
            connection.recv(1024)
            connection.sendall(LOGIN + ENDED)


@pytest.fixture
def ending_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=end_at_login, args=(server,))
        thread.start()
        yield f"postgresql+asyncpg://u:p@127.0.0.1:{server.getsockname()[1]}/d?ssl=disable"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_connection_that_ends_right_after_the_login_is_unavailable(ending_url: str) -> None:
    async with open_database(ending_url, pool_size=1, timeout_seconds=5) as database:
        for _ in range(2):  # the place in the pool is free again
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction() as session:
                    await session.execute(select(1))
        with pytest.raises(DatabaseUnavailable):
            await read_pid(database)


async def test_statement_without_a_database_is_refused(settings: Settings) -> None:
    url = settings.sqlalchemy_url.replace("/test_", "/no_such_")
    async with open_database(url, pool_size=1, timeout_seconds=5) as database:
        with pytest.raises(DatabaseUnavailable):
            await read_pid(database)
