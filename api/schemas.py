"""JSON bodies of requests. Unknown fields and strings with a NUL are refused."""

from typing import Annotated
from uuid import UUID

import msgspec

from pipeline.types import SearchMode
from pipeline.use_cases.accounts import (
    EMAIL_PATTERN,
    MAX_EMAIL_CHARACTERS,
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
)

NO_NUL = r"^[^\x00]*$"


Email = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EMAIL_CHARACTERS, pattern=NO_NUL)]


Password = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PASSWORD_CHARACTERS, pattern=NO_NUL)]
"""A password to check."""
NewPassword = Annotated[
    str,
    msgspec.Meta(
        min_length=MIN_PASSWORD_CHARACTERS,
        max_length=MAX_PASSWORD_CHARACTERS,
        pattern=NO_NUL,
        description="At least 8 characters.",
    ),
]


class Registration(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """E-mail address and password of a new account, and the secret of an invitation link if registration is closed."""

    email: Annotated[str, msgspec.Meta(max_length=MAX_EMAIL_CHARACTERS, pattern=EMAIL_PATTERN)]
    password: NewPassword
    invitation: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=NO_NUL)] | None = None


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """E-mail address and password of an account."""

    email: Email
    password: Password


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The current password of an account, and the one that replaces it."""

    current_password: Password
    new_password: NewPassword


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    """The password of an account, which confirms that the caller is its user."""

    password: Password


Title = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=NO_NUL)]
Body = Annotated[
    str,
    # One non-whitespace character is required: an empty note could never become searchable. The white space comes
    # first, so that the pattern can match in one way only. Otherwise, checking a long note would take minutes.
    msgspec.Meta(max_length=200_000, pattern=r"^\s*[^\x00\s][^\x00]*$"),
]


class NoteDraft(msgspec.Struct, forbid_unknown_fields=True):
    """A new note."""

    title: Title
    body: Body


class NoteChange(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a note to replace; omitted fields keep their value."""

    title: Title | None = None
    body: Body | None = None


Question = Annotated[str, msgspec.Meta(min_length=1, max_length=4000, pattern=NO_NUL)]
TopK = Annotated[int, msgspec.Meta(ge=1, le=50)]
DocumentIds = Annotated[list[UUID], msgspec.Meta(max_length=1000)]


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A question or a few words, and the maximum number of passages to return."""

    query: Question
    top_k: TopK = 8
    document_ids: DocumentIds | None = None
    mode: SearchMode = SearchMode.HYBRID


class AskRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A question, and the maximum number of passages to answer it from."""

    question: Question
    top_k: TopK = 8
    document_ids: DocumentIds | None = None
