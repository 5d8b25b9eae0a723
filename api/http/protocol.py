"""HTTP/1.1 with an end to every wait: uvicorn itself waits for ever for a header, and for a reader of its answer."""

import asyncio
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import Problem
from pipeline.types import new_id

HEADER_SECONDS = 10.0
"""Longest wait for the header of a request."""
MAX_HEADER_BYTES = 64 * 1024
LINGER_SECONDS = 10.0
"""How long a client may go on to send a body after it was answered."""
READER_SECONDS = 60.0
"""Longest wait for a client that does not read its answer."""
ENDLESS = "endless"
"""In the state of a request: its answer ends only when its client leaves, or the API stops."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which waits for its clients, but not for ever."""

    _header_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _has_begun = False
    _is_whole = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._stop_waiting_for_header()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse, and count what arrives of a header."""
        was_waiting = self._header_timer is not None
        super().data_received(data)
        if was_waiting and self._header_timer is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The header is too large.", "header_too_large")

    def on_message_begin(self) -> None:
        """Expect the rest of the header in time."""
        super().on_message_begin()
        self._has_begun, self._is_whole, self._header_bytes = True, False, 0
        self._expect_header()

    def on_headers_complete(self) -> None:
        """Leave the body's pace to the application."""
        self._stop_waiting_for_header()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the client has said all of it."""
        super().on_message_complete()
        self._is_whole, self._has_begun = True, False

    def on_response_complete(self) -> None:
        """Give a client that is still sending a while to see its answer."""
        super().on_response_complete()
        if not self._is_whole:
            self.loop.call_later(LINGER_SECONDS, self._end_unread_body, self.cycle)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._reader_timer = self.loop.call_later(READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._reader_timer:
            self._reader_timer.cancel()
            self._reader_timer = None

    def shutdown(self) -> None:
        """The API stops: answers are finished, but for those that have no end; their clients come again."""
        super().shutdown()
        if self.cycle and self.cycle.scope["state"].get(ENDLESS):
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg, "bad_request")

    def _expect_header(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._end_header)

    def _stop_waiting_for_header(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_header(self) -> None:
        if self._has_begun:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The header took over {HEADER_SECONDS:g} seconds.", "too_slow")
        else:
            self.transport.close()

    def _end_unread_body(self, answered: RequestResponseCycle) -> None:
        if self.cycle is answered and not self._is_whole:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str, code: str) -> None:
        """Answer what never became a request, and hang up."""
        if self.transport.is_closing():
            return
        request_id = str(new_id())
        body = msgspec.json.encode(Problem("about:blank", status.phrase, status, detail, code, request_id))
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
