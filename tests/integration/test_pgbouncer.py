"""Row 39 of the fault matrix. Behind PgBouncer in transaction mode the service works, or refuses to work. It never acts as the role that logs in."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from pipeline.db import embedding_models
from pipeline.db.models import SERVICE_ROLE, USER_SETTING
from pipeline.db.schema import prepare_service
from pipeline.db.session import Database
from pipeline.errors import UnsafeDatabase
from pipeline.notify.change_feed import ChangeFeed
from pipeline.operations.doctor import Verdict, examine
from pipeline.settings import Settings
from tests.conftest import SECRET, Logged
from tests.databases import fetch
from tests.integration.conftest import Api, Application, Opening, Person, open_api, wait_for
from tests.pgbouncer import run_pgbouncer
from tests.processes import LoggedProcess, start_logged

pytestmark = [pytest.mark.anyio, pytest.mark.own_database]

EVERY_PARAMETER = (
    "role,jit,enable_seqscan,enable_sort,default_transaction_isolation,sluice.is_direct,"
    "statement_timeout,lock_timeout,idle_in_transaction_session_timeout"
)


@pytest.fixture(params=[SERVICE_ROLE])
def login(request: pytest.FixtureRequest) -> str:
    """The role in DATABASE_URL."""
    role: str = request.param
    return role


@pytest.fixture
def pooled_url(database_url: str, login: str) -> Iterator[str]:
    owner = Path(parse_qs(urlsplit(database_url).query)["host"][0]).stat()
    asyncio.run(prepare_service(database_url, None))
    with run_pgbouncer(database_url, owner, user=login, ignored=EVERY_PARAMETER) as url:
        yield url


@pytest.fixture(params=[True])
def is_declared(request: pytest.FixtureRequest) -> bool:
    """Value of DATABASE_TRANSACTION_POOLING."""
    return bool(request.param)


@pytest.fixture
def settings(settings: Settings, pooled_url: str, *, is_declared: bool) -> Settings:
    update = {"database_url": SecretStr(pooled_url), "database_transaction_pooling": is_declared}
    return settings.model_copy(update=update)


@pytest.fixture
def worker(pooled_url: str, redis_url: str, tmp_path: Path) -> Iterator[LoggedProcess]:
    """`python -m workers`, behind PgBouncer."""
    environment = {
        **os.environ,
        "DATABASE_URL": pooled_url,
        "DATABASE_TRANSACTION_POOLING": "true",
        "REDIS_URL": redis_url,
        "JWT_SECRET": SECRET,
    }
    with start_logged("workers", environment=environment, log=tmp_path / "log.jsonl") as process:
        yield process


@pytest.mark.waits(poll=0.1)
async def test_everything_works_and_waiters_poll(worker: LoggedProcess, api: Api) -> None:
    assert not api.runtime.changes.is_listening
    people = [await api.register(f"user{number}") for number in range(4)]
    locations = []
    for person in people:
        response = await api.upload(person, f"A secret of {person.email}.".encode())
        assert response.status_code == 202, response.text
        locations.append(response.headers["location"])
    for person, location in zip(people, locations, strict=True):
        await wait_for(partial(is_ready, api, person, location))
    assert worker.has_logged("ingestion.ready")
    # Sessions are swapped between statements, so prepared statements and settings of one request must not reach others.
    asked = [
        api.client.post("/v1/search", headers=person.headers, json={"query": "secret"})
        for person in people
        for _ in "1234"
    ]
    answers = await asyncio.gather(*asked)
    for number, answer in enumerate(answers):
        assert answer.status_code == 200, answer.text
        [passage] = answer.json()["passages"]
        assert passage["text"] == f"A secret of {people[number // 4].email}."
    assert (await api.client.get("/health/ready")).json()["checks"]["database"] == "ok"


async def is_ready(api: Api, person: Person, location: str) -> bool:
    """Wait for a new status: for longer than `wait_for` does, if the API does not poll."""
    return bool((await api.get(person, location, Prefer="wait=30")).json()["status"] == "ready")


async def test_switch_of_models_waits_for_a_process_that_loads(api: Api) -> None:
    async def close() -> bool:
        async with api.runtime.database.transaction() as session:
            return await embedding_models.lock_for_switch(session)

    async with api.runtime.database.transaction() as session:
        await embedding_models.delay_switch(session)
        assert not await close()
    assert await close()


@pytest.mark.parametrize("login", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("is_declared", "reason"),
    [(True, "acts as postgres"), (False, "start-up parameters are lost and it acts as postgres")],
    indirect=["is_declared"],
)
async def test_never_acts_as_the_login(
    application: Application, opening: Opening, settings: Settings, logged: Logged, reason: str
) -> None:
    async with open_api(application, opening) as api:
        credentials = {"email": "anna@example.org", "password": "password of anna"}
        response = await api.client.post("/v1/auth/login", json=credentials)
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        ready = await api.client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "unsafe")
    assert any(event["event"] == "database.unsafe" and reason in event["reason"] for event in logged)
    [finding] = [finding async for finding in examine(settings) if finding.part == "database"]
    assert finding.verdict == Verdict.FAILED
    assert reason in finding.found


async def test_lost_parameters_are_noticed_even_if_the_service_role_logs_in(settings: Settings, logged: Logged) -> None:
    with pytest.raises(UnsafeDatabase) as refused:
        await read(settings, is_pooled=False)
    assert "start-up parameters are lost" in refused.value.reason
    feed = ChangeFeed(settings.sqlalchemy_url, timeout_seconds=5)
    feed.start()
    await wait_for(lambda: any(event["event"] == "change_feed.disconnected" for event in logged))
    assert not feed.is_listening
    await feed.close()


async def test_settings_must_be_stored_on_the_role(settings: Settings, database_url: str) -> None:
    await read(settings, is_pooled=True)
    alter = f'ALTER ROLE sluice_service IN DATABASE "{urlsplit(database_url).path.strip("/")}"'
    for change in ("SET default_transaction_isolation = 'serializable'", "RESET ALL"):
        await fetch(database_url, f"{alter} {change}")
        await fetch(
            database_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sluice_service'"
        )
        with pytest.raises(UnsafeDatabase) as refused:
            await read(settings, is_pooled=True)
        assert "python -m pipeline migrate" in refused.value.reason


async def test_search_runs_in_a_transaction(settings: Settings) -> None:
    """Without one, PgBouncer could prepare its statement in one session and execute it in another."""
    async with open_pool(settings, is_pooled=True) as database, database.statement() as connection:
        await connection.execute(select(func.set_config(USER_SETTING, "someone", True)))
        [row] = await connection.execute(select(func.current_setting(USER_SETTING).label("user")))
        assert row.user == "someone"


async def read(settings: Settings, *, is_pooled: bool) -> None:
    async with open_pool(settings, is_pooled=is_pooled) as database, database.transaction() as session:
        await embedding_models.read(session)


@asynccontextmanager
async def open_pool(settings: Settings, *, is_pooled: bool) -> AsyncIterator[Database]:
    database = Database(settings.sqlalchemy_url, pool_size=1, timeout_seconds=5, is_pooled=is_pooled)
    try:
        yield database
    finally:
        await database.close()
