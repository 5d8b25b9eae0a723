"""The calls of LibreChat to its `rag_api`."""

import asyncio
import json
from collections.abc import Awaitable
from time import time
from typing import Any
from uuid import UUID

import httpx2
import jwt
import pytest
from pydantic import SecretStr

from pipeline.db import collections, queue
from pipeline.types import Subject, SubjectKind
from pipeline.use_cases import accounts, chat_files
from pipeline.use_cases.chat_files import FileOwner, OwnerKind
from tests.conftest import SECRET
from tests.databases import fetch, fetch_value
from tests.integration.conftest import Api, Application, serve, wait_for

pytestmark = pytest.mark.anyio

LIBRECHAT_SECRET = "the JWT_SECRET of LibreChat in tests, " * 2
TEXT = b"The lock is closed at 3.2 metres."
OTHER_TEXT = b"The bakery opens at six."
QUERY = "When is the lock closed?"

Headers = dict[str, str]


@pytest.fixture(scope="module")
def application() -> Application:
    return Application(librechat_secret=SecretStr(LIBRECHAT_SECRET))


def sign(user: object, secret: str = LIBRECHAT_SECRET, algorithm: str = "HS256", **claims: object) -> Headers:
    """Return the headers of LibreChat for its user. They are made once, and a run of all tests takes minutes."""
    said = {"id": user, "iat": int(time()), "exp": int(time()) + 86_400} | claims
    present = {name: value for name, value in said.items() if value is not None}
    return {"Authorization": f"Bearer {jwt.encode(present, secret, algorithm=algorithm)}"}


ANNA, BERTA = sign("anna"), sign("berta")


async def finish(api: Api, request: Awaitable[httpx2.Response]) -> httpx2.Response:
    """Do all jobs until there is a response."""
    sending = asyncio.ensure_future(request)
    while not sending.done():
        await api.work()
        await asyncio.wait((sending,), timeout=0.01)
    return sending.result()


async def embed(
    api: Api, headers: Headers, file_id: str, content: bytes = TEXT, name: str = "a.txt", **fields: str
) -> dict[str, Any]:
    parts = {"file_id": file_id} | fields
    answer = await finish(api, api.client.post("/embed", data=parts, files={"file": (name, content)}, headers=headers))
    assert answer.status_code == 200, answer.text
    embedded: dict[str, Any] = answer.json()
    return embedded


async def ask(api: Api, headers: Headers, file_id: str, query: str = QUERY, **fields: str) -> list[Any]:
    body = {"file_id": file_id, "query": query, "k": 4} | fields
    answer = await api.client.post("/query", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()
    return found


async def read(api: Api, headers: Headers, file_id: str, **parameters: str) -> str | None:
    answer = await api.client.get(f"/documents/{file_id}/context", params=parameters, headers=headers)
    assert answer.status_code in {200, 404}, answer.text
    text: str | None = answer.json() if answer.status_code == 200 else None
    return text


async def remove(api: Api, headers: Headers, *file_ids: object, **parameters: str) -> int:
    request = api.client.request("DELETE", "/documents", json=file_ids, params=parameters, headers=headers)
    return (await request).status_code


async def count(database_url: str, table: str = "documents") -> int:
    return int(await fetch_value(database_url, f"SELECT count(*) FROM {table}"))


async def test_life_of_a_file(api: Api, database_url: str) -> None:
    assert await ask(api, ANNA, "f1") == []
    answer = await embed(api, ANNA, "f1", name="rules.txt", storage_metadata='{"bucket": "any"}')
    assert answer.pop("message")
    assert answer == {"status": True, "file_id": "f1", "filename": "rules.txt", "known_type": True}
    [[passage, distance]] = await ask(api, ANNA, "f1")
    assert passage == {
        "page_content": TEXT.decode(),
        "metadata": {"source": "rules.txt", "page": 1, "file_id": "f1", "user_id": "anna"},
    }
    assert 0 <= distance <= 1
    assert await read(api, ANNA, "f1") == TEXT.decode()
    assert await remove(api, ANNA, "unknown", "f1") == 200
    assert await ask(api, ANNA, "f1") == []
    assert await read(api, ANNA, "f1") is None
    assert await remove(api, ANNA, "f1") == 404
    assert await count(database_url) == 0


async def test_best_passages_come_first(api: Api) -> None:
    texts = (b"The lock is closed at 3.2 metres. " * 40, b"Ducks swim on the water of the lake. " * 40)
    await embed(api, ANNA, "f1", b"\n\n".join(texts))
    distances = [distance for _, distance in await ask(api, ANNA, "f1")]
    assert len(distances) > 1
    assert distances == sorted(distances)
    assert await ask(api, ANNA, "f1", "?!") == []
    assert await ask(api, ANNA, "f1", QUERY + " word" * 4000), "a message may be longer than a question"
    assert await ask(api, ANNA, "f1", "?" * 4000 + QUERY) == [], "only its beginning counts"


async def test_users_and_agents_see_only_their_own_files(api: Api) -> None:
    await embed(api, ANNA, "f1")
    await embed(api, ANNA, "f2", entity_id="agent")
    await embed(api, sign("agent"), "f3")
    for headers, fields in ((BERTA, {}), (ANNA, {"entity_id": "other"}), (ANNA, {"entity_id": "anna"})):
        for file_id in ("f1", "f2", "f3"):
            assert await ask(api, headers, file_id, **fields) == []
            assert await read(api, headers, file_id, **fields) is None
            assert await remove(api, headers, file_id, **fields) == 404
    assert await ask(api, ANNA, "f2") == []
    assert await ask(api, sign("agent"), "f2") == [], "the user with the id of an agent is another account"
    [[passage, _]] = await ask(api, BERTA, "f2", entity_id="agent")
    assert passage["metadata"]["user_id"] == "agent", "who may use an agent reads its files"
    assert await read(api, BERTA, "f2", entity_id="agent") == TEXT.decode()
    assert await remove(api, BERTA, "f2", entity_id="agent") == 200
    assert await ask(api, ANNA, "f1")


async def test_file_of_an_agent_is_deleted_by_the_user_who_stored_it(api: Api, database_url: str) -> None:
    await embed(api, ANNA, "f1", entity_id="agent")
    await embed(api, BERTA, "f2", entity_id="agent")
    assert await ask(api, ANNA, "f1") == []
    assert await read(api, ANNA, "f1") is None
    assert await remove(api, ANNA, "f2") == 404
    assert await remove(api, ANNA, "f1") == 200
    assert await read(api, ANNA, "f1", entity_id="agent") is None
    assert await read(api, ANNA, "f2", entity_id="agent") == TEXT.decode()
    assert await remove(api, ANNA, "f1") == 404
    assert await remove(api, ANNA, "f2", entity_id="agent") == 200
    assert await remove(api, BERTA, "f2") == 200, "which nobody needs, because the file is gone"
    assert await count(database_url) == 0


async def test_same_bytes_in_two_files(api: Api, database_url: str) -> None:
    await embed(api, ANNA, "f1", name="one.txt")
    await embed(api, ANNA, "f2", name="two.txt")
    assert await count(database_url) == 1
    assert (await ask(api, ANNA, "f1"))[0][0]["metadata"]["source"] == "one.txt"
    assert (await ask(api, ANNA, "f2"))[0][0]["metadata"]["source"] == "two.txt"
    await remove(api, ANNA, "f1")
    assert await read(api, ANNA, "f2") == TEXT.decode()
    await remove(api, ANNA, "f2")
    assert await count(database_url) == 0


async def test_file_is_replaced(api: Api, database_url: str) -> None:
    await embed(api, ANNA, "f1")
    await embed(api, ANNA, "f1", OTHER_TEXT)
    assert await read(api, ANNA, "f1") == OTHER_TEXT.decode()
    assert await count(database_url) == 1
    await embed(api, ANNA, "f2")
    await embed(api, ANNA, "f2", OTHER_TEXT)
    await embed(api, ANNA, "f1")
    assert await read(api, ANNA, "f2") == OTHER_TEXT.decode(), "which f1 had, too"
    assert await count(database_url) == 2


async def test_first_requests_at_once(api: Api, database_url: str) -> None:
    files = [("f1", TEXT), ("f2", OTHER_TEXT), ("f3", TEXT), ("f4", b"Ducks swim.")]
    answers = await asyncio.gather(*(embed(api, ANNA, file_id, content) for file_id, content in files))
    assert [answer["status"] for answer in answers] == [True] * 4
    assert await count(database_url, "users") == 1
    replacing = [embed(api, BERTA, "f1", content) for _, content in files[1:]]
    answers = await asyncio.gather(*replacing)
    assert any(answer["status"] for answer in answers)
    assert await read(api, BERTA, "f1") in {content.decode() for _, content in files}
    assert await count(database_url) == 4


async def test_document_that_another_file_has_just_got_is_kept(api: Api, database_url: str) -> None:
    await embed(api, ANNA, "f1")
    owner = FileOwner(OwnerKind.USER, "anna").caller
    document_id = await fetch_value(database_url, "SELECT id FROM documents")
    subject = Subject(owner.owner_id, SubjectKind.DOCUMENT, UUID(str(document_id)))
    async with api.runtime.database.transaction(owner) as session:
        await queue.lock_subject(session, subject)
        removing = asyncio.ensure_future(remove(api, ANNA, "f1"))

        async def is_waiting() -> bool:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return bool(await fetch_value(database_url, waiting))

        await wait_for(is_waiting)
        other = UUID(int=2**127 + 5)
        await collections.add(session, owner.owner_id, other, name="f2", description="", metadata={})
        await collections.put_member(session, other, subject, None)
    assert await removing == 200
    assert await read(api, ANNA, "f2") == TEXT.decode()
    assert await read(api, ANNA, "f1") is None


async def test_files_that_cannot_be_read(api: Api, database_url: str) -> None:
    answer = await embed(api, ANNA, "f1", b"\x89PNG\r\n\x1a\n\0\0", "a.png")
    assert (answer["status"], answer["known_type"], answer["file_id"]) == (False, False, "f1")
    assert "format" in answer["message"]
    answer = await embed(api, ANNA, "f1", b"%PDF-1.7 broken", "a.pdf")
    assert (answer["status"], answer["known_type"]) == (False, True)
    assert "damaged" in answer["message"]
    assert await read(api, ANNA, "f1") is None
    assert await count(database_url) == 0, "LibreChat will never ask for it"


async def test_file_that_is_not_read_in_time(api: Api, database_url: str) -> None:
    owner = FileOwner(OwnerKind.USER, "anna")

    async def has_none() -> bool:
        return await count(database_url) == 0

    async with serve(api) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(
                "/embed", data={"file_id": "f1"}, files={"file": ("a.txt", TEXT)}, headers=ANNA, timeout=0.5
            )
    await wait_for(has_none)
    await embed(api, ANNA, "f1")
    document_id = await fetch_value(database_url, "SELECT id FROM documents")
    await fetch(database_url, "UPDATE documents SET status = 'processing'")
    problem = await chat_files.wait(api.runtime, owner, "f1", UUID(str(document_id)), seconds=0)
    assert problem
    assert "0 seconds" in problem
    assert await count(database_url) == 0


async def test_text_is_returned_and_not_stored(api: Api, database_url: str) -> None:
    files = {"file": ("a.txt", TEXT)}
    answer = await api.client.post("/text", data={"file_id": "f1"}, files=files, headers=ANNA)
    assert answer.json() == {"text": TEXT.decode(), "file_id": "f1", "filename": "a.txt", "known_type": True}
    files = {"file": ("a.png", b"\x89PNG\r\n\x1a\n\0\0")}
    answer = await api.client.post("/text", data={"file_id": "f1"}, files=files, headers=ANNA)
    assert answer.status_code == 415
    assert await count(database_url, "users") == 0


async def test_requests_that_are_refused(api: Api) -> None:
    file = {"file": ("a.txt", TEXT)}
    for fields, wrong in (({}, "body"), ({"file_id": ""}, "file_id"), ({"file_id": "f", "x": "y"}, "x")):
        answer = await api.client.post("/embed", data=fields, files=file, headers=ANNA)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, wrong)
    answer = await api.client.post("/embed", data={"file_id": "f", "entity_id": "a" * 256}, files=file, headers=ANNA)
    assert answer.json()["errors"][0]["field"] == "entity_id"
    answer = await api.client.post("/embed", content=b"any", headers=ANNA)
    assert answer.status_code == 415, "a body that is no form is not a file of an unknown type"
    for body in ({"file_id": "f"}, {"file_id": "f", "query": "a\0"}, {"file_id": "f", "query": "a", "user": 1}):
        assert (await api.client.post("/query", json=body, headers=ANNA)).status_code == 422, body
    assert (await api.client.get("/documents/a%00/context", headers=ANNA)).status_code == 422
    for ids in ([], ["f"] * 1001, [""], [7]):
        assert await remove(api, ANNA, *ids) == 422


REFUSED = {
    "another secret": sign("anna", "another secret of more than 32 bytes"),
    "our secret": sign("anna", SECRET),
    "no signature": sign("anna", "", algorithm="none"),
    "another algorithm": sign("anna", algorithm="HS512"),
    "expired": sign("anna", exp=int(time()) - 60),
    "without an end": sign("anna", exp=None),
    "without a user": sign(None),
    "a number for a user": sign(7),
    "an empty user": sign(""),
    "a long user": sign("a" * 256),
    "a NUL": sign("a\0"),
    "the session of a browser": sign("anna", username="anna", email="anna@example.org"),
    "nothing": {},
}
CALLS = [
    ("POST", "/embed"), ("POST", "/query"), ("GET", "/documents/f/context"), ("DELETE", "/documents"), ("POST", "/text")
]  # fmt: skip


async def test_only_tokens_of_librechat_are_accepted(api: Api) -> None:
    person = await api.register()
    key = await api.client.post("/v1/api-keys", json={"name": "any"}, headers=person.headers)
    secret = {"Authorization": f"Bearer {key.json()['secret']}"}
    for name, headers in (REFUSED | {"our token": person.headers, "our key": secret}).items():
        for method, path in CALLS:
            answer = await api.client.request(method, path, headers=headers)
            assert answer.status_code == 401, (name, path)
    assert (await api.client.get("/health")).json() == {"status": "UP"}


async def test_no_other_route_accepts_tokens_of_librechat(api: Api) -> None:
    await embed(api, ANNA, "f1")
    for method, path in (("GET", "/v1/documents"), ("POST", "/v1/search"), ("POST", "/retrieval"), ("POST", "/mcp")):
        answer = await api.client.request(method, path, headers=ANNA, json={})
        assert answer.status_code in {401, 403}, path


async def test_token_that_expires_while_the_body_arrives(api: Api) -> None:
    headers = sign("anna", exp=int(time()) - 29)

    async def send() -> Any:
        yield b'{"file_id": "f", "query": "a"'
        await wait_for(lambda: time() > jwt_end + 30)
        yield b"}"

    jwt_end = int(time()) - 29
    answer = await api.client.post("/query", content=send(), headers=headers | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


async def test_nobody_logs_in_to_an_account_of_librechat(api: Api, database_url: str) -> None:
    await embed(api, ANNA, "f1")
    [[email, password_hash]] = await fetch(database_url, "SELECT email, password_hash FROM users")
    assert password_hash == accounts.UNKNOWN_HASH, "which is checked for unknown addresses, too"
    assert str(email).endswith("@librechat.invalid")
    wrong = {"password": "password of anna"}
    answers = [
        await api.client.post("/v1/auth/login", json=wrong | {"email": address})
        for address in (email, "unknown@example.org")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    [[event, details]] = await fetch(
        database_url, "SELECT event_type, details FROM audit_logs WHERE event_type = 'user.register'"
    )
    assert (event, json.loads(details)["librechat_user"]) == ("user.register", "anna")


async def test_limits_count_for_the_user(api: Api) -> None:
    api.app.state.limiter = type(api.app.state.limiter)(
        api.runtime.settings.model_copy(update={"rate_limit_query": "1/minute"}), api.runtime.redis_breaker
    )
    assert await ask(api, ANNA, "f1") == []
    body = {"file_id": "f1", "query": QUERY, "k": 4, "entity_id": "agent"}
    assert (await api.client.post("/query", json=body, headers=ANNA)).status_code == 429
    assert await ask(api, BERTA, "f1") == []


def test_without_the_setting_the_routes_do_not_exist(application: Application) -> None:
    paths = [{route.path for route in built.app.routes} for built in (application, Application())]
    assert paths[0] - paths[1] == {
        *(path for _, path in CALLS[:2] + CALLS[3:]),
        "/documents/{file_id:str}/context",
        "/health",
    }
