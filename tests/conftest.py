"""Parts that all tests share: PostgreSQL and Valkey for each test process, an empty database for each test."""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from pipeline.logs import configure_logging
from pipeline.settings import Settings
from tests.databases import Databases, clone_database, migrate
from tests.hanging import pytest_fixture_setup, pytest_pyfunc_call  # noqa: F401 - used by pytest
from tests.models import MODEL_CACHE
from tests.servers import Servers, run_servers

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"
Logged = list[MutableMapping[str, Any]]
SECRET = "a secret of the tests, over 32 bytes long"

# The settings of a developer's own stack must not reach the tests.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)
os.environ["MODEL_CACHE"] = str(MODEL_CACHE)

# A shell that runs the tests in the background makes them ignore SIGINT, and their child processes too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def log_errors_only() -> None:
    """Log as between tests. A stream that pytest has replaced for one test is closed after it."""
    configure_logging("ERROR", sys.__stderr__)


log_errors_only()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with run_servers() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    return servers.postgres_url


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    return servers.redis_url


@pytest.fixture(scope="session")
def template_url(postgres_url: str) -> str:
    """A database with all migrations done, for cloning."""
    url = clone_database(postgres_url, "sluice_template", template="template1")
    migrate(url, "head")
    return url


@pytest.fixture(scope="session")
def databases(postgres_url: str, template_url: str) -> Databases:
    assert template_url
    return Databases(postgres_url, "sluice_template")


@pytest.fixture
def database_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """An empty database; one of its own for a test with `@pytest.mark.own_database`."""
    return databases.clone() if request.node.get_closest_marker("own_database") else databases.lend()


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return Settings(
        _env_file=None,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        jwt_secret=SecretStr(SECRET),
        # Longer than by default, for a busy machine. Tests of outages set their own.
        database_timeout_seconds=10,
        lease_seconds=3,
        poll_seconds=0.2,
        rate_limit_login="",
        rate_limit_login_address="",
        rate_limit_registration_address="",
        rate_limit_upload="",
        rate_limit_query="",
    )


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Every event that our code logs during the test."""
    configure_logging("DEBUG")
    with structlog.testing.capture_logs() as events:
        yield events
    log_errors_only()


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the path of a folder with real documents, or skip the test if it is not on this machine."""

    def find(name: str) -> Path:
        folder = SHARED_DATA / name
        if not folder.exists():
            pytest.skip(f"the shared data set {name} is not on this machine")
        return folder

    return find


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without garbage collection. It would look at all tests and modules again and again, also later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(PROJECT / "tests" / "faults"):
            item.add_marker("faults")
    # The longest first: then both processes are busy until the end.
    items.sort(key=lambda item: item.get_closest_marker("fuzz") is None)


def pytest_report_header() -> str:
    present = sorted(folder.name for folder in SHARED_DATA.iterdir()) if SHARED_DATA.exists() else []
    return f"shared data: {json.dumps(present)}"
