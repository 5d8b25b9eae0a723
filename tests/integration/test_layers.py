"""The layers of the sandbox, as operators see them; and processes whose memory no other process can read."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from pipeline.operations.local.system_user import SystemUser
from pipeline.sandbox.confinement import Layer, find_layers, summarize_layers
from tests.integration.old_kernel import Found
from tests.processes import PROJECT, find_port, run_module
from tests.waiting import wait_until

ORDINARY_USER = 10001
needs_layers = pytest.mark.skipif(find_layers() != set(Layer), reason="this kernel has no Landlock or no seccomp")


@needs_layers
def test_kernel_without_landlock_is_named_and_refused_on_request() -> None:
    done = run_module("tests.integration.old_kernel")
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout.splitlines()[-1], type=Found)
    assert {error: (cause or "").split("; ")[-1] for error, cause in found.causes.items()} == {
        "ENOTSUP": "add landlock to the kernel parameter lsm=",
        "EPERM": "Docker 23 and newer allow it by default",
        "ENOSYS": "it needs Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK",
    }
    assert found.summary == "without_landlock"
    assert found.refusal.startswith("SANDBOX is require")
    assert found.causes["ENOSYS"] in (found.advice, found.refusal.partition("landlock: ")[2])
    assert found.verdicts == ["warning", "failed"]
    assert found.text == "read nevertheless"


@needs_layers
def test_this_kernel_has_all_layers() -> None:
    assert summarize_layers() == "ok"


@contextmanager
def start_as_ordinary_user(*arguments: str) -> Iterator[psutil.Process]:
    """Start a program whose files in /proc would belong to its user, if its memory were not hidden."""
    identity: dict[str, Any] = {}
    if os.getuid() == 0:
        identity = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []}
        for folder in (Path(sys.base_prefix), Path(sys.prefix), PROJECT):
            SystemUser("of the container", ORDINARY_USER, ORDINARY_USER).enter(folder)
    secrets = {"JWT_SECRET": "a" * 64, "DATABASE_URL": "postgresql://127.0.0.1:1/none", "PORT": str(find_port())}
    orders, theirs = socket.socketpair()
    with orders, theirs:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env={"PATH": os.defpath, "API_PROCESSES": "2", "REDIS_URL": "redis://127.0.0.1:1", **secrets},
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **identity,
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            for child in family:
                child.kill()


def is_hidden(process: psutil.Process) -> bool:
    """Whether root owns the files of a process in /proc. It also owns those of a process that has ended."""
    assert process.status() != psutil.STATUS_ZOMBIE, "it has ended"
    return Path(f"/proc/{process.pid}/environ").stat().st_uid == 0


def find_servers(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that uvicorn has started, each of them a new program."""
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.skipif(sys.platform != "linux", reason="processes hide their memory on Linux only")
def test_no_process_of_the_same_user_reads_secrets_from_memory() -> None:
    commands = [
        ["api"],
        ["workers"],
        ["arq", "workers.main.WorkerSettings"],
        ["pipeline", "doctor"],
        ["pipeline.sandbox"],
    ]
    with ExitStack() as stack:
        started = [stack.enter_context(start_as_ordinary_user("-m", *command)) for command in commands]
        wait_until(lambda: all(map(is_hidden, started)), 60, "they hide their memory")
        wait_until(lambda: len(find_servers(started[0])) == 2, 60, "the API starts its servers")
        wait_until(lambda: all(map(is_hidden, find_servers(started[0]))), 60, "they do, too")
