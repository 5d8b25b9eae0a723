"""API keys of the account."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from sluice_client.asynchronous.connection import AsyncConnection
from sluice_client.models import ApiKey, NewApiKey
from sluice_client.pages import ApiKeyPage, given
from sluice_client.responses import decode

PATH = "/v1/api-keys"


class AsyncKeys:
    """Creates, lists and revokes API keys. That needs an e-mail address and a password: a key cannot manage keys."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        collection_ids: Sequence[str] | None = None,
    ) -> NewApiKey:
        """Create a key. Its `secret` is shown only now. Without `collection_ids`, it reaches all of the account.

        Raises SluiceError.
        """
        fields = {
            "name": name,
            **given(
                scopes=scopes and list(scopes),
                expires_at=expires_at and expires_at.isoformat(),
                collection_ids=None if collection_ids is None else list(collection_ids),
            ),
        }
        return decode(await self._connection.send("POST", PATH, repeatable=False, json=fields), NewApiKey)

    async def get(self, key_id: str) -> ApiKey:
        """Return a key without its secret. Raises SluiceError."""
        return decode(await self._connection.send("GET", f"{PATH}/{key_id}"), ApiKey)

    def list(self, *, limit: int | None = None) -> AsyncIterator[ApiKey]:
        """Yield keys, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, {}, ApiKeyPage)

    async def revoke(self, key_id: str) -> None:
        """Revoke a key. Within a second, every process refuses it. Raises SluiceError."""
        await self._connection.send("DELETE", f"{PATH}/{key_id}")
