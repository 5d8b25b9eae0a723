"""Types shared by all modules, including documents, accounts and passages as clients see them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Collection as Ids
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, BinaryIO
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562). Newer ids sort after older ones."""
    return uuid7()


class Status(StrEnum):
    """Status of a document or note: `pending` → `processing` → `ready` or `failed`."""

    PENDING = "pending"
    """Stored, waiting for a worker."""
    PROCESSING = "processing"
    """Leased by a worker."""
    READY = "ready"
    """Searchable. Terminal."""
    FAILED = "failed"
    """Cannot be ingested. An error code and a message give the reason. Terminal until a retry or a new version."""

    @property
    def is_terminal(self) -> bool:
        """True if the status does not change until the user acts."""
        return self in (Status.READY, Status.FAILED)


class SubjectKind(StrEnum):
    """Kind of a subject: a document or a note."""

    DOCUMENT = "document"
    NOTE = "note"


class JobKind(StrEnum):
    """Kind of a job: the work to do for its subject."""

    DOCUMENT = "document"
    """Ingest a document."""
    NOTE = "note"
    """Index a note."""
    DOCUMENT_VECTORS = "document_vectors"
    """Embed a searchable document with the next model, in the background. Its status does not change."""
    NOTE_VECTORS = "note_vectors"
    """Embed a searchable note with the next model, in the background."""

    @property
    def subject(self) -> SubjectKind:
        """Kind of the job's subject."""
        return SubjectKind(self.removesuffix("_vectors"))

    @property
    def is_background(self) -> bool:
        """True for background work: no user is waiting for it."""
        return self in (JobKind.DOCUMENT_VECTORS, JobKind.NOTE_VECTORS)


@dataclass(frozen=True, slots=True)
class Subject:
    """Key of a document or note."""

    owner_id: UUID
    kind: SubjectKind
    id: UUID


@dataclass(frozen=True, slots=True)
class Account:
    """An account, as returned to its user."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Quota:
    """How much an account uses of something, and its limit. Without a limit, it is null."""

    used: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account stores. A note counts as a document, and the bytes of its body count."""

    stored_bytes: Quota
    documents: Quota


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """An account and what it stores, as returned to its user."""

    id: UUID
    email: str
    created_at: datetime
    usage: Usage


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an access token is for."""

    user_id: UUID
    generation: int
    """The account's token generation when the token was issued."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh token says: the session of a browser, and the number of the token in it."""

    owner_id: UUID
    session_id: UUID
    number: int
    """Counts from 0. Each use of a token issues the next one."""
    expires: int
    """End of the session, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done: a user, or a program with an API key of the user."""

    owner_id: UUID
    """The account."""
    key_id: UUID | None = None
    """The API key, if the caller has one."""
    collection_ids: frozenset[UUID] | None = None
    """Collections to which the key is bound. The caller sees and changes only what is in them. None if it is not bound.
    """


class Scope(StrEnum):
    """What an API key may do. Neither scope includes the other."""

    READ = "read"
    """Read documents, notes and events, search and ask."""
    WRITE = "write"
    """Upload, change and delete."""


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """What a new API key is to allow. Without `collection_ids`, it reaches all of the account."""

    name: str
    scopes: Sequence[Scope]
    collection_ids: Sequence[UUID] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, as returned to its owner, without its secret.

    `collection_ids` is null if the key reaches all of the account. A key whose collections were all deleted has an
    empty list, and reaches nothing. Without `expires_at`, it does not expire. `last_used_at` is written at most once a
    minute.
    """

    id: UUID
    name: str
    scopes: list[Scope]
    collection_ids: list[UUID] | None
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewApiKey(ApiKey):
    """A new API key with its secret. The secret is shown only here."""

    secret: str


@dataclass(frozen=True, slots=True)
class ApiKeyList:
    """A page of API keys, newest first."""

    items: list[ApiKey]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a valid API key allows: for whom it acts, and its scopes."""

    caller: Caller
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason for the status `failed`: a code for programs and a message for people."""

    code: str
    message: str


MAX_WARNING_CHARACTERS = 1000
"""Longest message of a warning."""


class WarningCode(StrEnum):
    """What may be missing from the text of a `ready` document, or is in doubt."""

    UNREADABLE_TEXT = "unreadable_text"
    TEXT_NOT_EXTRACTED = "text_not_extracted"
    CHARSET_GUESSED = "charset_guessed"
    FORM_NOT_RENDERED = "form_not_rendered"
    PARTS_SKIPPED = "parts_skipped"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class PageWarning:
    """A warning about one page, from the reader of a file. The message is for the owner of the document."""

    code: WarningCode
    message: Annotated[str, msgspec.Meta(max_length=MAX_WARNING_CHARACTERS)]

    def __post_init__(self) -> None:
        """Raise ValueError if the message has characters that cannot be shown."""
        if not self.message.isprintable():
            raise ValueError("the warning cannot be shown")


@dataclass(frozen=True, slots=True)
class DocumentWarning:
    """A warning about a document. `pages` names the pages that it concerns, or is null if it concerns them all."""

    code: WarningCode
    message: str
    pages: list[int] | None


@dataclass(frozen=True, slots=True)
class Document:
    """A document, as returned to its owner. `progress` runs from 0.0 to 1.0; `queue_position` counts from 1."""

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
    warnings: list[DocumentWarning]
    attempts: int
    progress: float
    queue_position: int | None
    metadata: dict[str, Any]
    external_id: str | None
    collection_ids: list[UUID]
    created_at: datetime
    updated_at: datetime
    ingested_at: datetime | None


class Sort(StrEnum):
    """Order of a list of documents. `-` means falling."""

    OLDEST = "created_at"
    NEWEST = "-created_at"
    NAME = "filename"
    NAME_FALLING = "-filename"
    SMALLEST = "size_bytes"
    LARGEST = "-size_bytes"


@dataclass(frozen=True, slots=True)
class DocumentList:
    """One page of documents. `next_cursor` is null on the last page, `total` is null if it was not asked for."""

    items: list[Document]
    next_cursor: str | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Deletions:
    """The documents that were deleted, and those that do not exist."""

    deleted: list[UUID]
    not_found: list[UUID]


@dataclass(frozen=True, slots=True)
class Note:
    """A note, as returned to its owner. `status` is the status of its indexing."""

    id: UUID
    title: str
    body: str
    status: Status
    error: Failure | None
    collection_ids: list[UUID]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NoteList:
    """One page of notes, newest first. `next_cursor` is null on the last page."""

    items: list[Note]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection, and the numbers of its documents and notes."""

    id: UUID
    name: str
    description: str
    metadata: dict[str, Any]
    documents: int
    notes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CollectionList:
    """One page of collections, newest first. `next_cursor` is null on the last page."""

    items: list[Collection]
    next_cursor: str | None


Attributes = dict[str, str | int | float | bool]
"""Attributes of a document or note in one collection."""


@dataclass(frozen=True, slots=True)
class CollectionDocument:
    """A document in a collection, with its attributes there."""

    document: Document
    attributes: Attributes
    added_at: datetime


@dataclass(frozen=True, slots=True)
class CollectionDocumentList:
    """One page of a collection's documents, newest first. `next_cursor` is null on the last page."""

    items: list[CollectionDocument]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CollectionNote:
    """A note in a collection, with its attributes there."""

    note: Note
    attributes: Attributes
    added_at: datetime


@dataclass(frozen=True, slots=True)
class CollectionNoteList:
    """One page of a collection's notes, newest first. `next_cursor` is null on the last page."""

    items: list[CollectionNote]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ListPart:
    """Which part of a list to return: at most `limit` items next to these, which the part does not contain."""

    limit: int
    after: UUID | None = None
    before: UUID | None = None
    is_rising: bool = False
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A document, as clients in the format of OpenAI see it."""

    id: UUID
    filename: str
    size_bytes: int
    purpose: str
    status: Status
    error: Failure | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FileCounts:
    """Numbers of the documents of a collection by their state."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    """Those that were deleted, or taken out of the collection, since they were put into it together."""

    @property
    def total(self) -> int:
        """Number of all of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Store:
    """A collection and its documents, as clients in the format of OpenAI see them. Several may have the same name."""

    id: UUID
    name: str
    description: str
    metadata: dict[str, Any]
    files: FileCounts
    size_bytes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A document in a collection, as clients in the format of OpenAI see it."""

    id: UUID
    collection_id: UUID
    size_bytes: int
    status: Status
    error: Failure | None
    attributes: Attributes
    added_at: datetime


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Documents that were put into a collection together."""

    id: UUID
    collection_id: UUID
    files: FileCounts
    last_unfinished: UUID | None
    """The newest document of those in progress."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NoteState:
    """A note without its body, for event streams."""

    id: UUID
    title: str
    status: Status
    error: Failure | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Deleted:
    """A document or note that was deleted."""

    source: SubjectKind
    id: UUID


State = Document | NoteState | Deleted
"""Current state of a document or note."""


@dataclass(frozen=True, slots=True)
class Change:
    """The current state of a document or note that has changed. Without a state, it is a keep-alive.

    A client that loses its connection resumes after the last `id` it received.
    """

    id: int
    state: State | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of the caller."""

    id: UUID
    actor_user_id: UUID | None
    event_type: str
    details: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuditList:
    """One page of audit entries, newest first. `next_cursor` is null on the last page."""

    items: list[AuditEntry]
    next_cursor: str | None


class WebhookEvent(StrEnum):
    """What an account's receivers can be told about its documents."""

    READY = "document.ready"
    """A document, or a new version of it, has become searchable."""
    FAILED = "document.failed"
    """A document, or a new version of it, could not be ingested."""
    DELETED = "document.deleted"
    """A document was deleted."""


class DeliveryStatus(StrEnum):
    """Status of a delivery: `pending` → `delivered` or `dead`."""

    PENDING = "pending"
    """Waiting for its first try, or for the next one."""
    DELIVERED = "delivered"
    """The receiver has answered with a status from 200 to 299. Terminal."""
    DEAD = "dead"
    """All tries have failed. Terminal until it is redelivered."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events, without its secret."""

    id: UUID
    url: str
    events: list[WebhookEvent]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A receiver of events, and the secret that signs them. No later answer shows the secret."""

    id: UUID
    url: str
    events: list[WebhookEvent]
    created_at: datetime
    secret: str


@dataclass(frozen=True, slots=True)
class WebhookList:
    """One page of webhooks, newest first. `next_cursor` is null on the last page."""

    items: list[Webhook]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for one receiver. `id` is the `webhook-id` of its requests, and the same in every try.

    `response_status` and `error` are from the last try. `error` is null if the receiver has accepted it.
    """

    id: UUID
    event: WebhookEvent
    document_id: UUID
    status: DeliveryStatus
    attempts: int
    response_status: int | None
    error: str | None
    created_at: datetime
    attempted_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryList:
    """One page of deliveries, newest first. `next_cursor` is null on the last page."""

    items: list[Delivery]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class DocumentText:
    """Characters `start` to `end` of an extracted text of `length` characters."""

    text: str
    start: int
    end: int
    length: int


@dataclass(frozen=True, slots=True)
class DocumentPieces:
    """Characters `start` to `end` of an extracted text of `length` characters, those of each page apart."""

    texts: Sequence[str]
    start: int
    end: int
    length: int


@dataclass(frozen=True, slots=True)
class PageView:
    """A requested page image: a page, counted from 1, with characters `start` to `end` of the extracted text marked.

    If both offsets are None, nothing is marked. If one is None, the mark begins or ends with the page.
    """

    page: int
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A complete upload: display name, format, declared character set, size, hash and bytes (a seekable file)."""

    filename: str
    media_type: str
    charset: str | None
    size_bytes: int
    sha256: bytes
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class UploadDetails:
    """What an upload says about its file. What is None stays as it is if the document exists already."""

    metadata: dict[str, Any] | None = None
    external_id: str | None = None
    """Names the document to replace, if there is one."""
    collection_ids: Ids[UUID] = ()
    """Collections to put the document into."""
    attributes: Attributes | None = None
    """Its attributes in these collections."""
    purpose: str | None = None
    """What a client in the format of OpenAI wants the file for. It is kept and shown, and makes no other difference."""


@dataclass(frozen=True, slots=True)
class PageText:
    """Text of page `number`, counted from 1. It begins at character `start` of the extracted text."""

    number: int
    start: int
    sections: Sequence[str]
    """The page's text in parts. A chunk never spans two of them."""
    warnings: Sequence[PageWarning] = ()

    @property
    def text(self) -> str:
        """The page's whole text."""
        return "".join(self.sections)


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A chunk before it is stored: exactly the slice of the extracted text that begins at `start`."""

    page: int
    start: int
    text: str
    headings: Mapping[str, float] = field(default_factory=dict)
    """Lexemes of the page's headings, and how much each tells."""


class PassageDetails(msgspec.Struct, frozen=True):
    """What the score of a passage is made of. A number that the mode of the search does not use is null."""

    cosine: float | None
    """Cosine of the question and the best window of the passage, -1 to 1."""
    words: float | None
    """Share of the question's words that the passage has, 0 to 1. Rare words count more."""
    title: float | None
    """Share of the words of the title that the question names, 0 to 1."""


class Passage(msgspec.Struct, frozen=True):
    """A chunk that answers a query, with its position and score.

    `start` and `end` are character offsets in the extracted text of a document or in the body of a note. `id` is the
    same in every answer, until the document has a new version or the note is edited. `score`, 0 to 1, is the estimated
    probability that the passage is relevant.
    """

    id: UUID
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
    details: PassageDetails | msgspec.UnsetType = msgspec.UNSET
    """Present if the request asked for it."""


class KeyKind(StrEnum):
    """Where the value of a filter's key comes from."""

    FIELD = "field"
    """A property that every document has: see `pipeline.filters.FIELDS`."""
    ATTRIBUTES = "attributes"
    """An attribute of the document in a collection."""
    METADATA = "metadata"
    """A key of the document's metadata."""
    EITHER = "either"
    """An attribute if the document has it in the collection, otherwise a key of the metadata."""


@dataclass(frozen=True, slots=True)
class FilterKey:
    """The key of a condition."""

    kind: KeyKind
    name: str


class Operator(StrEnum):
    """How a condition compares the value of its key with its own."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"
    """A string contains it, in upper or lower case, or an array has it as an element."""
    EXISTS = "exists"


Scalar = str | int | float | bool
"""A value that a filter compares."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a filter. The value is a list for `in` and `nin`."""

    key: FilterKey
    op: Operator
    value: Scalar | datetime | tuple[Scalar | datetime, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """A filter that matches if all of its parts match."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A filter that matches if one of its parts matches."""

    parts: "tuple[Filter, ...]"


Filter = Condition | AllOf | AnyOf
"""A filter, decoded by `pipeline.filters`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The documents and notes to search or list. None means all of the caller's."""

    collection_ids: Ids[UUID] | None = None
    """Only members of one of these collections."""
    document_ids: Ids[UUID] | None = None
    """Only these documents, and no notes."""
    filter: Filter | None = None


EVERYTHING = Selection()
"""All documents and notes of the caller."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which documents to list, and in which order."""

    selection: Selection = EVERYTHING
    status: Status | None = None
    name: str | None = None
    """Part of the file name, in upper or lower case."""
    sort: Sort = Sort.NEWEST
    has_total: bool = False


class SearchMode(StrEnum):
    """How passages are matched to a query."""

    HYBRID = "hybrid"
    """By meaning, by words, and by titles that the query names."""
    VECTOR = "vector"
    """By meaning."""
    KEYWORD = "keyword"
    """By words. Needs no embedding model."""


class Speaker(StrEnum):
    """Who said something in a conversation."""

    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said earlier in a conversation."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark `[number]` at characters `start` to `end` of an answer. It cites the passage with this id.

    The passages of an answer are numbered from 1, in their order.
    """

    number: int
    passage: UUID
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The next words of an answer, and the citations among them."""

    text: str
    citations: tuple[Citation, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the passages it was written from.

    `[1]` in the text cites the first passage. `citations` lists these marks in their order. `model` names the model
    that wrote the answer.
    """

    answer: str
    citations: list[Citation]
    passages: list[Passage]
    model: str


class Stage(StrEnum):
    """Steps of an ingestion, in order. Fault tests stop, crash or pause at them."""

    CLAIMED = "claimed"
    EXTRACTING = "extracting"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    STORING = "storing"
    """Before the transaction that stores the result."""
    FINISHING = "finishing"
    """Inside that transaction: everything is written, and nothing is committed yet."""
    STORED = "stored"
    """After the commit."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to work on one job. Every write of the worker names the token."""

    kind: JobKind
    subject: Subject
    token: UUID
    failures: int
    is_suspect: bool
    """True if the lease of an earlier attempt expired. The job then runs alone in its process, and in small steps."""
    request_id: str | None
    """Id of the request that queued the job. The logs of the API and of the worker name it."""
    is_last: bool = False
    """True if no job was left waiting by the claim. A background job returns to the queue after a part of its work."""
    has_chunks: bool = False
    """True if chunks of an earlier version are stored."""


OnStage = Callable[[Lease, Stage, float], Awaitable[None]]
"""Called at each stage with the progress reached, 0.0 to 1.0."""
