"""What the service answers. Fields that a newer service adds are ignored; those that an older one lacks are empty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Attributes = Mapping[str, str | int | float | bool]
"""Attributes of a document or note in one collection."""
Filter = Mapping[str, Any]
"""`{"key", "op", "value"}`, `{"and": [...]}` or `{"or": [...]}`."""

Turn = Mapping[str, str]
"""`{"role", "content"}`: what the `user` or the `assistant` said earlier in a conversation."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document or note is `failed`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class DocumentWarning:
    """What may be missing from the text of a `ready` document. Without `pages`, it concerns the whole document."""

    code: str
    message: str
    pages: list[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document. `status` is `pending`, `processing`, `ready` or `failed`; `progress` is from 0.0 to 1.0."""

    id: str
    filename: str
    status: str
    created_at: datetime
    updated_at: datetime | None = None
    ingested_at: datetime | None = None
    media_type: str = ""
    size_bytes: int = 0
    sha256: str = ""
    error: Failure | None = None
    warnings: list[DocumentWarning] = field(default_factory=list)
    pages: int | None = None
    pages_with_text: int | None = None
    chunks: int = 0
    progress: float = 0.0
    queue_position: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    external_id: str | None = None
    collection_ids: list[str] = field(default_factory=list)

    @property
    def is_terminal(self) -> bool:
        """True if ingestion has ended."""
        return self.status in {"ready", "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """Ids of the documents that were deleted, and of those that do not exist."""

    deleted: list[str]
    not_found: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentText:
    """Characters `start` to `end` of the text of a document, which has `length` characters."""

    text: str
    start: int
    end: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note. `status` is that of its indexing."""

    id: str
    title: str
    body: str
    status: str
    created_at: datetime
    updated_at: datetime | None = None
    error: Failure | None = None
    collection_ids: list[str] = field(default_factory=list)

    @property
    def is_terminal(self) -> bool:
        """True if indexing has ended."""
        return self.status in {"ready", "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A passage of a document or note. `start` and `end` are offsets in its text."""

    title: str
    page: int
    text: str
    score: float
    id: str = ""
    source: str = "document"
    document_id: str | None = None
    note_id: str | None = None
    page_end: int = 0
    start: int = 0
    end: int = 0
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best passages, best first."""

    passages: list[Passage]
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A mark `[number]` at characters `start` to `end` of an answer.

    It cites `passages[number - 1]`, whose id is `passage`.
    """

    number: int
    passage: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, its citations and the passages it was written from."""

    answer: str
    citations: list[Citation]
    passages: list[Passage] = field(default_factory=list)
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection, and the numbers of its documents and notes."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime | None = None
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    documents: int = 0
    notes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionDocument:
    """A document in a collection, with its attributes there."""

    document: Document
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionNote:
    """A note in a collection, with its attributes there."""

    note: Note
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret. If `collection_ids` is None, it reaches all of the account."""

    id: str
    name: str
    created_at: datetime
    scopes: list[str] = field(default_factory=list)
    collection_ids: list[str] | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey(ApiKey):
    """A new API key. Its secret is shown only now."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver of events, without its secret."""

    id: str
    url: str
    events: list[str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook(Webhook):
    """A new receiver of events. The secret that signs them is shown only now."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event for one receiver. `status` is `pending`, `delivered` or `dead`. `error` is that of the last try."""

    id: str
    event: str
    status: str
    created_at: datetime
    document_id: str = ""
    attempts: int = 0
    response_status: int | None = None
    error: str | None = None
    attempted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action of the account."""

    id: str
    event_type: str
    created_at: datetime
    actor_user_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quota:
    """How much the account uses of something, and its limit. None means that there is none."""

    used: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the account stores. Notes count as documents."""

    stored_bytes: Quota
    documents: Quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account of the caller."""

    email: str
    id: str = ""
    created_at: datetime | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for the `Authorization` header."""

    access_token: str
