"""The servers and services that are measured."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic_settings import DotEnvSettingsSource

from pipeline.db.models import SERVICE_ROLE
from pipeline.operations.local.place import open_place
from pipeline.operations.local.servers import SHARED_BUFFERS_MB, run_postgres, run_valkey
from pipeline.settings import ENV_FILE, Settings
from tests.benchmarks.processes import Kind, Service
from tests.databases import run_sql
from tests.e2e.conftest import Up
from tests.models import MODEL_CACHE
from tests.processes import PROJECT
from tests.service import NO_LIMITS

MODEL_LOADED = '"event": "model.loaded"'
SETTINGS = {**NO_LIMITS, "JWT_TTL_MINUTES": "600", "LEASE_SECONDS": "15", "MODEL_CACHE": str(MODEL_CACHE)}
HARMLESS = {*SETTINGS, "JWT_SECRET", "DATA_DIR", "PORT"}
"""Settings in `.env` that the benchmarks replace."""


def refuse_env_file(file: Path = PROJECT / ENV_FILE) -> None:
    """Exit if `.env`, which the processes of the service read, has settings that change what is measured."""
    assigned = DotEnvSettingsSource(Settings, file).env_vars
    names = {name.upper() for name, value in assigned.items() if value and name in Settings.model_fields}
    if found := sorted(names - HARMLESS):
        sys.exit(f"{file} sets {', '.join(found)}; move it away, and set what is to be measured in the environment")


@dataclass(frozen=True)
class Servers:
    """PostgreSQL and Valkey, which everything that is measured shares."""

    postgres_url: str
    """As the owner of all tables."""
    valkey_url: str
    postgres_log: Path
    process_ids: dict[Kind, int]

    def make_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        run_sql(self.postgres_url, f"CREATE DATABASE {name}")
        return self.postgres_url.replace("/postgres?", f"/{name}?")

    def make_environment(self, database_url: str) -> dict[str, str]:
        """Return the settings that name the servers."""
        return {
            "DATABASE_URL": database_url.replace("//postgres:@", f"//{SERVICE_ROLE}:@"),
            "DATABASE_OWNER_URL": database_url,
            "REDIS_URL": self.valkey_url,
        }


@contextmanager
def run_servers(*, shared_buffers_mb: int = SHARED_BUFFERS_MB) -> Iterator[Servers]:
    """Run PostgreSQL and Valkey on a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        open_place(Path(folder)) as place,
        run_postgres(place, shared_buffers_mb=shared_buffers_mb) as postgres,
        run_valkey(place) as valkey,
    ):
        process_ids = {Kind.POSTGRESQL: postgres.child.process.pid, Kind.VALKEY: valkey.child.process.pid}
        yield Servers(postgres.url, valkey.url, place.data_dir / "postgresql.log", process_ids)


@contextmanager
def run_service(servers: Servers, database_url: str, *, workers: int, api_processes: int = 1) -> Iterator[Service]:
    """Run `make up` without rate limits."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        processes = {"WORKER_PROCESSES": str(workers), "API_PROCESSES": str(api_processes)}
        up = Up(Path(folder), **SETTINGS, **servers.make_environment(database_url), **processes)
        try:
            yield Service(up.url, up.process.pid, servers.process_ids, read_model(up.data_dir))
        finally:
            up.stop()


def read_model(data_dir: Path) -> str:
    """Return the model of a service with its engine and precision, as its processes have logged it.

    If processes use different engines, the answer names all of them.
    """
    events = [json.loads(line) for line in (data_dir / "log.jsonl").read_text().splitlines() if MODEL_LOADED in line]
    parts = ("model", "engine", "precision", "device")
    return " and ".join(sorted({", ".join(str(event[part]) for part in parts if part in event) for event in events}))
