"""uvicorn's HTTP/1.1 protocol with a time limit on every wait for a client.

uvicorn itself waits without limit for request headers, and for clients that do not read their response.
"""

import asyncio
from http import HTTPStatus
from typing import NoReturn

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import Problem
from pipeline.types import new_id

HEADER_SECONDS = 10.0
"""Longest wait for the headers of a request, and for the first request on a connection."""
MAX_HEADER_BYTES = 64 * 1024
LINGER_SECONDS = 10.0
"""Grace period for a client to finish sending a body after the response."""
READER_SECONDS = 60.0
"""Longest wait for a client that does not read its response."""
Refusal = tuple[HTTPStatus, str, str]
"""Status, detail and code of a problem."""
HEADERS_TOO_LARGE: Refusal = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The request headers exceed {MAX_HEADER_BYTES // 1024} KiB. Send fewer or shorter headers.",
    "header_too_large",
)
ENDLESS = "endless"
"""Key in the state of a request. It marks an event stream, which the API closes when it stops."""


class TimeLimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with time limits on clients."""

    _header_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _has_begun = False
    _has_headers = False
    _field_bytes = 0
    _refusal: Refusal | None = None
    _was_dispatched = False
    _is_complete = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio declares BaseTransport, uvicorn Transport
        """Start the time limit for the first request."""
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all time limits."""
        super().connection_lost(exc)
        self._cancel_header_timer()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and limit the total size of the headers."""
        was_waiting = self._header_timer is not None
        super().data_received(data)
        if was_waiting and self._header_timer is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(*HEADERS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start the time limit for the headers."""
        super().on_message_begin()
        self._has_begun, self._is_complete, self._header_bytes = True, False, 0
        self._has_headers, self._field_bytes = False, 0
        self._start_header_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, and limit their total size. Trailers, which follow a chunked body, are counted and ignored."""
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > MAX_HEADER_BYTES:
            self._stop_parsing(*HEADERS_TOO_LARGE)
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Cancel the time limit for the headers. The application limits the body."""
        self._cancel_header_timer()
        self._has_headers = True
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._stop_parsing(HTTPStatus.BAD_REQUEST, "Send exactly one Host header.", "bad_request")
        self._was_dispatched = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Record that the request is complete."""
        super().on_message_complete()
        self._is_complete, self._has_begun = True, False
        self._was_dispatched = False

    def on_response_complete(self) -> None:
        """Close the connection after a grace period if the client is still sending its body."""
        super().on_response_complete()
        if not self._is_complete:
            self.loop.call_later(LINGER_SECONDS, self._close_unread, self.cycle)

    def pause_writing(self) -> None:
        """Start the time limit for a client that reads more slowly than the API writes."""
        super().pause_writing()
        self._reader_timer = self.loop.call_later(READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the time limit for a slow reader: the client has caught up."""
        super().resume_writing()
        if self._reader_timer:
            self._reader_timer.cancel()
            self._reader_timer = None

    def shutdown(self) -> None:
        """Close event streams when the API stops; their clients reconnect. Other responses are finished."""
        super().shutdown()
        if self.cycle and self.cycle.scope["state"].get(ENDLESS):
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not valid HTTP or was refused while it was parsed.

        If the application has the request already, only close the connection: its response may have begun.
        """
        if self._was_dispatched:
            self.transport.close()
        else:
            self._refuse(*(self._refusal or (HTTPStatus.BAD_REQUEST, msg, "bad_request")))

    def _stop_parsing(self, status: HTTPStatus, detail: str, code: str) -> NoReturn:
        """Refuse the request from a callback of the parser. `send_400_response` is called next."""
        self._refusal = (status, detail, code)
        raise ValueError(code)

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._on_header_timeout)

    def _cancel_header_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None

    def _on_header_timeout(self) -> None:
        if self._has_begun:
            detail = f"The request headers did not arrive within {HEADER_SECONDS:g} seconds. Try again."
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail, "too_slow")
        else:
            self.transport.close()

    def _close_unread(self, answered: RequestResponseCycle) -> None:
        if self.cycle is answered and not self._is_complete:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str, code: str) -> None:
        """Send an error without calling the application, and close the connection."""
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
