"""Everything that can go wrong on purpose, as one tree.

    SluiceError
    ├── InvalidInput            what the caller sent cannot be used
    │   ├── TooLarge            it is over a size limit
    │   └── UnsupportedMedia    it is no format we read, or says it is another
    ├── TooSlow                 the caller stalls
    ├── TooManyRequests         the caller is over a limit on requests
    ├── NotAuthenticated        no valid token, or wrong credentials
    │   └── AccountGone         the account of a valid token does not exist
    ├── NotFound                not there, or not the caller's
    ├── Conflict                not possible in the present state
    ├── Unavailable             a part we need is away; try again later
    │   ├── DatabaseUnavailable
    │   │   └── StorageFull     no room for what is to be written; reading goes on
    │   ├── ModelUnavailable
    │   ├── AnswerUnavailable   the language model failed; the passages were found
    │   └── PageImageUnavailable  pages cannot be drawn just now
    ├── PageImageFailed           this page cannot be drawn
    ├── IngestionError          why a document ends `failed`
    └── LeaseLost               another worker owns the job, or its document is gone

`code` is for programs, the message for people. What belongs in the log only is chained as `__cause__`.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from pipeline.types import Passage

LONGEST_RETRY_AFTER_SECONDS = 120


class SluiceError(Exception):
    """Root of the tree: a code for programs and a message that says what to do."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code


@dataclass(frozen=True)
class FieldError:
    """One field of the input that cannot be used, and why."""

    field: str
    message: str


class InvalidInput(SluiceError):
    """What the caller sent cannot be used."""

    code = "invalid_input"

    def __init__(self, message: str, *, code: str | None = None, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(message, code=code)
        self.errors = errors


class TooLarge(InvalidInput):
    """The upload is over the size limit."""

    code = "too_large"


class UnsupportedMedia(InvalidInput):
    """Extension, declared type and content name no supported format, or disagree."""

    code = "unsupported_media_type"


class TooSlow(SluiceError):
    """The caller sends so slowly that it blocks others."""

    code = "too_slow"


class TooManyRequests(SluiceError):
    """The caller is over a limit on requests; the same call may succeed when the wait is over."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_seconds: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = min(max(1, ceil(retry_after_seconds)), LONGEST_RETRY_AFTER_SECONDS)


class NotAuthenticated(SluiceError):
    """No valid token, or wrong credentials."""

    code = "not_authenticated"


class AccountGone(NotAuthenticated):
    """The account of a valid token does not exist."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("The account of this token does not exist. Log in again.")


class NotFound(SluiceError):
    """Not there, or not the caller's: the two cannot be told apart."""

    code = "not_found"


class Conflict(SluiceError):
    """Not possible in the present state of the thing."""

    code = "conflict"


class Unavailable(SluiceError):
    """A part we need is away; the same call may succeed later."""

    code = "unavailable"
    retry_after_seconds = 5


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached, is full, or took too long."""

    code = "database_unavailable"


class StorageFull(DatabaseUnavailable):
    """There is no room on a disk, of PostgreSQL or of this process, for what is to be written."""

    code = "storage_full"
    retry_after_seconds = 60

    def __init__(self) -> None:
        super().__init__("There is no room left to store this. Try again later; reading still works.")


@contextmanager
def translate_full_disk() -> Iterator[None]:
    """Turn the errors of a full disk of our own, as under temporary files, into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFull from error


class ModelUnavailable(Unavailable):
    """The embedding model is still loading or cannot be loaded."""

    code = "model_unavailable"


class AnswerUnavailable(Unavailable):
    """The language model gave no answer, or broke it off; `passages` are what it should have been made from."""

    code = "answer_unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = Unavailable.retry_after_seconds) -> None:
        super().__init__(message)
        self.retry_after_seconds = min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        self.passages: Sequence[Passage] = ()


class PageImageUnavailable(Unavailable):
    """Pages cannot be drawn just now."""

    code = "picture_unavailable"
    retry_after_seconds = 2


class PageImageFailed(SluiceError):
    """This page cannot be drawn; its text is there all the same."""

    code = "picture_failed"


class FailureCode(StrEnum):
    """Why a document is `failed`. RUNBOOK.md says what to do about each."""

    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MALFORMED = "malformed"
    ENCRYPTED = "encrypted"
    NO_TEXT = "no_text"
    TOO_LARGE = "too_large"
    TOO_MANY_PAGES = "too_many_pages"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    EMBEDDING_FAILED = "embedding_failed"
    WORKER_LOST = "worker_lost"


class IngestionError(SluiceError):
    """A document cannot be ingested, and trying again would not help."""

    def __init__(self, failure: FailureCode, message: str) -> None:
        super().__init__(message, code=failure)
        self.failure = failure


class LeaseLost(SluiceError):
    """The job is no longer ours: another worker owns it, or its document was deleted."""

    code = "lease_lost"

    def __init__(self) -> None:
        super().__init__("the lease of this job is held by somebody else, or the job is gone")
