"""`sluice_client.AsyncClient` against the real API, without a worker: what the service answers fits its models."""

import secrets
from collections.abc import AsyncIterator

import pytest

from sluice_client import AsyncClient, NotAuthenticated, NotFound
from tests.integration.conftest import Api, serve, work

pytestmark = pytest.mark.anyio

PASSWORD = "password of a test"


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncClient]:
    async with serve(api) as http:
        email = f"{secrets.token_hex(6)}@example.org"
        async with AsyncClient(str(http.base_url), email=email, password=PASSWORD, patience_seconds=0) as client:
            await client.register()
            yield client


async def test_documents_are_chosen_changed_and_deleted(api: Api, client: AsyncClient) -> None:
    boats = await client.collections.create("Boats")
    ids = []
    for number in range(3):
        text = f"Ferry number {number} is red.{'!' * number}".encode()
        attributes = {"year": 2024 + number}
        document = await client.documents.upload(
            text,
            filename=f"Ferry {number}.txt",
            external_id=str(number),
            collection_ids=[boats.id],
            attributes=attributes,
        )
        ids.append(document.id)
    await work(api.runtime)
    newer = {"key": "year", "op": "gte", "value": 2025}
    found = client.documents.list(collection_id=boats.id, name="ferry", status="ready", filter=newer, sort="filename")
    assert [document.filename async for document in found] == ["Ferry 1.txt", "Ferry 2.txt"]
    assert await client.documents.count(filter=newer) == 2
    assert await client.documents.count(status="failed") == 0
    assert (await client.documents.update(ids[0], filename="a.txt")).external_id == "0"
    assert (await client.documents.update(ids[0], external_id=None)).external_id is None
    assert (await client.collections.get_document(boats.id, ids[1])).attributes == {"year": 2025}
    deleted = await client.documents.delete_many([*ids[:2], boats.id])
    assert (set(deleted.deleted), deleted.not_found) == (set(ids[:2]), [boats.id])
    assert [document.id async for document in client.documents.list()] == ids[2:]


async def test_account_webhooks_and_audit_log(client: AsyncClient) -> None:
    hook = await client.webhooks.create("https://example.org/hook", ["document.deleted"])
    assert hook.secret.startswith("whsec_")
    assert await client.webhooks.get(hook.id) == (await anext(client.webhooks.list()))
    document = await client.documents.upload(b"The ferry is red.", filename="ferry.txt")
    await client.documents.delete(document.id)
    sent = await anext(client.webhooks.deliveries(hook.id))
    assert (sent.event, sent.document_id, sent.status) == ("document.deleted", document.id, "pending")
    await client.webhooks.delete(hook.id)
    with pytest.raises(NotFound):
        await client.webhooks.get(hook.id)
    await client.change_password("another password")
    assert await client.documents.count() == 0
    actions = [entry.event_type async for entry in client.audit_log(limit=3)]
    assert actions == ["user.password_changed", "webhook.delete", "document.delete"]
    await client.delete_account()
    with pytest.raises(NotAuthenticated):
        await client.account()
