"""Many files at once: sent by a few senders, then followed until each of them ended."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import BinaryIO

import httpx2
import msgspec

from api.client.connection import Connection, decode
from api.client.errors import ClientError, Refused, UnusableInput
from api.client.messages import Document, DocumentPage, Failure

SHARE_OF_SENDING = 0.5
"""How far a file is that was sent and has still to be ingested."""
NOT_YET = 0.99
"""Nothing looks complete before the service has said so."""
LOOK_SECONDS = 0.5
PAGE_LIMIT = 100


class Phase(StrEnum):
    """Where a file is on its way."""

    WAITING = "waiting"
    SENDING = "sending"
    ACCEPTED = "accepted"
    """The service has it; the document's status says more."""
    ENDED = "ended"


@dataclass(eq=False)
class Upload:
    """One file and what became of it."""

    path: Path
    size_bytes: int
    phase: Phase = Phase.WAITING
    sent_bytes: int = 0
    """Of the present try."""
    fraction: float = 0.0
    """How far it is, 0.0 to 1.0: goes back only where something begins again, and is 1.0 only when it ended."""
    note: str = ""
    """Why it waits."""
    document: Document | None = None
    body: bytes = b""
    """The document as the service gave it."""
    refusal: Failure | None = None
    """Why there is no document."""

    @property
    def name(self) -> str:
        """The path as text; a name may be none, and could then be neither sent nor shown."""
        return os.fsencode(self.path).decode(errors="replace")

    @property
    def status(self) -> str:
        """What a person is told: that of the document where there is one."""
        if self.refusal:
            return "refused"
        return self.document.status if self.document else self.phase

    @property
    def error(self) -> Failure | None:
        """What went wrong."""
        return self.refusal or (self.document.error if self.document else None)

    def advance(self, fraction: float) -> None:
        """Note how far it is."""
        self.fraction = min(fraction, NOT_YET)

    def end(self) -> None:
        """Note that nothing more will come."""
        self.phase = Phase.ENDED
        self.fraction = 1.0


class CountedFile:
    """A file that tells how much of it was read; httpx2 reads it in pieces, and from the beginning at each try."""

    def __init__(self, file: BinaryIO, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count

    def fileno(self) -> int:
        """By this its length is found."""
        return self._file.fileno()

    def seek(self, offset: int) -> int:
        """Go back to the beginning."""
        self._count(offset)
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """Read a piece."""
        data = self._file.read(size)
        self._count(self._file.tell())
        return data


@dataclass
class Run:
    """The upload of some files. `uploads` tell at any time, and after any end, how far each of them is."""

    connection: Connection
    uploads: Sequence[Upload]
    wait: bool
    """Whether a file has ended only when its document is `ready` or `failed`."""
    _left: Iterator[Upload] = field(init=False)

    async def finish(self, parallel: int) -> None:
        """Send all files, `parallel` at a time.

        What is wrong with one file ends that file alone. Raises NotSignedIn, Unreachable.
        """
        self._left = iter(self.uploads)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(parallel, len(self.uploads))):
                    tasks.create_task(self._send_files())
                if self.wait:
                    tasks.create_task(self._follow())
        except* ClientError as group:
            raise _find_first(group) from None

    async def _send_files(self) -> None:
        for upload in self._left:
            upload.phase = Phase.SENDING
            try:
                await self._send(upload)
            except Refused as error:
                self._refuse(upload, error.problem.code, error.problem.detail)
            except httpx2.LocalProtocolError:
                self._refuse(upload, "changed", "the file changed while it was sent")
            except OSError as error:
                self._refuse(upload, "unreadable", f"the file cannot be read: {error.strerror}")

    async def _send(self, upload: Upload) -> None:
        def count(sent_bytes: int) -> None:
            upload.sent_bytes = sent_bytes
            share = sent_bytes / max(1, upload.size_bytes)
            upload.advance(share * SHARE_OF_SENDING if self.wait else share)

        def tell(note: str) -> None:
            upload.note = note
            count(0)

        with upload.path.open("rb") as file:
            # The service tells the type by name and content: what this machine calls it may be another word.
            part = (Path(upload.name).name, CountedFile(file, count), "application/octet-stream")
            response = await self.connection.send("POST", "/v1/documents", files={"file": part}, tell=tell)
        self._note(upload, decode(response, Document), response.content)

    def _note(self, upload: Upload, document: Document, body: bytes) -> None:
        """Note what the service says of a document."""
        upload.phase = Phase.ACCEPTED
        upload.document, upload.body = document, body
        if document.is_terminal or not self.wait:
            upload.end()
        else:
            upload.advance(SHARE_OF_SENDING + (1 - SHARE_OF_SENDING) * document.progress)

    def _refuse(self, upload: Upload, code: str, message: str) -> None:
        upload.refusal = Failure(code, message)
        upload.end()

    async def _follow(self) -> None:
        pause = LOOK_SECONDS
        while any(upload.phase != Phase.ENDED for upload in self.uploads):
            await asyncio.sleep(pause)
            began = monotonic()
            await self._look()
            # A look takes long where there is much to look at.
            pause = max(LOOK_SECONDS, monotonic() - began)

    async def _look(self) -> None:
        """Look at what was accepted: through the listing, newest first, back to the oldest of these."""
        wanted: dict[str, list[Upload]] = {}
        for upload in self.uploads:
            if upload.phase == Phase.ACCEPTED and upload.document:
                wanted.setdefault(upload.document.id, []).append(upload)
        cursor: str | None = None
        while wanted:
            parameters = {"limit": str(PAGE_LIMIT)} | ({"cursor": cursor} if cursor else {})
            response = await self.connection.send("GET", "/v1/documents", params=parameters)
            page = decode(response, DocumentPage)
            for item in page.items:
                document = msgspec.json.decode(item, type=Document)
                for upload in wanted.pop(document.id, ()):
                    self._note(upload, document, bytes(item))
            cursor = page.next_cursor
            if cursor is None:
                break
        for upload in [upload for uploads in wanted.values() for upload in uploads]:
            self._refuse(upload, "not_found", "the document was deleted before it was ingested")


def find_files(paths: Sequence[str]) -> list[Upload]:
    """Return what is to be sent.

    Raises UnusableInput where one of the paths is no file that can be read.
    """
    return [_find_file(Path(path)) for path in paths]


def _find_file(path: Path) -> Upload:
    if path.is_dir():
        raise UnusableInput(f"{path} is a folder: name its files, as {path}/*")
    if not path.is_file():
        raise UnusableInput(f"{path} is no file" if path.exists() else f"{path} does not exist")
    if not os.access(path, os.R_OK):
        raise UnusableInput(f"{path} cannot be read")
    return Upload(path, path.stat().st_size)


def _find_first(group: BaseExceptionGroup[ClientError]) -> ClientError:
    first = group.exceptions[0]
    return _find_first(first) if isinstance(first, BaseExceptionGroup) else first
