# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.
"""Documents of the account."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from sluice_client.files import Source, open_source
from sluice_client.models import Attributes, Deletions, Document, DocumentText, Filter
from sluice_client.pages import DocumentPage, DocumentTotal, given
from sluice_client.responses import decode
from sluice_client.synchronous.connection import Connection
from sluice_client.synchronous.waiting import wait_until_terminal

PATH = "/v1/documents"
DELETED_AT_ONCE = 1000
"""Maximum number of ids in one request."""


class Documents:
    """Uploads, lists, reads, changes and deletes documents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def upload(
        self,
        source: Source,
        *,
        filename: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        collection_ids: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> Document:
        """Upload a file: a path, its bytes, or a file object. It may be ingested only later: see `upload_and_wait`.

        The same bytes again are the same document, so an upload is repeated after a lost connection. An upload with an
        `external_id` replaces the document that has it. `attributes` are those in each of the collections. Raises
        SluiceError.
        """
        fields = given(metadata=_encode(metadata), external_id=external_id, attributes=_encode(attributes))
        fields |= {"collection_id": list(collection_ids)} if collection_ids else {}
        with open_source(source, filename) as opened:
            response = self._connection.send(
                "POST", PATH, repeatable=opened.can_repeat, data=fields, files={"file": opened.make_part()}
            )
        return decode(response, Document)

    def upload_and_wait(
        self,
        source: Source,
        *,
        filename: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        collection_ids: Sequence[str] = (),
        attributes: Attributes | None = None,
        timeout_seconds: float | None = None,
    ) -> Document:
        """Upload a file and wait until it is `ready`.

        Raises IngestionFailed if it becomes `failed`, WaitTimeout, and other errors.
        """
        document = self.upload(
            source,
            filename=filename,
            metadata=metadata,
            external_id=external_id,
            collection_ids=collection_ids,
            attributes=attributes,
        )
        return self.wait(document.id, timeout_seconds=timeout_seconds)

    def wait(self, document_id: str, *, timeout_seconds: float | None = None) -> Document:
        """Wait until a document is `ready`.

        Raises IngestionFailed if it becomes `failed`, WaitTimeout, and other errors.
        """
        return wait_until_terminal(self._connection, f"{PATH}/{document_id}", Document, timeout_seconds)

    def get(self, document_id: str) -> Document:
        """Return a document. Raises SluiceError."""
        return decode(self._connection.send("GET", f"{PATH}/{document_id}"), Document)

    def list(
        self,
        *,
        collection_id: str | None = None,
        status: str | None = None,
        name: str | None = None,
        filter: Filter | None = None,  # noqa: A002 - the name that the service uses
        sort: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Document]:
        """Yield documents, newest first unless `sort` names another order, at most `limit`. Raises SluiceError.

        `name` is a part of the file name. `sort` is `created_at`, `filename` or `size_bytes`, and falls after a `-`.
        """
        parameters = _choose(collection_id, status, name, filter) | given(sort=sort)
        return self._connection.list_items(PATH, limit, parameters, DocumentPage)

    def count(
        self,
        *,
        collection_id: str | None = None,
        status: str | None = None,
        name: str | None = None,
        filter: Filter | None = None,  # noqa: A002 - the name that the service uses
    ) -> int:
        """Return the number of documents that `list` would yield without a limit. Raises SluiceError."""
        parameters = _choose(collection_id, status, name, filter) | {"include": "total", "limit": 1}
        return decode(self._connection.send("GET", PATH, params=parameters), DocumentTotal).total

    def update(
        self,
        document_id: str,
        *,
        filename: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        external_id: str | UnsetType | None = UNSET,
    ) -> Document:
        """Replace the file name, the metadata or the external id. An external id of None removes it.

        Raises SluiceError.
        """
        body = given(filename=filename, metadata=metadata)
        body |= {} if external_id is UNSET else {"external_id": external_id}
        return decode(self._connection.send("PATCH", f"{PATH}/{document_id}", json=body), Document)

    def replace(self, document_id: str, source: Source, *, filename: str | None = None) -> Document:
        """Upload a new version. The old passages are found until it is ready. Raises SluiceError."""
        with open_source(source, filename) as opened:
            response = self._connection.send(
                "PUT",
                f"{PATH}/{document_id}/content",
                repeatable=opened.can_repeat,
                files={"file": opened.make_part()},
            )
        return decode(response, Document)

    def content(self, document_id: str) -> bytes:
        """Return the original bytes. Raises SluiceError."""
        return (self._connection.send("GET", f"{PATH}/{document_id}/content")).content

    def text(self, document_id: str, start: int = 0, end: int | None = None) -> DocumentText:
        """Return a slice of the extracted text, at most 1,000,000 characters. Raises SluiceError."""
        parameters = given(start=start, end=end)
        return decode(self._connection.send("GET", f"{PATH}/{document_id}/text", params=parameters), DocumentText)

    def page_image(self, document_id: str, page: int, *, start: int | None = None, end: int | None = None) -> bytes:
        """Return a page of a PDF as a PNG, with characters `start` to `end` of the text marked.

        Raises NotFound for other formats, Conflict if the document is not `ready`, and other errors.
        """
        path = f"{PATH}/{document_id}/pages/{page}/image"
        return (self._connection.send("GET", path, params=given(start=start, end=end))).content

    def retry(self, document_id: str) -> Document:
        """Ingest a failed document again. Raises SluiceError."""
        response = self._connection.send("POST", f"{PATH}/{document_id}/retry", repeatable=False)
        return decode(response, Document)

    def delete(self, document_id: str) -> None:
        """Delete a document and everything derived from it. Raises SluiceError."""
        self._connection.send("DELETE", f"{PATH}/{document_id}")

    def delete_many(self, document_ids: Sequence[str]) -> Deletions:
        """Delete documents, 1,000 in a request. Ids that do not exist are only listed. Raises SluiceError."""
        deleted: list[str] = []
        not_found: list[str] = []
        for first in range(0, len(document_ids), DELETED_AT_ONCE):
            ids = document_ids[first : first + DELETED_AT_ONCE]
            done = decode(self._connection.send("POST", f"{PATH}/delete", json={"ids": list(ids)}), Deletions)
            deleted += done.deleted
            not_found += done.not_found
        return Deletions(deleted=deleted, not_found=not_found)


def _choose(collection_id: str | None, status: str | None, name: str | None, filter_: Filter | None) -> dict[str, str]:
    """Return the parameters that say which documents are listed."""
    return given(collection_id=collection_id, status=status, name=name, filter=_encode(filter_))


def _encode(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)
