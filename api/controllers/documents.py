"""Documents: upload, list, read, replace, retry and delete."""

from typing import Annotated, Literal, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter
from litestar.response import Stream

from api.auth import UserRequest, work_while_current
from api.deps import RuntimeDependency
from api.http import body_deadlines, upload_form
from api.http.downloads import send_original
from api.http.etags import IfNoneMatch, is_known, make_etag
from api.http.operations import NOT_MODIFIED, NewVersionOperation, PageImageOperation, UploadOperation, problems
from api.http.pagination import DEFAULT_LIMIT, PageLimit, SortedCursor
from api.http.prefer import Prefer, confirm_wait, parse_wait
from api.http.strict_json import decode_json
from api.http.uploads import receive_upload
from api.ratelimit import limit_page_images, limit_uploads
from api.schemas import NO_NUL, DocumentChange, DocumentIdList
from pipeline.filters import decode as decode_filter
from pipeline.types import (
    Deletions,
    Document,
    DocumentList,
    DocumentText,
    Listing,
    PageView,
    Selection,
    Sort,
    Status,
)
from pipeline.use_cases import documents, page_images

POLL_AFTER_SECONDS = "1"

# `gt=-1`, because Litestar omits a minimum of 0 from the OpenAPI document.
OFFSET = QueryParameter(gt=-1, le=2**31 - 1, description="Character offset in the extracted text, as in passages.")


class DocumentController(Controller):
    """The caller's documents. Another account's id and an unknown id give the same 404."""

    path = "/v1/documents"
    tags = ("Documents",)

    @post(
        "/",
        status_code=202,
        summary="Upload a file",
        responses=problems(401, 403, 408, 409, 413, 415, 422, 429, 507),
        request_max_body_size=None,
        operation_class=UploadOperation,
        opt={body_deadlines.OPTION: body_deadlines.UPLOAD},
        guards=[limit_uploads],
    )
    async def upload(self, request: UserRequest, runtime: RuntimeDependency, state: State) -> Response[Document]:
        """Accept a file for ingestion, with fields beside it. If a document has the same bytes, return that document.

        If a document has the same `external_id`, the file becomes its new version. `metadata`, `collection_id` and
        `attributes` are stored in any case. 409 `duplicate_content` if a document with another external id has the same
        bytes.
        """
        check = documents.require_room(runtime, request.user, request.content_length or 0)
        async with receive_upload(request, runtime, state, check, upload_form.FIELDS) as (received, form):
            details = upload_form.read_details(form)
            document, is_duplicate = await documents.upload(runtime, request.user, received, details)
        return _answer_upload(document, is_duplicate=is_duplicate)

    @get("/", summary="List documents", responses=problems(401, 404, 422))
    async def list_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        collection_id: Annotated[UUID | None, QueryParameter(description="Only documents of this collection.")] = None,
        status: Annotated[Status | None, QueryParameter(description="Return only documents with this status.")] = None,
        name: Annotated[
            str | None,
            QueryParameter(min_length=1, max_length=255, pattern=NO_NUL, description="Part of the file name."),
        ] = None,
        filter_: Annotated[str | None, QueryParameter(name="filter", description="A filter, as JSON.")] = None,
        sort: Annotated[Sort, QueryParameter(description="The order. `-` means falling.")] = Sort.NEWEST,
        include: Annotated[
            Literal["total"] | None, QueryParameter(description="`total` also counts the documents.")
        ] = None,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: SortedCursor = None,
    ) -> DocumentList:
        """List the caller's documents, page by page, newest first unless you ask for another order.

        `filter` is a filter as in searches, without conditions on pages. A cursor belongs to its order.
        """
        selection = Selection(
            collection_ids=None if collection_id is None else (collection_id,),
            filter=None if filter_ is None else decode_filter(decode_json(filter_, "filter"), has_pages=False),
        )
        listing = Listing(selection, status, name, sort, has_total=include == "total")
        return await documents.list_page(runtime, request.user, listing, limit=limit, cursor=cursor)

    @post("/delete", status_code=200, summary="Delete documents", responses=problems(401, 422, 507))
    async def remove_all(
        self, request: UserRequest, data: JSONBody[DocumentIdList], runtime: RuntimeDependency
    ) -> Deletions:
        """Delete up to 1,000 documents, whatever their status. Ids that do not exist are listed, and no error.

        If a request is interrupted, repeat it.
        """
        return await documents.delete_all(runtime, request.user, data.ids)

    @get(
        "/{document_id:uuid}",
        summary="Get a document, or wait for its status to change",
        responses=problems(401, 404) | NOT_MODIFIED,
    )
    async def show(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        document_id: FromPath[UUID],
        prefer: Prefer = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response[Document]:
        """Return a document. 304 if it still matches `If-None-Match`."""
        wait = parse_wait(prefer)
        if wait is None:
            document = await documents.get(runtime, request.user, document_id)
        else:
            waiting = documents.wait_for_change(runtime, request.user, document_id, wait)
            document = await body_deadlines.work_while_connected(request, work_while_current(request, waiting))
        etag = make_etag(msgspec.json.encode(document))
        headers = {"ETag": etag, "Cache-Control": "private, no-cache", **_polling_headers(document)}
        headers |= confirm_wait(wait)
        if is_known(etag, if_none_match):
            return cast("Response[Document]", Response(None, status_code=304, headers=headers))
        return Response(document, headers=headers)

    @patch("/{document_id:uuid}", summary="Change a document's properties", responses=problems(401, 404, 409, 422, 507))
    async def change(
        self,
        request: UserRequest,
        data: JSONBody[DocumentChange],
        runtime: RuntimeDependency,
        document_id: FromPath[UUID],
    ) -> Document:
        """Replace the name, the metadata or the external id. The content stays. The metadata is replaced as a whole."""
        return await documents.change(
            runtime,
            request.user,
            document_id,
            filename=data.filename,
            metadata=data.metadata,
            external_id=data.external_id,
        )

    @get(
        "/{document_id:uuid}/content",
        summary="Download the original file",
        responses=problems(401, 404, 409),
        media_type="application/octet-stream",
    )
    async def content(self, request: UserRequest, runtime: RuntimeDependency, document_id: FromPath[UUID]) -> Stream:
        """Return the original bytes, exactly as uploaded.

        409 `replaced` if a new version arrives at the same moment. If the document is replaced or deleted during the
        download, the connection closes before all `Content-Length` bytes are sent. The same happens if the token ends
        because of a new password or the deletion of the account. A token that only expires does not end a download.
        """
        document, original = await documents.open_content(runtime, request.user, document_id)
        return send_original(request, document, original)

    @put(
        "/{document_id:uuid}/content",
        status_code=202,
        summary="Upload a new version",
        responses=problems(401, 403, 404, 408, 409, 413, 415, 422, 429, 507),
        request_max_body_size=None,
        operation_class=NewVersionOperation,
        opt={body_deadlines.OPTION: body_deadlines.UPLOAD},
        guards=[limit_uploads],
    )
    async def replace(
        self, request: UserRequest, runtime: RuntimeDependency, state: State, document_id: FromPath[UUID]
    ) -> Response[Document]:
        """Accept a new version. The old passages stay searchable until it is ready.

        If the document already has these bytes, nothing changes, except that a failed document is retried.
        """
        check = documents.require_replaceable(runtime, request.user, document_id, request.content_length or 0)
        async with receive_upload(request, runtime, state, check) as (received, _):
            document, is_duplicate = await documents.replace(runtime, request.user, document_id, received)
        return _answer_upload(document, is_duplicate=is_duplicate)

    @get("/{document_id:uuid}/text", summary="Get part of the extracted text", responses=problems(401, 404, 422))
    async def text(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        document_id: FromPath[UUID],
        start: Annotated[int, OFFSET] = 0,
        end: Annotated[int | None, OFFSET] = None,
    ) -> DocumentText:
        """Return characters `start` to `end`. Without `end`, return the rest of the text.

        An answer has at most 1,000,000 characters. If its `end` is below the `end` that you asked for, or below
        `length`, ask again from there.
        """
        return await documents.read_text(runtime, request.user, document_id, start, end)

    @get(
        "/{document_id:uuid}/pages/{page:int}/image",
        summary="Get a page image with a passage highlighted",
        responses=problems(401, 404, 409, 422, 429, 507) | NOT_MODIFIED,
        operation_class=PageImageOperation,
        guards=[limit_page_images],
    )
    async def draw_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        document_id: FromPath[UUID],
        page: Annotated[int, PathParameter(description="Counts from 1, as in passages.")],
        start: Annotated[int | None, OFFSET] = None,
        end: Annotated[int | None, OFFSET] = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response[bytes | None]:
        """Return a page of a PDF as a PNG 1,000 pixels wide, with characters `start` to `end` highlighted in yellow.

        At most the first 10,000 letters are highlighted. If the passage cannot be found on the page, nothing is
        highlighted.
        404 `no_picture` for other formats. 409 `no_picture` if the document is not `ready`: the stored file may then be
        a new version, while the searchable passages come from the old one.
        """
        view = PageView(page, start, end)
        document = await page_images.find_document(runtime, request.user, document_id, page)
        etag = make_etag(msgspec.json.encode((document.sha256, view)))
        headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
        if is_known(etag, if_none_match):
            return Response(None, status_code=304, headers=headers)
        drawing = page_images.draw(runtime, request.user, document, view)
        page_image = await body_deadlines.work_while_connected(request, work_while_current(request, drawing))
        return Response(page_image, headers=headers, media_type="image/png")

    @post(
        "/{document_id:uuid}/retry",
        status_code=202,
        summary="Retry a failed document",
        responses=problems(401, 404, 409, 507),
    )
    async def retry(
        self, request: UserRequest, runtime: RuntimeDependency, document_id: FromPath[UUID]
    ) -> Response[Document]:
        """Queue a failed document again. 409 if the document is not `failed`."""
        document = await documents.retry(runtime, request.user, document_id)
        return Response(document, status_code=202, headers=_polling_headers(document))

    @delete("/{document_id:uuid}", summary="Delete a document", responses=problems(401, 404, 507))
    async def remove(self, request: UserRequest, runtime: RuntimeDependency, document_id: FromPath[UUID]) -> None:
        """Delete a document, whatever its status. It disappears from all results at once."""
        await documents.delete(runtime, request.user, document_id)


def _answer_upload(document: Document, *, is_duplicate: bool) -> Response[Document]:
    headers = {"Location": f"/v1/documents/{document.id}", **_polling_headers(document)}
    if is_duplicate:
        return Response(document, status_code=200, headers={**headers, "Deduplicated": "true"})
    return Response(document, status_code=202, headers=headers)


def _polling_headers(document: Document) -> dict[str, str]:
    return {} if document.status.is_terminal else {"Retry-After": POLL_AFTER_SECONDS}
