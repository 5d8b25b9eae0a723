"""Checks of every part, with advice on problems: `python -m pipeline doctor`."""

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import asyncpg
from pydantic import SecretStr
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from sqlalchemy.exc import DBAPIError

from pipeline import metrics, samples
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.db import chunks, embedding_models, queue, schema
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.requirements import (
    MINIMUM_POSTGRESQL,
    REFUSED_LOGIN,
    UnpreparedDatabase,
    is_vector_too_old,
    require_prepared,
)
from pipeline.db.schema import Server
from pipeline.db.session import Database, get_state
from pipeline.embedding.engines.torch_model import DeviceMissing
from pipeline.embedding.factory import UsableModel, is_remote
from pipeline.embedding.reembed import ModelChangeError, require_usable
from pipeline.errors import AnswerUnavailable, CannotWrite, DatabaseUnavailable, IngestionError, UnsafeDatabase
from pipeline.notify.doorbell import Doorbell
from pipeline.reranking.factory import make_scorer
from pipeline.reranking.reranker import PassageScorer, ScoringFailed
from pipeline.runtime import make_language_model
from pipeline.sandbox import landlock
from pipeline.sandbox.confinement import find_problems
from pipeline.sandbox.pool import Sandbox, make_limits
from pipeline.settings import ENV_FILE, EXAMPLE_PASSWORD, MIB, Settings, SettingsError
from pipeline.stages.prompt import Prompt

CONNECTION_ERRORS = (DatabaseUnavailable, DBAPIError, asyncpg.PostgresError)
"""PostgreSQL is unavailable, or it refuses the login, for example because of a wrong password."""

FAILED_LOGINS = {
    "28P01": (
        "refuses the password",
        "correct DATABASE_URL, or run python -m pipeline migrate, which sets its password",
    ),
    "28": ("refuses the login", "correct the user in DATABASE_URL, or allow it in pg_hba.conf"),
    "3D": ("does not exist", "correct the name of the database in DATABASE_URL, or create the database"),
    "22023": (f"has no role {SERVICE_ROLE}", "run python -m pipeline migrate, which creates the role"),
    "08P01": (
        "refuses the start-up parameters, as PgBouncer does",
        "set DATABASE_TRANSACTION_POOLING=true, or read PgBouncer in RUNBOOK.md",
    ),
    "42501": (
        f"does not let {SERVICE_ROLE} read its tables",
        "run python -m pipeline migrate; if they come from a dump, restore it again, without --no-privileges",
    ),
    "53300": ("has no free connections", "lower DATABASE_POOL_SIZE, or raise max_connections"),
}
"""What the doctor says about an error at the login, by the beginning of its SQLSTATE. The first match counts."""

WRONG_PASSWORD = "28P01"  # noqa: S105 - an SQLSTATE
UNREACHABLE_ADVICE = "check that it is running, and that the host and port in DATABASE_URL are right"
CAUSES: dict[type[BaseException], str] = {
    socket.gaierror: "its host is unknown",
    ConnectionRefusedError: "nothing listens there",
    FileNotFoundError: "there is no such socket",
    TimeoutError: "no answer",
}
"""Plain names of errors. Others are named by their class."""

LONG_WAIT_SECONDS = 600.0
"""Age of the oldest waiting job above which the queue gets a warning."""
OVERDUE_SECONDS = 60.0
"""If a lease expired longer ago than this, no worker is running, because every worker sweeps."""
CLOCK_WARNING_SECONDS = 2.0
CLOCK_FAILURE_SECONDS = 30.0
"""Largest difference between the clocks of two servers that tokens tolerate."""
LOW_DISK_SHARE = 0.1
"""Share of free disk space below which a disk gets a warning."""
MINIMUM_DISK_BYTES = 256 * MIB
"""Free disk space below which the check of a disk fails."""


SAMPLE_PASSAGE = "When the gauge at the footbridge reads more than 3.2 metres, the lock is closed to all boats. " * 14
"""About as long as most passages."""
RERANKER_SECONDS = 30.0
"""Time limit for the check of the reranker."""
RERANKER_ADVICE = "see Searches are not reranked in RUNBOOK.md; searches work without it"

OTHERS = 0o077
"""Rights of everybody but the owner of a file."""


class Verdict(StrEnum):
    """State of a part."""

    OK = "ok"
    WARNING = "warning"
    """It works, but it needs attention."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check, and advice if there is a problem. It contains no secret."""

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


async def examine(settings: Settings) -> AsyncGenerator[Finding]:
    """Check part by part, and yield the findings. The checks change nothing."""
    for finding in _check_settings(settings):
        yield finding
    # First, because a full disk also stops PostgreSQL.
    for part, folder in (("data folder", settings.data_dir), ("temporary files", Path(tempfile.gettempdir()))):
        yield _check_disk(part, folder)
    async for finding in _check_database(settings):
        yield finding
    yield await _check_redis(settings)
    if scorer := make_scorer(settings):
        yield await check_reranker(scorer, settings.reranker_timeout_seconds)
    if settings.llm_base_url:
        yield await _check_language_model(settings)
    yield _check_layers(settings)
    yield await _check_extraction(settings)


def _check_settings(settings: Settings) -> Iterator[Finding]:
    # Invalid values were refused when the settings were read.
    try:
        _ = settings.signing_secret
    except SettingsError as error:
        yield _fail("settings", str(error), "set JWT_SECRET in the environment or .env of every API")
    else:
        yield _ok("settings", "JWT_SECRET is set and long enough")
    if Path(ENV_FILE).exists() and Path(ENV_FILE).stat().st_mode & OTHERS:
        yield _warn("settings", "other users of this machine may read .env", "run chmod 600 .env")
    for name in ("database_url", "database_owner_url", "redis_url"):
        url: SecretStr | None = getattr(settings, name)
        if url and EXAMPLE_PASSWORD in url.get_secret_value():
            advice = "create one with: openssl rand -hex 24"
            yield _warn("settings", f"{name.upper()} contains the password from .env.example", advice)


async def _check_database(settings: Settings) -> AsyncIterator[Finding]:
    try:
        url = settings.sqlalchemy_url
    except SettingsError as error:
        found, _, advice = str(error).partition("; ")
        yield _fail("database", found, advice)
        return
    location = _describe_location(url)
    async with _open_database(url, settings, SERVICE_ROLE) as database:
        try:
            async with database.transaction() as session:
                revision = await schema.read_revision(session)
        except CONNECTION_ERRORS as error:
            yield _explain_failure(error, location, settings)
            return
        if revision is None:
            yield _fail("migrations", f"{location} has no tables", "run python -m pipeline migrate")
            if settings.database_owner_url:
                yield await _check_preparation(settings)
            return
        async with database.transaction() as session:
            server = await schema.describe_server(session)
            clock_offset = abs((datetime.now(UTC) - server.now).total_seconds())
        yield judge_versions(location, server)
        yield _judge_revision(revision)
        yield _judge_rights(server)
        yield _judge_clock(clock_offset)
        yield await _check_model(database, settings)
        yield await _check_queue(database)
        yield await _check_words(database)
    if settings.database_owner_url:
        yield await _check_owner(settings)


def explain_failed_login(sqlstate: str) -> tuple[str, str] | None:
    """Return what the server did and what to do about it, or None for another kind of error."""
    return next((texts for prefix, texts in FAILED_LOGINS.items() if sqlstate.startswith(prefix)), None)


def _explain_failure(error: Exception, location: str, settings: Settings) -> Finding:
    if isinstance(error, UnsafeDatabase):
        found, _, advice = error.reason.partition(": ")
        return _fail("database", f"{location}: {found}", advice)
    cause = error if isinstance(error, DBAPIError | asyncpg.PostgresError) else error.__cause__ or error
    state = get_state(cause) if isinstance(cause, DBAPIError | asyncpg.PostgresError) else ""
    if explained := explain_failed_login(state):
        found, advice = explained
        return _fail("database", f"{location} {found}", advice)
    limit = f"within {settings.database_timeout_seconds:g} s"
    found = f"{location} could not be used {limit} ({_name_error(cause)})"
    return _fail("database", found, UNREACHABLE_ADVICE)


def explain_owner_failure(error: DatabaseUnavailable, settings: Settings) -> str:
    """Return one line on why a command of the operator could not use the database, and what to do."""
    if isinstance(error, CannotWrite):
        return error.message
    cause = error.__cause__ or error
    state = get_state(cause) if isinstance(cause, DBAPIError | asyncpg.PostgresError) else ""
    if state == WRONG_PASSWORD:
        return REFUSED_LOGIN
    found, advice = explain_failed_login(state) or (f"could not be used ({_name_error(cause)})", UNREACHABLE_ADVICE)
    if settings.database_owner_url:
        advice = advice.replace("DATABASE_URL", "DATABASE_OWNER_URL")
    try:
        location = _describe_location(settings.owner_url)
    except SettingsError:  # `make up` has ended meanwhile, and its servers with it
        location = "the database of `make up`"
    return f"{location} {found}: {advice}"


def _name_error(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return next((name for kind, name in CAUSES.items() if isinstance(cause, kind)), type(cause).__name__)


@asynccontextmanager
async def _open_database(url: str, settings: Settings, role: str | None) -> AsyncIterator[Database]:
    database = Database(
        url,
        pool_size=2,
        timeout_seconds=settings.database_timeout_seconds,
        role=role,
        is_pooled=role is not None and settings.database_transaction_pooling,
    )
    try:
        yield database
    finally:
        await database.close()


def _describe_location(url: str) -> str:
    """Return the host, the port if it is given, and the database of a URL, without the parts that may be secret."""
    parts = urlsplit(url)
    host = parts.hostname or "a local socket"
    return f"{host}:{parts.port}{parts.path}" if parts.port else f"{host}{parts.path}"


def judge_versions(location: str, server: Server) -> Finding:
    """Judge the versions of PostgreSQL and pgvector."""
    found = f"{location}: PostgreSQL {server.version}, pgvector {server.vector_version or 'missing'}"
    if server.major_version < MINIMUM_POSTGRESQL:
        return _fail("database", found, f"install PostgreSQL {MINIMUM_POSTGRESQL} or newer")
    if server.vector_version is None:
        return _fail("database", found, "install pgvector, then run python -m pipeline migrate")
    if is_vector_too_old(server.vector_version):
        advice = "install pgvector 0.8 or newer, then run as a superuser: ALTER EXTENSION vector UPDATE"
        return _fail("database", found, advice)
    return _ok("database", found)


def _judge_revision(revision: str) -> Finding:
    found = f"the database is at {revision}, this code needs {schema.find_newest_revision()}"
    match schema.compare_revision(revision):
        case "behind":
            return _fail("migrations", found, "run python -m pipeline migrate")
        case "ahead":
            return _warn("migrations", found, "deploy the newer release to all processes")
    return _ok("migrations", revision)


def _judge_rights(server: Server) -> Finding:
    if not server.has_row_security:
        advice = f"make sure that {SERVICE_ROLE} owns no tables, is not a superuser and does not have BYPASSRLS"
        return _fail("rights", f"row-level security does not apply to {SERVICE_ROLE}", advice)
    if server.login != SERVICE_ROLE:
        found = f"DATABASE_URL logs in as {server.login}, and then acts as {SERVICE_ROLE}"
        advice = (
            f"name {SERVICE_ROLE} in DATABASE_URL and the owner in DATABASE_OWNER_URL, "
            "then run python -m pipeline migrate"
        )
        return _warn("rights", found, advice)
    return _ok("rights", f"row-level security applies to {SERVICE_ROLE}")


def _judge_clock(offset_seconds: float) -> Finding:
    found = f"differs by {offset_seconds:.1f} s from the database's clock"
    if offset_seconds > CLOCK_FAILURE_SECONDS:
        return _fail("clock", found, "synchronize it with NTP; tokens from other servers are refused until then")
    if offset_seconds > CLOCK_WARNING_SECONDS:
        return _warn("clock", found, "synchronize it with NTP")
    return _ok("clock", found)


async def _check_model(database: Database, settings: Settings) -> Finding:
    configured = settings.embedding_model
    async with database.transaction() as session:
        models = await embedding_models.read(session)
    if models.active and configured not in (models.active, models.next):
        return judge_other_model(models.active, configured)
    model = models.active or configured
    runs_there = is_remote(settings, model)
    try:
        usable = await require_usable(settings, model)
    except ModelChangeError as error:
        return explain_unusable_model(error, runs_there=runs_there)
    if models.next:
        found = f"the active model is {models.active}; the change to {models.next} is not finished"
        advice = f"run python -m pipeline reembed --model {models.next} to continue"
        return _warn("embedding model", found, advice)
    return judge_usable_model(model, usable)


def judge_other_model(active: str, configured: str) -> Finding:
    """Say that processes that start with these settings do not become ready.

    The advice is right after a finished `reembed`, and after a change of the setting without `reembed`.
    """
    found = f"the active model is {active}, but EMBEDDING_MODEL is {configured}, with which no API becomes ready"
    advice = f"set EMBEDDING_MODEL={active}; to use another model then, see Another embedding model in RUNBOOK.md"
    return _fail("embedding model", found, advice)


def explain_unusable_model(error: ModelChangeError, *, runs_there: bool) -> Finding:
    """Say why a model cannot be used. `runs_there` is True if it runs on the embedding server."""
    if isinstance(error.__cause__, DeviceMissing):
        found, _, advice = str(error).partition("; ")
        return _fail("embedding model", found, advice)
    advice = "see The embedding server is down in RUNBOOK.md" if runs_there else "install it"
    return _fail("embedding model", str(error), f"{advice}, or correct EMBEDDING_MODEL")


def judge_usable_model(model: str, usable: UsableModel) -> Finding:
    """Name what computes the vectors in this process, and warn if a faster engine could not be used."""
    found = f"{model}, by {usable.engine}, with {usable.prompts.describe()}"
    if not usable.refusals:
        return _ok("embedding model", found)
    advice = "see engine.refused in RUNBOOK.md; model.loaded in the logs shows which engine the service uses"
    return _warn("embedding model", f"{found}; refused: {', '.join(usable.refusals)}", advice)


async def _check_queue(database: Database) -> Finding:
    async with database.transaction() as session:
        backlog = await queue.measure_backlog(session)
    found = f"{backlog.waiting} waiting, the oldest for {backlog.oldest_seconds:.0f} s; {backlog.leased} processing"
    if backlog.overdue_seconds > OVERDUE_SECONDS:
        found += f"; a lease expired {backlog.overdue_seconds:.0f} s ago"
        return _fail("queue", found, "no worker is running; start one with python -m workers")
    if backlog.oldest_seconds > LONG_WAIT_SECONDS:
        return _warn("queue", found, "check that the workers are running, or start more of them")
    return _ok("queue", found)


async def _check_words(database: Database) -> Finding:
    async with database.transaction() as session:
        outdated = await chunks.count_outdated(session)
    if outdated:
        return _ok("words", f"{outdated} passages have words of an earlier release; idle workers renew them")
    return _ok("words", "those of all passages were made by the rules of this release")


async def _check_preparation(settings: Settings) -> Finding:
    """Check before the first migration whether the owner can run it."""
    try:
        await require_prepared(settings.owner_url)
    except UnpreparedDatabase as error:
        return _fail("owner", "the owner cannot migrate yet", str(error))
    except DatabaseUnavailable:
        return _cannot_log_in(settings)
    return _ok("owner", "migrate can be run")


def _cannot_log_in(settings: Settings) -> Finding:
    found = f"the owner cannot log in to {_describe_location(settings.owner_url)}"
    return _fail("owner", found, "correct DATABASE_OWNER_URL")


async def _check_owner(settings: Settings) -> Finding:
    async with _open_database(settings.owner_url, settings, None) as database:
        try:
            async with database.transaction() as session:
                sees_everything = await embedding_models.sees_everything(session)
        except CONNECTION_ERRORS:
            return _cannot_log_in(settings)
    if not sees_everything:
        advice = "name the role that ran the migrations in DATABASE_OWNER_URL"
        return _fail("owner", "DATABASE_OWNER_URL does not name the owner of the tables", advice)
    return _ok("owner", "migrate, reembed and users can be run")


async def _check_redis(settings: Settings) -> Finding:
    location = _describe_location(settings.redis_dsn)
    doorbell = Doorbell(settings.redis_dsn, CircuitBreaker("redis", metrics.REDIS_FAILURES))
    try:
        await doorbell.ping()
    except (RedisError, OSError, TimeoutError) as error:
        await doorbell.close()
        return explain_redis_failure(error, location)
    try:
        policy = await doorbell.read_eviction_policy()
    except RedisError:
        return _warn("redis", "responds, but does not show maxmemory-policy", "make sure that it is noeviction")
    finally:
        await doorbell.close()
    if policy != "noeviction":
        return _fail("redis", f"maxmemory-policy is {policy}", "set it to noeviction, so that Redis deletes no data")
    return _ok("redis", "responds, and maxmemory-policy is noeviction")


def explain_redis_failure(error: Exception, location: str) -> Finding:
    """Say why Redis is of no use. The service works without it, but without rate limits."""
    if isinstance(error, AuthenticationError | ResponseError):
        advice = "correct REDIS_URL, whose form is redis://:password@host:6379/0; until then there are no rate limits"
        return _warn("redis", f"{location} answers: {error}", advice)
    advice = "start it, or correct the host and port in REDIS_URL; until then there are no rate limits"
    return _warn("redis", f"{location} does not respond", advice)


async def check_reranker(scorer: PassageScorer, timeout_seconds: float) -> Finding:
    """Score as many passages as those of a search, and say how long it takes. Close the scorer."""
    question, texts = "When is the lock closed?", [f"{SAMPLE_PASSAGE} {number}" for number in range(scorer.depth)]
    try:
        # Twice: the first time, it connects or loads.
        async with asyncio.timeout(RERANKER_SECONDS):
            await scorer.score(question, texts)
            started = perf_counter()
            await scorer.score(question, texts)
    except TimeoutError:
        return _warn("reranker", f"it does not answer within {RERANKER_SECONDS:g} s", RERANKER_ADVICE)
    except ScoringFailed as failure:
        return _warn("reranker", f"it {failure}", RERANKER_ADVICE)
    finally:
        await scorer.close()
    seconds = perf_counter() - started
    found = f"it took {seconds:.2f} s for {scorer.depth} passages, and the limit is {timeout_seconds:g} s"
    if seconds > timeout_seconds:
        return _warn("reranker", f"{found}, so most searches are not reranked", RERANKER_ADVICE)
    return _ok("reranker", found)


async def _check_language_model(settings: Settings) -> Finding:
    model = make_language_model(settings)
    if model is None:
        return _fail("language model", "LLM_MODEL is not set", "set it together with LLM_BASE_URL")
    try:
        async with aclosing(model.write(Prompt("Answer with one word.", "Hello", 0))) as words:
            async for _ in words:
                break
    except AnswerUnavailable as error:
        return _fail("language model", error.message.split(". ")[0], "see No answers in RUNBOOK.md")
    finally:
        await model.close()
    return _ok("language model", f"{settings.llm_model} responds")


def _check_layers(settings: Settings) -> Finding:
    problems = find_problems()
    if not problems:
        return _ok("sandbox", f"Landlock (ABI {landlock.find_version()}) and seccomp confine the readers of files")
    found = f"the readers of files are not confined by {' and '.join(problems)}"
    judge = _fail if settings.sandbox == "require" else _warn
    return judge("sandbox", found, "; ".join(problems.values()))


async def _check_extraction(settings: Settings) -> Finding:
    file = samples.list_documents()[0]
    sandbox = Sandbox()
    try:
        with file.open("rb") as content:
            async with aclosing(sandbox.extract(content, "application/pdf", make_limits(settings))) as extracted:
                pages = [page async for page in extracted]
    except IngestionError as error:
        advice = "check whether MAX_PAGES, MAX_TEXT_CHARACTERS or an EXTRACT_… limit is too low"
        return _fail("extraction", f"{file.name}: {error.message}", advice)
    finally:
        await sandbox.close()
    return _ok("extraction", f"{file.name}: {len(pages)} pages")


def _check_disk(part: str, folder: Path) -> Finding:
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    found = f"{existing}: {usage.free / MIB:,.0f} MiB of {usage.total / MIB:,.0f} MiB free"
    if usage.free < MINIMUM_DISK_BYTES:
        advice = "free up disk space; on a full disk uploads are refused with 507, and PostgreSQL may stop"
        return _fail(part, f"{found}: the disk is full or nearly full", advice)
    if usage.free < usage.total * LOW_DISK_SHARE:
        return _warn(part, found, "free up disk space before uploads are refused with 507")
    return _ok(part, found)
