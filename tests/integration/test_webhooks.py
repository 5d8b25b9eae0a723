"""Webhooks: events are signed, delivered at least once and in order, and sent only where they may be sent."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from pipeline.db import deliveries, models
from pipeline.ingest.sweeper import Sweeper
from pipeline.runtime import RESOLVERS
from pipeline.settings import Settings
from pipeline.types import Caller, WebhookEvent
from pipeline.use_cases import webhooks
from pipeline.webhooks.deliverer import AT_ONCE_PER_OWNER, Deliverer, Schedule
from pipeline.webhooks.sender import Sender
from tests.conftest import Logged
from tests.databases import fetch, fetch_value, find_violations
from tests.integration.conftest import LEASE_SECONDS, Api, Clock, Person, claim, observe, wait_for
from tests.receiver import Receiver, receiving

pytestmark = pytest.mark.anyio

EVENTS = ["document.ready", "document.failed", "document.deleted"]
QUICK = Schedule(first_pause=0.02, longest_pause=0.05, attempts=4)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_networks": "127.0.0.1"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@contextmanager
def no_hold(_token: UUID) -> Iterator[None]:
    """Leave a lease as it is. Those of tests are long."""
    yield


@asynccontextmanager
async def delivering(api: Api, schedule: Schedule = QUICK) -> AsyncIterator[None]:
    """Send events beside the test, as a worker does."""
    database, sender = api.runtime.database, Sender(api.runtime.settings.allowed_webhook_networks)
    deliverer = Deliverer(database, sender, no_hold, lease_seconds=60, poll_seconds=0.02, schedule=schedule)
    running = asyncio.create_task(deliverer.run())
    try:
        yield
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def create(api: Api, person: Person, url: str, **fields: Any) -> dict[str, Any]:
    body = {"url": url, "events": EVENTS, **fields}
    response = await api.client.post("/v1/webhooks", headers=person.headers, json=body)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def list_deliveries(api: Api, person: Person, webhook_id: str, query: str = "") -> list[dict[str, Any]]:
    response = await api.get(person, f"/v1/webhooks/{webhook_id}/deliveries?limit=100{query}")
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def finish_deliveries(database_url: str) -> None:
    """Wait until no delivery is pending. Each has exactly one job until then."""

    async def is_done() -> bool:
        jobs: int = await fetch_value(database_url, "SELECT count(*) FROM jobs")
        return jobs == 0

    await wait_for(is_done)
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def is_lock_awaited(database_url: str) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    waiting: int = await fetch_value(database_url, query)
    return waiting > 0


async def upload(api: Api, person: Person, text: str) -> str:
    document_id: str = (await api.upload(person, text.encode())).json()["id"]
    return document_id


async def test_events_are_delivered_signed(api: Api, database_url: str, receiver: Receiver, logged: Logged) -> None:
    person = await api.register()
    webhook = await create(api, person, receiver.url)
    document_id = await upload(api, person, "The horse sleeps.")
    failed_id = (await api.upload(person, b"%PDF-1.7 broken", "broken.pdf")).json()["id"]
    await api.work()
    await api.client.delete(f"/v1/documents/{document_id}", headers=person.headers)
    async with delivering(api):
        await finish_deliveries(database_url)
    events = receiver.verify(webhook["secret"])
    assert [event["type"] for event in events if event["data"]["id"] == document_id] == [EVENTS[0], EVENTS[2]]
    [failed] = [event["data"] for event in events if event["type"] == "document.failed"]
    assert (failed["id"], failed["status"], failed["error"]["code"]) == (failed_id, "failed", "malformed")
    ready = next(event for event in events if event["type"] == "document.ready")
    assert ready["data"] == {"id": document_id, "filename": "note.txt", "status": "ready", "error": None}
    assert ready["timestamp"].endswith("Z")
    listed = await list_deliveries(api, person, webhook["id"])
    assert {(each["status"], each["attempts"], each["response_status"]) for each in listed} == {("delivered", 1, 200)}
    assert {each["id"] for each in listed} == {headers["webhook-id"] for headers, _ in receiver.requests}
    written = str(logged) + str(await fetch(database_url, "SELECT details FROM audit_logs"))
    assert "of-the-receiver" not in written
    assert webhook["secret"].removeprefix("whsec_") not in written


async def test_secret_is_shown_once_and_may_be_the_callers_own(api: Api, receiver: Receiver) -> None:
    person = await api.register()
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    webhook = await create(api, person, receiver.url, secret=secret, events=["document.ready", "document.ready"])
    assert (webhook["secret"], webhook["events"]) == (secret, ["document.ready"])
    shown = (await api.get(person, f"/v1/webhooks/{webhook['id']}")).json()
    assert shown == {name: value for name, value in webhook.items() if name != "secret"}
    assert (await api.get(person, "/v1/webhooks")).json() == {"items": [shown], "next_cursor": None}
    audited = (await api.get(person, "/v1/audit-logs")).json()["items"][0]
    assert (audited["event_type"], audited["details"]["webhook_id"]) == ("webhook.create", webhook["id"])


async def test_failing_receiver_gets_events_in_order_and_again(api: Api, database_url: str, receiver: Receiver) -> None:
    person = await api.register()
    webhook = await create(api, person, receiver.url)
    first, second = await upload(api, person, "The first."), await upload(api, person, "The second.")
    await api.work()
    for document_id in (first, second):
        await api.client.delete(f"/v1/documents/{document_id}", headers=person.headers)
    failures = iter([500, 302])

    async def fail_twice(event: dict[str, Any]) -> int:
        return next(failures, 204) if event["data"]["id"] == first else 200

    receiver.answer, receiver.headers = fail_twice, f"Location: {receiver.url}\r\n"
    async with delivering(api):
        await finish_deliveries(database_url)
    events = receiver.verify(webhook["secret"])
    types = {
        document_id: [event["type"].removeprefix("document.") for event in events if event["data"]["id"] == document_id]
        for document_id in (first, second)
    }
    assert types == {first: ["ready", "ready", "ready", "deleted"], second: ["ready", "deleted"]}
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 4, "each try has the same id"


async def test_dead_delivery_is_listed_and_sent_again(api: Api, database_url: str, receiver: Receiver) -> None:
    person = await api.register()
    webhook = await create(api, person, receiver.url)
    document_id = await upload(api, person, "Text.")
    await api.work()
    await api.client.delete(f"/v1/documents/{document_id}", headers=person.headers)

    async def refuse_ready(event: dict[str, Any]) -> int:
        return 500 if event["type"] == "document.ready" else 200

    receiver.answer = refuse_ready
    [pending, _] = sorted(await list_deliveries(api, person, webhook["id"]), key=lambda each: str(each["id"]))
    again = f"/v1/webhooks/{webhook['id']}/deliveries/{pending['id']}/redeliver"
    refused = await api.client.post(again, headers=person.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "delivery_pending")
    async with delivering(api):
        await finish_deliveries(database_url)
        [dead] = await list_deliveries(api, person, webhook["id"], "&status=dead")
        assert (dead["id"], dead["attempts"], dead["response_status"]) == (pending["id"], QUICK.attempts, 500)
        assert "500" in dead["error"]
        assert [event["type"] for event in receiver.verify(webhook["secret"])][-1] == "document.deleted"
        receiver.answer = Receiver().answer
        assert (await api.client.post(again, headers=person.headers)).status_code == 202
        await finish_deliveries(database_url)
    assert receiver.verify(webhook["secret"])[-1]["type"] == "document.ready"
    assert await list_deliveries(api, person, webhook["id"], "&status=dead") == []


async def test_hanging_receivers_of_one_account_delay_no_other(api: Api, database_url: str, receiver: Receiver) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    hanging = asyncio.Event()

    async def hang(_event: dict[str, Any]) -> int:
        await hanging.wait()
        return 200

    async with receiving(answer=hang) as slow:
        await create(api, anna, slow.url)
        webhook = await create(api, bert, receiver.url)
        for number in range(2 * AT_ONCE_PER_OWNER):
            await upload(api, anna, f"Text {number}.")
        await upload(api, bert, "Text.")
        await api.work()
        assert await claim(api.runtime) is None, "the claims of documents skip jobs that deliver events"
        async with delivering(api):
            await wait_for(lambda: receiver.requests and len(slow.requests) >= AT_ONCE_PER_OWNER)
            assert len(slow.requests) == AT_ONCE_PER_OWNER
            hanging.set()
            await finish_deliveries(database_url)
    assert len(receiver.verify(webhook["secret"])) == 1


async def test_event_of_a_worker_that_died_is_sent_again(api: Api, database_url: str, receiver: Receiver) -> None:
    person = await api.register()
    await create(api, person, receiver.url)
    await upload(api, person, "Text.")
    await api.work()
    async with api.runtime.database.transaction() as session:
        assert await deliveries.claim(session, LEASE_SECONDS, busy=(), only_new=False)
    clock = Clock()
    assert await observe(Sweeper(api.runtime.database, LEASE_SECONDS, clock), clock) == 1
    async with delivering(api):
        await finish_deliveries(database_url)
    assert len(receiver.requests) == 1


async def test_stopping_worker_gives_its_events_back(api: Api, database_url: str, receiver: Receiver) -> None:
    person = await api.register()
    await create(api, person, receiver.url)
    await upload(api, person, "Text.")
    await api.work()

    async def hang(_event: dict[str, Any]) -> int:
        await asyncio.sleep(60)
        return 200

    receiver.answer = hang
    async with delivering(api):
        await wait_for(lambda: receiver.requests)
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs WHERE lease_token IS NULL") == 1


async def test_event_that_comes_while_the_last_one_is_finished_is_not_forgotten(
    api: Api, database_url: str, receiver: Receiver
) -> None:
    person = await api.register()
    await create(api, person, receiver.url)
    document_id = UUID(await upload(api, person, "Text."))
    await api.work()
    database = api.runtime.database
    async with database.transaction() as session:
        lease = await deliveries.claim(session, LEASE_SECONDS, busy=(), only_new=False)
        assert lease
        message = await deliveries.find_next(session, lease)
        assert message
    caller = Caller(lease.owner_id)

    async def finish() -> None:
        async with database.transaction(caller) as session:
            await deliveries.finish(session, lease, message, deliveries.Attempt(200, None), None)

    async with database.transaction(caller) as session:
        await deliveries.record(session, lease.owner_id, document_id, WebhookEvent.READY)
        finishing = asyncio.create_task(finish())

        await wait_for(lambda: is_lock_awaited(database_url))
    await finishing
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 1
    async with delivering(api):
        await finish_deliveries(database_url)
    assert len(receiver.requests) == 1


async def test_webhook_is_locked_before_its_jobs(api: Api, database_url: str, receiver: Receiver) -> None:
    """An event is written in this order, too. Otherwise, an event and a deletion would wait for each other."""
    person = await api.register()
    webhook = await create(api, person, receiver.url)
    await upload(api, person, "Text.")
    await api.work()
    [owner_id] = await fetch(database_url, "SELECT id FROM users")
    caller = Caller(UUID(str(owner_id["id"])))
    async with api.runtime.database.transaction(caller) as session:
        await session.execute(select(models.Webhook.id).with_for_update(read=True, key_share=True))
        deleting = asyncio.create_task(webhooks.delete(api.runtime, caller, UUID(webhook["id"])))
        await wait_for(lambda: is_lock_awaited(database_url))
        await session.execute(select(models.Job.subject_id).with_for_update(nowait=True))
    await deleting
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_deleted_webhook_gets_nothing_more(api: Api, database_url: str, receiver: Receiver) -> None:
    person = await api.register()
    webhook = await create(api, person, receiver.url)
    await upload(api, person, "Text.")
    await api.work()
    response = await api.client.delete(f"/v1/webhooks/{webhook['id']}", headers=person.headers)
    assert response.status_code == 204
    assert await asyncio.to_thread(find_violations, database_url) == {}
    assert (await api.get(person, f"/v1/webhooks/{webhook['id']}/deliveries")).status_code == 404
    await upload(api, person, "More text.")
    await api.work()
    assert await asyncio.to_thread(find_violations, database_url) == {}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": "http://127.0.0.2:8000/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "https://user:secret@example.org/"}, "url"),
        ({"url": "ftp://example.org/"}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"url": "http://93.184.215.14:65536/"}, "url"),
        ({"url": f"http://93.184.215.14:{10**20}/"}, "url"),
        ({"url": "https://example.org/\0"}, "url"),
        ({"secret": "whsec_c2hvcnQ="}, "secret"),
        ({"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret"),
        ({"events": []}, "events"),
        ({"events": ["document.read"]}, "events[0]"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_invalid_webhooks_are_refused(api: Api, fields: dict[str, Any], field: str) -> None:
    person = await api.register()
    body = {"url": "https://93.184.215.14/", "events": EVENTS, **fields}
    response = await api.client.post("/v1/webhooks", headers=person.headers, json=body)
    assert response.status_code == 422, response.text
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_slow_name_servers_occupy_no_thread_of_others(api: Api) -> None:
    person = await api.register()
    answered = threading.Event()
    for _ in range(RESOLVERS):
        api.runtime.resolvers.submit(answered.wait)
    try:
        body = {"url": "http://192.168.0.1/", "events": EVENTS}
        response = await api.client.post("/v1/webhooks", headers=person.headers, json=body)
    finally:
        answered.set()
    # In time, it would be refused. The worker checks the address again.
    assert response.status_code == 201


async def test_account_has_a_limited_number_of_webhooks(api: Api, receiver: Receiver) -> None:
    person = await api.register()
    body = {"url": receiver.url, "events": EVENTS}
    create_one = partial(api.client.post, "/v1/webhooks", headers=person.headers, json=body)
    responses = await asyncio.gather(*[create_one() for _ in range(webhooks.MAX_WEBHOOKS + 3)])
    refused = [response.json()["code"] for response in responses if response.status_code == 409]
    assert (len(responses) - len(refused), refused) == (webhooks.MAX_WEBHOOKS, ["too_many_webhooks"] * 3)


async def test_process_that_only_sends_webhooks(api: Api, database_url: str, receiver: Receiver) -> None:
    person = await api.register()
    webhook = await create(api, person, receiver.url)
    await upload(api, person, "Text.")
    await api.work()
    settings = api.runtime.settings
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "WEBHOOK_NETWORKS": settings.webhook_networks,
        "POLL_SECONDS": "0.1",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "workers.sender", env=environment)
    try:
        await finish_deliveries(database_url)
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert len(receiver.verify(webhook["secret"])) == 1
