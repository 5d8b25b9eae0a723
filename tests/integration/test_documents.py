import asyncio
import hashlib
import io
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import count
from typing import Any
from uuid import UUID

import httpx2
import pytest
from pypdf import PdfReader, PdfWriter

from pipeline import samples
from pipeline.db import contents
from pipeline.runtime import STATEMENTS_AT_ONCE_PER_CALLER
from pipeline.types import Lease, Stage
from tests.databases import fetch, fetch_value, find_violations, rewrite_statements, run_sql
from tests.integration.conftest import Api, Person, claim, serve

pytestmark = pytest.mark.anyio

FIELDS = {
    *("id", "filename", "media_type", "size_bytes", "sha256", "status", "error", "pages", "pages_with_text", "chunks"),
    *(
        "chunks_reused",
        "warnings",
        "attempts",
        "progress",
        "queue_position",
        "metadata",
        "external_id",
        "collection_ids",
    ),
    *("created_at", "updated_at", "ingested_at"),
}
HANDBOOK = (samples.FOLDER / "alder-lock-handbook.pdf").read_bytes()


async def test_lists_of_one_account_leave_connections_to_others(api: Api) -> None:
    anna, berta = await api.register(), await api.register("berta")
    owner = (await api.get(anna, "/v1/users/me")).json()["id"]
    async with AsyncExitStack() as turns:
        for _ in range(STATEMENTS_AT_ONCE_PER_CALLER):
            await turns.enter_async_context(api.runtime.statement_queue.turn(owner))
        waiting = asyncio.create_task(api.get(anna, "/v1/documents"))
        assert (await api.get(berta, "/v1/documents")).status_code == 200
        assert not waiting.done()
    assert (await waiting).status_code == 200


async def test_upload_is_accepted_stored_and_audited(api: Api, database_url: str) -> None:
    person = await api.register()
    response = await api.upload(person, HANDBOOK, "../Handbook\u202e.pdf", "application/pdf")
    document = response.json()
    assert response.status_code == 202
    assert set(document) == FIELDS
    assert response.headers["location"] == f"/v1/documents/{document['id']}"
    assert int(response.headers["retry-after"]) >= 1
    assert document["filename"] == "Handbook.pdf"
    assert document["sha256"] == hashlib.sha256(HANDBOOK).hexdigest()
    assert (document["status"], document["progress"], document["queue_position"]) == ("pending", 0.0, 1)
    assert UUID(document["id"]).version == 7
    audited = await fetch(database_url, "SELECT details FROM audit_logs WHERE event_type = 'document.upload'")
    assert len(audited) == 1
    assert document["id"] in audited[0]["details"]


async def test_worker_makes_it_ready(api: Api, database_url: str) -> None:
    person = await api.register()
    location = (await api.upload(person, HANDBOOK, "h.pdf")).headers["location"]
    assert await api.work() == 1
    response = await api.get(person, location)
    document = response.json()
    assert document["status"] == "ready"
    assert (document["pages"], document["pages_with_text"], document["attempts"]) == (5, 5, 1)
    assert document["chunks"] >= 5
    assert document["ingested_at"]
    assert "retry-after" not in response.headers
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_original_bytes_come_back(api: Api) -> None:
    person = await api.register()
    content = bytes(range(32, 127)) * 30_000
    location = (await api.upload(person, content, 'ein "Name" über.txt')).headers["location"]
    response = await api.get(person, f"{location}/content")
    assert response.content == content
    disposition = response.headers["content-disposition"]
    assert disposition.startswith("attachment; filename=\"ein _Name_ ?ber.txt\"; filename*=UTF-8''ein%20%22Name%22%20")
    assert response.headers["content-length"] == str(len(content))
    assert response.headers["x-content-type-options"] == "nosniff"


DELETED = "DELETE FROM documents"
REPLACED = "UPDATE documents SET sha256 = sha256('another version')"


def change_before_slice(number: int, database_url: str, change: str) -> Callable[[str], str]:
    """Return a hook that runs a statement just before slice `number`, counted from 1, of a document is read."""
    slices = count(1)

    def watch(statement: str) -> str:
        if "FROM document_slices" in statement and next(slices) == number:
            # In a thread of its own, because this one runs the event loop of the API.
            with ThreadPoolExecutor(1) as other:
                other.submit(run_sql, database_url, change).result()
        return statement

    return watch


@pytest.mark.parametrize(("change", "status", "code"), [(DELETED, 404, "not_found"), (REPLACED, 409, "replaced")])
async def test_download_that_loses_its_document_is_an_error(
    api: Api, database_url: str, change: str, status: int, code: str
) -> None:
    person = await api.register()
    location = (await api.upload(person, b"soon gone")).headers["location"]
    with rewrite_statements(change_before_slice(1, database_url, change)):
        response = await api.get(person, f"{location}/content")
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("change", [DELETED, REPLACED])
async def test_download_that_loses_its_document_midway_is_cut_off(api: Api, database_url: str, change: str) -> None:
    person = await api.register()
    content = b"a" * (contents.SLICE_BYTES + 1)
    location = (await api.upload(person, content)).headers["location"]
    received = 0
    async with serve(api) as client:
        with rewrite_statements(change_before_slice(2, database_url, change)):
            async with client.stream("GET", f"{location}/content", headers=person.headers) as response:
                assert response.headers["content-length"] == str(len(content))
                with pytest.raises(httpx2.RemoteProtocolError):  # noqa: PT012 - what was received before counts
                    async for data in response.aiter_raw():
                        received += len(data)
    assert received == contents.SLICE_BYTES


async def test_same_bytes_are_one_document_per_owner(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    first = await api.upload(anna, b"the same", "a.txt")
    again = await api.upload(anna, b"the same", "b.txt")
    other = await api.upload(bert, b"the same", "a.txt")
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 202)
    assert again.headers["deduplicated"] == "true"
    assert "deduplicated" not in first.headers
    assert again.json()["id"] == first.json()["id"] != other.json()["id"]
    uploads = await fetch_value(database_url, "SELECT count(*) FROM audit_logs WHERE event_type = 'document.upload'")
    assert uploads == 2


async def test_same_file_twenty_times_at_once_is_one_document(api: Api, database_url: str) -> None:
    person = await api.register()
    responses = await asyncio.gather(*(api.upload(person, HANDBOOK, "h.pdf") for _ in range(20)))
    assert len({response.json()["id"] for response in responses}) == 1
    assert sorted(response.status_code for response in responses) == [200] * 19 + [202]
    assert await api.work() == 1
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_refused_uploads_leave_nothing(api: Api, database_url: str) -> None:
    person = await api.register()
    small = api.runtime.settings.max_upload_bytes
    cases = [
        (b"", "empty.txt", 422),
        (b"text", "..", 422),
        (b"<!doctype html><p>no PDF", "page.pdf", 415),
        (b"\x89PNG\r\n", "picture.png", 415),
        (b"x" * (small + 1), "large.txt", 413),
    ]
    for content, name, status in cases:
        response = await api.upload(person, content, name)
        assert response.status_code == status, (name, response.text)
    assert await fetch_value(database_url, "SELECT count(*) FROM documents") == 0
    assert await fetch_value(database_url, "SELECT count(*) FROM audit_logs WHERE event_type LIKE 'document%'") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"rubbish",
        b"--x\r\n\r\n--x--",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file name\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="other"; filename="a.txt"\r\n\r\ntext\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\ntext\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nwithout an end',
        b'--x\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n"' + b"x" * 65_000 + b'"\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.txt"\r\n\r\nb\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\na\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.txt"\r\n\r\nb\r\n--x--',
        b"--x\r\n" + b"X-Header: y\r\n" * 20 + b"\r\ntext\r\n--x--",
    ],
)
async def test_broken_multipart_is_refused(api: Api, body: bytes) -> None:
    person = await api.register()
    headers = {**person.headers, "Content-Type": "multipart/form-data; boundary=x"}
    response = await api.client.post("/v1/documents", headers=headers, content=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"]


@pytest.mark.parametrize("is_first", [True, False])
async def test_fields_stand_before_or_after_the_file(api: Api, *, is_first: bool) -> None:
    person = await api.register()
    fields = [
        b'--x\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{"team": "\xc3\x84"}\r\n',
        b'--x\r\nContent-Disposition: form-data; name="external_id"\r\n\r\na-1\r\n',
    ]
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="M\xe4rz.txt"\r\n\r\nThe gate is open.\r\n'
    body = b"".join([file, *fields] if is_first else [*fields, file]) + b"--x--"
    headers = {**person.headers, "Content-Type": "multipart/form-data; boundary=x"}
    document = (await api.client.post("/v1/documents", headers=headers, content=body)).json()
    assert (document["filename"], document["size_bytes"]) == ("März.txt", 17)
    assert (document["metadata"], document["external_id"]) == ({"team": "Ä"}, "a-1")


async def test_lists_page_by_page_newest_first(api: Api) -> None:
    person, stranger = await api.register("anna"), await api.register("bert")
    await api.upload(stranger, b"not anna's")
    ids = [(await api.upload(person, f"text {number}".encode())).json()["id"] for number in range(5)]
    seen: list[str] = []
    path = "/v1/documents?limit=2"
    for _ in range(3):
        page = (await api.get(person, path)).json()
        seen += [document["id"] for document in page["items"]]
        path = f"/v1/documents?limit=2&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == ids[::-1]
    await api.work()
    assert len((await api.get(person, "/v1/documents?status=ready")).json()["items"]) == 5
    assert (await api.get(person, "/v1/documents?status=failed")).json() == {
        "items": [],
        "next_cursor": None,
        "total": None,
    }


async def list_names(api: Api, person: Person, **query: Any) -> list[str]:
    """Return the names of all documents of a list that is read in pages of two."""
    names: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = await api.client.get(
            "/v1/documents", headers=person.headers, params={"limit": 2, "include": "total", **query, **cursor}
        )
        assert response.status_code == 200, response.text
        page = response.json()
        names += [document["filename"] for document in page["items"]]
        if page["next_cursor"] is None:
            assert page["total"] == len(names)
            return names
        cursor = {"cursor": page["next_cursor"]}


async def test_list_is_chosen_and_sorted(api: Api) -> None:
    person = await api.register()
    files = {"b.txt": b"22", "A_1%.txt": b"1", "c.txt": b"333", "a2.txt": b"44", "ä.txt": b"55555"}
    ids = [(await api.upload(person, content, name)).json()["id"] for name, content in files.items()]
    created = await api.client.post("/v1/collections", headers=person.headers, json={"name": "some"})
    collection_id = created.json()["id"]
    for number, document_id in enumerate(ids[:3]):
        path = f"/v1/collections/{collection_id}/documents/{document_id}"
        await api.client.put(path, headers=person.headers, json={"attributes": {"year": 2024 + number}})
    by_name = ["a2.txt", "A_1%.txt", "b.txt", "c.txt", "ä.txt"]
    by_size = ["A_1%.txt", "b.txt", "a2.txt", "c.txt", "ä.txt"]
    for sort, expected in (("created_at", list(files)), ("filename", by_name), ("size_bytes", by_size)):
        assert await list_names(api, person, sort=sort) == expected
        assert await list_names(api, person, sort=f"-{sort}") == expected[::-1]
    assert await list_names(api, person, name="A", sort="filename") == ["a2.txt", "A_1%.txt"]
    assert await list_names(api, person, name="_1%") == ["A_1%.txt"]
    assert await list_names(api, person, collection_id=collection_id) == ["c.txt", "A_1%.txt", "b.txt"]
    recent = json.dumps({"key": "year", "op": "gte", "value": 2025})
    assert await list_names(api, person, filter=recent) == ["c.txt", "A_1%.txt"]
    assert await list_names(api, person, filter=recent, status="ready") == []
    page = (await api.get(person, "/v1/documents?sort=filename&limit=1")).json()
    assert page["total"] is None
    huge = urlsafe_b64encode(json.dumps(["size_bytes", 2**63, ids[0]]).encode()).decode().rstrip("=")
    for query in (
        f"sort=size_bytes&cursor={page['next_cursor']}",
        f"sort=-filename&cursor={page['next_cursor']}",
        f"cursor={page['next_cursor']}",
        "sort=filename&cursor=AAAAAAAAAAAAAAAAAAAAAA",
        f"sort=size_bytes&cursor={huge}",
        "sort=name",
        "filter=nonsense",
        "filter=" + json.dumps({"key": "page", "op": "eq", "value": 1}),
        "name=",
    ):
        assert (await api.get(person, f"/v1/documents?{query}")).status_code == 422, query
    assert (await api.get(person, f"/v1/documents?collection_id={ids[0]}")).status_code == 404


async def test_documents_are_deleted_together(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    own = [(await api.upload(anna, content)).json()["id"] for content in (b"one", b"two", b"three")]
    other = (await api.upload(bert, b"one")).json()["id"]
    unknown = "01a2084b-9065-752d-aaf7-35b94206de34"
    ids = [*own[:2], own[0], other, unknown]
    response = await api.client.post("/v1/documents/delete", headers=anna.headers, json={"ids": ids})
    assert response.json() == {"deleted": sorted(own[:2]), "not_found": sorted([other, unknown])}
    rows = await fetch(database_url, "SELECT id FROM documents ORDER BY id")
    assert [str(row["id"]) for row in rows] == sorted([own[2], other])
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 2
    deletions = "SELECT count(*) FROM audit_logs WHERE event_type = 'document.delete'"
    assert await fetch_value(database_url, deletions) == 2


async def test_etag_shows_whether_a_document_changed(api: Api) -> None:
    person = await api.register()
    location = (await api.upload(person, b"some text")).headers["location"]
    etag = (await api.get(person, location)).headers["etag"]
    same = await api.get(person, location, **{"If-None-Match": f'"other", W/{etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    await api.work()
    changed = await api.get(person, location, **{"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.waits(poll=60.0)
async def test_wait_returns_when_the_status_changes(api: Api) -> None:
    person = await api.register()
    location = (await api.upload(person, b"some text")).headers["location"]
    waiting = asyncio.create_task(api.get(person, location, Prefer="wait=20"))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    started = time.perf_counter()
    await claim(api.runtime)
    response = await waiting
    assert time.perf_counter() - started < 5
    assert response.json()["status"] == "processing"
    assert response.headers["preference-applied"] == "wait=20"


async def test_wait_polls_if_notifications_are_lost(api: Api) -> None:
    await api.runtime.changes.close()
    person = await api.register()
    location = (await api.upload(person, b"some text")).headers["location"]
    waiting = asyncio.create_task(api.get(person, location, Prefer="wait=20"))
    await asyncio.sleep(0.2)
    started = time.perf_counter()
    await claim(api.runtime)
    assert (await waiting).json()["status"] == "processing"
    assert time.perf_counter() - started < 5


async def test_wait_times_out_and_returns_at_once_for_terminal_documents(api: Api) -> None:
    person = await api.register()
    location = (await api.upload(person, b"some text")).headers["location"]
    started = time.perf_counter()
    assert (await api.get(person, location, Prefer="wait=1")).json()["status"] == "pending"
    assert 0.9 < time.perf_counter() - started < 5
    await api.work()
    started = time.perf_counter()
    assert (await api.get(person, location, Prefer="wait=20")).json()["status"] == "ready"
    assert time.perf_counter() - started < 5


async def test_extracted_text_is_read_in_slices(api: Api) -> None:
    person = await api.register()
    text = "Grüße! " * 1000
    location = (await api.upload(person, text.encode())).headers["location"]
    assert (await api.get(person, f"{location}/text")).json() == {"text": "", "start": 0, "end": 0, "length": 0}
    await api.work()
    part = (await api.get(person, f"{location}/text?start=7&end=20")).json()
    assert part == {"text": text[7:20], "start": 7, "end": 20, "length": 7000}
    beyond = (await api.get(person, f"{location}/text?start=6990&end=90000")).json()
    assert (beyond["text"], beyond["end"]) == (text[6990:], 7000)
    assert (await api.get(person, f"{location}/text?start=-1")).status_code == 422


async def test_long_text_is_read_in_parts(api: Api, database_url: str) -> None:
    """A book may have 20 million characters. They are on a few pages, here with letters of 1 to 4 bytes."""
    person = await api.register()
    location = (await api.upload(person, b"replaced by the pages below")).headers["location"]
    pages = ["aé€😀" * 200_000, "z" * 900_000, "end"]
    document_id, start = UUID(location.rsplit("/", 1)[1]), 0
    for number, page in enumerate(pages, start=1):
        insert = """
        INSERT INTO document_pages (owner_id, document_id, page, start, length, text)
        SELECT owner_id, id, $2, $3, $4, $5 FROM documents WHERE id = $1"""
        await fetch(database_url, insert, document_id, number, start, len(page), page)
        start += len(page)
    text, parts = "", []
    while len(text) < start:
        part = (await api.get(person, f"{location}/text?start={len(text)}")).json()
        assert (part["start"], part["end"], part["length"]) == (len(text), len(text) + len(part["text"]), start)
        text += part["text"]
        parts.append(len(part["text"]))
    assert text == "".join(pages)
    assert parts == [1_000_000, 700_003]
    asked = (await api.get(person, f"{location}/text?start=799990&end=9999999")).json()
    assert (len(asked["text"]), asked["end"], asked["text"][:12]) == (900_013, start, "€😀aé€😀aé€😀zz")


def broken_files() -> dict[str, tuple[str, bytes, str]]:
    """Return name, content and failure code of files that cannot be read."""
    encrypted = PdfWriter(PdfReader(io.BytesIO(HANDBOOK)))
    encrypted.encrypt("secret", algorithm="AES-256")
    encrypted_bytes = io.BytesIO()
    encrypted.write(encrypted_bytes)
    blank = PdfWriter()
    blank.add_blank_page(100, 100)
    blank_bytes = io.BytesIO()
    blank.write(blank_bytes)
    return {
        "truncated": ("truncated.pdf", HANDBOOK[:800], "malformed"),
        "rubbish": ("rubbish.pdf", b"%PDF-1.7\n" + b"rubbish" * 100, "malformed"),
        "encrypted": ("encrypted.pdf", encrypted_bytes.getvalue(), "encrypted"),
        "without text": ("scan.pdf", blank_bytes.getvalue(), "no_text"),
        "white": ("white.txt", b" \n\t \f\n", "no_text"),
    }


@pytest.mark.parametrize("kind", broken_files())
async def test_unreadable_file_fails_with_the_reason(api: Api, database_url: str, kind: str) -> None:
    name, content, code = broken_files()[kind]
    person = await api.register()
    response = await api.upload(person, content, name)
    assert response.status_code == 202
    await api.work()
    document = (await api.get(person, response.headers["location"])).json()
    assert (document["status"], document["error"]["code"]) == ("failed", code)
    assert document["error"]["message"].endswith(".")
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_format_that_is_no_longer_read_fails_without_retries(api: Api, database_url: str) -> None:
    person = await api.register()
    location = (await api.upload(person, b"some text")).headers["location"]
    await fetch(database_url, "UPDATE documents SET media_type = 'application/x-removed'")
    assert await api.work() == 1
    document = (await api.get(person, location)).json()
    assert (document["status"], document["attempts"]) == ("failed", 1)
    assert document["error"]["code"] == "unsupported_media_type"
    assert "application/x-removed" in document["error"]["message"]
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_retry_is_for_failed_documents(api: Api, database_url: str) -> None:
    person = await api.register()
    location = (await api.upload(person, b"%PDF-1.7\nrubbish", "rubbish.pdf")).headers["location"]
    pending = await api.client.post(f"{location}/retry", headers=person.headers)
    assert (pending.status_code, pending.json()["code"]) == (409, "not_failed")
    assert pending.headers["x-should-retry"] == "false"
    await api.work()
    again = await api.client.post(f"{location}/retry", headers=person.headers)
    assert again.status_code == 202
    assert (again.json()["status"], again.json()["error"]) == ("pending", None)
    assert await api.work() == 1
    assert (await api.get(person, location)).json()["status"] == "failed"
    retries = await fetch_value(database_url, "SELECT count(*) FROM audit_logs WHERE event_type = 'document.retry'")
    assert retries == 1


async def test_delete_takes_everything_at_every_status(api: Api, database_url: str) -> None:
    person = await api.register()
    for make_ready in (False, True):
        location = (await api.upload(person, HANDBOOK, "h.pdf")).headers["location"]
        if make_ready:
            await api.work()
        assert (await api.client.delete(location, headers=person.headers)).status_code == 204
        assert (await api.get(person, location)).status_code == 404
        for table in ("documents", "document_slices", "document_pages", "chunks", "vectors", "jobs"):
            assert await fetch_value(database_url, f"SELECT count(*) FROM {table}") == 0, table
        assert (await api.client.delete(location, headers=person.headers)).status_code == 404
    assert await api.work() == 0


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in (Stage.FINISHING, Stage.STORED)])
async def test_delete_wins_at_every_stage_of_the_ingestion(api: Api, database_url: str, stage: Stage) -> None:
    person = await api.register()
    location = (await api.upload(person, HANDBOOK, "h.pdf")).headers["location"]
    deleted: list[httpx2.Response] = []

    async def delete(_lease: Lease, reached: Stage, _progress: float) -> None:
        if reached == stage and not deleted:
            deleted.append(await api.client.delete(location, headers=person.headers))

    await api.work(delete)
    assert [response.status_code for response in deleted] == [204]
    for table in ("documents", "document_slices", "document_pages", "chunks", "vectors", "jobs"):
        assert await fetch_value(database_url, f"SELECT count(*) FROM {table}") == 0, table


async def test_documents_of_others_look_missing(api: Api) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    location = (await api.upload(anna, b"a secret of Anna")).headers["location"]
    await api.work()
    unknown = "/v1/documents/01a2084b-9065-752d-aaf7-35b94206de34"
    for method, suffix in [
        ("GET", ""),
        ("GET", "/content"),
        ("GET", "/text"),
        ("PUT", "/content"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ]:
        answers = []
        for path in (location, unknown):
            response = await api.client.request(method, path + suffix, headers=bert.headers)
            body = response.json()
            body.pop("request_id")
            answers.append((response.status_code, body))
        assert answers[0] == answers[1], (method, suffix)
        assert answers[0][0] == 404
    assert await found(api, bert, "secret of Anna") == []
    assert await found(api, bert, "secret of Anna", [location.rsplit("/", 1)[1]]) == []
    assert len(await found(api, anna, "secret of Anna")) == 1


async def found(api: Api, person: Person, query: str, document_ids: list[str] | None = None) -> list[str]:
    body = {"query": query, **({"document_ids": document_ids} if document_ids is not None else {})}
    response = await api.client.post("/v1/search", headers=person.headers, json=body)
    assert response.status_code == 200, response.text
    return [passage["text"] for passage in response.json()["passages"]]


async def test_character_set_is_declared_or_guessed(api: Api) -> None:
    person = await api.register()
    data = "Zażółć gęślą jaźń.".encode("iso-8859-2")
    guessed = await api.upload(person, data, "a.txt")
    await api.work()
    document = (await api.get(person, guessed.headers["location"])).json()
    assert [(warning["code"], warning["pages"]) for warning in document["warnings"]] == [("charset_guessed", None)]
    assert (await api.upload(person, data, "a.txt")).status_code == 200
    declared = await api.upload(person, data, "a.txt", "text/plain; charset=windows-1251")
    assert (declared.status_code, declared.json()["id"]) == (202, document["id"])
    await api.work()
    assert (await api.get(person, guessed.headers["location"])).json()["warnings"] == []
    text = (await api.get(person, f"{guessed.headers['location']}/text")).json()["text"]
    assert text == data.decode("windows-1251")


async def test_same_bytes_under_another_type_are_read_again(api: Api) -> None:
    person = await api.register()
    data = b"# Locks\n\nThe gate is open.\n"
    first = await api.upload(person, data, "a.txt")
    await api.work()
    second = await api.upload(person, data, "a.md")
    assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
    assert (second.json()["media_type"], second.json()["filename"]) == ("text/markdown", "a.md")
    assert await api.work() == 1
    assert (await api.upload(person, data, "b.md")).status_code == 200
