"""What the service says, as far as the client reads it. Fields may be added there: what is unknown is ignored."""

import msgspec


class Problem(msgspec.Struct, omit_defaults=True):
    """Why something was refused (RFC 9457)."""

    code: str
    detail: str
    status: int | None = None
    request_id: str | None = None
    errors: list["FieldProblem"] = []


class FieldProblem(msgspec.Struct):
    """One field that cannot be used."""

    field: str
    message: str


class Failure(msgspec.Struct):
    """Why a document is `failed`."""

    code: str
    message: str


class Document(msgspec.Struct):
    """A document; `progress` is 0.0 to 1.0, `queue_position` counts from 1."""

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

    @property
    def is_terminal(self) -> bool:
        """Whether the status stays as it is without somebody doing something."""
        return self.status in {"ready", "failed"}


class DocumentPage(msgspec.Struct):
    """A page of a listing, each document as it was sent."""

    items: list[msgspec.Raw]
    next_cursor: str | None


class Passage(msgspec.Struct):
    """A slice of a text that answers a query."""

    title: str
    page: int
    text: str
    score: float


class Passages(msgspec.Struct):
    """Answer to a search, and event `passages` of an answer."""

    passages: list[Passage]


class Token(msgspec.Struct):
    """Event `token`: the next words of an answer."""

    text: str


class Answer(msgspec.Struct):
    """Event `done`: the whole answer; `citations` are indices into the passages."""

    answer: str
    citations: list[int]


class AccessToken(msgspec.Struct):
    """A token for the `Authorization` header."""

    access_token: str
