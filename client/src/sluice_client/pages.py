"""Pages of listings, and the fields of requests."""

from dataclasses import dataclass
from typing import Any

from sluice_client.models import (
    ApiKey,
    AuditEntry,
    Collection,
    CollectionDocument,
    CollectionNote,
    Delivery,
    Document,
    Note,
    Webhook,
)


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page of documents."""

    items: list[Document]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class DocumentTotal:
    """A page of documents of which only the total counts."""

    total: int


@dataclass(frozen=True, slots=True)
class NotePage:
    """A page of notes."""

    items: list[Note]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CollectionPage:
    """A page of collections."""

    items: list[Collection]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CollectionDocumentPage:
    """A page of the documents of a collection."""

    items: list[CollectionDocument]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CollectionNotePage:
    """A page of the notes of a collection."""

    items: list[CollectionNote]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ApiKeyPage:
    """A page of API keys."""

    items: list[ApiKey]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class WebhookPage:
    """A page of webhooks."""

    items: list[Webhook]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of deliveries."""

    items: list[Delivery]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of audit entries."""

    items: list[AuditEntry]
    next_cursor: str | None


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
