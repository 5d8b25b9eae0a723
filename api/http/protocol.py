"""uvicorn's HTTP/1.1 protocol with a time limit on every wait for a client, and a limit on open connections.

uvicorn itself waits without limit for request headers, and for clients that do not read their response. Its limit on
connections also refuses health checks.
"""

import asyncio
import re
from http import HTTPStatus
from typing import NoReturn, cast
from uuid import UUID

import httptools
import msgspec
from litestar.connection import ASGIConnection
from litestar.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import make_problem
from api.http.addresses import Connection, find_address
from api.http.places import find_oldest, find_place
from pipeline import metrics
from pipeline.logs import get_logger
from pipeline.networks import find_network
from pipeline.types import new_id

HEADER_SECONDS = 10.0
"""Longest wait for the headers of a request, and for the first request on a connection."""
MAX_HEADER_BYTES = 64 * 1024
"""Largest size of the headers, and of what a client sends in a body besides the body: chunk sizes and trailers."""
FREE_CHUNK_BYTES = 16
"""Bytes of each chunk's size line that are not counted, so that honest clients may send any number of chunks."""
LINGER_SECONDS = 10.0
"""Grace period for a client to finish sending a body after the response."""
READER_SECONDS = 60.0
"""Longest wait for a client that does not read its response."""
Refusal = tuple[HTTPStatus, str, str]
"""Status, detail and code of a problem."""
HEADERS_TOO_LARGE: Refusal = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The headers, trailers or chunk sizes exceed {MAX_HEADER_BYTES // 1024} KiB. Send fewer or shorter ones.",
    "header_too_large",
)
TOO_MANY: Refusal = (
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Too many connections are open. Try again in a few seconds.",
    "too_many_connections",
)
WRONG_VERSION: Refusal = (
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
    "The API speaks HTTP/1.1 and HTTP/1.0. End the request line with one of them.",
    "http_version_not_supported",
)
NOT_HTTP: Refusal = (
    HTTPStatus.BAD_REQUEST,
    "The request is not valid HTTP/1.1. Correct its request line, headers or chunks.",
    "bad_request",
)
WRONG_TARGET: Refusal = (
    HTTPStatus.BAD_REQUEST,
    "The request line has no valid path. Send a path that begins with `/`.",
    "bad_request",
)
WRONG_HOST: Refusal = (
    HTTPStatus.BAD_REQUEST,
    "Send exactly one Host header, with a host name or an address, and a port if there is one.",
    "bad_request",
)
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(?::\d{0,5})?", re.ASCII)
"""A valid Host header (RFC 3986, section 3.2). Litestar cannot build the URL of a request with another one."""
WRONG_ENCODING: Refusal = (
    HTTPStatus.BAD_REQUEST,
    "The only Transfer-Encoding is `chunked`, and only HTTP/1.1 has it. Send the body that way, or with its length.",
    "bad_request",
)
RETRY_SECONDS = 2
EXTRA_CONNECTIONS = 64
"""Connections beyond the limit that stay open until their first request is known, in case it is a health check."""
HEALTH_PATHS = (b"/health/live", b"/health/ready")
"""Answered on connections beyond the limit."""
ENDLESS = "endless"
"""Key in the state of a request. It marks an event stream, which the API closes when it stops."""

log = get_logger()


class TimeLimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with time limits on clients. `limit_concurrency` limits the open connections of a process.

    A connection beyond the limit takes the place of another one, which `find_place` chooses. If none can be chosen, the
    connection is extra: it gets an answer to one request, which is 503 unless that is a health check.
    """

    _header_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _overhead = 0
    """Bytes of the headers so far, or of what arrived since the last body bytes besides the body."""
    _has_begun = False
    _has_headers = False
    _field_bytes = 0
    _refusal: Refusal | None = None
    _was_dispatched = False
    _is_complete = False
    is_extra = False
    """Whether this connection is beyond the limit."""
    quiet_since = 0.0
    """When it was opened, its request began or its last response ended, in seconds of the event loop."""
    _peer_network = "unknown"
    _client_network: str | None = None
    """The network of the client that the request comes from, once it has been asked for."""

    @property
    def is_idle(self) -> bool:
        """True between two requests, and before the first one. An extra connection is never idle."""
        if self._has_begun or self.is_extra or self.transport.is_closing():
            return False
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_unfinished(self) -> bool:
        """True while a request arrives and no response is being sent. An extra connection is never unfinished."""
        if not self._has_begun or self.is_extra or self.transport.is_closing():
            return False
        return self._is_unanswered or self.cycle.response_complete

    @property
    def holder(self) -> str | UUID:
        """The account that the request acts for, or the network of the client if it acts for none or has not begun.

        The application finds out both. Until then, the network is that of the peer.
        """
        if self.cycle is None or self.cycle.response_complete or "litestar_app" not in self.cycle.scope:
            return self._peer_network
        if user := self.cycle.scope.get("user"):
            return cast("UUID", user)
        if self._client_network is None:
            connection: Connection = ASGIConnection(cast("Scope", self.cycle.scope))
            self._client_network = find_network(find_address(connection))
        return self._client_network

    @property
    def is_unknown(self) -> bool:
        """True for an extra connection whose request has not arrived."""
        return self.is_extra and self.cycle is None and not self.transport.is_closing()

    @property
    def _is_unanswered(self) -> bool:
        """Whether nothing was sent for the request that arrives, and all earlier ones are answered."""
        if self._was_dispatched:
            return not (self.cycle.response_started or self.pipeline)
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio declares BaseTransport, uvicorn Transport
        """Start the time limit for the first request, and limit the number of connections."""
        super().connection_made(transport)
        self.quiet_since = self.loop.time()
        if self.client:
            self._peer_network = find_network(self.client[0])
        self._start_header_timer()
        limit = self.config.limit_concurrency
        if limit is not None:
            self.limit_concurrency = None  # uvicorn's own limit
            self._keep_within(limit)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all time limits."""
        super().connection_lost(exc)
        self._cancel_header_timer()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and limit what a client sends besides the body, also in a line that does not end."""
        self._unset_keepalive_if_required()
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.refuse(*(self._refusal or NOT_HTTP))
        except httptools.HttpParserUpgrade:
            pass  # the API has no other protocol, so the request is answered as usual
        self._overhead = max(self._overhead, 0)
        if self._overhead > MAX_HEADER_BYTES:
            self.refuse(*HEADERS_TOO_LARGE)
        if self.is_idle:
            self._start_header_timer()  # empty lines before a request do not start one

    def on_message_begin(self) -> None:
        """Start the time limit for the headers."""
        super().on_message_begin()
        self._has_begun, self._is_complete = True, False
        self._has_headers, self._field_bytes = False, 0
        self.quiet_since = self.loop.time()
        self._start_header_timer()

    def on_url(self, url: bytes) -> None:
        """Keep the target of the request, and limit its size."""
        self._count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, and limit their total size. Trailers, which follow a chunked body, are counted and ignored."""
        self._count_field(len(name) + len(value))
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Cancel the time limit for the headers. The application limits the body."""
        self._cancel_header_timer()
        self._has_headers, self._overhead, self._client_network = True, 0, None
        self._check_framing()
        if self._find_path() not in HEALTH_PATHS and self.is_extra:
            self._stop_parsing(*TOO_MANY)
        super().on_headers_complete()
        self._was_dispatched = True
        if self.is_extra:
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """Leave the usual size line of a chunk uncounted."""
        self._overhead -= FREE_CHUNK_BYTES

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on. Each of its bytes leaves itself and two others uncounted."""
        super().on_body(body)
        self._overhead -= 3 * len(body)

    def on_message_complete(self) -> None:
        """Record that the request is complete."""
        super().on_message_complete()
        self._is_complete, self._has_begun = True, False
        self._was_dispatched, self._overhead = False, 0

    def on_response_complete(self) -> None:
        """Close the connection after a grace period if the client is still sending its body."""
        super().on_response_complete()
        self.quiet_since = self.loop.time()
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

    def _stop_parsing(self, status: HTTPStatus, detail: str, code: str) -> NoReturn:
        """Refuse the request from a callback of the parser. `data_received` does the rest."""
        self._refusal = (status, detail, code)
        raise ValueError(code)

    def _count_field(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > MAX_HEADER_BYTES:
            self._stop_parsing(*HEADERS_TOO_LARGE)

    def _find_path(self) -> bytes:
        """Return the path of the request. Refuse a request without one.

        RFC 9112 lets `http://host` stand for the path `/`. It is refused all the same: no client needs it.
        """
        try:
            path = httptools.parse_url(self.url).path
        except httptools.HttpParserInvalidURLError:
            path = None
        if not path or not path.isascii():
            self._stop_parsing(*WRONG_TARGET)
        return bytes(path)

    def _check_framing(self) -> None:
        """Refuse a request whose version, host or body two servers could understand differently."""
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._stop_parsing(*WRONG_VERSION)
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(HOST.fullmatch, hosts)):
            self._stop_parsing(*WRONG_HOST)
        encodings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if encodings and (encodings != [b"chunked"] or version == "1.0"):
            self._stop_parsing(*WRONG_ENCODING)

    def _keep_within(self, limit: int) -> None:
        """Make room for this new connection, or answer only its first request."""
        if len(self.connections) <= limit:
            return
        others = [other for other in self.connections if isinstance(other, TimeLimitedProtocol) and other is not self]
        if place := find_place(others):
            place.give_way()
            return
        self.is_extra = True
        if len(self.connections) > limit + EXTRA_CONNECTIONS:
            find_oldest([other for other in others if other.is_unknown] or [self]).refuse(*TOO_MANY)

    def give_way(self) -> None:
        """Close the connection for a new one. If it has begun a request, the client is told why."""
        if self.is_idle:
            self.transport.close()
        else:
            self.refuse(*TOO_MANY)

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
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, detail, "too_slow")
        else:
            self.transport.close()

    def _close_unread(self, answered: RequestResponseCycle) -> None:
        if self.cycle is answered and not self._is_complete:
            self.transport.close()

    def refuse(self, status: HTTPStatus, detail: str, code: str) -> None:
        """Refuse the request that arrives, and close the connection. What the application answers to it is not sent.

        If a response may have begun, the client could not tell it from another one, so none is sent.
        """
        if self.transport.is_closing():
            return
        request_id = str(new_id())
        if self._is_unanswered:
            if self.cycle:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._send_problem(status, detail, code, request_id)
        self.transport.close()
        metrics.REFUSED_REQUESTS.labels(code).inc()
        log.info("request.refused", status=status.value, code=code, request_id=request_id)

    def _send_problem(self, status: HTTPStatus, detail: str, code: str, request_id: str) -> None:
        body = msgspec.json.encode(make_problem(status, detail, code, request_id))
        retry = f"retry-after: {RETRY_SECONDS}\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n{retry}"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
