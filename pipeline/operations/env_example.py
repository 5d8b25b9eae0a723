"""Generates `.env.example` from `pipeline/settings.py`: `make env-example`."""

import sys
import textwrap
from typing import Any

from pydantic.fields import FieldInfo

from pipeline.settings import EXAMPLE_PASSWORD, EXAMPLE_SECRET, Settings

WIDTH = 100

HEADER = f"""\
# Copy this file to .env and uncomment the settings you change. The values shown are the defaults.
# `make up` needs no .env: it creates one with a fresh JWT_SECRET. Environment variables take
# precedence over .env.
#
# Generated from pipeline/settings.py by `make env-example`. Edit the docstrings there.


# Passwords for Docker -----------------------------------------------------------------------------

# Passwords of the servers that docker-compose.yml starts. Create each with `openssl rand -hex 24`,
# or let the commands under "Run it with Docker" in README.md replace them.
# The service itself does not read them. URLs below can refer to them.
POSTGRES_PASSWORD={EXAMPLE_PASSWORD}
SERVICE_PASSWORD={EXAMPLE_PASSWORD}
REDIS_PASSWORD={EXAMPLE_PASSWORD}
"""
EXAMPLES = {
    "database_url": "postgresql://postgres:${POSTGRES_PASSWORD}@127.0.0.1:5432/sluice",
    "redis_url": "redis://:${REDIS_PASSWORD}@127.0.0.1:6379/0",
}
"""Values of settings without a default: the servers that `docker compose up -d db redis` starts."""

SECTIONS = {
    "database_url": "Servers and secrets",
    "registration": "Accounts",
    "max_upload_bytes": "Limits per document",
    "max_pending_per_user": "Limits per user",
    "embedding_model": "Search",
    "llm_base_url": "Language model",
    "lease_seconds": "Workers",
    "database_pool_size": "Database connections",
    "host": "Processes",
    "log_level": "Logs and tests",
}
"""Section headings, by the first setting of each section."""


def render() -> str:
    """Return the text of `.env.example`."""
    return HEADER + "".join(_render_setting(name, field) for name, field in Settings.model_fields.items())


def _render_setting(name: str, field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    comment = textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    return f"{_render_heading(name)}\n{comment}\n{_render_assignment(name, field.default)}\n"


def _render_heading(name: str) -> str:
    if name not in SECTIONS:
        return ""
    return "\n\n" + f"# {SECTIONS[name]} ".ljust(WIDTH, "-") + "\n"


def _render_assignment(name: str, default: Any) -> str:
    if name == "jwt_secret":
        return f"JWT_SECRET={EXAMPLE_SECRET}"
    value = EXAMPLES.get(name, "") if default is None else f"{default:g}" if isinstance(default, float) else default
    return f"#{name.upper()}={value}"


if __name__ == "__main__":
    sys.stdout.write(render())
