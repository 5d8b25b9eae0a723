"""The session file, which keeps the token between commands. Only its owner can read it. It never holds a password."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sluice_client.errors import UnusableInput


class Session(msgspec.Struct, frozen=True):
    """A token, with its account and the URL of its service. It is sent to no other URL."""

    url: str
    email: str
    token: str


def find_session_file(environment: Mapping[str, str]) -> Path:
    """Return the path of `sluice/session.json` in `XDG_CONFIG_HOME` or `~/.config`."""
    folder = environment.get("XDG_CONFIG_HOME", "")
    # The XDG specification says to ignore a relative path.
    base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".config"
    return base / "sluice" / "session.json"


def load_session(file: Path) -> Session | None:
    """Return the session, or None if the file is missing or invalid."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Session)
    except (OSError, msgspec.DecodeError):
        return None


def delete_session(file: Path) -> None:
    """Delete the session, if there is one."""
    with contextlib.suppress(OSError):
        file.unlink()


def save_session(file: Path, session: Session) -> None:
    """Save the session atomically: a concurrent reader sees the old file or the new one.

    Raises UnusableInput if the file cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        # mkstemp creates the file with mode 0600.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        try:
            with os.fdopen(handle, "wb") as new:
                new.write(msgspec.json.encode(session))
            Path(name).replace(file)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UnusableInput(
            f"cannot save the session in {file} ({error.strerror}); make it writable, or set SLUICE_TOKEN"
        ) from None
