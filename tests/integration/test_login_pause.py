"""Failed logins are counted in PostgreSQL, so password guessing is slowed with and without Redis."""

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


async def from_elsewhere(api: Api, person: Person) -> int:
    """Log in from another address."""
    import httpx2

    transport = make_transport(api.app, "10.9.8.7")
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        credentials = {"email": person.email, "password": person.password}
        return (await client.post("/v1/auth/login", json=credentials)).status_code
