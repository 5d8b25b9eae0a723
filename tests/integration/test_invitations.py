"""Closed registration, and invitations that let one person in."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest

from pipeline.db.session import open_database
from pipeline.use_cases.invitations import invite
from tests.conftest import Logged
from tests.databases import fetch, fetch_value
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def closed(api: Api) -> Api:
    """The service with closed registration."""
    settings = api.runtime.settings.model_copy(update={"registration": "closed"})
    api.app.state.runtime = replace(api.runtime, settings=settings)
    return api


async def make_invitation(database_url: str, lifetime: timedelta = timedelta(days=1)) -> str:
    """Return the secret of a new invitation."""
    url = database_url.replace("postgresql://", "postgresql+asyncpg://")
    async with open_database(url, pool_size=1, timeout_seconds=10, role=None) as database:
        link = await invite(database, "https://sluice.example.org/", lifetime)
    page, _, secret = link.partition("#invite=")
    assert page == "https://sluice.example.org/"
    return secret


async def register(
    api: Api, invitation: str | None, name: str = "anna", password: str | None = None
) -> httpx2.Response:
    body = {"email": f"{name}@example.org", "password": password or f"password of {name}"}
    return await api.client.post(
        "/v1/auth/register", json=body if invitation is None else {**body, "invitation": invitation}
    )


def tell(response: httpx2.Response) -> tuple[int, str | None]:
    return response.status_code, response.json().get("code")


async def test_closed_registration_needs_an_invitation(closed: Api, database_url: str) -> None:
    assert tell(await register(closed, None)) == (403, "registration_closed")
    assert tell(await register(closed, "made-up")) == (403, "invitation_invalid")
    assert await fetch(database_url, "SELECT FROM users") == []
    assert tell(await register(closed, await make_invitation(database_url))) == (201, None)


async def test_password_of_a_wrong_invitation_is_not_hashed(closed: Api, database_url: str) -> None:
    # Common passwords are refused just before the hash.
    assert tell(await register(closed, "made-up", password="password1")) == (403, "invitation_invalid")
    invitation = await make_invitation(database_url)
    assert tell(await register(closed, invitation, password="password1")) == (422, "invalid_input")
    assert tell(await register(closed, invitation)) == (201, None)


async def test_invitation_is_used_once(closed: Api, database_url: str) -> None:
    invitation = await make_invitation(database_url)
    answers = await asyncio.gather(*(register(closed, invitation, name) for name in ("anna", "bert")))
    assert sorted(map(tell, answers), key=str) == [(201, None), (403, "invitation_invalid")]
    assert await fetch_value(database_url, "SELECT count(*) FROM users") == 1


async def test_failed_registration_does_not_use_up_the_invitation(closed: Api, database_url: str) -> None:
    await closed.register("anna")
    invitation = await make_invitation(database_url)
    assert tell(await register(closed, invitation, "anna")) == (409, "email_taken")
    assert tell(await register(closed, invitation, "bert")) == (201, None)


async def test_expired_invitation_is_refused_and_removed(closed: Api, database_url: str) -> None:
    expired = await make_invitation(database_url, timedelta(seconds=-1))
    assert tell(await register(closed, expired)) == (403, "invitation_invalid")
    await make_invitation(database_url)
    assert await fetch_value(database_url, "SELECT count(*) FROM invitations") == 1


async def test_open_registration_checks_an_invitation_too(api: Api, database_url: str) -> None:
    assert tell(await register(api, "made-up")) == (403, "invitation_invalid")
    assert tell(await register(api, await make_invitation(database_url))) == (201, None)
    assert await fetch(database_url, "SELECT FROM invitations") == []


async def test_secret_is_stored_nowhere(closed: Api, database_url: str, logged: Logged) -> None:
    used, unused = await make_invitation(database_url), await make_invitation(database_url)
    await register(closed, used)
    await register(closed, used)
    rows = await fetch(
        database_url,
        "SELECT row_to_json(invitations)::text FROM invitations UNION ALL SELECT row_to_json(audit_logs)::text FROM audit_logs",
    )
    assert len(rows) == 4
    for secret in (used, unused):
        assert secret not in str(rows)
        assert secret.encode().hex() not in str(rows), "PostgreSQL writes bytes in hexadecimal"
        assert secret not in str(logged)
    invited, registered = await fetch(
        database_url,
        """SELECT details ->> 'invitation_id' FROM audit_logs
           WHERE event_type IN ('user.invited', 'user.register') AND details ->> 'invitation_id' NOT IN
               (SELECT id::text FROM invitations) ORDER BY id""",
    )
    assert invited == registered
