"""`python -m api`: runs the API in production, with limits on connections and on every wait for a client."""

import sys

import uvicorn

from api.http.descriptors import make_room
from pipeline.logs import configure_logging
from pipeline.operations.local.address import find_port
from pipeline.operations.local.errors import StackError
from pipeline.sandbox.kernel import hide_memory
from pipeline.settings import SettingsError, load_settings

GRACEFUL_SECONDS = 5
"""Grace period for running requests when the API stops."""


def main() -> None:
    """Serve on HOST and PORT with API_PROCESSES processes."""
    hide_memory()
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"sluice api: {error}")
    configure_logging(settings.log_level)
    try:
        find_port(settings.host, settings.port)
    except StackError as error:
        sys.exit(f"sluice api: {error}")
    uvicorn.run(
        "api.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.api_processes,
        loop="uvloop",
        http="api.http.protocol:TimeLimitedProtocol",
        limit_concurrency=make_room(settings.max_connections),
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        access_log=False,
        proxy_headers=False,  # uvicorn would believe them from 127.0.0.1; `find_address` asks FORWARDED_ALLOW_IPS
        log_config=None,  # its records go to our handler
        log_level="warning",
    )


if __name__ == "__main__":
    main()
