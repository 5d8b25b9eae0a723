"""What passes between the parts, and what clients see of documents, accounts and passages."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """UUIDv7: ids made later sort later (RFC 9562)."""
    return uuid7()


class Status(StrEnum):
    """The life of a document: `pending` → `processing` → `ready` or `failed`."""

    PENDING = "pending"
    """Accepted and stored; waits for a worker."""
    PROCESSING = "processing"
    """A worker holds it under a lease."""
    READY = "ready"
    """Searchable. Terminal."""
    FAILED = "failed"
    """Cannot be ingested; code and message say why. Terminal until a retry or a new version."""

    @property
    def is_terminal(self) -> bool:
        """Whether the status stays as it is without the user doing something."""
        return self in (Status.READY, Status.FAILED)


class SubjectKind(StrEnum):
    """What can be ingested."""

    DOCUMENT = "document"
    NOTE = "note"


class JobKind(StrEnum):
    """What a job does to its document or note."""

    DOCUMENT = "document"
    """Ingest it."""
    NOTE = "note"
    DOCUMENT_VECTORS = "document_vectors"
    """Embed with the next model what is searchable already, in the background; its status does not change."""
    NOTE_VECTORS = "note_vectors"

    @property
    def subject(self) -> SubjectKind:
        """What it is about."""
        return SubjectKind(self.removesuffix("_vectors"))

    @property
    def is_background(self) -> bool:
        """Whether nobody waits for it."""
        return self in (JobKind.DOCUMENT_VECTORS, JobKind.NOTE_VECTORS)


@dataclass(frozen=True, slots=True)
class Subject:
    """The document or note that something is about."""

    owner_id: UUID
    kind: SubjectKind
    id: UUID


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the user sees it."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document is `failed`: a code for programs, a message for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document as its owner sees it. `progress` is 0.0 to 1.0; `queue_position` counts from 1."""

    id: UUID
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    status: Status
    error: Failure | None
    pages: int | None
    pages_with_text: int | None
    chunks: int
    chunks_reused: int
    attempts: int
    progress: float
    queue_position: int | None
    created_at: datetime
    updated_at: datetime
    ingested_at: datetime | None


@dataclass(frozen=True, slots=True)
class DocumentList:
    """One page of a listing, newest first; `next_cursor` is null on the last one."""

    items: list[Document]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Note:
    """A note as its owner sees it; the status is that of its indexing."""

    id: UUID
    title: str
    body: str
    status: Status
    error: Failure | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NoteList:
    """One page of a listing, newest first; `next_cursor` is null on the last one."""

    items: list[Note]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class NoteState:
    """How far a note's indexing is: a note without its body."""

    id: UUID
    title: str
    status: Status
    error: Failure | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Deleted:
    """A document or note that is gone."""

    source: SubjectKind
    id: UUID


State = Document | NoteState | Deleted
"""What there is to tell of a document or note."""


@dataclass(frozen=True, slots=True)
class Change:
    """The present state of something that has changed; without one, a sign of life.

    Who has it, and then loses the connection, goes on behind `id`.
    """

    id: int
    state: State | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What the caller did, and when."""

    id: UUID
    actor_user_id: UUID | None
    event_type: str
    details: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuditList:
    """One page of a listing, newest first; `next_cursor` is null on the last one."""

    items: list[AuditEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A slice of the extracted text: characters `start` to `end` of `length`."""

    text: str
    start: int
    end: int
    length: int


@dataclass(frozen=True, slots=True)
class PageView:
    """What is to be seen: a page, counted from 1, with characters `start` to `end` of the extracted text marked.

    Without both, nothing is marked; without one of them, from the beginning of the page or to its end.
    """

    page: int
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """An upload that has arrived whole: its display name, format, hash and bytes (seekable)."""

    filename: str
    media_type: str
    size_bytes: int
    sha256: bytes
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class PageText:
    """Text of page `number` (from 1), which begins at character `start` of the extracted text."""

    number: int
    start: int
    sections: Sequence[str]
    """The text, in parts that passages do not cross."""

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.sections)


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A passage before it is stored: exactly the slice of the extracted text that begins at `start`."""

    page: int
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a text that answers a query, with its place and score.

    `start` and `end` count in the extracted text of a document, in the body of a note.
    """

    source: SubjectKind
    document_id: UUID | None
    note_id: UUID | None
    title: str
    page: int
    page_end: int
    start: int
    end: int
    text: str
    score: float


class SearchMode(StrEnum):
    """What a query is compared by."""

    HYBRID = "hybrid"
    """By meaning, by words, and by whether it names the title."""
    VECTOR = "vector"
    """By meaning."""
    KEYWORD = "keyword"
    """By words; needs no model."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next words of an answer, and the passages that they cite."""

    text: str
    citations: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, with the passages that it was made from.

    `[n]` in its text cites `passages[n]`, counted from 0; `citations` are these numbers. `model` is who wrote it.
    """

    answer: str
    citations: list[int]
    passages: list[Passage]
    model: str


class Stage(StrEnum):
    """The steps of an ingestion, in their order. Fault tests stop, crash or pause at them."""

    CLAIMED = "claimed"
    EXTRACTING = "extracting"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    STORING = "storing"
    """Before the finishing transaction."""
    FINISHING = "finishing"
    """Inside it, everything written, nothing committed."""
    STORED = "stored"
    """After its commit."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to work on one job. Every write names the token."""

    kind: JobKind
    subject: Subject
    token: UUID
    failures: int
    is_suspect: bool
    """It has brought down workers before: run it alone."""
    request_id: str | None
    """Of the request that put it into the queue: the logs of both name it."""


OnStage = Callable[[Lease, Stage, float], Awaitable[None]]
"""Called at each stage with the progress (0.0 to 1.0) that reaching it means."""
