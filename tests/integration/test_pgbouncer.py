"""Row 39 of the fault matrix. Behind PgBouncer in transaction mode the service works, or refuses to work. It never acts as the role that logs in."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from pipeline.db import embedding_models
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.schema import prepare_service
from pipeline.db.session import Database
from pipeline.errors import UnsafeDatabase
from pipeline.notify.change_feed import ChangeFeed
from pipeline.operations.doctor import Verdict, examine
from pipeline.settings import Settings
from tests.conftest import Logged
from tests.databases import fetch
from tests.integration.conftest import Api, Application, Opening, open_api
from tests.pgbouncer import run_pgbouncer

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


async def test_everything_works_and_waiters_poll(api: Api) -> None:
    assert not api.runtime.changes.is_listening
    people = [await api.register(f"user{number}") for number in range(4)]
    for person in people:
        response = await api.upload(person, f"A secret of {person.email}.".encode())
        assert response.status_code == 202, response.text
    # Sessions are swapped between statements, so prepared statements and settings of one request must not reach others.
    location = response.headers["location"]
    waiting = asyncio.create_task(api.get(people[-1], location, Prefer="wait=20"))
    await api.work()
    assert (await waiting).json()["status"] == "ready"
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


async def test_lost_parameters_are_noticed_even_if_the_service_role_logs_in(settings: Settings) -> None:
    with pytest.raises(UnsafeDatabase) as refused:
        await read(settings, is_pooled=False)
    assert "start-up parameters are lost" in refused.value.reason
    feed = ChangeFeed(settings.sqlalchemy_url, timeout_seconds=5)
    feed.start()
    await asyncio.sleep(0.3)
    assert not feed.is_listening
    await feed.close()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE sluice_service IN DATABASE {name} RESET ALL",
        "ALTER ROLE sluice_service IN DATABASE {name} SET default_transaction_isolation = 'serializable'",
    ],
)
async def test_settings_must_be_stored_on_the_role(settings: Settings, database_url: str, statement: str) -> None:
    await read(settings, is_pooled=True)
    name = urlsplit(database_url).path.strip("/")
    await fetch(database_url, statement.format(name=f'"{name}"'))
    await fetch(database_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sluice_service'")
    with pytest.raises(UnsafeDatabase) as refused:
        await read(settings, is_pooled=True)
    assert "python -m pipeline migrate" in refused.value.reason


async def read(settings: Settings, *, is_pooled: bool) -> None:
    database = Database(settings.sqlalchemy_url, pool_size=1, timeout_seconds=5, is_pooled=is_pooled)
    try:
        async with database.transaction() as session:
            await embedding_models.read(session)
    finally:
        await database.close()
