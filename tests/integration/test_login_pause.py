"""Failed logins are counted in PostgreSQL, so password guessing is slowed with and without Redis."""

import httpx2
import pytest

from pipeline.db import logins
from tests.databases import fetch, fetch_value
from tests.integration.conftest import Api, Person, make_transport

pytestmark = pytest.mark.anyio


async def guess(api: Api, email: str, password: str = "wrong") -> int:
    response = await api.client.post("/v1/auth/login", json={"email": email, "password": password})
    if response.status_code == 429:
        assert response.json()["code"] == "login_paused"
        assert 1 <= int(response.headers["retry-after"]) <= 120
    return response.status_code


async def rewind(database_url: str, seconds: int) -> None:
    """Move the recorded failures back in time."""
    await fetch(
        database_url,
        """UPDATE login_failures SET paused_until = paused_until - make_interval(secs => $1),
               last_failed_at = last_failed_at - make_interval(secs => $1)""",
        seconds,
    )


@pytest.mark.parametrize("known", [True, False])
async def test_sixth_guess_is_paused_and_the_pause_grows(api: Api, database_url: str, known: bool) -> None:
    person = await api.register()
    email = person.email if known else "nobody@example.org"
    assert [await guess(api, email) for _ in range(6)] == [401] * 5 + [429]
    pauses = []
    for _ in range(6):
        pauses.append(
            await fetch_value(
                database_url, "SELECT extract(epoch FROM paused_until - last_failed_at)::int FROM login_failures"
            )
        )
        await rewind(database_url, 121)
        assert [await guess(api, email), await guess(api, email)] == [401, 429]
    assert pauses == [5, 10, 20, 40, 80, 120]


async def test_right_password_is_paused_too(api: Api) -> None:
    person = await api.register()
    for _ in range(5):
        await guess(api, person.email)
    assert await guess(api, person.email, person.password) == 429


async def test_successful_login_clears_the_failures(api: Api) -> None:
    person = await api.register()
    for _ in range(3):
        assert [await guess(api, person.email) for _ in range(4)] == [401] * 4
        assert await guess(api, person.email, person.password) == 200


async def test_failures_are_forgotten_after_a_while(api: Api, database_url: str) -> None:
    person = await api.register()
    for _ in range(2):
        assert [await guess(api, person.email) for _ in range(4)] == [401] * 4
        await rewind(database_url, int(logins.WINDOW.total_seconds()) + 1)


async def test_others_are_not_paused(api: Api) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    for _ in range(6):
        await guess(api, anna.email)
    assert await guess(api, bert.email, bert.password) == 200
    assert await from_elsewhere(api, anna) == 200


async def from_elsewhere(api: Api, person: Person, address: str = "10.9.8.7", password: str | None = None) -> int:
    """Log in from another address."""
    transport = make_transport(api.app, address)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        credentials = {"email": person.email, "password": password or person.password}
        response = await client.post("/v1/auth/login", json=credentials)
    if response.status_code == 429:
        assert (response.json()["code"], 1 <= int(response.headers["retry-after"]) <= 120) == ("login_paused", True)
    return response.status_code


# --- all addresses together -----------------------------------------------------------------------------------------


async def fail_from_many_addresses(api: Api, email: str) -> None:
    """Count as many failures as an account may have at once, each from its own network."""
    async with api.runtime.database.transaction() as session:
        for number in range(logins.FAILURES_BEFORE_SLOWDOWN):
            await logins.record_failure(session, email, f"192.0.2.{number}")


@pytest.mark.parametrize("known", [True, False])
async def test_account_is_slowed_down_for_all_addresses(api: Api, database_url: str, known: bool) -> None:
    person = await api.register()
    if not known:
        person.email = "nobody@example.org"
    await fail_from_many_addresses(api, person.email)
    assert await from_elsewhere(api, person) == 429
    await fetch(database_url, "UPDATE login_slowdowns SET last_failed_at = last_failed_at - interval '73 seconds'")
    assert await from_elsewhere(api, person, "10.9.8.6", "wrong") == 401
    assert await from_elsewhere(api, person, "10.9.8.5", "wrong") == 429


async def test_owner_is_not_locked_out(api: Api) -> None:
    person, other = await api.register("anna"), await api.register("bert")
    assert await from_elsewhere(api, person, "2001:db8::1") == 200
    await fail_from_many_addresses(api, person.email)
    assert await from_elsewhere(api, person, "2001:db8::2") == 200
    assert await from_elsewhere(api, person, "2001:db8:0:1::1") == 429
    assert await from_elsewhere(api, other, "2001:db8:0:1::1") == 200
    # Known addresses have the usual pause, too.
    assert [await from_elsewhere(api, person, "2001:db8::2", "wrong") for _ in range(6)] == [401] * 5 + [429]


async def test_rows_are_bounded(api: Api, database_url: str) -> None:
    async with api.runtime.database.transaction() as session:
        for number in range(5):
            await logins.record_failure(session, f"{number}@example.org", "192.0.2.1", max_rows=3)
        for number in range(logins.MAX_NETWORKS + 2):
            await logins.record_success(session, "anna@example.org", f"192.0.2.{number}")
        assert await logins.find_pause(session, "4@example.org", "192.0.2.1") == 0
    for table in ("login_failures", "login_slowdowns"):
        rows = await fetch(database_url, f"SELECT email FROM {table} ORDER BY email")
        assert [row["email"] for row in rows] == [f"{number}@example.org" for number in (1, 2, 3, 4)]
    assert await fetch_value(database_url, "SELECT count(*) FROM known_networks") == logins.MAX_NETWORKS
    hashes = await fetch(database_url, "SELECT network_sha256 FROM known_networks")
    assert {len(row["network_sha256"]) for row in hashes} == {32}
