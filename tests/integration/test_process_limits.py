"""Row 40 of the fault matrix: no process or thread can be started for a while. Documents wait, and none fails."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.runtime import Runtime
from pipeline.sandbox.pool import Sandbox
from tests.databases import fetch
from tests.integration.conftest import Api, work
from tests.integration.test_page_images import REPORT, upload
from tests.processes import PROJECT
from tests.users import act_as_ordinary_user

pytestmark = pytest.mark.anyio

FAILING_FORKS = """
import os, socket, sys
from pipeline.sandbox.__main__ import ForkServer, load, run
from pipeline.sandbox.confinement import Confinement

failures = {failures}

def fork():
    global failures
    failures -= 1
    if failures >= 0:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return os.fork()

load()
ForkServer(socket.socket(fileno=os.dup(0)), run, {confinement}, fork).serve()
"""
UNCONFINED = "Confinement(ruleset=None, filters_calls=False)"
REFUSED = "Confinement(ruleset=999, filters_calls=True)"


def make_sandbox(failures: int, confinement: str = UNCONFINED) -> Sandbox:
    """A sandbox whose fork server's first forks fail."""
    return Sandbox(("-c", FAILING_FORKS.format(failures=failures, confinement=confinement)))


@asynccontextmanager
async def use_sandbox(api: Api, sandbox: Sandbox) -> AsyncIterator[Runtime]:
    """Have the API and an attempt use this sandbox."""
    runtime = api.app.state.runtime = replace(api.runtime, sandbox=sandbox)
    yield runtime
    await sandbox.close()


async def test_row_40_documents_wait_and_page_images_are_refused_while_fork_fails(api: Api, database_url: str) -> None:
    person = await api.register()
    location = await upload(api, person)
    async with use_sandbox(api, make_sandbox(failures=5)) as runtime:
        refused = await api.get(person, f"{location}/pages/1/image")
        assert (refused.status_code, refused.json()["code"]) == (503, "picture_unavailable")
        assert refused.headers["retry-after"] == "2"
        assert (await api.replace(person, location, REPORT, "again.pdf")).status_code == 202
        for _ in range(4):
            assert await work(runtime) == 1
            document = (await api.get(person, location)).json()
            assert (document["status"], document["attempts"], document["error"]) == ("pending", 0, None)
            await fetch(database_url, "UPDATE jobs SET available_at = now()")
        assert await work(runtime) == 1
        assert (await api.get(person, location)).json()["status"] == "ready"
        assert (await api.get(person, f"{location}/pages/1/image")).status_code == 200


async def test_child_that_the_kernel_does_not_confine_reads_nothing(api: Api) -> None:
    person = await api.register()
    location = (await api.upload(person, b"a text that must not be read")).headers["location"]
    async with use_sandbox(api, make_sandbox(failures=0, confinement=REFUSED)) as runtime:
        assert await work(runtime) == 1
        document = (await api.get(person, location)).json()
    assert (document["status"], document["attempts"]) == ("pending", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="it needs prlimit")
def test_row_40_real_limit_on_processes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.crowded"],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
        **act_as_ordinary_user(),
    )
    assert json.loads(done.stdout) == [
        *("no process", "a thread answered", "it was read"),
        *("no process", "it was read"),
    ]


FULL_DISK = """
import resource, tempfile
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no folder takes a byte
from pipeline.runtime import choose_temporary_folder
choose_temporary_folder()
with tempfile.TemporaryFile() as file:
    print(tempfile.gettempdir())
"""


def test_folder_for_temporary_files_is_chosen_on_a_full_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (str(tmp_path), 0), done.stderr
