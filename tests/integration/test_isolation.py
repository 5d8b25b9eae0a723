"""Users cannot reach the data of others: not over the API, not by queries without a filter, not as the service role."""

import hashlib
import io
import re
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from litestar.routes import HTTPRoute
from sqlalchemy import create_engine, delete, insert, select, text, update
from sqlalchemy.exc import ProgrammingError

from pipeline.db import api_keys, audit, models
from pipeline.db.direct import DirectConnection, make_compiler
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import act_for_email
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.embedding.prompts import Purpose
from pipeline.errors import Conflict, Forbidden, InvalidInput, NotFound
from pipeline.settings import Settings
from pipeline.types import Caller, KeyDraft, ReceivedFile, Scope, SearchMode, UploadDetails, new_id
from pipeline.use_cases import collections, documents, notes
from tests.databases import connecting, fetch
from tests.integration.conftest import Api, Person

pytestmark = pytest.mark.anyio

OWNED = (
    models.Document,
    models.DocumentSlice,
    models.DocumentPage,
    models.Chunk,
    models.Vector,
    models.Note,
    models.BrowserSession,
    models.Collection,
    models.CollectionDocument,
    models.CollectionNote,
    models.FileBatch,
    models.ApiKey,
    models.ApiKeyCollection,
    models.Webhook,
    models.WebhookDelivery,
    models.AuditLog,
    models.User,
)


async def store(api: Api, person: Person) -> dict[str, str]:
    """Store a document and a note, both searchable; returns their ids."""
    await create_webhook(api, person)
    name = person.email.partition("@")[0]
    document = (await api.upload(person, f"The secret of {name}.".encode())).json()
    note = await api.client.post(
        "/v1/notes", headers=person.headers, json={"title": f"{name}'s note", "body": f"A note of {name}."}
    )
    await api.work()
    login = {"email": person.email, "password": person.password, "remember": True}
    assert (await api.client.post("/v1/auth/login", json=login)).status_code == 200
    ids = {"document_id": document["id"], "note_id": note.json()["id"]}
    ids["collection_id"] = await collect(api, person, **ids)
    return ids | {"key_id": str(await bind_key(api, person, ids["collection_id"]))}


async def bind_key(api: Api, person: Person, collection_id: str) -> UUID:
    """Store an API key that is bound to a collection; returns its id."""
    owner_id, key_id = await find_id(api, person), new_id()
    async with api.runtime.database.transaction(Caller(owner_id)) as session:
        draft = KeyDraft("mine", list(Scope), [UUID(collection_id)])
        await api_keys.add(session, owner_id, key_id, f"sk-{key_id}", draft)
    return key_id


async def collect(api: Api, person: Person, *, document_id: str, note_id: str, name: str = "mine") -> str:
    """Put a document and a note into a new collection; returns its id."""
    created = await api.client.post("/v1/collections", headers=person.headers, json={"name": name})
    location = f"/v1/collections/{created.json()['id']}"
    for path in (f"documents/{document_id}", f"notes/{note_id}"):
        put = await api.client.put(f"{location}/{path}", headers=person.headers, json={})
        assert put.status_code == 200, put.text
    collection_id: str = created.json()["id"]
    path = f"/v1/vector_stores/{collection_id}/file_batches"
    batch = await api.client.post(path, headers=person.headers, json={"file_ids": [document_id]})
    assert batch.status_code == 200, batch.text
    return collection_id


async def create_webhook(api: Api, person: Person) -> None:
    """Create a receiver at an address at which nothing is asked."""
    body = {"url": "https://93.184.215.14/", "events": ["document.ready"]}
    response = await api.client.post("/v1/webhooks", headers=person.headers, json=body)
    assert response.status_code == 201, response.text


async def find_delivery(api: Api, person: Person) -> dict[str, str]:
    """Return the ids of a delivery and of its webhook."""
    [webhook] = (await api.get(person, "/v1/webhooks")).json()["items"]
    [delivery] = (await api.get(person, f"/v1/webhooks/{webhook['id']}/deliveries")).json()["items"]
    return {"webhook_id": webhook["id"], "delivery_id": delivery["id"]}


async def find_id(api: Api, person: Person) -> UUID:
    return UUID((await api.get(person, "/v1/users/me")).json()["id"])


async def fill(api: Api, name: str) -> tuple[Person, dict[str, str]]:
    """Return a new person with a document and a note, and the ids of both."""
    person = await api.register(name)
    return person, await store(api, person)


BODIES: dict[tuple[str, str], dict[str, str]] = {
    ("patch", "/v1/documents/{document_id}"): {"filename": "mine.txt"},
    ("patch", "/v1/notes/{note_id}"): {"title": "mine now"},
    ("patch", "/v1/collections/{collection_id}"): {"name": "mine now"},
    ("put", "/v1/collections/{collection_id}/documents/{document_id}"): {},
    ("put", "/v1/collections/{collection_id}/notes/{note_id}"): {},
}


async def test_every_route_with_an_id_is_404_for_strangers(api: Api) -> None:
    anna, ids = await fill(api, "anna")
    ids |= await find_delivery(api, anna)
    stranger = await api.register("bert")
    document = (await api.client.get("/schema/openapi.json")).json()
    tried = 0
    for path, operations in document["paths"].items():
        if "{" not in path:
            continue
        for method in operations.keys() - {"parameters"}:
            answers = []
            for values in (ids, dict.fromkeys(ids, "01a2084b-9065-752d-aaf7-35b94206de34")):
                body = {"json": BODIES[method, path]} if (method, path) in BODIES else {}
                response = await api.client.request(
                    method,
                    path.format(page=1, **values),
                    headers=stranger.headers,
                    **body,  # type: ignore[arg-type]  # the parameters of all cases
                )
                problem = response.json()
                problem.pop("request_id")
                answers.append((response.status_code, problem))
            assert answers[0] == answers[1], (method, path)
            assert answers[0][0] == 404, (method, path)
            tried += 1
    assert tried >= 20


async def test_every_file_and_store_of_openai_is_404_for_strangers(api: Api, database_url: str) -> None:
    """The OpenAPI document does not have these routes."""
    _, mine = await fill(api, "anna")
    ids = {"file_id": mine["document_id"], "store_id": mine["collection_id"]}
    [batch] = await fetch(database_url, "SELECT id FROM file_batches")
    ids["batch_id"] = str(batch["id"])
    bodies: dict[str, dict[str, object]] = {
        "/v1/vector_stores/{store_id}/search": {"query": "secret"},
        "/v1/vector_stores/{store_id}/file_batches": {"file_ids": [mine["document_id"]]},
        "/v1/vector_stores/{store_id}": {"name": "mine now"},
        "/v1/vector_stores/{store_id}/files": {"file_id": mine["document_id"]},
        "/v1/vector_stores/{store_id}/files/{file_id}": {"attributes": {}},
    }
    stranger = await api.register("bert")
    tried = 0
    for route in api.app.routes:
        if not isinstance(route, HTTPRoute) or not re.match(r"/v1/(files|vector_stores)/\{", route.path_format):
            continue
        for method in sorted(route.methods - {"OPTIONS", "HEAD"}):
            answers = []
            for values in (ids, dict.fromkeys(ids, "01a2084b-9065-752d-aaf7-35b94206de34")):
                body = bodies.get(route.path_format) if method == "POST" else None
                path = route.path_format.format(**values)
                answer = await api.client.request(method, path, headers=stranger.headers, json=body)
                problem = answer.json()
                problem.pop("request_id")
                answers.append((answer.status_code, problem))
            assert answers[0] == answers[1], (method, route.path_format)
            assert answers[0][0] == 404, (method, route.path_format)
            assert answers[0][1]["error"]["code"] == "not_found"
            tried += 1
    assert tried == 17


async def test_queries_without_an_owner_filter_see_only_own_rows(api: Api) -> None:
    anna, _ = await fill(api, "anna")
    await fill(api, "bert")
    anna_id = (await api.get(anna, "/v1/users/me")).json()["id"]
    for model in OWNED:
        async with api.runtime.database.transaction(Caller(anna_id)) as session:
            rows = (await session.scalars(select(model))).all()
        assert rows, model
        owners = {
            str(getattr(row, "owner_id", getattr(row, "actor_user_id", getattr(row, "id", None)))) for row in rows
        }
        assert owners == {anna_id}, model
    for model in OWNED:
        async with api.runtime.database.transaction() as session:
            assert (await session.scalars(select(model))).all() == [], "without an acting user there are no rows"


async def test_rows_of_others_cannot_be_written(api: Api) -> None:
    anna, ids = await fill(api, "anna")
    bert, _ = await fill(api, "bert")
    bert_id = (await api.get(bert, "/v1/users/me")).json()["id"]
    async with api.runtime.database.transaction(Caller(bert_id)) as session:
        await session.execute(update(models.Note).values(title="stolen"))
    assert (await api.get(anna, f"/v1/notes/{ids['note_id']}")).json()["title"] == "anna's note"


async def test_search_without_its_filter_leaks_nothing(api: Api, settings: Settings) -> None:
    """Without the owner filter in the statement, row-level security still hides the rows."""
    await fill(api, "anna")
    bert, _ = await fill(api, "bert")
    bert_id = await find_id(api, bert)
    [vector] = await api.runtime.encoder.encode(["secret of anna"], Purpose.QUERY)
    query = PassageQuery(bert_id, SearchMode.HYBRID, "secret of anna", vector, PACKAGED_MODEL, 50)
    async with connecting(settings) as driver:
        unfiltered = Unfiltered(driver)
        passages = await find_passages(
            DirectConnection(unfiltered, make_compiler(create_engine(settings.sqlalchemy_url).dialect)), query
        )
    assert min(unfiltered.removed.values()) > 1
    assert sorted(passage.text for passage in passages) == ["A note of bert.", "The secret of bert."]


class Unfiltered:
    """A connection that removes the owner filter of searches."""

    def __init__(self, driver: asyncpg.Connection) -> None:
        self._driver = driver
        self.removed = {"chunks": 0, "vectors": 0}

    async def fetch(self, statement: str, *arguments: object, **options: Any) -> list[Any]:
        for table in ("chunks", "vectors"):
            removed = f"{table}.owner_id = acting.user_id"
            self.removed[table] += statement.count(removed)
            statement = statement.replace(removed, "acting.user_id IS NOT NULL")
        rows: list[Any] = await self._driver.fetch(statement, *arguments, **options)
        return rows


async def test_search_functions_check_the_acting_user(api: Api) -> None:
    """Row-level security does not apply inside these functions."""
    await fill(api, "anna")
    bert, ids = await fill(api, "bert")
    bert_id = (await api.get(bert, "/v1/users/me")).json()["id"]
    words = "'secret | note'"
    worded = text(f"SELECT id FROM sluice_match_words({words}, {words}, 100)")
    titled = text("SELECT source_id FROM sluice_find_titles('Which note?')")
    async with api.runtime.database.transaction(Caller(bert_id)) as session:
        seen = set((await session.scalars(worded)).all())
        assert seen == set((await session.scalars(select(models.Chunk.id))).all())
        assert len(seen) == 2
        assert {str(found) for found in await session.scalars(titled)} == {ids["document_id"], ids["note_id"]}
    async with api.runtime.database.transaction() as session:
        for found in (worded, titled):
            assert (await session.scalars(found)).all() == [], "without an acting user there are no rows"


async def test_connection_forgets_the_acting_user_after_a_search(api: Api) -> None:
    anna = (await api.get(await api.register(), "/v1/users/me")).json()["id"]
    async with api.runtime.database.statement() as connection:
        await find_passages(
            connection, PassageQuery(anna, SearchMode.HYBRID, "x", np.eye(1, 384)[0], PACKAGED_MODEL, 10)
        )
        [row] = await connection.execute(text("SELECT current_setting('sluice.user_id') AS acting"))
    assert row.acting == ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET details = '{}'",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "DROP TABLE audit_logs",
        "UPDATE users SET email = 'x'",
        "UPDATE users SET id = gen_random_uuid()",
        "UPDATE users SET created_at = now()",
        "TRUNCATE users",
        "ALTER TABLE documents DISABLE ROW LEVEL SECURITY",
        "CREATE TABLE mine (id int)",
        "INSERT INTO embedding_models VALUES ('mine', 'next')",
        "DELETE FROM embedding_models",
        "SELECT FROM invitations",
        "DELETE FROM invitations",
        "SELECT secret_sha256 FROM api_keys",
        "UPDATE api_keys SET scopes = '{read,write}'",
        "UPDATE api_keys SET is_bound = false",
        "UPDATE api_key_collections SET collection_id = gen_random_uuid()",
        "DELETE FROM api_key_collections",
        "INSERT INTO invitations VALUES (gen_random_uuid(), 'x', now(), now())",
        "INSERT INTO audit_logs VALUES (gen_random_uuid(), gen_random_uuid(), 'user.login', '{}')",
        "INSERT INTO audit_logs VALUES (gen_random_uuid(), NULL, 'user.delete', '{}')",
    ],
)
async def test_service_role_may_not(database_url: str, statement: str) -> None:
    service_url = database_url.replace("//postgres:", f"//{SERVICE_ROLE}:")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await fetch(service_url, statement)


SEES_ALL = {
    "alembic_version",
    "embedding_models",
    "jobs",
    "known_networks",
    "login_failures",
    "login_slowdowns",
    "worker_secrets",
}
"""Tables whose rows of all users the service sees. They hold no content of users."""


async def test_row_level_security_hides_all_other_tables(database_url: str) -> None:
    visible = await fetch(
        database_url,
        """SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
           AND NOT relrowsecurity AND has_any_column_privilege($1, oid, 'SELECT, INSERT, UPDATE')""",
        SERVICE_ROLE,
    )
    assert {row["relname"] for row in visible} == SEES_ALL


async def test_accounts_of_others_can_neither_be_changed_nor_deleted(api: Api, database_url: str) -> None:
    await api.register("anna")
    bert_id = await find_id(api, await api.register("bert"))
    for caller in (None, Caller(bert_id)):
        async with api.runtime.database.transaction(caller) as session:
            for email in ("anna@example.org", None):
                # A login also sees the account with the address that was typed.
                if email:
                    await act_for_email(session, email)
                await session.execute(update(models.User).values(password_hash="stolen", token_generation=7))
                await session.execute(delete(models.User).where(models.User.id != bert_id))
    rows = await fetch(database_url, "SELECT email, password_hash, token_generation FROM users ORDER BY email")
    assert [(row["email"], row["password_hash"] == "stolen", row["token_generation"]) for row in rows] == [
        ("anna@example.org", False, 0),
        ("bert@example.org", True, 7),
    ]


async def test_audit_rows_of_an_existing_account_keep_their_details(api: Api) -> None:
    anna_id = await find_id(api, await api.register_over_http("anna"))
    with pytest.raises(ProgrammingError, match="the account exists"):
        async with api.runtime.database.transaction(Caller(anna_id)) as session:
            await audit.anonymise(session, anna_id)


async def test_service_role_is_not_a_superuser_and_owns_nothing(database_url: str) -> None:
    (role,) = await fetch(
        database_url, "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = $1", SERVICE_ROLE
    )
    assert set(role.values()) == {False}
    owned = await fetch(database_url, "SELECT tablename FROM pg_tables WHERE tableowner = $1", SERVICE_ROLE)
    assert owned == []


async def test_superuser_in_database_url_acts_as_the_service_role(api: Api) -> None:
    from sqlalchemy import func

    async with api.runtime.database.transaction() as session:
        assert await session.scalar(select(func.current_user())) == SERVICE_ROLE


async def test_users_read_their_own_audit_log(api: Api) -> None:
    anna = await api.register_over_http("anna")
    ids = await store(api, anna)
    await fill(api, "bert")
    await api.client.post("/v1/search", headers=anna.headers, json={"query": "secret"})
    await api.client.delete(f"/v1/documents/{ids['document_id']}", headers=anna.headers)
    page = (await api.get(anna, "/v1/audit-logs?limit=3")).json()
    entries = page["items"] + (await api.get(anna, f"/v1/audit-logs?cursor={page['next_cursor']}")).json()["items"]
    assert [entry["event_type"] for entry in entries] == [
        "document.delete",
        "rag.query",
        "collection.create",
        "user.login",
        "document.upload",
        "webhook.create",
        "user.login",
        "user.register",
    ]
    assert all(set(entry) == {"id", "actor_user_id", "event_type", "details", "created_at"} for entry in entries)


async def test_investigation_query_uses_an_index(database_url: str) -> None:
    plan = await fetch(
        database_url,
        """EXPLAIN SELECT * FROM audit_logs WHERE actor_user_id = '01a2084b-9065-752d-aaf7-35b94206de34'
           ORDER BY created_at DESC""",
    )
    assert "ix_audit_logs_actor_user_id_created_at" in "\n".join(row[0] for row in plan)


async def bind(api: Api, name: str = "anna") -> tuple[Caller, dict[str, str], dict[str, str]]:
    """Return a caller bound to one of two collections, and the ids of the contents of that one and of the other."""
    person = await api.register(name)
    inside = await store(api, person)
    outside = (await api.upload(person, b"The secret outside.")).json()["id"]
    note = {"title": "Outside", "body": "A secret note outside."}
    note_id = (await api.client.post("/v1/notes", headers=person.headers, json=note)).json()["id"]
    collection_id = await collect(api, person, document_id=outside, note_id=note_id, name="outside")
    await api.work()
    caller = Caller(await find_id(api, person), collection_ids=frozenset({UUID(inside["collection_id"])}))
    return caller, inside, {"document_id": outside, "note_id": note_id, "collection_id": collection_id}


ACCOUNT = (
    *(models.AuditLog, models.User, models.BrowserSession, models.ApiKey, models.ApiKeyCollection),
    *(models.Webhook, models.WebhookDelivery),
)
"""Tables that only callers with the whole account reach: `api.permissions` refuses bound ones."""
BOUND = tuple(model for model in OWNED if model not in ACCOUNT)


async def test_bound_caller_sees_only_its_collections_without_a_filter(api: Api) -> None:
    caller, inside, _ = await bind(api)
    ids = {UUID(each) for each in inside.values()}
    for model in BOUND:
        async with api.runtime.database.transaction(caller) as session:
            rows = (await session.scalars(select(model))).all()
        assert rows, model
        for row in rows:
            names = {name for name in ("document_id", "note_id", "collection_id") if getattr(row, name, None)}
            assert {getattr(row, name) for name in names or {"id"}} <= ids, model
    nothing = Caller(caller.owner_id, collection_ids=frozenset())
    for model in BOUND:
        async with api.runtime.database.transaction(nothing) as session:
            assert (await session.scalars(select(model))).all() == [], model
    for model in BOUND:
        async with api.runtime.database.transaction(Caller(caller.owner_id)) as session:
            assert len((await session.scalars(select(model))).all()) > 1, model


async def test_bound_caller_cannot_write_outside_its_collections(api: Api) -> None:
    caller, _, outside = await bind(api)
    key = {"owner_id": caller.owner_id, "document_id": UUID(outside["document_id"])}
    collection_id = UUID(outside["collection_id"])
    for statement in (
        insert(models.Collection).values(owner_id=caller.owner_id, id=new_id(), name="new"),
        insert(models.CollectionDocument).values(
            owner_id=caller.owner_id, collection_id=collection_id, document_id=new_id()
        ),
        insert(models.DocumentPage).values(**key, page=9, start=0, length=1, text="x"),
        insert(models.DocumentSlice).values(**key, position=9, data=b"x"),
    ):
        with pytest.raises(ProgrammingError, match="row-level security"):
            async with api.runtime.database.transaction(caller) as session:
                await session.execute(statement)
    async with api.runtime.database.transaction(caller) as session:
        await session.execute(update(models.Note).values(title="stolen"))
        await session.execute(update(models.Document).values(filename="stolen"))
        await session.execute(delete(models.Collection).where(models.Collection.id == collection_id))
    async with api.runtime.database.transaction(Caller(caller.owner_id)) as session:
        titles = set(await session.scalars(select(models.Note.title)))
        names = set(await session.scalars(select(models.Document.filename)))
        assert await session.scalar(select(models.Collection.name).where(models.Collection.id == collection_id))
    assert titles == {"stolen", "Outside"}
    assert names == {"stolen", "note.txt"}


@pytest.mark.parametrize("mode", SearchMode)
async def test_search_of_a_bound_caller_leaks_nothing_without_its_selection(api: Api, mode: SearchMode) -> None:
    caller, inside, outside = await bind(api)
    [vector] = await api.runtime.encoder.encode(["secret outside"], Purpose.QUERY)
    bound, unbound = (
        PassageQuery(caller.owner_id, mode, "secret outside", vector, PACKAGED_MODEL, 50, bound_to=bound_to)
        for bound_to in (caller.collection_ids, None)
    )
    found: list[set[str]] = []
    async with api.runtime.database.statement() as connection:
        for query in (bound, unbound):
            passages = await find_passages(connection, query)
            found.append({str(passage.document_id or passage.note_id) for passage in passages})
    assert found[0] <= {inside["document_id"], inside["note_id"]}
    assert {outside["document_id"], outside["note_id"]} <= found[1]


async def test_check_of_bound_callers_is_made_once_for_each_statement(api: Api) -> None:
    """For a caller that is not bound, the plan has one look at the setting, and runs no subplan."""
    caller, _, _ = await bind(api)
    for bound_to, runs in ((caller.collection_ids, True), (None, False)):
        async with api.runtime.database.transaction(Caller(caller.owner_id, collection_ids=bound_to)) as session:
            plan = "\n".join(
                await session.scalars(text("EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT id FROM chunks"))
            )
        setting = [line for line in plan.splitlines() if "Result" in line and "loops=1)" in line]
        assert len(setting) >= 1
        members = [line for line in plan.splitlines() if "on collection_documents members" in line]
        assert members
        assert any("never executed" not in line for line in members) == runs, plan


async def test_upload_of_a_bound_caller_goes_into_its_collection(api: Api) -> None:
    caller, inside, outside = await bind(api)
    runtime = api.runtime

    def receive(content: bytes) -> ReceivedFile:
        return ReceivedFile(
            "a.txt", "text/plain", None, len(content), hashlib.sha256(content).digest(), io.BytesIO(content)
        )

    document, _ = await documents.upload(runtime, caller, receive(b"new"), UploadDetails(external_id="a-1"))
    assert [str(each) for each in document.collection_ids] == [inside["collection_id"]]
    note = await notes.create(runtime, caller, "new", "new")
    assert [str(each) for each in note.collection_ids] == [inside["collection_id"]]
    elsewhere = UploadDetails(collection_ids=[UUID(outside["collection_id"])])
    with pytest.raises(InvalidInput):
        await documents.upload(runtime, caller, receive(b"other"), elsewhere)
    with pytest.raises(Conflict, match="outside your collections"):
        await documents.upload(runtime, caller, receive(b"The secret outside."))
    for other in (frozenset[UUID](), frozenset({new_id(), new_id()})):
        with pytest.raises(InvalidInput, match="Name one of them"):
            await notes.create(runtime, Caller(caller.owner_id, collection_ids=other), "new", "new")
    with pytest.raises(NotFound):
        await collections.put_document(
            runtime, caller, UUID(inside["collection_id"]), UUID(outside["document_id"]), None
        )
    for making in (
        collections.create(runtime, caller, name="new", description="", metadata={}),
        collections.delete(runtime, caller, UUID(inside["collection_id"]), delete_contents=False),
    ):
        with pytest.raises(Forbidden):
            await making


async def test_bound_caller_deletes_only_what_nobody_else_has(api: Api) -> None:
    caller, inside, outside = await bind(api)
    owner = Caller(caller.owner_id)
    shared, note_id = UUID(inside["document_id"]), UUID(inside["note_id"])
    await collections.put_document(api.runtime, owner, UUID(outside["collection_id"]), shared, None)
    await documents.delete(api.runtime, caller, shared)
    with pytest.raises(NotFound):
        await documents.get(api.runtime, caller, shared)
    document = await documents.get(api.runtime, owner, shared)
    assert [str(each) for each in document.collection_ids] == [outside["collection_id"]]
    await notes.delete(api.runtime, caller, note_id)
    with pytest.raises(NotFound):
        await notes.get(api.runtime, owner, note_id)
    with pytest.raises(NotFound):
        await documents.delete(api.runtime, caller, UUID(outside["document_id"]))
