"""Row 49 of the fault matrix: a file that controls its reader attacks. Every attack is refused."""

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from pipeline.sandbox.confinement import Layer, find_layers
from pipeline.stages.extract import find_formats
from tests.faults.attacked import Outcomes
from tests.faults.attacks import ATTACKS, FILES
from tests.processes import PROJECT
from tests.users import act_as_ordinary_user

pytestmark = pytest.mark.skipif(find_layers() != set(Layer), reason="this kernel has no Landlock or no seccomp")

SUCCEED_UNCONFINED = {
    "TCP", "UDP", "Unix socket", "abstract socket", "netlink", "open for writing", "create", "truncate", "unlink", "rename",
    "link", "symlink", "mkdir", "mknod", "chmod", "chown", "utimes", "fork", "thread", "execve", "execveat", "memfd",
    "memfd and execve", "map executable memory", "signal the worker", "pidfd_open", "survive its parent", "shmget",
    "semget", "msgget", "prlimit of the worker", "sched_setaffinity of the worker",
    "setpriority of the worker", "map its file for writing", "truncate its file", "write to its file", "use an inherited descriptor",
}  # fmt: skip
"""Attacks that an ordinary process can make on every kernel. The others need rights or a kernel that has the call."""


HIDDEN = {
    "read the environment of the worker",
    "read the memory of the worker",
    "write the memory of the worker",
    "ptrace the worker",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
}
"""Attacks that fail even without any layer, because the worker hides its memory."""


def run_attacked(identity: dict[str, Any]) -> Outcomes:
    """Run `tests.faults.attacked` as this user."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.attacked"],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
        **identity,
    )
    return msgspec.json.decode(done.stdout, type=Outcomes)


@pytest.mark.parametrize("is_root", [True, False] if os.getuid() == 0 else [False])
def test_row_49_every_attack_is_refused(*, is_root: bool) -> None:
    outcomes = run_attacked({} if is_root else act_as_ordinary_user())
    assert bool(outcomes.unconfined) != is_root
    formats = [known.media_type for known in find_formats()]
    for outcome in (outcomes.text, outcomes.image, outcomes.without_landlock, outcomes.without_seccomp):
        assert outcome.read == formats
    everything = [*FILES, *ATTACKS]
    assert (outcomes.text.other, outcomes.text.refused) == ({}, everything)
    assert (outcomes.image.other, outcomes.image.refused) == ({}, everything)
    assert set(outcomes.without_landlock.other) <= set(FILES)
    assert outcomes.without_seccomp.other == {}
    assert set(outcomes.other_calls) <= {"malformed"}
    if outcomes.unconfined:
        assert set(outcomes.unconfined.refused) >= HIDDEN
        assert SUCCEED_UNCONFINED - outcomes.unconfined.other.keys() == set()
