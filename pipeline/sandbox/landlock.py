"""Landlock: the kernel refuses a process every file, except to read below the folders of a list.

From ABI 4 on (Linux 6.7) it also refuses TCP, and from ABI 6 on (Linux 6.12) signals and abstract Unix sockets that
lead out of the process. Landlock does not restrict `stat`: the child can see whether a file exists.
"""

import errno
import os
import struct
from collections.abc import Iterable
from ctypes import create_string_buffer
from pathlib import Path

from pipeline.sandbox import kernel

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, the same on every processor."""
VERSION_FLAG = 1
RULE_PATH_BENEATH = 1
READ_FILE, READ_DIRECTORY = 1 << 2, 1 << 3
FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""All rights on files, by the first ABI that knows them."""
CONNECTION_RIGHTS = 0b11
"""To bind and to connect TCP sockets, from ABI 4."""
SCOPES = 0b11
"""Abstract Unix sockets and signals, from ABI 6."""


PROBLEMS = {
    errno.ENOSYS: "the kernel has no Landlock; it needs Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK",
    errno.EOPNOTSUPP: "Landlock is turned off; add landlock to the kernel parameter lsm=",
    errno.EPERM: "the container's seccomp profile forbids Landlock; Docker 23 and newer allow it by default",
}


def find_version() -> int:
    """Return the Landlock ABI of the kernel.

    Raises OSError if this process cannot use Landlock.
    """
    return kernel.call(CREATE_RULESET, None, 0, VERSION_FLAG)


def find_problem() -> str | None:
    """Return why this process cannot use Landlock, or None if it can."""
    try:
        find_version()
    except OSError as error:
        return PROBLEMS.get(error.errno or 0, f"Landlock cannot be used ({error.strerror})")
    return None


def create_ruleset(folders: Iterable[Path]) -> int:
    """Return the file descriptor of a ruleset that allows only to read below `folders`. Missing folders are skipped.

    Raises OSError if the kernel refuses.
    """
    version = find_version()
    files = FILE_RIGHTS[max(abi for abi in FILE_RIGHTS if abi <= version)]
    attributes = struct.pack("=QQQ", files, CONNECTION_RIGHTS * (version >= 4), SCOPES * (version >= 6))
    ruleset = kernel.call(CREATE_RULESET, create_string_buffer(attributes, len(attributes)), len(attributes), 0)
    for folder in filter(Path.is_dir, folders):
        descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", READ_FILE | READ_DIRECTORY, descriptor)
        kernel.call(ADD_RULE, ruleset, RULE_PATH_BENEATH, create_string_buffer(rule, len(rule)), 0)
        os.close(descriptor)
    return ruleset


def restrict_self(ruleset: int) -> None:
    """Apply the ruleset to this process for the rest of its life. The process must have `no_new_privs`.

    Raises OSError if the kernel refuses.
    """
    kernel.call(RESTRICT_SELF, ruleset, 0)
