"""The ASGI application for `uvicorn api.main:app`, configured from the environment."""

import sys

from api.app import create_app
from pipeline.logs import configure_logging
from pipeline.sandbox.kernel import hide_memory
from pipeline.settings import SettingsError, load_settings

hide_memory()  # uvicorn starts a program for each of several processes
try:
    settings = load_settings()
    configure_logging(settings.log_level)
    app = create_app(settings)
except SettingsError as error:
    sys.exit(f"sluice api: {error}")
