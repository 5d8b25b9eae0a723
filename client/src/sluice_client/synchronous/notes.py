# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.
"""Notes of the account."""

from collections.abc import Iterator, Sequence

from sluice_client.models import Note
from sluice_client.pages import NotePage, given
from sluice_client.responses import decode
from sluice_client.synchronous.connection import Connection
from sluice_client.synchronous.waiting import wait_until_terminal

PATH = "/v1/notes"


class Notes:
    """Writes, lists, reads, changes and deletes notes. They are searchable like documents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, title: str, body: str, *, collection_ids: Sequence[str] = ()) -> Note:
        """Write a note. It is searchable once it is `ready`: see `wait`. Raises SluiceError."""
        fields = {"title": title, "body": body, **given(collection_ids=list(collection_ids) or None)}
        return decode(self._connection.send("POST", PATH, repeatable=False, json=fields), Note)

    def wait(self, note_id: str, *, timeout_seconds: float | None = None) -> Note:
        """Wait until a note is `ready`.

        Raises IngestionFailed if it becomes `failed`, WaitTimeout, and other errors.
        """
        return wait_until_terminal(self._connection, f"{PATH}/{note_id}", Note, timeout_seconds)

    def get(self, note_id: str) -> Note:
        """Return a note. Raises SluiceError."""
        return decode(self._connection.send("GET", f"{PATH}/{note_id}"), Note)

    def list(self, *, limit: int | None = None) -> Iterator[Note]:
        """Yield notes, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, {}, NotePage)

    def update(self, note_id: str, *, title: str | None = None, body: str | None = None) -> Note:
        """Replace the title, the body or both. Raises SluiceError."""
        fields = given(title=title, body=body)
        return decode(self._connection.send("PATCH", f"{PATH}/{note_id}", json=fields), Note)

    def delete(self, note_id: str) -> None:
        """Delete a note. Raises SluiceError."""
        self._connection.send("DELETE", f"{PATH}/{note_id}")
