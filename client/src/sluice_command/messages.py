"""The responses of the service, with the fields that the client reads. Unknown fields are ignored."""

import msgspec


class Problem(msgspec.Struct, omit_defaults=True):
    """A problem of the service (RFC 9457)."""

    code: str
    detail: str
    status: int | None = None
    request_id: str | None = None
    errors: list["FieldProblem"] = []


class FieldProblem(msgspec.Struct):
    """An invalid field of a request."""

    field: str
    message: str


class Failure(msgspec.Struct):
    """The error of a `failed` document."""

    code: str
    message: str


class DocumentWarning(msgspec.Struct):
    """What may be missing from the text of a `ready` document. Without `pages`, it concerns the whole document."""

    code: str
    message: str
    pages: list[int] | None


class Document(msgspec.Struct):
    """A document. `progress` is from 0.0 to 1.0, and `queue_position` starts at 1."""

    id: str
    filename: str
    status: str
    error: Failure | None
    pages: int | None
    chunks: int
    progress: float
    queue_position: int | None
    size_bytes: int
    created_at: str
    warnings: list[DocumentWarning] = []

    @property
    def is_terminal(self) -> bool:
        """True if ingestion has ended."""
        return self.status in {"ready", "failed"}


class DocumentPage(msgspec.Struct):
    """A page of a listing. The documents are not decoded, so that unknown fields are kept."""

    items: list[msgspec.Raw]
    next_cursor: str | None


class Passage(msgspec.Struct):
    """A passage that a search returned."""

    title: str
    page: int
    text: str
    score: float


class Passages(msgspec.Struct):
    """Response to a search, and event `passages` of an answer."""

    passages: list[Passage]


class Token(msgspec.Struct):
    """Event `token`: the next words of an answer."""

    text: str


class Citation(msgspec.Struct):
    """A mark in an answer. `number` is that of the passage it cites, counted from 1."""

    number: int


class Answer(msgspec.Struct):
    """Event `done`: the complete answer."""

    answer: str
    citations: list[Citation]


class AccessToken(msgspec.Struct):
    """A token for the `Authorization` header."""

    access_token: str


class Quota(msgspec.Struct):
    """How much the account uses of something, and its limit. None means that there is none."""

    used: int
    limit: int | None


class Usage(msgspec.Struct):
    """What the account stores. Notes count as documents."""

    stored_bytes: Quota
    documents: Quota


class Account(msgspec.Struct):
    """The account of the caller."""

    email: str
    usage: Usage
