"""The receivers of an account's events, and the deliveries to them, as their owner sees them."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, deliveries, models
from pipeline.errors import NotFound
from pipeline.types import Delivery, DeliveryList, DeliveryStatus, Webhook, WebhookEvent, WebhookList


def no_such_webhook() -> NotFound:
    """Return the error for an unknown id and for another user's webhook."""
    return NotFound("This webhook does not exist. Check its id.")


async def add(
    session: AsyncSession, owner_id: UUID, webhook_id: UUID, url: str, events: Collection[WebhookEvent], secret: bytes
) -> Webhook:
    """Insert a receiver, and return it.

    Raises IntegrityError if the owner does not exist.
    """
    row = await session.scalars(
        insert(models.Webhook)
        .values(owner_id=owner_id, id=webhook_id, url=url, events=list(events), secret=secret)
        .returning(models.Webhook)
    )
    return _to_webhook(row.one())


async def count(session: AsyncSession, owner_id: UUID) -> int:
    """Return the number of the owner's receivers."""
    query = select(func.count()).select_from(models.Webhook).where(models.Webhook.owner_id == owner_id)
    return (await session.scalars(query)).one()


async def get(session: AsyncSession, owner_id: UUID, webhook_id: UUID) -> Webhook:
    """Return the owner's receiver.

    Raises NotFound if it does not exist or belongs to another user.
    """
    query = select(models.Webhook).where(models.Webhook.owner_id == owner_id, models.Webhook.id == webhook_id)
    row = await session.scalar(query)
    if row is None:
        raise no_such_webhook()
    return _to_webhook(row)


async def list_page(session: AsyncSession, owner_id: UUID, *, limit: int, cursor: str | None) -> WebhookList:
    """Return a page of the owner's receivers, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    query = select(models.Webhook).where(models.Webhook.owner_id == owner_id)
    rows, next_cursor = await access.read_page(session, query, models.Webhook.id, limit, cursor)
    return WebhookList([_to_webhook(row) for row in rows], next_cursor)


async def remove(session: AsyncSession, owner_id: UUID, webhook_id: UUID) -> None:
    """Delete the owner's receiver with its deliveries. Those that are pending are not sent.

    Raises NotFound if it does not exist or belongs to another user.
    """
    is_owned = (models.Webhook.owner_id == owner_id, models.Webhook.id == webhook_id)
    # Before its jobs, as in a transaction that writes an event.
    await session.execute(select(models.Webhook.id).where(*is_owned).with_for_update())
    await deliveries.discard(session, owner_id, webhook_id)
    gone = await session.execute(delete(models.Webhook).where(*is_owned).returning(models.Webhook.id))
    if gone.one_or_none() is None:
        raise no_such_webhook()


async def get_delivery(session: AsyncSession, owner_id: UUID, webhook_id: UUID, delivery_id: UUID) -> Delivery:
    """Return a delivery to the owner's receiver.

    Raises NotFound if it does not exist or belongs to another user.
    """
    query = select(models.WebhookDelivery).where(
        models.WebhookDelivery.owner_id == owner_id,
        models.WebhookDelivery.webhook_id == webhook_id,
        models.WebhookDelivery.id == delivery_id,
    )
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotFound("This delivery does not exist. Check its id, and that of the webhook.")
    return _to_delivery(row)


async def list_deliveries(
    session: AsyncSession,
    owner_id: UUID,
    webhook_id: UUID,
    *,
    status: DeliveryStatus | None,
    limit: int,
    cursor: str | None,
) -> DeliveryList:
    """Return a page of the deliveries to the owner's receiver, newest first.

    Raises NotFound if the owner has no such receiver, InvalidInput if the cursor is malformed.
    """
    await get(session, owner_id, webhook_id)
    query = select(models.WebhookDelivery).where(
        models.WebhookDelivery.owner_id == owner_id, models.WebhookDelivery.webhook_id == webhook_id
    )
    if status is not None:
        query = query.where(models.WebhookDelivery.status == status)
    rows, next_cursor = await access.read_page(session, query, models.WebhookDelivery.id, limit, cursor)
    return DeliveryList([_to_delivery(row) for row in rows], next_cursor)


def _to_webhook(row: models.Webhook) -> Webhook:
    return Webhook(
        id=row.id, url=row.url, events=[WebhookEvent(event) for event in row.events], created_at=row.created_at
    )


def _to_delivery(row: models.WebhookDelivery) -> Delivery:
    return Delivery(
        id=row.id,
        event=WebhookEvent(row.event),
        document_id=row.document_id,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        response_status=row.response_status,
        error=row.error,
        created_at=row.created_at,
        attempted_at=row.attempted_at,
    )
