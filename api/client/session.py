"""The token between two commands: a file that its owner alone can read. It never holds a password."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from api.client.errors import UnusableInput


class Session(msgspec.Struct, frozen=True):
    """Who is signed in, and where: the token is for that URL and for no other."""

    url: str
    email: str
    token: str


def find_session_file(environment: Mapping[str, str]) -> Path:
    """`sluice/session.json` in the folder for settings: `XDG_CONFIG_HOME`, or `~/.config`."""
    folder = environment.get("XDG_CONFIG_HOME", "")
    # By the specification a relative path there is to be ignored.
    base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".config"
    return base / "sluice" / "session.json"


def load_session(file: Path) -> Session | None:
    """Read the session; None where there is none, or none that can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Session)
    except (OSError, msgspec.DecodeError):
        return None


def save_session(file: Path, session: Session) -> None:
    """Write the session in one step: who reads meanwhile sees the old one or the new one.

    Raises UnusableInput where the file cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        # Made with mode 0600.
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
        raise UnusableInput(f"the session cannot be kept in {file}: {error.strerror}") from None
