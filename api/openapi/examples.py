"""Examples for the OpenAPI document: one of each request and response type, and one problem of each documented code.

They are instances of the types themselves, so no field can be missing or unknown.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from api.controllers.ask import DoneEvent, PassagesEvent, TokenEvent
from api.controllers.auth import AccessToken
from api.controllers.health import Liveness, Readiness
from api.controllers.search import SearchResult
from api.errors import Problem, make_problem
from api.schemas import (
    ApiKeyDraft,
    AskRequest,
    CollectionChange,
    CollectionDraft,
    Confirmation,
    Credentials,
    DocumentChange,
    DocumentIdList,
    MembershipDraft,
    NoteChange,
    NoteDraft,
    PasswordChange,
    Registration,
    SearchRequest,
    WebhookDraft,
)
from pipeline.errors import FieldError
from pipeline.operations.health import Checks
from pipeline.types import (
    Account,
    AccountDetails,
    Answer,
    ApiKey,
    ApiKeyList,
    AuditEntry,
    AuditList,
    Citation,
    Collection,
    CollectionDocument,
    CollectionDocumentList,
    CollectionList,
    CollectionNote,
    CollectionNoteList,
    Deleted,
    Deletions,
    Delivery,
    DeliveryList,
    DeliveryStatus,
    Document,
    DocumentList,
    DocumentText,
    NewApiKey,
    NewWebhook,
    Note,
    NoteList,
    Passage,
    Quota,
    Scope,
    Status,
    SubjectKind,
    Usage,
    Webhook,
    WebhookEvent,
    WebhookList,
)

USER_ID = UUID("019a1b2c-0000-7000-8000-000000000001")
DOCUMENT_ID = UUID("019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b")
NOTE_ID = UUID("019a1b2c-4d5e-7f60-9a7b-8c9d0e1f2a3b")
COLLECTION_ID = UUID("019a1b2c-7a8b-7c9d-8e0f-1a2b3c4d5e6f")
KEY_ID = UUID("019a1b2c-7081-7c90-8dae-0f1a2b3c4d5e")
REQUEST_ID = "019a1b2c-5e6f-7a70-8b8c-9d0e1f2a3b4c"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTlhIn0.c2ln"  # noqa: S105 - an example
SECRET = "sk-kJ2vX0c8m5Qy7rT1bN4wZ6dF9hL3pS8uA0eG2iK5oM"  # noqa: S105 - an example
MORNING = datetime(2026, 11, 27, 8, 30, tzinfo=UTC)
SENTENCE = "When the gauge at the footbridge reads more than 3.2 metres, the lock is closed to all boats."

ACCOUNT = Account(id=USER_ID, email="anna@example.org", created_at=MORNING)
ACCOUNT_DETAILS = AccountDetails(
    id=USER_ID,
    email=ACCOUNT.email,
    created_at=MORNING,
    usage=Usage(stored_bytes=Quota(used=48_210_377, limit=10 * 1024**3), documents=Quota(used=212, limit=None)),
)
KEY = ApiKey(
    id=KEY_ID,
    name="Notebook",
    scopes=[Scope.READ],
    collection_ids=None,
    expires_at=None,
    created_at=MORNING,
    last_used_at=MORNING,
)
NEW_KEY = NewApiKey(
    id=KEY_ID,
    name=KEY.name,
    scopes=KEY.scopes,
    collection_ids=None,
    expires_at=None,
    created_at=MORNING,
    last_used_at=None,
    secret=SECRET,
)
DOCUMENT = Document(
    id=DOCUMENT_ID,
    filename="alder-lock-handbook.pdf",
    media_type="application/pdf",
    size_bytes=5712,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    status=Status.READY,
    error=None,
    pages=5,
    pages_with_text=5,
    chunks=5,
    chunks_reused=0,
    warnings=[],
    attempts=1,
    progress=1.0,
    queue_position=None,
    metadata={"author": "M. Alder"},
    external_id="handbook-7",
    collection_ids=[COLLECTION_ID],
    created_at=MORNING,
    updated_at=MORNING,
    ingested_at=MORNING,
)
ACCEPTED = replace(
    DOCUMENT,
    status=Status.PENDING,
    pages=None,
    pages_with_text=None,
    chunks=0,
    attempts=0,
    progress=0.0,
    queue_position=1,
    ingested_at=None,
)
NOTE = Note(
    id=NOTE_ID,
    title="Keys of the lock house",
    body="The spare key hangs behind the stove.",
    status=Status.READY,
    error=None,
    collection_ids=[COLLECTION_ID],
    created_at=MORNING,
    updated_at=MORNING,
)
COLLECTION = Collection(
    id=COLLECTION_ID,
    name="Locks",
    description="Handbooks of the locks.",
    metadata={},
    documents=1,
    notes=1,
    created_at=MORNING,
    updated_at=MORNING,
)
COLLECTION_DOCUMENT = CollectionDocument(document=DOCUMENT, attributes={"year": 2026}, added_at=MORNING)
COLLECTION_NOTE = CollectionNote(note=NOTE, attributes={}, added_at=MORNING)
PASSAGE = Passage(
    id=UUID("019a1b2c-4c5d-7e6f-8a7b-8c9d0e1f2a3b"),
    source=SubjectKind.DOCUMENT,
    document_id=DOCUMENT_ID,
    note_id=None,
    title="alder-lock-handbook.pdf",
    page=4,
    page_end=4,
    start=1834,
    end=1834 + len(SENTENCE),
    text=SENTENCE,
    score=0.96,
)
ANSWER = Answer(
    answer="The lock is closed above 3.2 metres [1].",
    citations=[Citation(number=1, passage=PASSAGE.id, start=36, end=39)],
    passages=[PASSAGE],
    model="qwen3-8b",
)

WEBHOOK = Webhook(
    id=UUID("019a1b2c-7a80-7c90-8d0e-1f2a3b4c5d6e"),
    url="https://app.example.org/hooks/sluice",
    events=[WebhookEvent.READY, WebhookEvent.FAILED],
    created_at=MORNING,
)
DELIVERY = Delivery(
    id=UUID("019a1b2c-8b90-7d00-8e1f-2a3b4c5d6e7f"),
    event=WebhookEvent.READY,
    document_id=DOCUMENT_ID,
    status=DeliveryStatus.DEAD,
    attempts=18,
    response_status=500,
    error="The receiver answered with status 500.",
    created_at=MORNING,
    attempted_at=MORNING,
)
PENDING_DELIVERY = replace(
    DELIVERY, status=DeliveryStatus.PENDING, attempts=0, response_status=None, error=None, attempted_at=None
)

EXAMPLES: tuple[Any, ...] = (
    Registration(email="anna@example.org", password="correct horse"),  # noqa: S106 - an example
    Credentials(email="anna@example.org", password="correct horse"),  # noqa: S106 - an example
    PasswordChange(current_password="correct horse", new_password="battery staple"),  # noqa: S106 - an example
    Confirmation(password="correct horse"),  # noqa: S106 - an example
    ACCOUNT,
    ACCOUNT_DETAILS,
    AccessToken(access_token=TOKEN, token_type="bearer", expires_in=900),  # noqa: S106 - "bearer" is not a secret
    ApiKeyDraft(name=KEY.name, scopes=KEY.scopes),
    KEY,
    NEW_KEY,
    ApiKeyList(items=[KEY], next_cursor=None),
    DOCUMENT,
    DocumentList(items=[DOCUMENT], next_cursor=None, total=None),
    DocumentIdList(ids=[DOCUMENT_ID]),
    Deletions(deleted=[DOCUMENT_ID], not_found=[]),
    DocumentText(text=SENTENCE, start=1834, end=1834 + len(SENTENCE), length=2210),
    NoteDraft(title=NOTE.title, body=NOTE.body),
    NoteChange(body="The spare key hangs behind the clock."),
    NOTE,
    NoteList(items=[NOTE], next_cursor=None),
    DocumentChange(metadata={"author": "M. Alder"}),
    CollectionDraft(name=COLLECTION.name, description=COLLECTION.description),
    CollectionChange(name="Locks and weirs"),
    MembershipDraft(attributes={"year": 2026}),
    COLLECTION,
    CollectionList(items=[COLLECTION], next_cursor=None),
    COLLECTION_DOCUMENT,
    CollectionDocumentList(items=[COLLECTION_DOCUMENT], next_cursor=None),
    COLLECTION_NOTE,
    CollectionNoteList(items=[COLLECTION_NOTE], next_cursor=None),
    SearchRequest(
        query="At what water level is the lock closed?",
        top_k=1,
        filter={"and": [{"key": "year", "op": "gte", "value": 2025}, {"key": "page", "op": "lte", "value": 3}]},
    ),
    SearchResult(passages=[PASSAGE], took_ms=18.2),
    AskRequest(question="At what water level is the lock closed?", top_k=1),
    ANSWER,
    AuditList(
        items=[
            AuditEntry(
                id=UUID("019a1b2c-6f70-7b80-8c9d-0e1f2a3b4c5d"),
                actor_user_id=USER_ID,
                event_type="document.upload",
                details={"document_id": str(DOCUMENT_ID), "filename": DOCUMENT.filename, "size_bytes": 5712},
                created_at=MORNING,
            )
        ],
        next_cursor=None,
    ),
    WebhookDraft(url=WEBHOOK.url, events=WEBHOOK.events),
    NewWebhook(
        id=WEBHOOK.id,
        url=WEBHOOK.url,
        events=WEBHOOK.events,
        created_at=MORNING,
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # noqa: S106 - an example
    ),
    WEBHOOK,
    WebhookList(items=[WEBHOOK], next_cursor=None),
    DELIVERY,
    DeliveryList(items=[DELIVERY], next_cursor=None),
    Liveness(status="live"),
    Readiness(
        status="ready", checks=Checks(database="ok", migrations="ok", embedding_model="ok", redis="ok", sandbox="ok")
    ),
)

EXAMPLES_OF_STATUS: dict[int, tuple[Any, ...]] = {
    202: (ACCEPTED, PENDING_DELIVERY),
    503: (
        Readiness(
            status="unavailable",
            checks=Checks(database="ok", migrations="ok", embedding_model="loading", redis="ok", sandbox="ok"),
        ),
    ),
}
"""Examples that replace the ones above in responses with this status."""

PARAMETERS: dict[str, Any] = {
    "document_id": str(DOCUMENT_ID),
    "note_id": str(NOTE_ID),
    "collection_id": str(COLLECTION_ID),
    "key_id": str(KEY_ID),
    "page": PASSAGE.page,
    "webhook_id": str(WEBHOOK.id),
    "delivery_id": str(DELIVERY.id),
}
"""Examples of path parameters."""


def _event(name: str, data: Any, number: int | None = None) -> str:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"


TEXTS: dict[str, str] = {
    "POST /v1/ask": "".join(
        (
            _event("passages", PassagesEvent(passages=ANSWER.passages, model=ANSWER.model)),
            _event("token", TokenEvent(text=ANSWER.answer)),
            _event("done", DoneEvent(answer=ANSWER.answer, citations=ANSWER.citations, model=ANSWER.model)),
        )
    ),
    "GET /v1/documents/{document_id}/events": _event("document", ACCEPTED, 8101) + _event("document", DOCUMENT, 8107),
    "GET /v1/events": _event("document", DOCUMENT, 8107) + _event("deleted", Deleted(SubjectKind.NOTE, NOTE_ID), 8110),
    "GET /v1/documents/{document_id}/content": "%PDF-1.3 …",
    "GET /v1/documents/{document_id}/pages/{page}/image": "\x89PNG …",
    "GET /metrics": "# TYPE sluice_redis_up gauge\nsluice_redis_up 1.0\n",
}
"""Examples of responses that are not JSON, by operation."""

UPLOAD = {"file": "%PDF-1.3 …", "external_id": DOCUMENT.external_id}


def _problem(
    status: int, code: str, detail: str, *, field: str | None = None, reason: str = "", has_passages: bool = False
) -> Problem:
    errors = [FieldError(field, reason or detail)] if field else []
    problem = make_problem(status, detail, code, REQUEST_ID, errors)
    problem.passages = [PASSAGE] if has_passages else []
    return problem


PROBLEMS = (
    _problem(
        401, "not_authenticated", "No access token or API key was sent. Send it as `Authorization: Bearer <token>`."
    ),
    _problem(401, "invalid_token", "The token is not valid. Log in again."),
    _problem(401, "session_ended", "This browser has no session, or it has ended. Log in again."),
    _problem(403, "foreign_origin", "A page of another origin sent this request. Use the service's own page."),
    _problem(401, "token_expired", "The token has expired. Log in again."),
    _problem(401, "invalid_credentials", "The e-mail address or the password is wrong."),
    _problem(
        403, "bound_key", "This API key is bound to collections, so it can neither create nor delete collections."
    ),
    _problem(403, "wrong_password", "The current password is wrong. Nothing was changed."),
    _problem(
        403,
        "registration_closed",
        "Registration is closed. Ask the operator of this service for an invitation link.",
    ),
    _problem(
        403,
        "invitation_invalid",
        "This invitation was used before or has expired. Ask the operator of this service for another one.",
    ),
    _problem(
        403,
        "quota_exceeded",
        "You have 1000 documents and notes. Your quota is 1000. Nothing was stored. "
        "Delete documents or notes that you no longer need.",
    ),
    _problem(403, "missing_scope", "This API key does not have the scope `write`. Use a key that has it."),
    _problem(
        403, "key_refused", "API keys cannot manage the account. Log in, and send the access token instead of a key."
    ),
    _problem(404, "not_found", "This document does not exist. Check its id."),
    _problem(404, "no_picture", "Files of this format have no page images. Read the text instead."),
    _problem(408, "too_slow", "No data arrived for 10 seconds. Try again."),
    _problem(409, "email_taken", "An account with this e-mail address already exists. Log in instead."),
    _problem(
        409,
        "external_id_taken",
        "Another document has this external id. Choose another one, or change that document first.",
    ),
    _problem(409, "name_taken", "You have another collection with this name. Choose another name."),
    _problem(
        409,
        "too_many_collections",
        "You have 10000 collections, and more are not possible. Delete one that you do not need.",
    ),
    _problem(
        409, "too_many_keys", "You have 100 API keys, and more are not possible. Revoke one that you do not need."
    ),
    _problem(409, "not_failed", "Only failed documents can be retried; this one is ready."),
    _problem(
        409,
        "duplicate_content",
        f"Your document {NOTE_ID} already has these bytes. Delete it first, or keep both as they are.",
    ),
    _problem(409, "replaced", "The document was replaced meanwhile. Try again."),
    _problem(409, "no_picture", "Page images need a document that is ready; this one, or its new version, is pending."),
    _problem(409, "too_many_webhooks", "An account has at most 20 webhooks. Delete one first."),
    _problem(409, "delivery_pending", "This delivery is still pending. Wait for its next try."),
    _problem(413, "too_large", "The request body is too large. Send a smaller one."),
    _problem(
        415,
        "unsupported_media_type",
        "The format of the file is not supported. Supported formats: .csv, .docx, .pdf, .txt.",
    ),
    _problem(
        422,
        "invalid_input",
        "The request is invalid. Correct the fields listed in `errors`.",
        field="name",
        reason="is not a field of this request",
    ),
    _problem(
        422,
        "picture_failed",
        "This page cannot be drawn. The file crashes its reader. Open it, save it again and upload the new copy.",
        field="body",
    ),
    _problem(429, "rate_limited", "More than 240 requests in 60 seconds. Wait before the next one."),
    _problem(
        429,
        "queue_full",
        "You have 10000 unfinished documents and notes. The limit is 10000. Nothing was stored. "
        "Send it again when some of them are ready.",
    ),
    _problem(429, "too_many_streams", "You have 100 event streams open. Close some, or follow only /v1/events."),
    _problem(
        429,
        "too_many_uploads",
        "Too many of your uploads are under way. Let some of them finish, and send this file again.",
    ),
    _problem(429, "login_paused", "Too many failed logins. Try again in 30 seconds."),
    _problem(500, "internal_error", "Something went wrong on the server. Report this error with its `request_id`."),
    _problem(503, "database_unavailable", "The database does not respond. Try again in a moment."),
    _problem(
        503,
        "overloaded",
        "Too many requests of this kind are waiting. Try again in a few seconds.",
    ),
    _problem(503, "model_unavailable", "The embedding model is not loaded yet. Try again in a moment."),
    _problem(
        503,
        "answer_unavailable",
        "The language model cannot be reached, or the connection was lost. Try again in a moment. "
        "The passages that were found are in `passages`.",
        has_passages=True,
    ),
    _problem(503, "picture_unavailable", "Too many page images are being drawn. Try again in a moment."),
    _problem(507, "storage_full", "No disk space is left to store this. Try again later; reading still works."),
)

USUAL_CODES = {
    401: ("not_authenticated", "invalid_token", "token_expired"),
    403: ("missing_scope",),
    404: ("not_found",),
    408: ("too_slow",),
    413: ("too_large",),
    415: ("unsupported_media_type",),
    422: ("invalid_input",),
    429: ("rate_limited",),
    500: ("internal_error",),
    503: ("database_unavailable",),
    507: ("storage_full",),
}
"""`code`s that any operation may return with a status."""
OWN_CODES = {
    ("POST /v1/auth/register", 403): ("registration_closed", "invitation_invalid"),
    ("POST /v1/auth/register", 409): ("email_taken",),
    ("POST /v1/auth/register", 503): ("database_unavailable", "overloaded"),
    ("POST /v1/auth/login", 503): ("database_unavailable", "overloaded"),
    ("PUT /v1/users/me/password", 503): ("database_unavailable", "overloaded"),
    ("DELETE /v1/users/me", 503): ("database_unavailable", "overloaded"),
    ("POST /v1/auth/login", 401): ("invalid_credentials",),
    ("POST /v1/auth/login", 403): ("foreign_origin",),
    ("POST /v1/auth/refresh", 401): ("session_ended",),
    ("POST /v1/auth/refresh", 403): ("foreign_origin",),
    ("POST /v1/auth/logout", 403): ("foreign_origin",),
    ("POST /v1/auth/login", 429): ("rate_limited", "login_paused"),
    ("GET /v1/users/me", 403): ("missing_scope", "bound_key"),
    ("PUT /v1/users/me/password", 403): ("wrong_password", "key_refused"),
    ("PUT /v1/users/me/password", 429): ("rate_limited", "login_paused"),
    ("DELETE /v1/users/me", 403): ("wrong_password", "key_refused"),
    ("DELETE /v1/users/me", 429): ("rate_limited", "login_paused"),
    ("POST /v1/documents", 409): ("duplicate_content",),
    ("PATCH /v1/documents/{document_id}", 409): ("external_id_taken",),
    ("POST /v1/api-keys", 403): ("key_refused",),
    ("POST /v1/api-keys", 409): ("too_many_keys",),
    ("GET /v1/api-keys", 403): ("key_refused",),
    ("GET /v1/api-keys/{key_id}", 403): ("key_refused",),
    ("DELETE /v1/api-keys/{key_id}", 403): ("key_refused",),
    ("GET /v1/audit-logs", 403): ("missing_scope", "bound_key"),
    ("POST /v1/documents", 403): ("quota_exceeded", "missing_scope"),
    ("POST /v1/documents", 503): ("database_unavailable", "overloaded"),
    ("GET /v1/documents", 503): ("database_unavailable", "overloaded"),
    ("PUT /v1/documents/{document_id}/content", 503): ("database_unavailable", "overloaded"),
    ("POST /v1/documents", 429): ("rate_limited", "queue_full", "too_many_uploads"),
    ("PUT /v1/documents/{document_id}/content", 403): ("quota_exceeded", "missing_scope"),
    ("PUT /v1/documents/{document_id}/content", 409): ("duplicate_content",),
    ("PUT /v1/documents/{document_id}/content", 429): ("rate_limited", "queue_full", "too_many_uploads"),
    ("POST /v1/documents/{document_id}/retry", 409): ("not_failed",),
    ("GET /v1/documents/{document_id}/content", 409): ("replaced",),
    ("GET /v1/documents/{document_id}/pages/{page}/image", 404): ("not_found", "no_picture"),
    ("GET /v1/documents/{document_id}/pages/{page}/image", 409): ("no_picture",),
    ("GET /v1/documents/{document_id}/pages/{page}/image", 422): ("invalid_input", "picture_failed"),
    ("POST /v1/notes", 403): ("quota_exceeded", "missing_scope"),
    ("PATCH /v1/notes/{note_id}", 403): ("quota_exceeded", "missing_scope"),
    ("GET /v1/documents/{document_id}/pages/{page}/image", 503): (
        "database_unavailable",
        "overloaded",
        "picture_unavailable",
    ),
    ("POST /v1/notes", 429): ("queue_full",),
    ("POST /v1/collections", 403): ("bound_key", "missing_scope"),
    ("DELETE /v1/collections/{collection_id}", 403): ("bound_key", "missing_scope"),
    ("POST /v1/collections", 409): ("name_taken", "too_many_collections"),
    ("PATCH /v1/collections/{collection_id}", 409): ("name_taken",),
    ("POST /v1/webhooks", 403): ("key_refused",),
    ("GET /v1/webhooks", 403): ("key_refused",),
    ("GET /v1/webhooks/{webhook_id}", 403): ("key_refused",),
    ("DELETE /v1/webhooks/{webhook_id}", 403): ("key_refused",),
    ("GET /v1/webhooks/{webhook_id}/deliveries", 403): ("key_refused",),
    ("POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", 403): ("key_refused",),
    ("POST /v1/webhooks", 409): ("too_many_webhooks",),
    ("POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", 409): ("delivery_pending",),
    ("GET /v1/events", 429): ("too_many_streams",),
    ("GET /v1/documents/{document_id}/events", 429): ("too_many_streams",),
    ("POST /v1/search", 503): ("database_unavailable", "model_unavailable"),
    ("POST /v1/ask", 503): ("database_unavailable", "model_unavailable", "answer_unavailable"),
}
"""`code`s that replace the usual ones of a status for one operation."""


def find_example(type_name: str, status: int | None = None) -> Any:
    """Return the example of a type in a response with this status as JSON, or None if there is none."""
    for example in (*EXAMPLES_OF_STATUS.get(status or 0, ()), *EXAMPLES):
        if type(example).__name__ == type_name:
            return _to_json(example)
    return None


def _to_json(example: Any) -> msgspec.Raw:
    """Return the example as encoded JSON, because Litestar would drop its nulls."""
    return msgspec.Raw(msgspec.json.encode(example))


def find_problems(operation: str, status: int) -> dict[str, Any]:
    """Return the problems that an operation (such as `GET /v1/notes`) may return with this status, by code."""
    codes = OWN_CODES.get((operation, status)) or USUAL_CODES.get(status, ())
    return {
        problem.code: _to_json(problem) for problem in PROBLEMS if problem.status == status and problem.code in codes
    }
