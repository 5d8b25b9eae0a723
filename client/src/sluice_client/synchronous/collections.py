# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.
"""Collections of documents and notes."""

from collections.abc import Iterator, Mapping
from typing import Any

from sluice_client.models import Attributes, Collection, CollectionDocument, CollectionNote
from sluice_client.pages import CollectionDocumentPage, CollectionNotePage, CollectionPage, given
from sluice_client.responses import decode
from sluice_client.synchronous.connection import Connection

PATH = "/v1/collections"


class Collections:
    """Creates, lists, changes and deletes collections, and puts documents and notes into them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, name: str, *, description: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Collection:
        """Create a collection.

        Raises Conflict if the account has one of this name, and other errors.
        """
        fields = {"name": name, **given(description=description, metadata=metadata)}
        return decode(self._connection.send("POST", PATH, repeatable=False, json=fields), Collection)

    def get(self, collection_id: str) -> Collection:
        """Return a collection. Raises SluiceError."""
        return decode(self._connection.send("GET", f"{PATH}/{collection_id}"), Collection)

    def list(self, *, limit: int | None = None) -> Iterator[Collection]:
        """Yield collections, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, {}, CollectionPage)

    def update(
        self,
        collection_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Replace the name, the description or the metadata. Raises SluiceError."""
        fields = given(name=name, description=description, metadata=metadata)
        return decode(self._connection.send("PATCH", f"{PATH}/{collection_id}", json=fields), Collection)

    def delete(self, collection_id: str, *, delete_contents: bool = False) -> None:
        """Delete a collection. Its documents and notes stay, except those that are nowhere else if you ask for it.

        Raises SluiceError.
        """
        parameters = {"delete_contents": "true"} if delete_contents else {}
        self._connection.send("DELETE", f"{PATH}/{collection_id}", params=parameters)

    def documents(
        self, collection_id: str, *, status: str | None = None, limit: int | None = None
    ) -> Iterator[CollectionDocument]:
        """Yield the documents of a collection with their attributes, newest first. Raises SluiceError."""
        path = f"{PATH}/{collection_id}/documents"
        return self._connection.list_items(path, limit, given(status=status), CollectionDocumentPage)

    def notes(self, collection_id: str, *, limit: int | None = None) -> Iterator[CollectionNote]:
        """Yield the notes of a collection with their attributes, newest first. Raises SluiceError."""
        return self._connection.list_items(f"{PATH}/{collection_id}/notes", limit, {}, CollectionNotePage)

    def get_document(self, collection_id: str, document_id: str) -> CollectionDocument:
        """Return a document with its attributes in a collection. Raises SluiceError."""
        path = f"{PATH}/{collection_id}/documents/{document_id}"
        return decode(self._connection.send("GET", path), CollectionDocument)

    def put_document(
        self, collection_id: str, document_id: str, attributes: Attributes | None = None
    ) -> CollectionDocument:
        """Put a document into a collection, or replace its attributes there. Raises SluiceError."""
        path = f"{PATH}/{collection_id}/documents/{document_id}"
        return decode(self._connection.send("PUT", path, json=given(attributes=attributes)), CollectionDocument)

    def remove_document(self, collection_id: str, document_id: str) -> None:
        """Take a document out of a collection. The document stays. Raises SluiceError."""
        self._connection.send("DELETE", f"{PATH}/{collection_id}/documents/{document_id}")

    def get_note(self, collection_id: str, note_id: str) -> CollectionNote:
        """Return a note with its attributes in a collection. Raises SluiceError."""
        path = f"{PATH}/{collection_id}/notes/{note_id}"
        return decode(self._connection.send("GET", path), CollectionNote)

    def put_note(self, collection_id: str, note_id: str, attributes: Attributes | None = None) -> CollectionNote:
        """Put a note into a collection, or replace its attributes there. Raises SluiceError."""
        path = f"{PATH}/{collection_id}/notes/{note_id}"
        return decode(self._connection.send("PUT", path, json=given(attributes=attributes)), CollectionNote)

    def remove_note(self, collection_id: str, note_id: str) -> None:
        """Take a note out of a collection. The note stays. Raises SluiceError."""
        self._connection.send("DELETE", f"{PATH}/{collection_id}/notes/{note_id}")
