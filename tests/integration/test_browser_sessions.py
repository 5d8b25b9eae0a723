"""A browser keeps its session over a reload, by a refresh token in a cookie that only the service's own page can use."""

import asyncio
from http.cookies import SimpleCookie

import httpx2
import pytest

from pipeline.db import browser_sessions
from pipeline.types import Identity
from tests.databases import fetch, fetch_value
from tests.integration.conftest import Api, Person

pytestmark = pytest.mark.anyio

NAME = "sluice_session"
NEW = "another password"


async def log_in(api: Api, person: Person, **headers: str) -> httpx2.Response:
    body = {"email": person.email, "password": person.password, "remember": True}
    return await api.client.post("/v1/auth/login", json=body, headers=headers)


async def post(api: Api, route: str, cookie: str = "", **headers: str) -> httpx2.Response:
    api.client.cookies.clear()
    headers = {**headers, "Cookie": f"{NAME}={cookie}"} if cookie else headers
    return await api.client.post(f"/v1/auth/{route}", headers=headers)


def read_cookie(response: httpx2.Response) -> str:
    assert response.status_code == 200, response.text
    return SimpleCookie(response.headers["set-cookie"])[NAME].value


async def is_alive(api: Api, cookie: str) -> bool:
    response = await post(api, "refresh", cookie)
    assert response.status_code in {200, 401}
    return response.status_code == 200


async def age(database_url: str, seconds: int) -> None:
    """Let the valid tokens be older."""
    await fetch(database_url, f"UPDATE sessions SET renewed_at = renewed_at - interval '{seconds} seconds'")


async def test_session_is_renewed_and_ended(api: Api, database_url: str) -> None:
    person = await api.register()
    plain = await api.client.post("/v1/auth/login", json={"email": person.email, "password": person.password})
    assert "set-cookie" not in plain.headers, "programs get no cookie"
    response = await log_in(api, person)
    flags = {part.strip().lower() for part in response.headers["set-cookie"].split(";")[1:]}
    assert {"path=/v1/auth", "httponly", "samesite=strict"} <= flags
    assert "secure" not in flags
    first = read_cookie(response)
    renewed = await post(api, "refresh", first)
    second = read_cookie(renewed)
    assert second != first
    headers = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    assert (await api.client.get("/v1/users/me", headers=headers)).json()["email"] == person.email
    for token in (first, second):
        refused = await api.client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 401, "a refresh token is no access token"
    gone = await post(api, "logout", second)
    assert (gone.status_code, "max-age=0" in gone.headers["set-cookie"].lower()) == (204, True)
    assert (await post(api, "refresh", second)).json()["code"] == "session_ended"
    assert [(await post(api, route)).status_code for route in ("refresh", "logout")] == [401, 204]
    rows = await fetch(
        database_url, "SELECT event_type, details::text FROM audit_logs WHERE event_type = 'user.logout'"
    )
    assert len(rows) == 1
    assert second not in str(rows)


async def test_tabs_that_renew_at_once_stay_signed_in(api: Api, database_url: str) -> None:
    first = read_cookie(await log_in(api, await api.register()))
    answers = await asyncio.gather(*(post(api, "refresh", first) for _ in range(8)))
    cookies = {read_cookie(answer) for answer in answers}
    assert len(cookies) == 1, "whatever answer arrives last, the browser has the valid token"
    [second] = cookies
    third = read_cookie(await post(api, "refresh", second))
    assert await is_alive(api, second)
    await age(database_url, 31)
    assert not await is_alive(api, second), "used again later"
    assert not await is_alive(api, third), "so the whole session has ended"
    event = "SELECT count(*) FROM audit_logs WHERE event_type = 'user.session_reused'"
    assert await fetch_value(database_url, event) == 1


async def test_older_token_ends_the_session_at_once(api: Api) -> None:
    first = read_cookie(await log_in(api, await api.register()))
    third = read_cookie(await post(api, "refresh", read_cookie(await post(api, "refresh", first))))
    assert not await is_alive(api, first)
    assert not await is_alive(api, third)


async def test_what_ends_sessions(api: Api, database_url: str) -> None:
    person = await api.register()
    old = read_cookie(await log_in(api, person))
    body = {"current_password": person.password, "new_password": NEW, "remember": True}
    fresh = read_cookie(await api.client.put("/v1/users/me/password", headers=person.headers, json=body))
    assert [await is_alive(api, old), await is_alive(api, fresh)] == [False, True]
    person.password = NEW
    expired = read_cookie(await log_in(api, person))
    await fetch(database_url, "UPDATE sessions SET expires_at = now()")
    assert not await is_alive(api, expired)
    deleted = await log_in(api, person)
    assert await fetch_value(database_url, "SELECT count(*) FROM sessions") == 1, "those that have ended are deleted"
    headers = {"Authorization": f"Bearer {deleted.json()['access_token']}"}
    gone = await api.client.request("DELETE", "/v1/users/me", headers=headers, json={"password": NEW})
    assert gone.status_code == 204
    assert not await is_alive(api, read_cookie(deleted))


async def test_account_has_a_limited_number_of_sessions(api: Api, database_url: str) -> None:
    person = await api.register()
    identity: Identity = api.app.state.tokens.verify(person.headers["Authorization"].removeprefix("Bearer "))
    async with api.runtime.database.transaction(None) as session:
        assert await browser_sessions.add(session, identity) is None, "not for anybody else"
    first = read_cookie(await log_in(api, person))
    await fetch(
        database_url,
        "INSERT INTO sessions SELECT owner_id, gen_random_uuid(), generation, 0, renewed_at + interval '1 minute', "
        "expires_at FROM sessions, generate_series(1, 49)",
    )
    assert await is_alive(api, first)
    await age(database_url, 3600)
    last = read_cookie(await log_in(api, person))
    assert await fetch_value(database_url, "SELECT count(*) FROM sessions") == browser_sessions.MAX_SESSIONS
    assert await is_alive(api, last)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://proxy.example"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://test"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://{host}"}, 200),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
    ],
)
async def test_pages_of_other_origins_are_refused(api: Api, headers: dict[str, str], status: int) -> None:
    person = await api.register()
    cookie = read_cookie(await log_in(api, person))
    host = api.client.base_url.netloc.decode()
    sent = {name: value.format(host=host) for name, value in headers.items()}
    answers = [await log_in(api, person, **sent), await post(api, "refresh", cookie, **sent)]
    assert [answer.status_code for answer in answers] == [status, status]
    assert (await post(api, "logout", cookie, **sent)).status_code == (204 if status == 200 else status)
