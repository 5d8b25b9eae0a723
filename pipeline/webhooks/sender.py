"""Sends a signed event to its receiver, within limits, and only to an address that is allowed."""

import asyncio
import ssl
import time
from collections.abc import Iterable

import httpcore2
import httpx2

from pipeline.db.deliveries import Attempt, Message
from pipeline.networks import Networks
from pipeline.threads import make_executor
from pipeline.webhooks import addresses, signature
from pipeline.webhooks.addresses import AddressRefused

TIMEOUT_SECONDS = 15.0
"""Time limit of a request, from the resolution of the name to the status of the answer."""
CONNECT_SECONDS = 5.0
"""Time limit of a connection to one of the receiver's addresses."""
RESOLVERS = 16
"""Number of threads that resolve names. They are not those of the event loop, which slow name servers could occupy.
There are several times as many as one account uses at the same time."""
USER_AGENT = "sluice-webhooks"


class _AllowedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses of a name as they were resolved and checked. TLS verifies the name."""

    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed
        self._connect = httpcore2.AnyIOBackend()
        self._resolvers = make_executor(RESOLVERS)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - httpcore sets the signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises OSError if the name has no address, AddressRefused if one of them is not allowed, ConnectError or
        ConnectTimeout if none answers.
        """
        *others, last = await addresses.resolve(host, port, self._allowed, self._resolvers)
        for address in others:
            try:
                return await self._connect.connect_tcp(address, port, CONNECT_SECONDS, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._connect.connect_tcp(last, port, CONNECT_SECONDS, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Pause between two tries, which httpcore makes if it is told to."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """End the threads that resolve names, without waiting for those that are slow."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)


class Sender:
    """Sends events. Each has its own connection, redirects are not followed, and the body of an answer is not read."""

    def __init__(
        self,
        allowed: Networks,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._backend = _AllowedBackend(allowed)
        self._http = httpcore2.AsyncConnectionPool(
            ssl_context or httpx2.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=self._backend,
        )

    async def send(self, message: Message) -> Attempt:
        """Send an event once. Errors do not quote the receiver: its answer may contain anything."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._post(message)
        except (TimeoutError, httpcore2.TimeoutException):
            return Attempt(None, f"There was no answer within {self._timeout_seconds:g} seconds.")
        except AddressRefused:
            return Attempt(None, "The name leads to an address that is not public. Ask the operator to allow it.")
        except (OSError, httpcore2.ConnectError, httpcore2.ProtocolError, httpcore2.NetworkError) as error:
            return Attempt(None, _explain(error))
        if 200 <= status <= 299:
            return Attempt(status, None)
        hint = " Redirects are not followed." if 300 <= status <= 399 else ""
        return Attempt(status, f"The receiver answered with status {status}.{hint}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._backend.close()

    async def _post(self, message: Message) -> int:
        url, timestamp = httpx2.URL(message.url), int(time.time())
        headers: dict[bytes | str, bytes | str] = {
            "host": url.netloc.decode(),
            "content-type": "application/json",
            "content-length": str(len(message.body.encode())),
            "user-agent": USER_AGENT,
            "connection": "close",
            "webhook-id": str(message.id),
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature.sign(message.secret, str(message.id), timestamp, message.body),
        }
        async with self._http.stream("POST", str(url), headers=headers, content=message.body.encode()) as response:
            return response.status


def _explain(error: Exception) -> str:
    """Return what went wrong. Errors of the TLS library are chained by the HTTP library."""
    if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
        return "The certificate of the receiver is not valid for its name."
    if isinstance(error, httpcore2.ProtocolError):
        return "The receiver did not answer in HTTP."
    return "The receiver cannot be reached, or the connection was lost."
