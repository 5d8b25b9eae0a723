"""`python -m api.openapi`: prints the OpenAPI document. Needs no database and no settings."""

import secrets
import sys

import msgspec
from litestar import Litestar
from pydantic import SecretStr

from api.app import create_app
from pipeline.settings import Settings


def make_app() -> Litestar:
    """Return an application with placeholder settings. It connects to nothing until it is served."""
    settings = Settings(
        _env_file=None, database_url=SecretStr("postgresql://nowhere"), jwt_secret=SecretStr(secrets.token_urlsafe(48))
    )
    return create_app(settings)


def describe() -> str:
    """Return the document as sorted, indented JSON with a final newline."""
    document = make_app().openapi_schema.to_schema()
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(describe())
