"""JSON bodies of requests. Unknown fields and strings with a NUL are refused."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from pipeline import filters
from pipeline.errors import FieldError, InvalidInput
from pipeline.properties import MAX_COLLECTION_IDS, MAX_EXTERNAL_ID_CHARACTERS
from pipeline.types import Scope, SearchMode, Selection, Speaker, Turn, WebhookEvent
from pipeline.use_cases.accounts import (
    EMAIL_PATTERN,
    MAX_EMAIL_CHARACTERS,
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
)
from pipeline.use_cases.search import MAX_QUESTION_CHARACTERS, require_word

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

Remember = Annotated[
    bool,
    msgspec.Meta(description="For browsers: also set a cookie with which `POST /v1/auth/refresh` issues new tokens."),
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
    remember: Remember = False


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The current password of an account, and the one that replaces it."""

    current_password: Password
    new_password: NewPassword
    remember: Remember = False


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    """The password of an account, which confirms that the caller is its user."""

    password: Password


KeyName = Annotated[
    str, msgspec.Meta(max_length=100, pattern=r"^\s*[^\x00\s][^\x00]*$", description="For display only.")
]


class ApiKeyDraft(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A new API key. By default it does not expire, has both scopes and reaches all of the account."""

    name: KeyName
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: list(Scope))
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    collection_ids: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=MAX_COLLECTION_IDS)] | None = None


Title = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=NO_NUL)]
Body = Annotated[
    str,
    # One non-whitespace character is required: an empty note could never become searchable. The white space comes
    # first, so that the pattern can match in one way only. Otherwise, checking a long note would take minutes.
    msgspec.Meta(max_length=200_000, pattern=r"^\s*[^\x00\s][^\x00]*$"),
]


CollectionIds = Annotated[list[UUID], msgspec.Meta(max_length=MAX_COLLECTION_IDS)]


class NoteDraft(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A new note, and the collections to put it into."""

    title: Title
    body: Body
    collection_ids: CollectionIds = []


class NoteChange(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a note to replace; omitted fields keep their value."""

    title: Title | None = None
    body: Body | None = None


CollectionName = Annotated[
    str, msgspec.Meta(max_length=200, pattern=r"^\s*[^\x00\s][^\x00]*$", description="Unique among your collections.")
]
Description = Annotated[str, msgspec.Meta(max_length=2000, pattern=NO_NUL)]
Metadata = Annotated[dict[str, Any], msgspec.Meta(description="A JSON object of at most 16 KiB.")]
MAX_ATTRIBUTES, MAX_ATTRIBUTE_KEY_CHARACTERS, MAX_ATTRIBUTE_CHARACTERS = 16, 64, 512
Attributes = Annotated[
    dict[
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ATTRIBUTE_KEY_CHARACTERS, pattern=NO_NUL)],
        Annotated[str, msgspec.Meta(max_length=MAX_ATTRIBUTE_CHARACTERS, pattern=NO_NUL)] | int | float | bool,
    ],
    msgspec.Meta(max_length=MAX_ATTRIBUTES, description="Strings, numbers and booleans, which filters compare."),
]


ExternalId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_EXTERNAL_ID_CHARACTERS,
        pattern=NO_NUL,
        description="Id in your own system. An upload with the id of a document replaces that document.",
    ),
]


class UploadFields(msgspec.Struct):
    """The parts of an upload beside the file."""

    metadata: Metadata | None = None
    external_id: ExternalId | None = None
    collection_id: CollectionIds = []
    attributes: Attributes | None = None


class DocumentChange(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The properties of a document to replace; omitted ones keep their value. `external_id: null` removes the id."""

    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=NO_NUL)] | None = None
    metadata: Metadata | None = None
    external_id: ExternalId | msgspec.UnsetType | None = msgspec.UNSET


class DocumentIdList(msgspec.Struct, forbid_unknown_fields=True):
    """The documents to delete."""

    ids: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=1000)]


class CollectionDraft(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A new collection."""

    name: CollectionName
    description: Description = ""
    metadata: Metadata = {}


class CollectionChange(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of a collection to replace; omitted fields keep their value."""

    name: CollectionName | None = None
    description: Description | None = None
    metadata: Metadata | None = None


class MembershipDraft(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The attributes of a document or note in a collection. If they are omitted, those it has there stay."""

    attributes: Attributes | None = None


WebhookUrl = Annotated[str, msgspec.Meta(min_length=1, max_length=2000, pattern=NO_NUL)]
WebhookSecret = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=100, pattern=NO_NUL, description="`whsec_` and the base64 of 24 to 64 random bytes."
    ),
]


class WebhookDraft(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A receiver of events. Without a secret, it gets a new one."""

    url: WebhookUrl
    events: Annotated[list[WebhookEvent], msgspec.Meta(min_length=1, max_length=10)]
    secret: WebhookSecret | None = None


Question = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS, pattern=NO_NUL)]
TopK = Annotated[int, msgspec.Meta(ge=1, le=50)]
DocumentIds = Annotated[list[UUID], msgspec.Meta(max_length=1000)]


class _Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What searches and questions have in common. `query` and `question` mean the same, and one of them is required."""

    query: Question | msgspec.UnsetType = msgspec.UNSET
    question: Question | msgspec.UnsetType = msgspec.UNSET
    top_k: TopK = 8
    collection_ids: CollectionIds | None = None
    document_ids: DocumentIds | None = None
    filter: dict[str, Any] | None = None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    details: bool = False

    def read_selection(self) -> Selection:
        """Return what to search.

        Raises InvalidInput if the filter is invalid.
        """
        chosen = None if self.filter is None else filters.decode(self.filter)
        return Selection(self.collection_ids, self.document_ids, chosen)

    def read_text(self, name: str) -> str:
        """Return what is searched for or asked. `name` is the field that the documents of this route show.

        Raises InvalidInput if neither or both of the two fields are given, or if the text has no word.
        """
        texts = {"query": self.query, "question": self.question}
        given = [(field, text) for field, text in texts.items() if text is not msgspec.UNSET]
        match given:
            case [(field, text)]:
                require_word(text, field)
                return text
            case []:
                raise InvalidInput(f"`{name}` is missing. Send it.", errors=(FieldError(name, "is required"),))
            case _:
                [other] = {"query", "question"} - {name}
                problem = FieldError(other, f"means the same as `{name}`")
                raise InvalidInput("Send either `query` or `question`, not both.", errors=(problem,))


class SearchRequest(_Request):
    """A question or a few words in `query`, and the maximum number of passages to return."""

    mode: SearchMode = SearchMode.HYBRID


class EarlierTurn(msgspec.Struct, forbid_unknown_fields=True):
    """What was said earlier in a conversation."""

    role: Speaker
    content: Annotated[str, msgspec.Meta(max_length=20_000, pattern=NO_NUL)]


class AskRequest(_Request):
    """A question, and the maximum number of passages to answer it from.

    If the service has a language model, the question may refer to the `history` of the conversation, oldest first.
    """

    history: Annotated[list[EarlierTurn], msgspec.Meta(max_length=100)] | None = None

    def read_history(self) -> list[Turn]:
        """Return what was said before."""
        return [Turn(turn.role, turn.content) for turn in self.history or ()]
