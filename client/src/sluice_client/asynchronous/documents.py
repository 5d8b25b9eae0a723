"""Documents of the account."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sluice_client.asynchronous.connection import AsyncConnection
from sluice_client.asynchronous.waiting import wait_until_terminal
from sluice_client.files import Source, open_source
from sluice_client.models import Attributes, Document, DocumentText
from sluice_client.pages import DocumentPage, given
from sluice_client.responses import decode

PATH = "/v1/documents"


class AsyncDocuments:
    """Uploads, lists, reads, changes and deletes documents."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def upload(
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
            response = await self._connection.send(
                "POST", PATH, repeatable=opened.can_repeat, data=fields, files={"file": opened.make_part()}
            )
        return decode(response, Document)

    async def upload_and_wait(
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
        document = await self.upload(
            source,
            filename=filename,
            metadata=metadata,
            external_id=external_id,
            collection_ids=collection_ids,
            attributes=attributes,
        )
        return await self.wait(document.id, timeout_seconds=timeout_seconds)

    async def wait(self, document_id: str, *, timeout_seconds: float | None = None) -> Document:
        """Wait until a document is `ready`.

        Raises IngestionFailed if it becomes `failed`, WaitTimeout, and other errors.
        """
        return await wait_until_terminal(self._connection, f"{PATH}/{document_id}", Document, timeout_seconds)

    async def get(self, document_id: str) -> Document:
        """Return a document. Raises SluiceError."""
        return decode(await self._connection.send("GET", f"{PATH}/{document_id}"), Document)

    def list(self, *, status: str | None = None, limit: int | None = None) -> AsyncIterator[Document]:
        """Yield documents, newest first, at most `limit`. Raises SluiceError."""
        return self._connection.list_items(PATH, limit, given(status=status), DocumentPage)

    async def update(
        self,
        document_id: str,
        *,
        filename: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        external_id: str | None = None,
    ) -> Document:
        """Replace the file name, the metadata or the external id. Raises SluiceError."""
        body = given(filename=filename, metadata=metadata, external_id=external_id)
        return decode(await self._connection.send("PATCH", f"{PATH}/{document_id}", json=body), Document)

    async def replace(self, document_id: str, source: Source, *, filename: str | None = None) -> Document:
        """Upload a new version. The old passages are found until it is ready. Raises SluiceError."""
        with open_source(source, filename) as opened:
            response = await self._connection.send(
                "PUT",
                f"{PATH}/{document_id}/content",
                repeatable=opened.can_repeat,
                files={"file": opened.make_part()},
            )
        return decode(response, Document)

    async def content(self, document_id: str) -> bytes:
        """Return the original bytes. Raises SluiceError."""
        return (await self._connection.send("GET", f"{PATH}/{document_id}/content")).content

    async def text(self, document_id: str, start: int = 0, end: int | None = None) -> DocumentText:
        """Return a slice of the extracted text, at most 1,000,000 characters. Raises SluiceError."""
        parameters = given(start=start, end=end)
        return decode(await self._connection.send("GET", f"{PATH}/{document_id}/text", params=parameters), DocumentText)

    async def retry(self, document_id: str) -> Document:
        """Ingest a failed document again. Raises SluiceError."""
        response = await self._connection.send("POST", f"{PATH}/{document_id}/retry", repeatable=False)
        return decode(response, Document)

    async def delete(self, document_id: str) -> None:
        """Delete a document and everything derived from it. Raises SluiceError."""
        await self._connection.send("DELETE", f"{PATH}/{document_id}")


def _encode(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)
