"""Which network address a request comes from."""

from typing import Any

from litestar.connection import ASGIConnection

from pipeline.networks import find_client, parse_networks

Connection = ASGIConnection[Any, Any, Any, Any]


def find_address(connection: Connection) -> str:
    """Return the client's network address, or `unknown`. `X-Forwarded-For` counts only from trusted proxies."""
    if connection.client is None:
        return "unknown"
    trusted = parse_networks(connection.app.state.runtime.settings.forwarded_allow_ips)
    return find_client(connection.client.host, connection.headers.getall("x-forwarded-for", []), trusted)
