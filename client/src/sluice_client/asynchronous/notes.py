"""Notes of the account."""

from collections.abc import AsyncIterator, Sequence

from sluice_client.asynchronous.connection import AsyncConnection
from sluice_client.asynchronous.waiting import wait_until_terminal
from sluice_client.models import Note
from sluice_client.pages import NotePage, given
from sluice_client.responses import decode

PATH = "/v1/notes"


class AsyncNotes:
    """Writes, lists, reads, changes and deletes notes. They are searchable like documents."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, title: str, body: str, *, collection_ids: Sequence[str] = ()) -> Note:
        """Write a note. It is searchable once it is `ready`: see `wait`. Raises SluiceError."""
        fields = {"title": title, "body": body, **given(collection_ids=list(collection_ids) or None)}
        return decode(await self._connection.send("POST", PATH, repeatable=False, json=fields), Note)

    async def wait(self, note_id: str, *, timeout_seconds: float | None = None) -> Note:
        """Wait until a note is `ready`.

        Raises IngestionFailed if it becomes `failed`, WaitTimeout, and other errors.
        """
        return await wait_until_terminal(self._connection, f"{PATH}/{note_id}", Note, timeout_seconds)

    async def get(self, note_id: str) -> Note:
        """Return a note. Raises SluiceError."""
        return decode(await self._connection.send("GET", f"{PATH}/{note_id}"), Note)

    def list(self, *, limit: int | None = None) -> AsyncIterator[Note]:
        """Yield notes, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, {}, NotePage)

    async def update(self, note_id: str, *, title: str | None = None, body: str | None = None) -> Note:
        """Replace the title, the body or both. Raises SluiceError."""
        fields = given(title=title, body=body)
        return decode(await self._connection.send("PATCH", f"{PATH}/{note_id}", json=fields), Note)

    async def delete(self, note_id: str) -> None:
        """Delete a note. Raises SluiceError."""
        await self._connection.send("DELETE", f"{PATH}/{note_id}")
