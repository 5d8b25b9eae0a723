"""Webhooks of the account."""

from collections.abc import AsyncIterator, Sequence

from sluice_client.asynchronous.connection import AsyncConnection
from sluice_client.models import Delivery, NewWebhook, Webhook
from sluice_client.pages import DeliveryPage, WebhookPage, given
from sluice_client.responses import decode

PATH = "/v1/webhooks"


class AsyncWebhooks:
    """Creates, lists and deletes receivers of events, and lists what was sent to them.

    That needs an e-mail address and a password: a key cannot manage webhooks.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, url: str, events: Sequence[str], *, secret: str | None = None) -> NewWebhook:
        """Send events such as `document.ready` to a URL. The secret that signs them is shown only now.

        Raises SluiceError.
        """
        fields = {"url": url, "events": list(events), **given(secret=secret)}
        return decode(await self._connection.send("POST", PATH, repeatable=False, json=fields), NewWebhook)

    async def get(self, webhook_id: str) -> Webhook:
        """Return a webhook without its secret. Raises SluiceError."""
        return decode(await self._connection.send("GET", f"{PATH}/{webhook_id}"), Webhook)

    def list(self, *, limit: int | None = None) -> AsyncIterator[Webhook]:
        """Yield webhooks, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, {}, WebhookPage)

    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook. Events that were not delivered yet are not sent. Raises SluiceError."""
        await self._connection.send("DELETE", f"{PATH}/{webhook_id}")

    def deliveries(
        self, webhook_id: str, *, status: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Delivery]:
        """Yield the events of the last 30 days, newest first, at most `limit`. Raises SluiceError.

        `status` is `pending`, `delivered`, or `dead` for those that were given up.
        """
        return self._connection.list_items(f"{PATH}/{webhook_id}/deliveries", limit, given(status=status), DeliveryPage)

    async def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Send an event again that was delivered or given up.

        Raises Conflict if it is still pending, and other errors.
        """
        path = f"{PATH}/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return decode(await self._connection.send("POST", path, repeatable=False), Delivery)
