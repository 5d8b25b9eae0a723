"""The layers of the sandbox, as operators see them; processes whose memory is hidden, and memory that is freed."""

import json
import os
import platform
import sys

import msgspec
import pytest

from pipeline.sandbox.confinement import Layer, find_layers, summarize_layers
from tests.integration.large_blocks import HASH_BYTES
from tests.integration.old_kernel import Found
from tests.processes import run_module

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
    [refusal] = {*found.refusals}
    assert refusal.startswith("SANDBOX is require")
    assert found.causes["ENOSYS"] in (found.advice, refusal.partition("landlock: ")[2])
    assert found.verdicts == ["warning", "failed"]
    assert found.text == "read nevertheless"


@needs_layers
def test_this_kernel_has_all_layers() -> None:
    assert summarize_layers() == "ok"


@pytest.mark.skipif(sys.platform != "linux", reason="processes hide their memory on Linux only")
def test_every_program_hides_its_memory_before_it_reads_secrets() -> None:
    done = run_module("tests.integration.entry_points")
    assert done.returncode == 0, done.stderr
    hidden = json.loads(done.stdout)
    assert {name for name, is_hidden in hidden.items() if not is_hidden} == set()
    assert len(hidden) == 6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps large blocks")
def test_api_keeps_no_memory_of_hashed_passwords() -> None:
    settings = {**os.environ, "JWT_SECRET": "x" * 48, "DATABASE_URL": "postgresql+asyncpg://nobody@nowhere/none"}
    done = run_module("tests.integration.large_blocks", environment=settings)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < HASH_BYTES / 4
