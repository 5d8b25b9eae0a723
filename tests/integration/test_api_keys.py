"""API keys: what they may do, and when they end. Redis is away in all of these tests."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from litestar.routes import HTTPRoute
from pydantic import SecretStr

from pipeline.errors import NotAuthenticated, Overloaded
from pipeline.settings import Settings
from pipeline.types import new_id
from pipeline.use_cases import api_keys
from pipeline.use_cases.key_checks import FIRST_READS_WAITING_PER_NETWORK, ApiKeys
from tests.databases import fetch, fetch_value, note_direct_statements, rewrite_statements
from tests.integration.conftest import Api, Application, Opening, Person, open_api, wait_for

pytestmark = pytest.mark.anyio

PATH = "/v1/api-keys"
LIMIT_SECONDS = 1.0
"""Time after which no process accepts a revoked key."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})


@pytest.fixture
async def anna(api: Api) -> Person:
    return await api.register()


async def create(api: Api, person: Person, **fields: Any) -> dict[str, Any]:
    response = await api.client.post(PATH, headers=person.headers, json={"name": "A program", **fields})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def bearer(created: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {created['secret']}"}


def list_operations(api: Api) -> list[tuple[str, str]]:
    """Return method and path of every route that needs a token, also of those that the API reference leaves out."""
    return [
        (method, re.sub(r"\{\w+\}", lambda name: "1" if "page" in name[0] else str(new_id()), route.path_format))
        for route in api.app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if not handler.opt.get("public")
        for method in sorted(handler.http_methods - {"OPTIONS"})
    ]


# --- create, list, revoke -----------------------------------------------------------------------------------------------


async def test_life_of_a_key(api: Api, anna: Person, database_url: str) -> None:
    created = await create(api, anna, name="Notebook", scopes=["write", "read", "write"])
    secret = created.pop("secret")
    assert re.fullmatch(r"sk-[\w-]{43}", secret)
    assert created["scopes"] == ["read", "write"]
    other = await create(api, anna)
    assert (await api.get(anna, f"{PATH}/{created['id']}")).json() == created
    listed = (await api.get(anna, f"{PATH}?limit=1")).json()
    assert [item["id"] for item in listed["items"]] == [other["id"]]
    listed = (await api.get(anna, f"{PATH}?limit=1&cursor={listed['next_cursor']}")).json()
    assert listed == {"items": [created], "next_cursor": None}
    program = {"Authorization": f"bearer {secret}"}
    assert (await api.client.get("/v1/users/me", headers=program)).json()["email"] == anna.email
    assert (await api.client.delete(f"{PATH}/{created['id']}", headers=anna.headers)).status_code == 204
    refused = await api.client.get("/v1/users/me", headers=program)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert (await api.get(anna, f"{PATH}/{created['id']}")).status_code == 404
    assert (await api.client.delete(f"{PATH}/{created['id']}", headers=anna.headers)).status_code == 404
    events = (await api.get(anna, "/v1/audit-logs")).json()["items"]
    assert [(event["event_type"], event["details"]["name"]) for event in events] == [
        ("api_key.revoke", "Notebook"),
        ("api_key.create", "A program"),
        ("api_key.create", "Notebook"),
    ]
    assert secret not in str(await fetch(database_url, "SELECT audit_logs::text FROM audit_logs"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["admin"]}, "scopes[0]"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"name": "x", "collection_ids": []}, "collection_ids"),
        ({"name": "x", "collection_ids": [str(new_id())]}, "collection_ids"),
        ({"name": "x", "expires": "2099-01-01T00:00:00Z"}, "expires"),
    ],
)
async def test_unusable_keys_are_refused(api: Api, anna: Person, body: dict[str, Any], field: str) -> None:
    response = await api.client.post(PATH, headers=anna.headers, json=body)
    assert response.status_code == 422, response.text
    assert field in str(response.json()["errors"])


async def test_number_of_keys_is_limited(api: Api, anna: Person, database_url: str) -> None:
    await fetch(
        database_url,
        """INSERT INTO api_keys (owner_id, id, name, secret_sha256, scopes, is_bound)
            SELECT users.id, gen_random_uuid(), 'x', sha256(number::text::bytea), '{read}', false
            FROM users, generate_series(2, $1) AS number""",
        api_keys.MAX_KEYS,
    )
    created = await create(api, anna)
    refused = await api.client.post(PATH, headers=anna.headers, json={"name": "One more"})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_keys")
    await api.client.delete(f"{PATH}/{created['id']}", headers=anna.headers)
    await create(api, anna)


# --- scopes -------------------------------------------------------------------------------------------------------------

ACCOUNT_ONLY = {
    ("POST", PATH),
    ("GET", PATH),
    ("GET", f"{PATH}/ID"),
    ("DELETE", f"{PATH}/ID"),
    ("POST", "/v1/webhooks"),
    ("GET", "/v1/webhooks"),
    ("GET", "/v1/webhooks/ID"),
    ("DELETE", "/v1/webhooks/ID"),
    ("GET", "/v1/webhooks/ID/deliveries"),
    ("POST", "/v1/webhooks/ID/deliveries/ID/redeliver"),
    ("PUT", "/v1/users/me/password"),
    ("DELETE", "/v1/users/me"),
}
READING_POSTS = {
    ("POST", "/v1/search"),
    ("POST", "/v1/ask"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/vector_stores/ID/search"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
    ("POST", "/v2/rerank"),
    ("POST", "/retrieval"),
    ("PUT", "/process"),
}


async def test_every_route_needs_a_scope_or_refuses_keys(api: Api, anna: Person) -> None:
    reader, writer = [bearer(await create(api, anna, scopes=[scope])) for scope in ("read", "write")]
    account_only, reading = set(), set()
    for method, path in list_operations(api):
        if path.endswith("events"):
            continue  # a stream without an end
        shape = (method, re.sub(r"[0-9a-f-]{36}", "ID", path))
        codes = []
        for headers in (reader, writer):
            response = await api.client.request(method, path, headers=headers)
            codes.append(response.json().get("code") if response.status_code == 403 else None)
        if codes == ["key_refused"] * 2:
            account_only.add(shape)
        elif codes == [None, "missing_scope"]:
            reading.add(shape)
        else:
            assert codes == ["missing_scope", None], shape
    assert account_only == ACCOUNT_ONLY
    assert {shape for shape in reading if shape[0] != "GET"} == READING_POSTS


async def test_key_acts_for_its_account_alone(api: Api, anna: Person) -> None:
    program = bearer(await create(api, anna))
    response = await api.client.post("/v1/documents", headers=program, files={"file": ("a.txt", b"Some text.", "")})
    assert response.status_code == 202
    location = response.headers["location"]
    assert (await api.get(anna, location)).status_code == 200
    stranger = bearer(await create(api, await api.register("bert")))
    assert (await api.client.get(location, headers=stranger)).status_code == 404


async def test_audit_rows_name_the_key(api: Api, anna: Person) -> None:
    created = await create(api, anna)
    program = Person(anna.email, "", bearer(created))
    location = (await api.upload(program, b"Some text.")).headers["location"]
    await api.client.post("/v1/search", headers=program.headers, json={"query": "text"})
    await api.client.delete(location, headers=program.headers)
    await api.upload(anna, b"Another text.")
    events = (await api.get(program, "/v1/audit-logs")).json()["items"]
    assert [(event["event_type"], event["details"].get("api_key_id")) for event in events] == [
        ("document.upload", None),
        ("document.delete", created["id"]),
        ("rag.query", created["id"]),
        ("document.upload", created["id"]),
        ("api_key.create", None),
    ]


async def test_bound_key_sees_its_collections_alone_and_nothing_when_they_are_deleted(api: Api, anna: Person) -> None:
    added = [(await api.upload(anna, text)).json()["id"] for text in (b"Inside.", b"Outside.")]
    collection = (await api.client.post("/v1/collections", headers=anna.headers, json={"name": "Shared"})).json()["id"]
    location = f"/v1/collections/{collection}"
    await api.client.put(f"{location}/documents/{added[0]}", headers=anna.headers, json={})
    created = await create(api, anna, collection_ids=[collection, collection])
    assert created["collection_ids"] == [collection]
    program = Person(anna.email, "", bearer(created))
    listed = (await api.get(program, "/v1/documents")).json()["items"]
    assert [document["id"] for document in listed] == added[:1]
    assert [(await api.get(program, f"/v1/documents/{each}")).status_code for each in added] == [200, 404]
    for of_account in ("/v1/audit-logs", "/v1/users/me"):
        refused = await api.get(program, of_account)
        assert (refused.status_code, refused.json()["code"]) == (403, "bound_key")
    await api.client.delete(location, headers=anna.headers)
    api.app.state.api_keys.forget()
    assert (await api.get(program, "/v1/documents")).json()["items"] == []
    assert (await api.get(anna, f"{PATH}/{created['id']}")).json()["collection_ids"] == []


# --- when keys end ------------------------------------------------------------------------------------------------------


async def test_expired_key_is_refused(api: Api, anna: Person, database_url: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    created = await create(api, anna, expires_at=tomorrow.isoformat())
    assert datetime.fromisoformat(created["expires_at"]) == tomorrow
    await fetch(database_url, "UPDATE api_keys SET expires_at = now()")
    refused = await api.client.get("/v1/notes", headers=bearer(created))
    assert (refused.status_code, refused.json()["code"]) == (401, "token_expired")
    assert [item["id"] for item in (await api.get(anna, PATH)).json()["items"]] == [created["id"]]


@pytest.mark.parametrize("header", ["sk-", "sk-x", "sk-" + "A" * 43, "sk-\u00e9", "Sk-" + "A" * 43])
async def test_invented_keys_are_refused(api: Api, header: str) -> None:
    headers = [(b"authorization", f"Bearer {header}".encode("latin-1"))]
    response = await api.client.get("/v1/notes", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "invalid_token")


async def test_keys_outlive_passwords_and_the_signing_secret(api: Api, anna: Person) -> None:
    program = bearer(await create(api, anna))
    passwords = {"current_password": anna.password, "new_password": "another password"}
    changed = await api.client.put("/v1/users/me/password", headers=anna.headers, json=passwords)
    assert changed.status_code == 200
    tokens = api.app.state.tokens
    object.__setattr__(tokens, "secret", "another secret, over 32 bytes long too")
    assert (await api.client.get("/v1/notes", headers=program)).status_code == 200
    person = {"Authorization": f"Bearer {changed.json()['access_token']}"}
    assert (await api.client.get("/v1/notes", headers=person)).status_code == 401


async def test_keys_end_with_their_account(api: Api, anna: Person, database_url: str) -> None:
    program = bearer(await create(api, anna))
    assert (await api.client.get("/v1/notes", headers=program)).status_code == 200
    deleted = await api.client.request("DELETE", "/v1/users/me", headers=anna.headers, json={"password": anna.password})
    assert deleted.status_code == 204
    assert (await api.client.get("/v1/notes", headers=program)).status_code == 401
    assert await fetch(database_url, "SELECT FROM api_keys") == []


@pytest.mark.waits(poll=60.0, keep_alive=60.0)
async def test_revoked_key_stops_within_a_second_in_every_process(api: Api, anna: Person, opening: Opening) -> None:
    """32 requests are in flight, half of them in another process: some long, some one after the other."""
    created = await create(api, anna)
    program = Person(anna.email, "", bearer(created))
    location = (await api.upload(program, b"Waits for a worker.")).headers["location"]
    accepted: list[tuple[httpx2.AsyncClient, float]] = []
    ended: list[float] = []

    async def wait_long(client: httpx2.AsyncClient, path: str) -> None:
        headers = program.headers | {"Prefer": "wait=30"}
        response = await client.get(path, headers=headers)
        ended.append(monotonic())
        assert response.status_code in {401, 200 if path.endswith("events") else None}

    async def send_until_refused(client: httpx2.AsyncClient) -> None:
        while True:
            started = monotonic()
            if (await client.get("/v1/notes", headers=program.headers)).status_code != 200:
                return
            accepted.append((client, started))

    async with open_api(Application(), opening) as other:
        clients = (api.client, other.client)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for client in clients:
                for path in (location, f"{location}/events", "/v1/events") * 2:
                    group.create_task(wait_long(client, path))
            for client in clients:
                for _ in range(10):
                    group.create_task(send_until_refused(client))
            await wait_for(lambda: {client for client, _ in accepted} == set(clients))
            assert not ended
            revoked = await api.client.delete(f"{PATH}/{created['id']}", headers=anna.headers)
            assert revoked.status_code == 204
            end = monotonic()
    assert len(ended) == 12
    assert max(started for _, started in accepted) < end + LIMIT_SECONDS
    assert max(started for client, started in accepted if client is api.client) < end, "the same process forgets it"
    assert max(ended) < end + LIMIT_SECONDS


@pytest.mark.waits(key_check=0.1, poll=60.0, keep_alive=60.0)
@pytest.mark.parametrize("path", ["/v1/events", "{location}/events", "{location}"])
async def test_long_requests_end_with_the_key(api: Api, anna: Person, database_url: str, path: str) -> None:
    program = Person(anna.email, "", bearer(await create(api, anna)) | {"Prefer": "wait=30"})
    location = (await api.upload(program, b"Waits for a worker.")).headers["location"]
    is_waiting = asyncio.Event()

    def notice(statement: str) -> str:
        if "FROM documents" in statement:
            is_waiting.set()
        return statement

    with rewrite_statements(notice):
        request = asyncio.create_task(api.get(program, path.format(location=location)))
        await is_waiting.wait()
    await asyncio.sleep(0.2)
    assert not request.done()
    await fetch(database_url, "DELETE FROM api_keys")
    async with asyncio.timeout(10):
        response = await request
    assert response.status_code == (200 if path.endswith("events") else 401)


MULTIPART = (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nSome text', b"\r\n--x--\r\n")


async def test_upload_is_refused_if_the_key_is_revoked_while_it_is_sent(
    api: Api, anna: Person, database_url: str
) -> None:
    created = await create(api, anna)

    async def send() -> AsyncIterator[bytes]:
        yield MULTIPART[0]
        await api.client.delete(f"{PATH}/{created['id']}", headers=anna.headers)
        yield MULTIPART[1]

    headers = bearer(created) | {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await api.client.post("/v1/documents", headers=headers, content=send())).status_code == 401
    assert await fetch(database_url, "SELECT FROM documents") == []


# --- cost ---------------------------------------------------------------------------------------------------------------


@pytest.mark.waits(key_check=60.0)
async def test_requests_of_a_key_share_one_read(api: Api, anna: Person) -> None:
    program = bearer(await create(api, anna))
    statements: list[str] = []
    with note_direct_statements(statements):
        answers = await asyncio.gather(*(api.client.get("/v1/notes", headers=program) for _ in range(10)))
        answers.append(await api.client.get("/v1/notes", headers=program))
    assert {answer.status_code for answer in answers} == {200}
    assert sum("sluice_find_api_key" in statement for statement in statements) == 1


@pytest.mark.waits(key_check=0.0)
async def test_last_use_is_written_once_a_minute(api: Api, anna: Person, database_url: str) -> None:
    created = await create(api, anna)

    async def use() -> datetime | None:
        assert (await api.client.get("/v1/notes", headers=bearer(created))).status_code == 200
        used: datetime | None = await fetch_value(database_url, "SELECT last_used_at FROM api_keys")
        return used

    await wait_for(use)
    first = await use()
    assert [await use(), await use()] == [first, first]
    shown = (await api.get(anna, f"{PATH}/{created['id']}")).json()["last_used_at"]
    assert datetime.fromisoformat(shown) == first
    long_ago = "UPDATE api_keys SET last_used_at = now() - interval '{} seconds' RETURNING last_used_at"
    keys = ApiKeys(api.runtime.database, seconds=0.0)
    for seconds, is_written in ((55, False), (61, True)):
        (row,) = await fetch(database_url, long_ago.format(seconds))
        await keys.accept(created["secret"], "here")
        await asyncio.gather(*keys.writing)
        assert (await fetch_value(database_url, "SELECT last_used_at FROM api_keys") != row[0]) == is_written
    await keys.close()


@pytest.mark.own_database
async def test_last_use_that_cannot_be_written_fails_no_request(api: Api, anna: Person, database_url: str) -> None:
    program = bearer(await create(api, anna))
    name = urlsplit(database_url).path.lstrip("/")
    await fetch(database_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await api.runtime.database.close()  # the next connections read the setting
    assert (await api.client.get("/v1/notes", headers=program)).status_code == 200
    await asyncio.gather(*api.app.state.api_keys.writing)
    assert (await api.client.get("/v1/notes", headers=program)).status_code == 200


async def test_flood_of_invented_keys_leaves_connections_to_others(api: Api, anna: Person) -> None:
    program = bearer(await create(api, anna))
    keys: ApiKeys = api.app.state.api_keys
    flood = [keys.accept(f"sk-{number}", "a network") for number in range(FIRST_READS_WAITING_PER_NETWORK + 50)]
    refusals = asyncio.gather(*flood, return_exceptions=True)
    await asyncio.sleep(0)
    assert (await api.client.get("/v1/notes", headers=program)).status_code == 200
    kinds = [type(refusal) for refusal in await refusals]
    assert (kinds.count(NotAuthenticated), kinds.count(Overloaded)) == (FIRST_READS_WAITING_PER_NETWORK + 1, 49)
