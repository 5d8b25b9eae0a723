"""Every part looked at, one by one, with what to do about what is wrong: `python -m pipeline doctor`."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from pipeline import metrics, samples
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.db import embedding_models, queue, schema
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.schema import Server
from pipeline.db.session import Database
from pipeline.embedding.reembed import ModelChangeError, require_usable
from pipeline.errors import AnswerUnavailable, DatabaseUnavailable, IngestionError
from pipeline.notify.doorbell import Doorbell
from pipeline.operations.health import find_newest_revision
from pipeline.runtime import make_language_model
from pipeline.sandbox.pool import Sandbox, make_limits
from pipeline.settings import Settings, SettingsError
from pipeline.stages.prompt import Prompt

NO_ENTRY = (DatabaseUnavailable, DBAPIError, asyncpg.PostgresError)
"""Away, or there and not letting us in: a wrong password, an unknown database."""

LEAST_POSTGRESQL = 16
LONG_WAIT_SECONDS = 600.0
OVERDUE_SECONDS = 60.0
"""A lease that ran out so long ago, and nobody took: no worker is running."""
CLOCK_WARNING_SECONDS, CLOCK_FAILURE_SECONDS = 2.0, 30.0
"""Tokens bear 30 s of difference between servers."""
LITTLE_DISK_SHARE, NO_DISK_BYTES = 0.1, 256 * 1024 * 1024


class Verdict(StrEnum):
    """How a part is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but should not stay like this."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part, and what to do about it; neither holds a secret."""

    part: str
    verdict: Verdict
    found: str
    advice: str = ""


def _ok(part: str, found: str) -> Finding:
    return Finding(part, Verdict.OK, found)


def _warn(part: str, found: str, advice: str) -> Finding:
    return Finding(part, Verdict.WARNING, found, advice)


def _fail(part: str, found: str, advice: str) -> Finding:
    return Finding(part, Verdict.FAILED, found, advice)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what is found, part by part. Changes nothing anywhere."""
    for finding in _check_settings(settings):
        yield finding
    async for finding in _check_database(settings):
        yield finding
    yield await _check_redis(settings)
    if settings.llm_base_url:
        yield await _check_language_model(settings)
    yield await _check_sandbox(settings)
    for part, folder in (("data folder", settings.data_dir), ("temporary files", Path(tempfile.gettempdir()))):
        yield _check_disk(part, folder)


def _check_settings(settings: Settings) -> Iterator[Finding]:
    # What is set but cannot be used has been refused when the settings were read.
    try:
        _ = settings.signing_secret
    except SettingsError as error:
        yield _fail("settings", str(error), "put JWT_SECRET into the environment or .env of every API")
    else:
        yield _ok("settings", "JWT_SECRET is set and long enough")


async def _check_database(settings: Settings) -> AsyncIterator[Finding]:
    try:
        url = settings.sqlalchemy_url
    except SettingsError as error:
        yield _fail("database", str(error), "set DATABASE_URL, or run `make up`, which brings its own")
        return
    place = _describe_place(url)
    async with _open_database(url, settings, SERVICE_ROLE) as database:
        try:
            async with database.transaction() as session:
                revision = await schema.read_revision(session)
        except NO_ENTRY as error:
            cause = type(error.__cause__ or error).__name__
            advice = f"is it running, is DATABASE_URL right, and does the role {SERVICE_ROLE} exist? Else migrate"
            found = f"{place} cannot be used within {settings.database_timeout_seconds:g} s ({cause})"
            yield _fail("database", found, advice)
            return
        if revision is None:
            yield _fail("migrations", f"{place} has no tables", "python -m pipeline migrate")
            return
        async with database.transaction() as session:
            server = await schema.describe_server(session)
            away = abs((datetime.now(UTC) - server.now).total_seconds())
        yield _judge_versions(place, server)
        yield _judge_revision(revision)
        yield _judge_rights(server)
        yield _judge_clock(away)
        yield await _check_model(database, settings)
        yield await _check_queue(database)
    if settings.database_owner_url:
        yield await _check_owner(settings)


@asynccontextmanager
async def _open_database(url: str, settings: Settings, role: str | None) -> AsyncIterator[Database]:
    database = Database(url, pool_size=2, timeout_seconds=settings.database_timeout_seconds, role=role)
    try:
        yield database
    finally:
        await database.close()


def _describe_place(url: str) -> str:
    """Host and database of a URL: nothing of it that could be secret."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'a local socket'}{parts.path}"


def _judge_versions(place: str, server: Server) -> Finding:
    found = f"{place}: PostgreSQL {server.version}, pgvector {server.vector_version or 'missing'}"
    if int(server.version.split(".")[0].split(" ")[0]) < LEAST_POSTGRESQL:
        return _fail("database", found, f"PostgreSQL {LEAST_POSTGRESQL} or newer is needed")
    if server.vector_version is None:
        return _fail("database", found, "install pgvector, then python -m pipeline migrate")
    return _ok("database", found)


def _judge_revision(revision: str) -> Finding:
    newest = find_newest_revision()
    if revision != newest:
        found = f"the database is at {revision}, this code at {newest}"
        return _fail("migrations", found, "python -m pipeline migrate")
    return _ok("migrations", revision)


def _judge_rights(server: Server) -> Finding:
    if not server.is_bound:
        advice = f"{SERVICE_ROLE} must own no tables, be no superuser and not have BYPASSRLS"
        return _fail("rights", f"{SERVICE_ROLE} is not bound by row-level security", advice)
    if server.login != SERVICE_ROLE:
        found = f"DATABASE_URL logs in as {server.login}, and then acts as {SERVICE_ROLE}"
        advice = f"let DATABASE_URL name {SERVICE_ROLE}, DATABASE_OWNER_URL the owner; then migrate"
        return _warn("rights", found, advice)
    return _ok("rights", f"{SERVICE_ROLE}, bound by row-level security")


def _judge_clock(away: float) -> Finding:
    found = f"{away:.1f} s from that of the database"
    if away > CLOCK_FAILURE_SECONDS:
        return _fail("clock", found, "tokens of other servers are refused here: set the clock by NTP")
    if away > CLOCK_WARNING_SECONDS:
        return _warn("clock", found, "set the clock by NTP")
    return _ok("clock", found)


async def _check_model(database: Database, settings: Settings) -> Finding:
    configured = settings.embedding_model
    async with database.transaction() as session:
        models = await embedding_models.read(session)
    if models.active and configured not in (models.active, models.next):
        advice = f"set EMBEDDING_MODEL={models.active}, or change it: python -m pipeline reembed --model {configured}"
        return _fail("embedding model", f"passages are of {models.active}, EMBEDDING_MODEL is {configured}", advice)
    try:
        await asyncio.to_thread(require_usable, models.active or configured)
    except ModelChangeError as error:
        return _fail("embedding model", str(error), "install it, or correct EMBEDDING_MODEL")
    if models.next:
        advice = f"python -m pipeline reembed --model {models.next} goes on with it"
        return _warn("embedding model", f"{models.active} answers; the change to {models.next} is under way", advice)
    return _ok("embedding model", f"{models.active or configured} can be loaded")


async def _check_queue(database: Database) -> Finding:
    async with database.transaction() as session:
        backlog = await queue.measure_backlog(session)
    found = f"{backlog.waiting} waiting, the oldest for {backlog.oldest_seconds:.0f} s; {backlog.leased} in work"
    if backlog.overdue_seconds > OVERDUE_SECONDS:
        ran_out = f"{found}; a lease ran out {backlog.overdue_seconds:.0f} s ago"
        return _fail("queue", ran_out, "no worker is running: python -m workers")
    if backlog.oldest_seconds > LONG_WAIT_SECONDS:
        return _warn("queue", found, "is a worker running? Start more")
    return _ok("queue", found)


async def _check_owner(settings: Settings) -> Finding:
    place = _describe_place(settings.owner_url)
    async with _open_database(settings.owner_url, settings, None) as database:
        try:
            async with database.transaction() as session:
                sees_everything = await embedding_models.sees_everything(session)
        except NO_ENTRY:
            return _fail("owner", f"{place} does not let the owner in", "correct DATABASE_OWNER_URL")
    if not sees_everything:
        advice = "let DATABASE_OWNER_URL name the role that ran the migrations"
        return _fail("owner", "DATABASE_OWNER_URL does not name the owner of the tables", advice)
    return _ok("owner", "migrations, reembed and users can be run")


async def _check_redis(settings: Settings) -> Finding:
    doorbell = Doorbell(settings.redis_dsn, CircuitBreaker("redis", metrics.REDIS_FAILURES))
    try:
        if not await doorbell.is_answering():
            return _warn("redis", "does not answer", "all works without it, but rate limits; bring it back")
        policy = await doorbell.read_eviction_policy()
    except RedisError:
        return _warn("redis", "answers, but does not tell its maxmemory-policy", "make sure that it is noeviction")
    finally:
        await doorbell.close()
    if policy != "noeviction":
        return _fail("redis", f"maxmemory-policy is {policy}", "set it to noeviction: what it evicts is lost")
    return _ok("redis", "answers, and evicts nothing")


async def _check_language_model(settings: Settings) -> Finding:
    model = make_language_model(settings)
    if model is None:
        return _fail("language model", "LLM_MODEL is not set", "set it together with LLM_BASE_URL")
    try:
        async with aclosing(model.write(Prompt("Answer with one word.", "Hello", 0))) as words:
            async for _ in words:
                break
    except AnswerUnavailable as error:
        return _fail("language model", error.message.split(". ")[0], "RUNBOOK.md, No answers")
    finally:
        await model.close()
    return _ok("language model", f"{settings.llm_model} answers")


async def _check_sandbox(settings: Settings) -> Finding:
    file = samples.list_documents()[0]
    sandbox = Sandbox()
    try:
        with file.open("rb") as content:
            async with aclosing(sandbox.extract(content, "application/pdf", make_limits(settings))) as extracted:
                pages = [page async for page in extracted]
    except IngestionError as error:
        return _fail("extraction", f"{file.name}: {error.message}", "are the EXTRACT_… limits too low?")
    finally:
        await sandbox.close()
    return _ok("extraction", f"{file.name}: {len(pages)} pages")


def _check_disk(part: str, folder: Path) -> Finding:
    there = folder.resolve()
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    found = f"{there}: {usage.free / 1024**3:.1f} GiB free"
    if usage.free < NO_DISK_BYTES:
        return _fail(part, found, "make room: uploads are refused with 507 when there is none")
    if usage.free < usage.total * LITTLE_DISK_SHARE:
        return _warn(part, found, "make room before uploads are refused with 507")
    return _ok(part, found)
