"""Real parts for every test: an embedded PostgreSQL and Valkey for each test process, a fresh database for each test."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from pipeline.logs import configure_logging
from pipeline.operations.local.servers import run_postgres, run_valkey
from pipeline.settings import Settings
from tests.databases import clone_database, migrate, run_sql

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"

# What a developer has set for their own stack must not reach the tests.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)


configure_logging("ERROR")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    # Not pytest's tmp_path: sockets need short paths, and PostgreSQL as root another user's access.
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url(server_folder: Path) -> Iterator[str]:
    with run_postgres(server_folder / "postgres") as url:
        run_sql(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def redis_url(server_folder: Path) -> Iterator[str]:
    with run_valkey(server_folder / "valkey") as url:
        yield url


@pytest.fixture(scope="session")
def template_url(postgres_url: str) -> str:
    """Database with the migrations done, to be cloned."""
    url = clone_database(postgres_url, "sluice_template", template="template1")
    migrate(url, "head")
    return url


@pytest.fixture
def database_url(postgres_url: str, template_url: str) -> str:
    assert template_url
    return clone_database(postgres_url, f"test_{uuid4().hex}", template="sluice_template")


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return Settings(
        _env_file=None,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        jwt_secret=SecretStr("a secret of the tests, over 32 bytes long"),
        lease_seconds=3,
        poll_seconds=0.2,
        rate_limit_login="",
        rate_limit_upload="",
        rate_limit_query="",
    )


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a folder with real documents; the test is skipped, saying so, where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED_DATA / name
        if not folder.exists():
            pytest.skip(f"the shared data set {name} is not on this machine")
        return folder

    return find


def pytest_report_header() -> str:
    present = sorted(folder.name for folder in SHARED_DATA.iterdir()) if SHARED_DATA.exists() else []
    return f"shared data: {json.dumps(present)}"
