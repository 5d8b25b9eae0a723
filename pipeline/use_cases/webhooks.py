"""Webhooks: create, read and delete receivers of events, and send events again."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import httpx2

from pipeline.db import audit, deliveries, users, webhooks
from pipeline.errors import AccountGone, Conflict, FieldError, InvalidInput
from pipeline.runtime import Runtime
from pipeline.types import (
    Caller,
    Delivery,
    DeliveryList,
    DeliveryStatus,
    NewWebhook,
    Webhook,
    WebhookEvent,
    WebhookList,
    new_id,
)
from pipeline.webhooks import addresses, signature

MAX_WEBHOOKS = 20
"""Maximum number of receivers of an account."""
LAST_PORT = 2**16 - 1
RESOLVE_SECONDS = 2.0
"""Time for which a request waits for the addresses of a name. The worker resolves and checks the name again."""


async def create(
    runtime: Runtime, caller: Caller, url: str, events: Sequence[WebhookEvent], secret: str | None
) -> NewWebhook:
    """Add a receiver. Without a secret, it gets a new one.

    Raises InvalidInput if the address or the secret cannot be used, Conflict if the account has too many receivers,
    AccountGone if the account does not exist.
    """
    key = _parse_secret(secret) if secret is not None else signature.make_secret()
    await _require_address(runtime, url)
    webhook_id = new_id()
    async with runtime.database.transaction(caller) as session:
        if await users.lock(session, caller.owner_id) is None:
            raise AccountGone
        if await webhooks.count(session, caller.owner_id) >= MAX_WEBHOOKS:
            message = f"An account has at most {MAX_WEBHOOKS} webhooks. Delete one first."
            raise Conflict(message, code="too_many_webhooks")
        webhook = await webhooks.add(session, caller.owner_id, webhook_id, url, sorted(set(events)), key)
        details = {"webhook_id": str(webhook_id), "events": [str(event) for event in webhook.events]}
        await audit.record(session, audit.Event.WEBHOOK_CREATED, caller, details)
    return NewWebhook(webhook.id, webhook.url, webhook.events, webhook.created_at, signature.show_secret(key))


def _parse_secret(secret: str) -> bytes:
    try:
        return signature.parse_secret(secret)
    except ValueError:
        problem = FieldError("secret", f"must be {signature.SECRET_FORM}")
        raise InvalidInput("The secret cannot be used. Omit it to get a new one.", errors=(problem,)) from None


async def _require_address(runtime: Runtime, url: str) -> None:
    """Raises InvalidInput if no event could be sent to this URL. A name that cannot be resolved now is accepted."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise _refuse_url("is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise _refuse_url("must begin with https:// or http://, and name a host")
    if parsed.userinfo or parsed.fragment:
        raise _refuse_url("may have neither a user name nor a fragment")
    if parsed.port is not None and not 1 <= parsed.port <= LAST_PORT:
        raise _refuse_url(f"may name a port from 1 to {LAST_PORT}")
    port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            await addresses.resolve(parsed.host, port, runtime.settings.allowed_webhook_networks, runtime.resolvers)
    except (OSError, TimeoutError):
        return
    except addresses.AddressRefused:
        raise _refuse_url("leads to an address that is not public; the operator can allow private networks") from None


def _refuse_url(reason: str) -> InvalidInput:
    return InvalidInput("Events cannot be sent to this URL. Send another one.", errors=(FieldError("url", reason),))


async def get(runtime: Runtime, caller: Caller, webhook_id: UUID) -> Webhook:
    """Return the owner's receiver, without its secret.

    Raises NotFound if the owner has no such receiver.
    """
    async with runtime.database.transaction(caller) as session:
        return await webhooks.get(session, caller.owner_id, webhook_id)


async def list_page(runtime: Runtime, caller: Caller, *, limit: int, cursor: str | None) -> WebhookList:
    """Return a page of the owner's receivers, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await webhooks.list_page(session, caller.owner_id, limit=limit, cursor=cursor)


async def delete(runtime: Runtime, caller: Caller, webhook_id: UUID) -> None:
    """Delete the receiver with its deliveries. Those that are pending are not sent.

    Raises NotFound if the owner has no such receiver.
    """
    async with runtime.database.transaction(caller) as session:
        await webhooks.remove(session, caller.owner_id, webhook_id)
        await audit.record(session, audit.Event.WEBHOOK_DELETED, caller, {"webhook_id": str(webhook_id)})


async def list_deliveries(
    runtime: Runtime,
    caller: Caller,
    webhook_id: UUID,
    *,
    status: DeliveryStatus | None,
    limit: int,
    cursor: str | None,
) -> DeliveryList:
    """Return a page of the deliveries to a receiver, newest first.

    Raises NotFound if the owner has no such receiver, InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await webhooks.list_deliveries(
            session, caller.owner_id, webhook_id, status=status, limit=limit, cursor=cursor
        )


async def redeliver(runtime: Runtime, caller: Caller, webhook_id: UUID, delivery_id: UUID) -> Delivery:
    """Send an event again.

    Raises NotFound if the owner has no such delivery, Conflict if it is pending.
    """
    async with runtime.database.transaction(caller) as session:
        await webhooks.get_delivery(session, caller.owner_id, webhook_id, delivery_id)
        if not await deliveries.redeliver(session, caller.owner_id, delivery_id):
            raise Conflict("This delivery is still pending. Wait for its next try.", code="delivery_pending")
        delivery = await webhooks.get_delivery(session, caller.owner_id, webhook_id, delivery_id)
    await runtime.doorbell.ring(delivery.id)
    return delivery
