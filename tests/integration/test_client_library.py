"""`sluice_client.Client` and `AsyncClient` with a scripted server instead of the service."""

import asyncio
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

import sluice_client
from sluice_client import AsyncClient, Client
from sluice_client.files import Source
from tests.scripted_server import Answer, refuse, serve

ID = "01a2084b-9065-752d-aaf7-35b94206de34"
DOCUMENT = {
    "id": ID,
    "filename": "a.txt",
    "status": "ready",
    "error": None,
    "created_at": "2026-11-27T00:00:00Z",
    "a_field_of_tomorrow": {"deep": 1},
}
FAILED = {**DOCUMENT, "status": "failed", "error": {"code": "malformed", "message": "The file is damaged."}}
TOKEN: Answer = (200, {}, {"access_token": "new"})
EVENTS = {"Content-Type": "text/event-stream"}
STREAM = (
    b'event: passages\ndata: {"passages":[{"id":"p1","title":"a.txt","page":4,"text":"x","score":0.9}]}\n\n'
    b'event: token\ndata: {"text":"Above "}\n\nevent: token\ndata: {"text":"3.2 [1]"}\n\n'
    b'event: done\ndata: {"answer":"Above 3.2 [1]","citations":[{"number":1,"passage":"p1","start":10,"end":13}],"model":"m"}\n\n'
)


def open_client(url: str, **options: Any) -> Client:
    return Client(url, **{"api_key": "sk-key", "patience_seconds": 0, **options})


@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
def test_uploads(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"some text")
    with serve((202, {}, DOCUMENT)) as script, open_client(script.url) as client, file.open("rb") as opened:
        sources: dict[str, Source] = {"path": file, "bytes": b"some text", "file": opened}
        document = client.documents.upload(
            sources[kind],
            filename="a.txt" if kind == "bytes" else None,
            metadata={"year": 2026},
            external_id="e-1",
            collection_ids=["c-1", "c-2"],
        )
    assert (document.id, document.created_at) == (ID, datetime(2026, 11, 27, tzinfo=UTC))
    assert script.asked == [("POST /v1/documents", "Bearer sk-key")]
    [body] = script.bodies
    assert b'name="file"; filename="a.txt"' in body
    assert b"some text" in body
    for name, value in {"metadata": b'{"year": 2026}', "external_id": b"e-1"}.items():
        assert f'name="{name}"\r\n\r\n'.encode() + value in body
    assert body.count(b'name="collection_id"') == 2


def test_what_cannot_be_sent(tmp_path: Path) -> None:
    with open_client("http://127.0.0.1:1") as client:
        for source in (b"text", tmp_path / "none.txt", io.BytesIO(b"text")):
            with pytest.raises(sluice_client.UnusableInput):
                client.documents.upload(source)
    choices: list[dict[str, Any]] = [{}, {"api_key": "k", "email": "a@b.c"}, {"email": "a@b.c"}, {"password": "p"}]
    for options in choices:
        with pytest.raises(sluice_client.UnusableInput):
            Client(**options)
    with pytest.raises(sluice_client.UnusableInput):
        Client("ftp://host", api_key="k")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuse(401, "token_expired"), sluice_client.NotAuthenticated),
        (refuse(403, "quota_exceeded"), sluice_client.Forbidden),
        (refuse(404, "not_found"), sluice_client.NotFound),
        (refuse(409, "conflict"), sluice_client.Conflict),
        (refuse(422, "invalid_input"), sluice_client.InvalidRequest),
        (refuse(429, "rate_limited", Retry_After="1"), sluice_client.RateLimited),
        (refuse(500, "internal_error"), sluice_client.ServerError),
        (refuse(503, "database_unavailable"), sluice_client.Unavailable),
        (refuse(503, "answer_unavailable"), sluice_client.AnswerUnavailable),
        ((404, {}, b"<html>"), sluice_client.UnexpectedAnswer),
        ((200, {}, b"[]"), sluice_client.UnexpectedAnswer),
    ],
)
def test_refusals_have_one_class_each(answer: Answer, kind: type[sluice_client.SluiceError]) -> None:
    with serve(answer) as script, open_client(script.url) as client:
        with pytest.raises(sluice_client.SluiceError) as refused:
            client.documents.get(ID)
        assert type(refused.value) is kind
        if refused.value.code not in {"unexpected_answer", "unreachable"}:
            assert refused.value.problem.request_id == "r-1"
        assert len(script.asked) == 1


def test_requests_are_repeated_where_that_is_safe() -> None:
    outages = [(502, {}, b"<html>"), refuse(503, "database_unavailable")]
    with (
        serve(*outages, (202, {}, DOCUMENT)) as script,
        open_client(script.url, patience_seconds=20) as client,
        io.BytesIO(b"some text") as file,
    ):
        assert client.documents.upload(file, filename="a.txt").id == ID
        assert all(b"some text" in body for body in script.bodies)
        assert len(script.asked) == 3


@pytest.mark.parametrize("answer", [(502, {}, b"<html>"), refuse(503, "database_unavailable")])
def test_request_that_could_work_twice_is_not_repeated(answer: Answer) -> None:
    with (
        serve(answer) as script,
        open_client(script.url, patience_seconds=20) as client,
        pytest.raises(sluice_client.Unavailable, match="may have been carried out"),
    ):
        client.notes.create("Title", "Body.")
    assert len(script.asked) == 1


def test_request_that_was_not_carried_out_is_repeated() -> None:
    note = {"id": ID, "title": "Title", "body": "Body.", "status": "pending", "created_at": "2026-11-27T00:00:00Z"}
    with (
        serve(refuse(429, "rate_limited", Retry_After="1"), (201, {}, note)) as script,
        open_client(script.url, patience_seconds=20) as client,
    ):
        assert client.notes.create("Title", "Body.").status == "pending"


def test_token_is_renewed_with_the_password() -> None:
    answers = [TOKEN, (200, {}, DOCUMENT), refuse(401, "token_expired"), TOKEN, (200, {}, DOCUMENT)]
    with serve(*answers) as script, open_client(script.url, api_key=None, email="a@b.c", password="p") as client:
        for _ in range(2):
            assert client.documents.get(ID).id == ID
    assert [asked.split()[1] for asked, _ in script.asked].count("/v1/auth/login") == 2
    assert json.loads(script.bodies[0]) == {"email": "a@b.c", "password": "p"}
    # A token that the service has just issued and rejects is not renewed for ever.
    answers = [TOKEN, *[refuse(401, "token_expired"), TOKEN] * 2]
    with (
        serve(*answers) as script,
        open_client(script.url, api_key=None, email="a@b.c", password="p") as client,
        pytest.raises(sluice_client.NotAuthenticated),
    ):
        client.documents.get(ID)


def test_listing_reads_pages_as_they_are_needed() -> None:
    pages: list[Answer] = [
        (200, {}, {"items": [DOCUMENT] * 2, "next_cursor": cursor}) for cursor in ("c 1", "c2", None)
    ]
    with serve(*pages) as script, open_client(script.url) as client:
        documents = client.documents.list(status="ready")
        next(documents)
        assert len(script.asked) == 1
        assert len([*documents]) == 5
    assert [asked for asked, _ in script.asked] == [
        "GET /v1/documents?status=ready&limit=100",
        "GET /v1/documents?status=ready&limit=100&cursor=c+1",
        "GET /v1/documents?status=ready&limit=100&cursor=c2",
    ]
    with serve(*pages) as script, open_client(script.url) as client:
        assert len([*client.documents.list(limit=2)]) == 2
    assert [asked for asked, _ in script.asked] == ["GET /v1/documents?limit=2"]


def test_waiting_ends_with_an_error_for_a_failed_document_and_at_its_time() -> None:
    pending = {**DOCUMENT, "status": "pending"}
    with serve((202, {}, pending), (200, {}, pending), (200, {}, FAILED)) as script, open_client(script.url) as client:
        with pytest.raises(sluice_client.IngestionFailed, match="damaged") as failed:
            client.documents.upload_and_wait(b"x", filename="a.txt")
        assert (failed.value.id, failed.value.code) == (ID, "malformed")
    with serve(decide=lambda *_: (200, {}, pending)) as script, open_client(script.url) as client:
        with pytest.raises(sluice_client.WaitTimeout, match="still pending"):
            client.documents.wait(ID, timeout_seconds=0.2)
        assert len(script.asked) == 2, "requests that the service does not hold have a pause between them"


def test_filters_and_selections_are_sent_as_they_are() -> None:
    found = {"passages": [], "took_ms": 1.5}
    filter_ = {"and": [{"key": "year", "op": "gte", "value": 2026}]}
    with serve((200, {}, found), (200, {}, found)) as script, open_client(script.url) as client:
        assert client.search("water").took_ms == 1.5
        client.search(
            "water", top_k=3, mode="keyword", filter=filter_, collection_ids=["c"], min_score=0.3, details=True
        )
    assert [json.loads(body) for body in script.bodies] == [
        {"query": "water", "top_k": 8},
        {
            "query": "water",
            "top_k": 3,
            "mode": "keyword",
            "filter": filter_,
            "collection_ids": ["c"],
            "min_score": 0.3,
            "details": True,
        },
    ]


def ask_synchronously(url: str) -> tuple[list[str], sluice_client.Answer | None]:
    with open_client(url) as client, client.ask_stream("When?") as stream:
        return [*stream], stream.answer


def ask_asynchronously(url: str) -> tuple[list[str], sluice_client.Answer | None]:
    async def ask() -> tuple[list[str], sluice_client.Answer | None]:
        async with AsyncClient(url, api_key="sk-key") as client, client.ask_stream("When?") as stream:
            return [words async for words in stream], stream.answer

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [ask_synchronously, ask_asynchronously])
def test_streamed_answers(ask: Callable[[str], tuple[list[str], sluice_client.Answer | None]]) -> None:
    with serve((200, EVENTS, STREAM)) as script:
        words, answer = ask(script.url)
    assert words == ["Above ", "3.2 [1]"]
    assert answer
    assert answer.passages[answer.citations[0].number - 1].page == 4
    for body, error in (
        (STREAM[:-60], sluice_client.BrokenOff),
        (
            b'event: error\ndata: {"code":"answer_unavailable","detail":"No.","status":503}\n\n',
            sluice_client.AnswerUnavailable,
        ),
        (b"event: token\ndata: [\n\n", sluice_client.UnexpectedAnswer),
    ):
        with serve((200, EVENTS, body)) as script, pytest.raises(error):
            ask(script.url)


def test_asynchronous_client_uploads_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"some text")

    async def use(url: str) -> int:
        async with AsyncClient(url, api_key="sk-key") as client:
            documents = await asyncio.gather(*(client.documents.upload_and_wait(file) for _ in range(3)))
            assert [document.status for document in documents] == ["ready"] * 3
            return len([document async for document in client.documents.list()])

    def decide(asked: str, _: str | None) -> Answer:
        return (200, {}, {"items": [DOCUMENT], "next_cursor": None}) if "limit" in asked else (200, {}, DOCUMENT)

    with serve(decide=decide) as script:
        assert asyncio.run(use(script.url)) == 1


def test_keys_and_collections() -> None:
    made = {"id": ID, "name": "a name", "created_at": "2026-11-27T00:00:00Z"}
    member = {"document": DOCUMENT, "attributes": {"year": 2026}, "added_at": "2026-11-27T00:00:00Z"}
    answers: list[Answer] = [
        (201, {}, {**made, "secret": "sk-new"}),
        (204, {}, b""),
        (201, {}, made),
        (200, {}, member),
        (204, {}, b""),
    ]
    with serve(*answers) as script, open_client(script.url) as client:
        key = client.keys.create("a name", scopes=["read"], expires_at=datetime(2027, 1, 1, tzinfo=UTC))
        assert key.secret == "sk-new"
        client.keys.revoke(key.id)
        collection = client.collections.create("a name")
        assert client.collections.put_document(collection.id, ID, {"year": 2026}).attributes == {"year": 2026}
        client.collections.delete(collection.id, delete_contents=True)
    assert [asked for asked, _ in script.asked] == [
        *("POST /v1/api-keys", f"DELETE /v1/api-keys/{ID}", "POST /v1/collections"),
        *(f"PUT /v1/collections/{ID}/documents/{ID}", f"DELETE /v1/collections/{ID}?delete_contents=true"),
    ]
    expected = {"name": "a name", "scopes": ["read"], "expires_at": "2027-01-01T00:00:00+00:00"}
    assert json.loads(script.bodies[0]) == expected


def test_documents_are_chosen_counted_and_deleted_together() -> None:
    filter_ = {"key": "year", "op": "eq", "value": 2026}
    ids = [f"{number}" for number in range(1001)]
    answers: list[Answer] = [
        (200, {}, {"items": [DOCUMENT], "next_cursor": None, "total": None}),
        (200, {}, {"items": [DOCUMENT], "next_cursor": "c", "total": 7}),
        (200, {}, DOCUMENT),
        (200, {}, DOCUMENT),
        (200, {}, {"deleted": ids[:1000], "not_found": []}),
        (200, {}, {"deleted": [], "not_found": ids[1000:]}),
    ]
    with serve(*answers) as script, open_client(script.url) as client:
        assert [*client.documents.list(collection_id=ID, name="a", filter=filter_, sort="-size_bytes", limit=1)]
        assert client.documents.count(status="ready") == 7
        client.documents.update(ID, external_id=None)
        client.documents.update(ID, filename="b.txt")
        done = client.documents.delete_many(ids)
    assert (len(done.deleted), done.not_found) == (1000, ["1000"])
    asked = urlsplit(script.asked[0][0])
    parameters = {"collection_id": ID, "name": "a", "filter": json.dumps(filter_), "sort": "-size_bytes", "limit": "1"}
    assert dict(parse_qsl(asked.query)) == parameters
    assert script.asked[1][0] == "GET /v1/documents?status=ready&include=total&limit=1"
    assert [json.loads(body) for body in script.bodies[2:4]] == [{"external_id": None}, {"filename": "b.txt"}]
    assert [json.loads(body)["ids"] for body in script.bodies[4:]] == [ids[:1000], ids[1000:]]


def test_new_password_counts_from_then_on() -> None:
    answers = [TOKEN, (200, {}, {"access_token": "newer"}), refuse(401, "token_expired"), TOKEN, (200, {}, DOCUMENT)]
    with serve(*answers) as script, open_client(script.url, api_key=None, email="a@b.c", password="p") as client:
        client.change_password("another password")
        assert client.documents.get(ID).id == ID
    assert json.loads(script.bodies[1]) == {"current_password": "p", "new_password": "another password"}
    assert script.asked[2] == (f"GET /v1/documents/{ID}", "Bearer newer")
    assert json.loads(script.bodies[3]) == {"email": "a@b.c", "password": "another password"}
    with serve() as script, open_client(script.url) as client:
        for act in (client.delete_account, client.register, lambda: client.change_password("another password")):
            with pytest.raises(sluice_client.UnusableInput, match="not with a key"):
                act()
        assert script.asked == []


def test_webhooks_and_the_audit_log() -> None:
    webhook = {"id": ID, "url": "https://a", "events": ["document.ready"], "created_at": "2026-11-27T00:00:00Z"}
    sent = {"id": ID, "event": "document.ready", "status": "dead", "created_at": "2026-11-27T00:00:00Z", "error": "x"}
    action = {"id": ID, "event_type": "login", "details": {"address": "::1"}, "created_at": "2026-11-27T00:00:00Z"}
    answers: list[Answer] = [
        (201, {}, {**webhook, "secret": "whsec_a"}),
        (200, {}, {"items": [webhook], "next_cursor": None}),
        (200, {}, {"items": [sent], "next_cursor": None}),
        (202, {}, {**sent, "status": "pending"}),
        (204, {}, b""),
        (200, {}, {"items": [action], "next_cursor": None}),
    ]
    with serve(*answers) as script, open_client(script.url) as client:
        assert client.webhooks.create("https://a", ["document.ready"]).secret == "whsec_a"
        assert [found.url for found in client.webhooks.list()] == ["https://a"]
        [dead] = client.webhooks.deliveries(ID, status="dead")
        assert client.webhooks.redeliver(ID, dead.id).status == "pending"
        client.webhooks.delete(ID)
        assert [entry.details for entry in client.audit_log(limit=1)] == [{"address": "::1"}]
    assert script.asked[2][0] == f"GET /v1/webhooks/{ID}/deliveries?status=dead&limit=100"
