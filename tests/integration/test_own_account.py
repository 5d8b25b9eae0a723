"""Users change their password and delete their account; both end tokens, and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from uuid import UUID

import asyncpg
import httpx2
import pytest

from api.openapi.examples import PARAMETERS
from pipeline import samples
from pipeline.db import logins
from pipeline.db.contents import SLICE_BYTES
from pipeline.errors import AccountGone
from pipeline.types import Identity, Lease, Stage
from pipeline.use_cases import accounts
from tests.databases import fetch, fetch_value, rewrite_statements, run_sql
from tests.integration.conftest import Api, Person, wait_for

pytestmark = pytest.mark.anyio

NEW = "another password"
ADDRESS = "127.0.0.1"


async def find_id(api: Api, person: Person) -> UUID:
    return UUID((await api.get(person, "/v1/users/me")).json()["id"])


async def change(api: Api, person: Person, current: str, new: str = NEW) -> httpx2.Response:
    body = {"current_password": current, "new_password": new}
    return await api.client.put("/v1/users/me/password", headers=person.headers, json=body)


async def remove(api: Api, person: Person, password: str) -> httpx2.Response:
    return await api.client.request("DELETE", "/v1/users/me", headers=person.headers, json={"password": password})


async def log_in(api: Api, person: Person, password: str) -> int:
    credentials = {"email": person.email, "password": password}
    return (await api.client.post("/v1/auth/login", json=credentials)).status_code


async def use_every_route(api: Api, person: Person) -> set[int]:
    """Return the statuses of every route that needs a token."""
    document = (await api.client.get("/schema/openapi.json")).json()
    return {
        (await api.client.request(method, path.format(**PARAMETERS), headers=person.headers)).status_code
        for path, operations in document["paths"].items()
        for method in operations.keys() - {"parameters"}
        if path.startswith("/v1/") and not path.startswith("/v1/auth/")
    }


async def test_new_password_ends_all_other_tokens(api: Api, database_url: str) -> None:
    person = await api.register()
    assert (await api.get(person, "/v1/documents")).status_code == 200
    response = await change(api, person, person.password)
    assert (response.status_code, response.json()["token_type"]) == (200, "bearer")
    assert await use_every_route(api, person) == {401}
    assert (await api.get(person, "/v1/documents")).json()["code"] == "invalid_token"
    fresh = {"Authorization": f"Bearer {response.json()['access_token']}"}
    assert (await api.client.get("/v1/documents", headers=fresh)).status_code == 200
    assert [await log_in(api, person, password) for password in (person.password, NEW)] == [401, 200]
    rows = await fetch(database_url, "SELECT event_type, details::text FROM audit_logs ORDER BY id")
    assert ("user.password_changed", f'{{"address": "{ADDRESS}"}}') in [tuple(row) for row in rows]
    assert NEW not in str(rows)


async def test_deletion_leaves_nothing_but_anonymous_audit_rows(api: Api, database_url: str) -> None:
    person, other = await api.register_over_http("anna"), await api.register("bert")
    user_id = await find_id(api, person)
    await api.upload(person, b"The secret of anna.", "secret.txt")
    await api.client.post("/v1/notes", headers=person.headers, json={"title": "A note", "body": "Of anna."})
    await api.work()
    await api.client.post("/v1/search", headers=person.headers, json={"query": "my words"})
    await api.upload(person, b"Still waiting.")
    kept = (await api.upload(other, b"Kept.")).headers["location"]
    assert (await remove(api, person, person.password)).status_code == 204
    assert await use_every_route(api, person) == {401}
    assert await log_in(api, person, person.password) == 401
    for table in ("documents", "document_slices", "document_pages", "chunks", "vectors", "notes", "jobs"):
        rows = await fetch(database_url, f"SELECT FROM {table} WHERE owner_id = $1", user_id)
        assert rows == [], table
    rows = await fetch(database_url, "SELECT event_type, details FROM audit_logs WHERE actor_user_id = $1", user_id)
    assert {row["event_type"] for row in rows} >= {"user.register", "user.deleted", "document.upload", "rag.query"}
    assert {row["details"] for row in rows} == {"{}"}
    assert (await api.get(other, kept)).status_code == 200
    assert (await api.register_over_http("anna")).email == person.email, "the address is free again"


@pytest.mark.parametrize("act", [change, remove])
async def test_wrong_password_changes_nothing_and_is_slowed_down(
    api: Api, act: Callable[[Api, Person, str], Awaitable[httpx2.Response]]
) -> None:
    person = await api.register()
    for _ in range(logins.FAILURES_BEFORE_PAUSE):
        response = await act(api, person, "wrong")
        assert (response.status_code, response.json()["code"]) == (403, "wrong_password")
    response = await act(api, person, person.password)
    assert (response.status_code, response.json()["code"]) == (429, "login_paused")
    assert await log_in(api, person, person.password) == 429
    assert (await api.get(person, "/v1/users/me")).status_code == 200


async def test_unusable_new_password_is_refused(api: Api) -> None:
    person = await api.register()
    for new in ("short", "password1"):
        response = await change(api, person, person.password, new)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "new_password")
    assert await log_in(api, person, person.password) == 200


async def test_of_two_changes_at_the_same_time_one_wins(api: Api) -> None:
    person = await api.register()
    changes = [change(api, person, person.password, f"new password {number}") for number in range(2)]
    assert sorted([response.status_code for response in await asyncio.gather(*changes)]) == [200, 403]


@asynccontextmanager
async def holding(database_url: str, statement: str) -> AsyncIterator[None]:
    """Hold the locks that this statement takes."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def holding_failures(database_url: str, person: Person) -> AsyncIterator[None]:
    """Stop every transaction that clears the failed logins of this person."""
    failure = "INSERT INTO login_failures (email, address, failures, last_failed_at, paused_until)"
    await fetch(database_url, f"{failure} VALUES ($1, $2, 1, now(), now())", person.email, ADDRESS)
    async with holding(database_url, "SELECT FROM login_failures FOR UPDATE"):
        yield


async def wait_for_blocked(database_url: str, number: int) -> None:
    """Wait until this number of sessions wait for a lock."""
    query = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"""

    async def are_blocked() -> bool:
        return bool(await fetch_value(database_url, query) == number)

    await wait_for(are_blocked)


async def count_rows(database_url: str) -> int:
    """Return the number of rows that accounts own."""
    tables = ("users", "documents", "document_slices", "notes", "jobs")
    return sum([await fetch_value(database_url, f"SELECT count(*) FROM {table}") for table in tables])


async def test_login_with_the_old_password_cannot_outlive_a_change(api: Api, database_url: str) -> None:
    person = await api.register()
    user_id = await find_id(api, person)
    async with holding_failures(database_url, person):
        credentials = {"email": person.email, "password": person.password}
        login = asyncio.create_task(api.client.post("/v1/auth/login", json=credentials))
        # The login has accepted the password, and has no token yet.
        await wait_for_blocked(database_url, 1)
        await accounts.change_password(api.runtime, user_id, person.password, NEW, "elsewhere")
    person.headers["Authorization"] = f"Bearer {(await login).json()['access_token']}"
    api.app.state.sessions.forget(user_id)
    assert (await api.get(person, "/v1/users/me")).status_code == 401


async def test_upload_that_meets_a_deletion_is_refused(api: Api, database_url: str) -> None:
    person = await api.register()
    async with holding_failures(database_url, person):
        deletion = asyncio.create_task(remove(api, person, person.password))
        await wait_for_blocked(database_url, 1)
        upload = asyncio.create_task(api.upload(person, b"Too late."))
        note = asyncio.create_task(
            api.client.post("/v1/notes", headers=person.headers, json={"title": "Too", "body": "late."})
        )
        await wait_for_blocked(database_url, 3)
    assert (await deletion).status_code == 204
    assert [(await upload).status_code, (await note).status_code] == [401, 401]
    assert await count_rows(database_url) == 0


async def test_deletion_that_meets_an_upload_waits_for_it(api: Api, database_url: str) -> None:
    person = await api.register()
    async with holding(database_url, "LOCK TABLE audit_logs IN SHARE MODE"):
        upload = asyncio.create_task(api.upload(person, b"Just in time."))
        await wait_for_blocked(database_url, 1)
        deletion = asyncio.create_task(remove(api, person, person.password))
        await wait_for_blocked(database_url, 2)
    assert [(await upload).status_code, (await deletion).status_code] == [202, 204]
    assert await count_rows(database_url) == 0


async def test_deletion_that_meets_a_retry_leaves_no_job(api: Api, database_url: str) -> None:
    person = await api.register()
    location = (await api.upload(person, b"Failed once.")).headers["location"]
    await fetch(database_url, "DELETE FROM jobs")
    await fetch(database_url, "UPDATE documents SET status = 'failed', error_code = 'timeout'")
    async with holding(database_url, "LOCK TABLE audit_logs IN SHARE MODE"):
        retry = asyncio.create_task(api.client.post(f"{location}/retry", headers=person.headers))
        await wait_for_blocked(database_url, 1)
        deletion = asyncio.create_task(remove(api, person, person.password))
        await wait_for_blocked(database_url, 2)
    assert [(await retry).status_code, (await deletion).status_code] == [202, 204]
    assert await count_rows(database_url) == 0


async def test_deletion_needs_the_password_of_its_own_moment(api: Api, database_url: str) -> None:
    """Another request changes the password after the deletion has checked the old one."""
    person = await api.register()
    async with holding(database_url, "UPDATE users SET password_hash = 'another'"):
        deletion = asyncio.create_task(remove(api, person, person.password))
        await wait_for_blocked(database_url, 1)
    assert ((await deletion).status_code, await count_rows(database_url)) == (403, 1)


async def test_worker_of_a_deleted_account_loses_its_lease(api: Api, database_url: str) -> None:
    person = await api.register()
    await api.upload(person, b"Being read.")

    async def report(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == Stage.EMBEDDING:
            assert (await remove(api, person, person.password)).status_code == 204

    assert await api.work(report) == 1
    assert await count_rows(database_url) == 0
    assert await fetch(database_url, "SELECT FROM chunks") == []


async def test_change_that_meets_a_deletion_is_refused(api: Api) -> None:
    person = await api.register()
    user_id = await find_id(api, person)
    await remove(api, person, person.password)
    with pytest.raises(AccountGone):
        await accounts.change_password(api.runtime, user_id, person.password, NEW, ADDRESS)
    with pytest.raises(AccountGone):
        await accounts.delete_own(api.runtime, user_id, person.password, ADDRESS)


END_TOKENS = "UPDATE users SET token_generation = token_generation + 1 RETURNING id"
"""What another process does when a password is changed."""
DELETE_USERS = "DELETE FROM users"


async def end_tokens(database_url: str) -> None:
    await fetch(database_url, END_TOKENS)


@pytest.mark.waits(token_check=60.0)
async def test_requests_read_the_generation_once(api: Api, database_url: str) -> None:
    person = await api.register()
    reads = 0

    def count(statement: str) -> str:
        nonlocal reads
        reads += "SELECT users.token_generation" in statement
        return statement

    with rewrite_statements(count):
        answers = await asyncio.gather(*(api.get(person, "/v1/documents") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await api.get(person, "/v1/documents")).status_code == 200
        assert reads == 1
        # A token of a later generation comes from another process. It is never refused because of an old reading.
        await end_tokens(database_url)
        newer = api.app.state.tokens.issue(Identity(await find_id(api, person), 1))
        response = await api.client.get("/v1/documents", headers={"Authorization": f"Bearer {newer}"})
        assert (response.status_code, reads) == (200, 2)
    assert (await api.get(person, "/v1/documents")).status_code == 401


@pytest.mark.waits(token_check=0.1, poll=60.0, keep_alive=60.0)
@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/v1/events", END_TOKENS),
        ("/v1/events", DELETE_USERS),
        ("{location}/events", END_TOKENS),
        ("{location}", END_TOKENS),
    ],
)
async def test_long_requests_end_with_the_token(api: Api, database_url: str, path: str, end: str) -> None:
    person = await api.register()
    location = (await api.upload(person, b"Waits for a worker.")).headers["location"]
    is_waiting = asyncio.Event()

    def notice(statement: str) -> str:
        if "FROM documents" in statement:
            is_waiting.set()
        return statement

    with rewrite_statements(notice):
        request = asyncio.create_task(api.get(person, path.format(location=location), Prefer="wait=30"))
        await is_waiting.wait()
    await asyncio.sleep(0.2)
    assert not request.done()
    await fetch(database_url, end)
    async with asyncio.timeout(10):
        response = await request
    assert response.status_code == (200 if path.endswith("events") else 401)
    assert await use_every_route(api, person) == {401}


async def end_by_password(api: Api, database_url: str) -> None:
    await end_tokens(database_url)
    api.app.state.sessions.forget(await fetch_value(database_url, "SELECT id FROM users"))


async def end_by_deletion(api: Api, database_url: str) -> None:
    (user,) = await fetch(database_url, "DELETE FROM users RETURNING id")
    api.app.state.sessions.forget(user["id"])


async def end_by_expiry(api: Api, _database_url: str) -> None:
    tokens = api.app.state.tokens
    api.app.state.tokens = replace(tokens, leeway=-tokens.lifetime)


MULTIPART = (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nSome text', b"\r\n--x--\r\n")


@pytest.mark.parametrize(
    ("path", "media_type", "pieces"),
    [
        ("/v1/notes", "application/json", (b'{"title": "Some ', b'title", "body": "Some text"}')),
        ("/v1/documents", "multipart/form-data; boundary=x", MULTIPART),
    ],
    ids=["json", "upload"],
)
@pytest.mark.parametrize("end", [end_by_password, end_by_deletion, end_by_expiry])
async def test_request_is_refused_if_the_token_ends_while_its_body_is_sent(
    api: Api,
    database_url: str,
    path: str,
    media_type: str,
    pieces: tuple[bytes, bytes],
    end: Callable[[Api, str], Awaitable[None]],
) -> None:
    person = await api.register()

    async def send() -> AsyncIterator[bytes]:
        yield pieces[0]
        await end(api, database_url)
        yield pieces[1]

    headers = {**person.headers, "Content-Type": media_type}
    assert (await api.client.post(path, headers=headers, content=send())).status_code == 401
    assert await fetch(database_url, "SELECT FROM documents UNION ALL SELECT FROM notes") == []


@contextmanager
def end_tokens_at(api: Api, database_url: str, read: int) -> Iterator[None]:
    """End all tokens when a slice of a file is read for the given time."""
    reads = 0

    def notice(statement: str) -> str:
        nonlocal reads
        reads += "SELECT document_slices" in statement
        if reads == read:
            with ThreadPoolExecutor() as pool:
                (user,) = pool.submit(run_sql, database_url, END_TOKENS).result()
            api.app.state.sessions.forget(user["id"])
        return statement

    with rewrite_statements(notice):
        yield


@pytest.mark.waits(token_check=60.0)
async def test_download_ends_early_with_the_token(api: Api, database_url: str) -> None:
    person = await api.register()
    content = b"x" * (2 * SLICE_BYTES)
    location = (await api.upload(person, content)).headers["location"]
    with end_tokens_at(api, database_url, read=2):
        response = await api.get(person, f"{location}/content")
    assert int(response.headers["content-length"]) == len(content)
    assert response.content == content[:SLICE_BYTES]


@pytest.mark.waits(token_check=60.0)
async def test_page_image_is_refused_if_the_token_ends_while_it_is_drawn(api: Api, database_url: str) -> None:
    person = await api.register()
    report = (samples.FOLDER / "greenhouse-report.pdf").read_bytes()
    location = (await api.upload(person, report, "report.pdf")).headers["location"]
    await fetch(database_url, "UPDATE documents SET status = 'ready', pages = 1")
    with end_tokens_at(api, database_url, read=1):
        assert (await api.get(person, f"{location}/pages/1/image")).status_code == 401
