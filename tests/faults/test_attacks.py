"""Row 49 of the fault matrix: a file that controls its reader attacks. Every attack is refused."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pipeline.operations.local.system_user import SystemUser
from pipeline.sandbox.confinement import Layer, find_layers
from tests.faults.attacked import Outcomes
from tests.faults.attacks import ATTACKS, FILES

ORDINARY_USER = 10001
"""The user of the container image."""
PROJECT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(find_layers() != set(Layer), reason="this kernel has no Landlock or no seccomp")

SUCCEED_UNCONFINED = {
    "TCP", "UDP", "Unix socket", "abstract socket", "netlink", "open for writing", "create", "truncate", "unlink", "rename",
    "link", "symlink", "mkdir", "mknod", "chmod", "chown", "utimes", "fork", "thread", "execve", "execveat", "memfd",
    "memfd and execve", "map executable memory", "signal the worker", "pidfd_open", "survive its parent", "shmget",
    "semget", "msgget", "write its own memory through /proc", "prlimit of the worker", "sched_setaffinity of the worker",
    "setpriority of the worker", "truncate its file", "write to its file", "use an inherited descriptor",
}  # fmt: skip
"""Attacks that an ordinary process can make on every kernel. The others need rights or a kernel that has the call."""


def run_attacked(user: int) -> Outcomes:
    """Run `tests.faults.attacked` as this user."""
    if user != os.getuid():
        for folder in (Path(sys.base_prefix), Path(sys.prefix), PROJECT):
            SystemUser("of the container", user, user).enter(folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.attacked"],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.PIPE,
        user=user,
        group=user if user != os.getuid() else None,
        extra_groups=[] if user != os.getuid() else None,
        timeout=60,
    )
    return msgspec.json.decode(done.stdout, type=Outcomes)


@pytest.mark.parametrize("user", [0, ORDINARY_USER] if os.getuid() == 0 else [os.getuid()])
def test_row_49_every_attack_is_refused(user: int) -> None:
    outcomes = run_attacked(user)
    everything = [*FILES, *ATTACKS]
    assert (outcomes.text.other, outcomes.text.refused) == ({}, everything)
    assert (outcomes.image.other, outcomes.image.refused) == ({}, everything)
    assert set(outcomes.without_landlock.other) <= set(FILES)
    assert set(outcomes.other_calls) <= {"malformed"}
    if outcomes.unconfined:
        assert SUCCEED_UNCONFINED - outcomes.unconfined.other.keys() == set()
