"""`python -m api`: runs the API in production, with a time limit on every wait for a client."""

import sys

import uvicorn

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
    uvicorn.run(
        "api.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.api_processes,
        loop="uvloop",
        http="api.http.protocol:TimeLimitedProtocol",
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        access_log=False,
        proxy_headers=False,  # uvicorn would believe them from 127.0.0.1; `find_address` asks FORWARDED_ALLOW_IPS
        log_level="warning",
    )


if __name__ == "__main__":
    main()
