"""The ASGI application for `uvicorn api.main:app`, configured from the environment."""

import sys

from api.app import create_app
from pipeline.logs import configure_logging
from pipeline.sandbox.kernel import hide_memory, return_large_blocks
from pipeline.settings import SettingsError, load_settings

hide_memory()  # uvicorn starts a program for each of several processes
return_large_blocks()  # the hash of a password takes 19 MiB
try:
    settings = load_settings()
    configure_logging(settings.log_level)
    app = create_app(settings)
except SettingsError as error:
    sys.exit(f"sluice api: {error}")
