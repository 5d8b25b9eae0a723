"""Logs follow a request and contain no secrets. Metrics show what happens."""

import asyncio
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY
from pydantic import SecretStr
from uvicorn.config import LOGGING_CONFIG

from pipeline.embedding.prompts import Purpose
from pipeline.ingest.heartbeat import Heartbeat, HeldLease
from pipeline.ingest.progress import StageReporter
from pipeline.logs import configure_logging
from pipeline.types import Stage
from tests.conftest import log_errors_only
from tests.databases import fetch_value, rewrite_statements
from tests.integration.conftest import Api, claim, serve, wait_for
from tests.integration.test_raw_http import send
from workers.consumer import Consumer

pytestmark = pytest.mark.anyio


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """Everything that is logged, as it would go to standard error."""
    stream = io.StringIO()
    configure_logging("DEBUG", stream)
    yield stream
    log_errors_only()


def read(log_stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_stream.getvalue().splitlines()]


async def test_request_id_follows_the_job_into_the_worker(api: Api, log_stream: io.StringIO, database_url: str) -> None:
    person = await api.register()
    headers = {**person.headers, "X-Request-Id": "follow-me"}
    await api.client.post("/v1/documents", headers=headers, files={"file": ("a.txt", b"some text")})
    assert await fetch_value(database_url, "SELECT request_id FROM jobs") == "follow-me"
    structlog.contextvars.clear_contextvars()
    settings = api.runtime.settings
    heartbeat = Heartbeat(settings.sqlalchemy_url, lease_seconds=settings.lease_seconds, stall_seconds=60)
    consumer = Consumer(api.runtime, heartbeat)
    heartbeat.start()
    working = asyncio.create_task(consumer.run())
    try:
        await wait_for(lambda: "ingestion.ready" in log_stream.getvalue())
        consumer.stop()
        await working
    finally:
        heartbeat.stop()
    events = {line["event"]: line.get("request_id") for line in read(log_stream)}
    assert events["request"] is not None
    assert events["ingestion.ready"] == "follow-me"


def test_lines_of_the_web_server_are_json_without_values_of_requests(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(LOGGING_CONFIG)
    configure_logging("INFO")
    logger = logging.getLogger("uvicorn.error")
    logger.info("Started server process [%d]", 7)
    logger.error("Exception in ASGI application\n", exc_info=ValueError("a secret value"))
    log_errors_only()
    output = capsys.readouterr().err
    started, crashed = (json.loads(line) for line in output.splitlines())
    assert (started["event"], started["level"]) == ("Started server process [7]", "info")
    assert crashed["exception"] == ["builtins.ValueError"]
    assert "secret" not in output


async def test_refused_request_is_logged_and_counted_without_its_values(api: Api, log_stream: io.StringIO) -> None:
    refused, labels = "sluice_refused_requests_total", {"code": "bad_request"}
    before = REGISTRY.get_sample_value(refused, labels) or 0
    async with serve(api) as client:
        answer = await send(str(client.base_url), b"GET /secret-path HTTP/1.1\r\nSecret-Header\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    [line] = read(log_stream)
    assert (line["event"], line["status"], line["code"]) == ("request.refused", 400, "bad_request")
    assert line["request_id"].encode() in answer
    assert "ecret" not in str(line)
    assert REGISTRY.get_sample_value(refused, labels) == before + 1


async def test_no_secret_is_logged(api: Api, log_stream: io.StringIO) -> None:
    person = await api.register_over_http()
    await api.client.post("/v1/auth/login", json={"email": person.email, "password": "a wrong password"})
    await api.upload(person, b"the secret text of a document", "a.txt")
    await api.work()
    await api.client.post("/v1/search", headers=person.headers, json={"query": "my secret question"})
    await api.client.get("/v1/users/me?token=hidden-in-query", headers={"Authorization": "Bearer broken-token"})
    created = (await api.client.post("/v1/api-keys", headers=person.headers, json={"name": "a program"})).json()
    for key in (created["secret"], "sk-of-nobody"):
        await api.client.get("/v1/notes", headers={"Authorization": f"Bearer {key}"})
    text = log_stream.getvalue()
    assert text
    token = person.headers["Authorization"].removeprefix("Bearer ")
    secret = api.runtime.settings.signing_secret
    for secret_part in (
        person.password,
        "a wrong password",
        token,
        secret,
        "secret text",
        "my secret question",
        "hidden-in-query",
        "broken-token",
        "sk-",
    ):
        assert secret_part not in text, secret_part


async def test_every_log_line_is_json_with_time_and_level(api: Api, log_stream: io.StringIO) -> None:
    await api.register_over_http()
    logging.getLogger("some.library").warning("by %s", "itself")
    lines = read(log_stream)
    assert "by itself" in [line["event"] for line in lines]
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)


@pytest.mark.waits(metrics=0.0, status_counts=0.0)
async def test_metrics_report_what_happened(api: Api) -> None:
    person = await api.register()
    await api.upload(person, b"some text", "a.txt")
    await api.upload(person, b"%PDF-1.7 rubbish", "b.pdf")
    await api.upload(person, b"other text", "c.txt")
    lease = await claim(api.runtime)
    assert lease
    response = await api.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    text = response.text
    assert 'sluice_subjects{kind="document",status="pending"} 2.0' in text
    assert 'sluice_subjects{kind="document",status="processing"} 1.0' in text
    assert 'sluice_oldest_seconds{kind="document",status="pending"}' in text
    assert 'sluice_request_seconds_count{method="POST",route="/v1/documents",status="202"}' in text
    assert "sluice_redis_up 1.0" in text
    await api.work()
    text = (await api.client.get("/metrics")).text
    assert 'sluice_ingestions_total{kind="document",outcome="ready"}' in text
    assert 'sluice_ingestions_total{kind="document",outcome="malformed"}' in text
    assert 'status="pending"} 2.0' not in text, "the figure of a status falls when its last subject leaves it"


@pytest.mark.waits(metrics=600.0, status_counts=600.0)
async def test_row_46_many_readers_of_metrics_cost_one_count(api: Api) -> None:
    """Without a token, anyone may ask. 14 loops ask, and PostgreSQL counts once."""
    statements: list[str] = []

    def notice(statement: str) -> str:
        statements.append(statement)
        return statement

    async def ask() -> set[int]:
        return {(await api.client.get("/metrics")).status_code for _ in range(10)}

    with rewrite_statements(notice):
        assert await asyncio.gather(*(ask() for _ in range(14))) == [{200}] * 14
    assert sum("sluice_count_statuses" in statement for statement in statements) == 1


@pytest.mark.waits(metrics=0.0, status_counts=600.0)
async def test_metrics_are_collected_more_often_than_documents_are_counted(api: Api) -> None:
    pending = 'sluice_subjects{kind="document",status="pending"} 0.0'
    uploads = 'sluice_request_seconds_count{method="POST",route="/v1/documents",status="202"}'
    assert pending in (await api.client.get("/metrics")).text
    before = (await api.client.get("/metrics")).text
    await api.upload(await api.register(), b"some text")
    after = (await api.client.get("/metrics")).text
    assert find_lines(after, uploads) != find_lines(before, uploads)
    assert pending in after


def find_lines(text: str, prefix: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(prefix)]


async def test_metrics_need_the_token_that_is_set(api: Api) -> None:
    token = "a token for metrics"
    settings = api.runtime.settings.model_copy(update={"metrics_token": SecretStr(token)})
    api.app.state.runtime = replace(api.runtime, settings=settings)
    person = await api.register()
    for headers in ({}, person.headers, {"Authorization": f"Bearer {token}x"}, {"Authorization": f"Basic {token}"}):
        refused = await api.client.get("/metrics", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")
    allowed = await api.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert (allowed.status_code, "sluice_redis_up" in allowed.text) == (200, True)


async def test_stages_are_timed(api: Api) -> None:
    person = await api.register()
    await api.upload(person, b"some text", "a.txt")
    lease = await claim(api.runtime)
    assert lease
    reporter = StageReporter(api.runtime.database, HeldLease(0.0), None)
    for stage in Stage:
        await reporter(lease, stage, 0.5)
    text = (await api.client.get("/metrics")).text
    for stage in (Stage.EXTRACTING, Stage.CHUNKING, Stage.EMBEDDING, Stage.STORING):
        assert f'sluice_ingestion_stage_seconds_count{{kind="document",stage="{stage}"}}' in text


def read_metric(text: str, name: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rsplit(" ", 1)[1])


@pytest.mark.waits(metrics=0.0)
async def test_encoder_reports_its_queue_and_its_passes(api: Api) -> None:
    async def look(name: str) -> float:
        return read_metric((await api.client.get("/metrics")).text, f"sluice_encoder_{name}")

    passes, tokens = await look("pass_seconds_count"), await look("pass_tokens_sum")
    waiting = [
        asyncio.create_task(api.runtime.encoder.encode(["some words " * 100] * 5, Purpose.QUERY)) for _ in range(3)
    ]
    await asyncio.sleep(0)
    assert await look("waiting_requests") == 3
    await asyncio.gather(*waiting)
    assert await look("waiting_requests") == 0
    assert await look("pass_seconds_count") > passes
    assert await look("pass_tokens_sum") >= tokens + 3 * 5 * 202, "[CLS], 200 words and [SEP] in each text"
