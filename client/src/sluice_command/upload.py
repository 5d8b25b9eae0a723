"""Uploads files in parallel, and polls until their documents are ready or failed."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import BinaryIO

import msgspec

from sluice_client.errors import NotAuthenticated, SluiceError, Unavailable, UnusableInput
from sluice_client.models import Document, Failure
from sluice_client.responses import decode
from sluice_command.connection import Connection
from sluice_command.errors import Interrupted

SENDING_FRACTION = 0.5
"""Progress of a file that was sent but not ingested."""
MAX_UNFINISHED_FRACTION = 0.99
"""Bound on the progress of a file until the service says that its document is ready or failed."""
MIN_POLL_SECONDS = 0.5
ENDS_ALL = (NotAuthenticated, Unavailable, UnusableInput, Interrupted)
"""Errors of one file that the others would have, too."""


class Phase(StrEnum):
    """The phase of an upload."""

    WAITING = "waiting"
    SENDING = "sending"
    ACCEPTED = "accepted"
    """The service has created a document, whose status says more."""
    ENDED = "ended"


@dataclass
class RawPage:
    """A page of a listing. The documents are not decoded, so that unknown fields are kept."""

    items: list[msgspec.Raw]
    next_cursor: str | None


@dataclass(eq=False)
class Upload:
    """One file and its document."""

    path: Path
    size_bytes: int
    phase: Phase = Phase.WAITING
    sent_bytes: int = 0
    """In the current attempt."""
    fraction: float = 0.0
    """Progress from 0.0 to 1.0. It falls only if sending or ingestion starts again."""
    note: str = ""
    """Why the upload waits."""
    document: Document | None = None
    body: bytes = b""
    """The document as the service sent it."""
    refusal: Failure | None = None
    """Why the file has no document."""

    @property
    def name(self) -> str:
        """The path as valid text. A file name on disk can be any bytes."""
        return os.fsencode(self.path).decode(errors="replace")

    @property
    def status(self) -> str:
        """The status of the document, or the phase before there is one."""
        if self.refusal:
            return "refused"
        return self.document.status if self.document else self.phase

    @property
    def error(self) -> Failure | None:
        """The error of the upload or of its document."""
        return self.refusal or (self.document.error if self.document else None)

    def advance(self, fraction: float) -> None:
        """Set the progress of an unfinished upload."""
        self.fraction = min(fraction, MAX_UNFINISHED_FRACTION)

    def end(self) -> None:
        """Mark the upload as finished."""
        self.phase = Phase.ENDED
        self.fraction = 1.0


class CountedFile:
    """A file that reports how much of it was read. httpx2 reads it in blocks, and from the start at each attempt."""

    def __init__(self, file: BinaryIO, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count

    def fileno(self) -> int:
        """Return the descriptor, from which httpx2 takes the length."""
        return self._file.fileno()

    def seek(self, offset: int) -> int:
        """Move to an offset."""
        self._count(offset)
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """Read a block."""
        data = self._file.read(size)
        self._count(self._file.tell())
        return data


@dataclass
class Run:
    """The upload of some files. `uploads` always hold the current state, also after an error."""

    connection: Connection
    uploads: Sequence[Upload]
    wait: bool
    """Wait until every document is `ready` or `failed`."""
    collection_ids: Sequence[str] = ()
    """The collections to put the documents into."""
    _left: Iterator[Upload] = field(init=False)

    async def finish(self, parallel: int) -> None:
        """Send all files, `parallel` at a time.

        An error of one file does not stop the others. Raises NotAuthenticated, Unavailable, UnusableInput, Interrupted.
        """
        self._left = iter(self.uploads)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(parallel, len(self.uploads))):
                    tasks.create_task(self._send_files())
                if self.wait:
                    tasks.create_task(self._follow())
        except* SluiceError as group:
            raise _find_first(group) from None

    async def _send_files(self) -> None:
        for upload in self._left:
            upload.phase = Phase.SENDING
            try:
                await self._send(upload)
            except ENDS_ALL:
                raise
            except SluiceError as error:
                self._refuse(upload, error.code, error.problem.detail)
            except OSError as error:
                self._refuse(upload, "unreadable", f"The file cannot be read: {error.strerror}.")

    async def _send(self, upload: Upload) -> None:
        def count(sent_bytes: int) -> None:
            upload.sent_bytes = sent_bytes
            share = sent_bytes / max(1, upload.size_bytes)
            upload.advance(share * SENDING_FRACTION if self.wait else share)

        def tell(note: str) -> None:
            upload.note = note
            count(0)

        with upload.path.open("rb") as file:
            # The service detects the type from name and content; this machine could call it differently.
            part = (Path(upload.name).name, CountedFile(file, count), "application/octet-stream")
            response = await self.connection.send(
                "POST",
                "/v1/documents",
                data={"collection_id": list(self.collection_ids)},
                files={"file": part},
                tell=tell,
            )
        self._record(upload, decode(response, Document), response.content)

    def _record(self, upload: Upload, document: Document, body: bytes) -> None:
        """Record the state of a document."""
        upload.phase = Phase.ACCEPTED
        upload.document, upload.body = document, body
        if document.is_terminal or not self.wait:
            upload.end()
        else:
            upload.advance(SENDING_FRACTION + (1 - SENDING_FRACTION) * document.progress)

    def _refuse(self, upload: Upload, code: str, message: str) -> None:
        upload.refusal = Failure(code, message)
        upload.end()

    async def _follow(self) -> None:
        pause = MIN_POLL_SECONDS
        while any(upload.phase != Phase.ENDED for upload in self.uploads):
            await asyncio.sleep(pause)
            started_at = monotonic()
            await self._poll()
            # Polling many documents takes long. Poll for at most half of the time.
            pause = max(MIN_POLL_SECONDS, monotonic() - started_at)

    async def _poll(self) -> None:
        """Read the states of the accepted documents from the listing, newest first, up to the oldest of them."""
        wanted: dict[str, list[Upload]] = {}
        for upload in self.uploads:
            if upload.phase == Phase.ACCEPTED and upload.document:
                wanted.setdefault(upload.document.id, []).append(upload)
        if not wanted:
            return
        async for item in self.connection.list_items("/v1/documents", None, {}, RawPage):
            document = msgspec.json.decode(item, type=Document)
            for upload in wanted.pop(document.id, ()):
                self._record(upload, document, bytes(item))
            if not wanted:
                return
        for upload in [upload for uploads in wanted.values() for upload in uploads]:
            self._refuse(upload, "not_found", "The document was deleted before it was ingested. Upload the file again.")


def find_files(paths: Sequence[str]) -> list[Upload]:
    """Return an upload for each path.

    Raises UnusableInput if a path is not a readable file.
    """
    return [_find_file(Path(path)) for path in paths]


def _find_file(path: Path) -> Upload:
    if path.is_dir():
        raise UnusableInput(f"{path} is a folder; name its files, for example {path}/*")
    if not path.is_file():
        raise UnusableInput(f"{path} is not a regular file" if path.exists() else f"{path} does not exist")
    if not os.access(path, os.R_OK):
        raise UnusableInput(f"{path} cannot be read; check its permissions")
    return Upload(path, path.stat().st_size)


def _find_first(group: BaseExceptionGroup[SluiceError]) -> SluiceError:
    first = group.exceptions[0]
    return _find_first(first) if isinstance(first, BaseExceptionGroup) else first
