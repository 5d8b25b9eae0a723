# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.
"""Webhooks of the account."""

from collections.abc import Iterator, Sequence

from sluice_client.models import Delivery, NewWebhook, Webhook
from sluice_client.pages import DeliveryPage, WebhookPage, given
from sluice_client.responses import decode
from sluice_client.synchronous.connection import Connection

PATH = "/v1/webhooks"


class Webhooks:
    """Creates, lists and deletes receivers of events, and lists what was sent to them.

    That needs an e-mail address and a password: a key cannot manage webhooks.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, url: str, events: Sequence[str], *, secret: str | None = None) -> NewWebhook:
        """Send events such as `document.ready` to a URL. The secret that signs them is shown only now.

        Raises SluiceError.
        """
        fields = {"url": url, "events": list(events), **given(secret=secret)}
        return decode(self._connection.send("POST", PATH, repeatable=False, json=fields), NewWebhook)

    def get(self, webhook_id: str) -> Webhook:
        """Return a webhook without its secret. Raises SluiceError."""
        return decode(self._connection.send("GET", f"{PATH}/{webhook_id}"), Webhook)

    def list(self, *, limit: int | None = None) -> Iterator[Webhook]:
        """Yield webhooks, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, {}, WebhookPage)

    def delete(self, webhook_id: str) -> None:
        """Delete a webhook. Events that were not delivered yet are not sent. Raises SluiceError."""
        self._connection.send("DELETE", f"{PATH}/{webhook_id}")

    def deliveries(self, webhook_id: str, *, status: str | None = None, limit: int | None = None) -> Iterator[Delivery]:
        """Yield the events of the last 30 days, newest first, at most `limit`. Raises SluiceError.

        `status` is `pending`, `delivered`, or `dead` for those that were given up.
        """
        return self._connection.list_items(f"{PATH}/{webhook_id}/deliveries", limit, given(status=status), DeliveryPage)

    def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Send an event again that was delivered or given up.

        Raises Conflict if it is still pending, and other errors.
        """
        path = f"{PATH}/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return decode(self._connection.send("POST", path, repeatable=False), Delivery)
