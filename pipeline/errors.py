"""The tree of expected errors.

    SluiceError
    ├── InvalidInput              the input is invalid
    │   ├── TooLarge              the upload is over a size limit
    │   └── UnsupportedMedia      the file's format is not supported, or not the declared one
    ├── TooSlow                   the caller sends too slowly
    ├── TooManyRequests           the caller is over a limit on requests
    ├── NotAuthenticated          no valid token, or wrong credentials
    │   ├── AccountGone           the account of a valid token does not exist
    │   └── SessionEnded          the session of a browser is over
    ├── Forbidden                 the caller may not do this
    │   └── QuotaExceeded         the account stores too much; only deleting helps
    ├── NotFound                  it does not exist, or belongs to another user
    ├── Conflict                  the current state does not allow it
    ├── Unavailable               a required part is unavailable; try again later
    │   ├── DatabaseUnavailable
    │   │   ├── CannotWrite       reading still works
    │   │   │   ├── StorageFull   a disk is full
    │   │   │   └── ReadOnlyDatabase
    │   │   └── UnsafeDatabase    the connection does not act as the service role
    │   ├── ModelUnavailable
    │   │   └── DimensionChanged
    │   ├── Overloaded            too many requests of this kind are waiting
    │   │   └── TooManyFiles      no more files can be opened
    │   ├── SandboxUnavailable    no process can be started to read a file
    │   ├── AnswerUnavailable     the language model failed; the passages were found
    │   └── PageImageUnavailable  pages cannot be drawn at the moment
    ├── PageImageFailed           this page cannot be drawn
    ├── IngestionError            the reason a document or note is `failed`
    └── LeaseLost                 another worker holds the job, or the job was deleted

`code` is for programs, the message for people. Details for the log are chained as `__cause__`.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from pipeline.types import Passage

LONGEST_RETRY_AFTER_SECONDS = 120
"""Upper limit of the `Retry-After` header, in seconds."""


class SluiceError(Exception):
    """Root of the tree, with a code for programs and a message for people."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code


@dataclass(frozen=True)
class FieldError:
    """An invalid field of the input, and the reason."""

    field: str
    message: str


class InvalidInput(SluiceError):
    """The input is invalid."""

    code = "invalid_input"

    def __init__(self, message: str, *, code: str | None = None, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(message, code=code)
        self.errors = errors


class TooLarge(InvalidInput):
    """The upload is over the size limit."""

    code = "too_large"


class UnsupportedMedia(InvalidInput):
    """The format is not supported, or the extension, the declared type and the content do not agree."""

    code = "unsupported_media_type"


class TooSlow(SluiceError):
    """The caller sends its request too slowly."""

    code = "too_slow"


class TooManyRequests(SluiceError):
    """The caller is over a limit on requests. The same call may succeed after `retry_after_seconds`."""

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
        super().__init__("The account of this token does not exist. Log in with another account.")


class SessionEnded(NotAuthenticated):
    """The session of a browser is over, or there was none."""

    code = "session_ended"

    def __init__(self) -> None:
        super().__init__("This browser has no session, or it has ended. Log in again.")


class Forbidden(SluiceError):
    """The caller may not do this. A valid token does not change that."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code)


class QuotaExceeded(Forbidden):
    """The account would store more than its quota. Waiting does not help, but deleting does."""

    def __init__(self, what_happened: str) -> None:
        message = f"{what_happened} Nothing was stored. Delete documents or notes that you no longer need."
        super().__init__(message, code="quota_exceeded")


class NotFound(SluiceError):
    """It does not exist, or it belongs to another user. The caller cannot tell which."""

    code = "not_found"


class Conflict(SluiceError):
    """The current state of the resource does not allow the request."""

    code = "conflict"


class Unavailable(SluiceError):
    """A required part is unavailable. The same call may succeed later."""

    code = "unavailable"
    retry_after_seconds = 5


class DatabaseUnavailable(Unavailable):
    """PostgreSQL cannot be reached, has no resources left, or took too long."""

    code = "database_unavailable"


class CannotWrite(DatabaseUnavailable):
    """Nothing can be stored now. Reading still works."""


class ReadOnlyDatabase(CannotWrite):
    """PostgreSQL accepts no changes, because its operator wants so or because it is a standby server."""

    retry_after_seconds = 30

    def __init__(self) -> None:
        super().__init__("The database is read-only, so this cannot be stored. Try again later; reading still works.")


class StorageFull(CannotWrite):
    """A disk is full: PostgreSQL's, or the one with this process's temporary files."""

    code = "storage_full"
    retry_after_seconds = 60

    def __init__(self) -> None:
        super().__init__("No disk space is left to store this. Try again later; reading still works.")


class UnsafeDatabase(DatabaseUnavailable):
    """The connection could see or change the rows of all users, so it is refused. `reason` is for the operator."""

    def __init__(self, reason: str) -> None:
        super().__init__("The database cannot serve this request now. Try again in a moment.")
        self.reason = reason


class ModelUnavailable(Unavailable):
    """The embedding model is still loading, or it cannot be loaded."""

    code = "model_unavailable"


class DimensionChanged(ModelUnavailable):
    """The embedding model makes vectors of another dimension than those stored under its name."""


class Overloaded(Unavailable):
    """Too many requests of this kind are waiting. This one was not started."""

    code = "overloaded"
    retry_after_seconds = 2


class TooManyFiles(Overloaded):
    """This process, or the machine, may open no more files."""

    def __init__(self) -> None:
        super().__init__("Too many files and connections are open. Try again in a few seconds.")


@contextmanager
def translate_file_errors() -> Iterator[None]:
    """Raise StorageFull if this process's own disk is full, and TooManyFiles if no more files can be opened."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull from error
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise TooManyFiles from error
        raise


class SandboxUnavailable(Unavailable):
    """No process can be started to read a file, because a limit on processes, memory or open files is reached."""

    def __init__(self) -> None:
        super().__init__("No process can be started to read the file. Try again in a moment.")


class AnswerUnavailable(Unavailable):
    """The language model gave no answer, or stopped in the middle. `passages` lists the passages found."""

    code = "answer_unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = Unavailable.retry_after_seconds) -> None:
        super().__init__(message)
        self.retry_after_seconds = min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        self.passages: Sequence[Passage] = ()


class PageImageUnavailable(Unavailable):
    """Pages cannot be drawn at the moment."""

    code = "picture_unavailable"
    retry_after_seconds = 2


class PageImageFailed(SluiceError):
    """This page cannot be drawn. Its text is still available."""

    code = "picture_failed"


class FailureCode(StrEnum):
    """Reasons for the status `failed`. RUNBOOK.md has the action for each."""

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


RETRYABLE = frozenset({FailureCode.EMBEDDING_FAILED, FailureCode.WORKER_LOST})
"""Failures that may be temporary."""


class IngestionError(SluiceError):
    """A document or note cannot be ingested. `pipeline.ingest.release` retries it if the failure may be temporary."""

    def __init__(self, failure: FailureCode, message: str) -> None:
        super().__init__(message, code=failure)
        self.failure = failure


class LeaseLost(SluiceError):
    """This worker no longer holds the job: another worker does, or the document or note was deleted or changed."""

    code = "lease_lost"

    def __init__(self) -> None:
        super().__init__("another worker holds this job, or the job was deleted")
