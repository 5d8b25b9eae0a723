"""The probe of a worker: it sees a stuck loop, and a long outage of the database is none."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.session import Database
from pipeline.embedding.active_model import Encoders
from pipeline.embedding.encoder import Encoder
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.errors import DatabaseUnavailable
from pipeline.ingest.heartbeat import Heartbeat
from pipeline.runtime import Runtime
from pipeline.settings import SettingsError
from pipeline.types import Caller
from tests.databases import clone_database, fetch
from tests.integration.conftest import wait_for
from tests.models import make_encoder
from tests.processes import find_port
from workers.consumer import Consumer, PartFailed
from workers.probe import PROBE_PATH, serve_probe

pytestmark = pytest.mark.anyio

STUCK_SECONDS = 2.0


class BrokenDatabase(Database):
    """A database that refuses every transaction, or never answers."""

    refused = 0
    hangs = False

    @asynccontextmanager
    async def transaction(self, caller: Caller | None = None) -> AsyncIterator[AsyncSession]:
        self.refused += 1
        if self.hangs:
            await asyncio.Event().wait()
        raise DatabaseUnavailable("The database does not respond.")
        async with super().transaction(caller) as session:
            yield session


@pytest.fixture
def heartbeat(runtime: Runtime) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(runtime.settings.sqlalchemy_url, lease_seconds=1, stall_seconds=60)
    heartbeat.start()
    yield heartbeat
    heartbeat.stop()


async def ask(port: int) -> tuple[int, list[str]]:
    async with httpx2.AsyncClient() as client:
        response = await client.get(f"http://127.0.0.1:{port}{PROBE_PATH}")
    return response.status_code, json.loads(response.content)["stuck"]


@pytest.mark.parametrize("hangs", [False, True], ids=["outage", "stuck"])
async def test_probe_sees_a_stuck_loop_but_no_outage(runtime: Runtime, heartbeat: Heartbeat, hangs: bool) -> None:
    await runtime.encoders.wait()
    database = BrokenDatabase(runtime.settings.sqlalchemy_url, pool_size=1, timeout_seconds=1)
    consumer = Consumer(replace(runtime, database=database), heartbeat, stuck_seconds=STUCK_SECONDS)
    port = find_port()
    serve_probe("127.0.0.1", port, consumer.find_stuck)
    running = asyncio.create_task(consumer.run())
    await wait_for(lambda: database.refused > 0)
    assert await ask(port) == (200, [])
    database.hangs = hangs
    await asyncio.sleep(1.5 * STUCK_SECONDS)
    assert await ask(port) == ((503, ["claim loop"]) if hangs else (200, []))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("template", ["template1", "sluice_template"], ids=["empty", "half"])
async def test_worker_waits_for_the_migrations(
    runtime: Runtime, heartbeat: Heartbeat, encoder: Encoder, postgres_url: str, template: str
) -> None:
    url = await asyncio.to_thread(clone_database, postgres_url, f"old_{uuid4().hex}", template=template)
    if template != "template1":
        await fetch(url, "UPDATE alembic_version SET version_num = '0011'")
    database = Database(url.replace("postgresql", "postgresql+asyncpg", 1), pool_size=1, timeout_seconds=5)
    encoders = Encoders(database, PACKAGED_MODEL, make=make_encoder, shared=encoder, check_seconds=0.1)
    encoders.start()
    consumer = Consumer(replace(runtime, database=database, encoders=encoders), heartbeat)
    running = asyncio.create_task(consumer.run())
    await asyncio.wait({running}, timeout=1.0)
    assert not running.done()
    assert not encoders.is_known
    consumer.stop()
    await running
    await encoders.close()
    await database.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_worker_ends_if_its_encoder_has_ended(runtime: Runtime, heartbeat: Heartbeat) -> None:
    database = BrokenDatabase(runtime.settings.sqlalchemy_url, pool_size=1, timeout_seconds=1)
    no_name = cast("str", None)  # nobody foresees it
    encoders = Encoders(database, PACKAGED_MODEL, make=make_encoder, shared=make_encoder(no_name), check_seconds=0.1)
    encoders.start()
    async with asyncio.timeout(20):
        with pytest.raises(ExceptionGroup) as raised:
            await Consumer(replace(runtime, database=database, encoders=encoders), heartbeat).run()
    assert raised.group_contains(PartFailed, match="encoder")
    await encoders.close()


async def test_probe_sees_a_stuck_heartbeat(runtime: Runtime, heartbeat: Heartbeat) -> None:
    heartbeat.stop()
    consumer = Consumer(runtime, heartbeat, stuck_seconds=0.5)
    await asyncio.sleep(0.6)
    assert "heartbeat" in consumer.find_stuck()


async def test_metrics_are_served_on_the_same_port(runtime: Runtime, heartbeat: Heartbeat) -> None:
    port = find_port()
    serve_probe("127.0.0.1", port, Consumer(runtime, heartbeat).find_stuck)
    async with httpx2.AsyncClient() as client:
        response = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert "sluice_swept_jobs_total" in response.text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_probe_listens_on_its_host_alone(host: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    port = find_port()
    serve_probe(host, port, list)
    socket.create_connection((host, port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1" if host == "127.0.0.1" else "127.0.0.1", port), timeout=5)
    if host == "127.0.0.1":
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_probe_whose_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"^cannot listen on 127.0.0.1:{port}: .*set WORKER_METRICS_PORT"):
            serve_probe("127.0.0.1", port, list)
