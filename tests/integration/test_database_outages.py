"""PostgreSQL away: what says so, and that nothing is accepted."""

import asyncio
import time

import pytest

from tests.databases import fetch
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio


async def test_database_away_is_503_and_nothing_accepted(api: Api, database_url: str) -> None:
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


async def test_readiness_notices_old_migrations(api: Api, database_url: str) -> None:
    await fetch(database_url, "UPDATE alembic_version SET version_num = '0000'")
    ready = await api.client.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["migrations"]) == (503, "behind")
    await fetch(database_url, "DROP TABLE alembic_version")
    assert (await api.client.get("/health/ready")).json()["checks"]["migrations"] == "behind"
