"""Files to upload: a path, bytes, or a file object."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sluice_client.errors import UnusableInput

Source = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes themselves, or a file that is open for reading bytes."""
OCTETS = "application/octet-stream"
"""The service detects the type from name and content; this machine could call it differently."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A file to send. It can be sent again if it can be read again from the start."""

    name: str
    file: BinaryIO
    can_repeat: bool

    def make_part(self) -> tuple[str, BinaryIO, str]:
        """Return the part of the form."""
        return self.name, self.file, OCTETS


@contextmanager
def open_source(source: Source, filename: str | None) -> Iterator[OpenSource]:
    """Open a file to send. A file object of the caller stays open.

    Raises UnusableInput if it has no name or cannot be read.
    """
    match source:
        case bytes():
            yield OpenSource(_require_name(filename), io.BytesIO(source), True)
        case str() | os.PathLike():
            path = Path(source)
            try:
                file = path.open("rb")
            except OSError as error:
                raise UnusableInput(f"{path} cannot be read: {error.strerror}") from None
            with file:
                yield OpenSource(filename or path.name, file, True)
        case _:
            name = getattr(source, "name", None)
            known = Path(name).name if isinstance(name, str) else None
            yield OpenSource(_require_name(filename or known), source, source.seekable())


def _require_name(name: str | None) -> str:
    if not name:
        raise UnusableInput("these bytes have no name; give one as `filename`, for example report.txt")
    return name
