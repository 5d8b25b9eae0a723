import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from pipeline.operations import env_example
from pipeline.server_urls import quote_password
from pipeline.settings import (
    EXAMPLE_PASSWORD,
    EXAMPLE_SECRET,
    LIBRECHAT_EXAMPLE_SECRET,
    Settings,
    SettingsError,
    load_settings,
)

PROJECT = Path(__file__).resolve().parents[2]
PASSWORDS = ("POSTGRES_PASSWORD", "SERVICE_PASSWORD", "REDIS_PASSWORD")
WITHOUT_DEFAULT = (*PASSWORDS, "JWT_SECRET", "DATABASE_URL", "REDIS_URL")
ASSIGNMENT = re.compile(r"^#?([A-Z_]+)=(.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def read_example() -> dict[str, str]:
    return dict(ASSIGNMENT.findall((PROJECT / ".env.example").read_text()))


def test_example_is_up_to_date() -> None:
    assert (PROJECT / ".env.example").read_text() == env_example.render(), "run `make env-example` and commit the file"


def test_example_sets_only_placeholders_of_secrets() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    passwords = [f"{name}={EXAMPLE_PASSWORD}" for name in PASSWORDS]
    assert [line for line in lines if line and not line.startswith("#")] == [*passwords, f"JWT_SECRET={EXAMPLE_SECRET}"]


def test_headings_of_the_example_belong_to_settings() -> None:
    assert env_example.SECTIONS.keys() <= Settings.model_fields.keys()


def test_example_lists_exactly_the_settings() -> None:
    assert set(read_example()) - set(PASSWORDS) == {name.upper() for name in Settings.model_fields}


def test_copied_example_reaches_the_servers_of_docker(tmp_path: Path) -> None:
    example = (PROJECT / ".env.example").read_text().replace("#DATABASE_URL=", "DATABASE_URL=")
    example = example.replace("#REDIS_URL=", "REDIS_URL=").replace(EXAMPLE_SECRET, "x" * 32)
    (tmp_path / ".env").write_text(example.replace(f"POSTGRES_PASSWORD={EXAMPLE_PASSWORD}", "POSTGRES_PASSWORD=a/b@c"))
    settings = load_settings()
    assert settings.sqlalchemy_url == "postgresql+asyncpg://postgres:a%2Fb%40c@127.0.0.1:5432/sluice"
    assert settings.redis_dsn == f"redis://:{EXAMPLE_PASSWORD}@127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://me:simple@db/name", "simple"),
        ("postgresql://me:a%2Fb%40c@db/name", "a/b@c"),
        ("postgresql://me:a/b@c?d#e[f:g@db:5432/name", "a/b@c?d#e[f:g"),
        ("postgresql://me:@/name?host=/run/a@b", ""),
        ("postgresql://me@db/name", None),
        ("redis://:p@ss@db:6379/0", "p@ss"),
    ],
)
def test_passwords_in_urls(url: str, password: str | None) -> None:
    parsed = make_url(quote_password(url))
    assert (parsed.password, parsed.host) == (password, None if "/run" in url else "db")
    assert quote_password(quote_password(url)) == quote_password(url)


WRONG_DATABASE_URLS = [
    "postgresql://u:s3cr3tpw/x",
    "postgresql://u:s3cr3tpw@host:abc/x",
    "postgresql://u:s3cr3tpw@host:99999/x",
    "postgresql://[u:s3cr3tpw@[host/x",
    "postgresql://u:s3cr3tpw@host/x?port=abc",
    "postgresql://u:s3cr3tpw@host/x?sslmode=require",
    "postgresql://u:s3cr3tpw@a:1,b:2/x",
    "postgresql://u:s3cr3tpw@host/x#y",
    "postgresql://u:s3cr3tpw@host/x\n",
    "postgresql:u:s3cr3tpw@host/x",
    "mysql://u:s3cr3tpw@host/x",
    "u:s3cr3tpw@host/x",
    "s3cr3tpw",
]
WRONG_REDIS_URLS = [
    "redis://:s3cr3tpw",
    "redis://:s3cr3tpw@host:abc/0",
    "redis://:s3cr3tpw@host/abc",
    "redis://:s3cr3tpw@host/0?socket_timeout=abc",
    "redis://:s3cr3tpw@host/0?unknown=1",
    "rediss://:s3cr3tpw@host/0?ssl_cert_reqs=perhaps",
    "http://:s3cr3tpw@host/0",
    "s3cr3tpw:6379",
    "s3cr3tpw",
]
WRONG_WEB_URLS = [
    "s3cr3tpw",
    "http://",
    "ftp://s3cr3tpw/",
    "http://u:s3cr3tpw@h:abc/",
    "http://h/?s3cr3tpw",
    "http://h/#a",
]
WRONG_URLS = [
    *(("DATABASE_URL", url) for url in WRONG_DATABASE_URLS),
    *(("DATABASE_OWNER_URL", url) for url in WRONG_DATABASE_URLS),
    *(("REDIS_URL", url) for url in WRONG_REDIS_URLS),
    *(("LLM_BASE_URL", url) for url in WRONG_WEB_URLS),
    *(("PUBLIC_URL", url) for url in WRONG_WEB_URLS),
]


@pytest.mark.parametrize(("name", "url"), WRONG_URLS)
def test_wrong_url_is_refused_without_showing_it(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, url)
    monkeypatch.setenv("LLM_MODEL", "any" if name == "LLM_BASE_URL" else "")
    with pytest.raises(
        SettingsError, match=rf"^{name} (is not of the form \S+://\S+|may have no parameters .*)$"
    ) as caught:
        load_settings()
    assert "s3cr3tpw" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://me:a b@[::1]:5432/name"),
        ("DATABASE_URL", "postgresql://me:@/name?host=/run/postgresql&port=5433"),
        ("DATABASE_OWNER_URL", "postgres://host"),
        ("REDIS_URL", "rediss://me:word@host?ssl_cert_reqs=none"),
        ("REDIS_URL", "redis://host:6379/3"),
        ("REDIS_URL", "unix://:word@/run/redis.sock?db=1"),
        ("PUBLIC_URL", "https://example.org/sluice/"),
    ],
)
def test_urls_of_other_forms(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, url)
    value = getattr(load_settings(), name.lower())
    assert (value.get_secret_value() if isinstance(value, SecretStr) else str(value)) == url


def test_example_shows_the_defaults() -> None:
    values = {name: value for name, value in read_example().items() if name not in WITHOUT_DEFAULT and value}
    assert Settings.model_validate({name.lower(): value for name, value in values.items()}) == Settings(_env_file=None)


def test_every_setting_is_explained() -> None:
    undocumented = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undocumented == []


@pytest.mark.parametrize("name", ["JWT_SECRET", "LIBRECHAT_SECRET"])
@pytest.mark.parametrize("secret", ["short", "x" * 31, EXAMPLE_SECRET, LIBRECHAT_EXAMPLE_SECRET])
def test_weak_secret_is_refused_without_showing_it(name: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, secret)
    with pytest.raises(SettingsError, match=rf"^{name} is .*openssl rand -base64 48") as caught:
        load_settings()
    assert secret not in str(caught.value).replace("shorter", "")


def test_secret_of_librechat_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    monkeypatch.setenv("LIBRECHAT_SECRET", "y" * 32)
    assert load_settings().librechat_secret
    monkeypatch.setenv("LIBRECHAT_SECRET", "x" * 32)
    with pytest.raises(SettingsError, match=r"^LIBRECHAT_SECRET must differ from JWT_SECRET"):
        load_settings()


def test_example_holds_the_refused_secret() -> None:
    assert read_example()["JWT_SECRET"] == EXAMPLE_SECRET


def test_environment_wins_over_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=1234\nJWT_TTL_MINUTES=7\n")
    monkeypatch.setenv("PORT", "4321")
    settings = load_settings()
    assert (settings.port, settings.jwt_ttl_minutes) == (4321, 7)


def test_empty_variables_count_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=1234\nREDIS_URL=\nLEASE_SECONDS=\n")
    for name in ("PORT", "DATABASE_URL", "JWT_SECRET"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.port, settings.lease_seconds) == (1234, 15)
    assert settings.redis_url is settings.database_url is settings.jwt_secret is None


def test_empty_rate_limit_means_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("RATE_LIMIT_LOGIN=\nRATE_LIMIT_UPLOAD=5/second\n")
    monkeypatch.setenv("RATE_LIMIT_UPLOAD", "")
    settings = load_settings()
    assert (settings.rate_limit_login, settings.rate_limit_upload, settings.rate_limit_query) == ("", "", "240/minute")


@pytest.mark.parametrize(
    "rate", ["10", "ten/minute", "10/fortnight", "-1/minute", "0/minute", "10/minute;5/second", " "]
)
@pytest.mark.parametrize("name", ["RATE_LIMIT_LOGIN", "RATE_LIMIT_UPLOAD", "RATE_LIMIT_QUERY"])
def test_invalid_rate_limit_is_refused(name: str, rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, rate)
    with pytest.raises(SettingsError, match=f"^{name} is not a rate such as 10/minute; leave it empty for no limit$"):
        load_settings()


@pytest.mark.parametrize("rate", ["1/second", "100 per hour", "20/5 minutes", "1000/day"])
def test_rates(rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_LIMIT_QUERY", rate)
    assert load_settings().rate_limit_query == rate


@pytest.mark.parametrize("name", ["LLM_BASE_URL", "LLM_MODEL"])
def test_half_a_language_model_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:8080/v1")
    with pytest.raises(SettingsError, match=r"^LLM_MODEL and LLM_BASE_URL belong together: set both or neither$"):
        load_settings()


def test_address_of_the_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL", "any")
    monkeypatch.setenv("LLM_BASE_URL", "127.0.0.1:8080/v1")
    with pytest.raises(SettingsError, match=r"^LLM_BASE_URL [^;]*$"):
        load_settings()
    monkeypatch.setenv("LLM_BASE_URL", "http://127.0.0.1:8080/v1")
    assert str(load_settings().llm_base_url) == "http://127.0.0.1:8080/v1"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_openvino_on_a_gpu_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_DEVICE", device)
    for engine in ("auto", "torch"):
        monkeypatch.setenv("EMBEDDING_ENGINE", engine)
        assert load_settings().embedding_device == device
    monkeypatch.setenv("EMBEDDING_ENGINE", "openvino")
    with pytest.raises(SettingsError, match=r"^EMBEDDING_DEVICE must be auto or cpu if EMBEDDING_ENGINE is openvino"):
        load_settings()
    for allowed in ("auto", "cpu"):
        monkeypatch.setenv("EMBEDDING_DEVICE", allowed)
        assert load_settings().embedding_device == allowed


def test_address_of_the_embedding_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_BASE_URL", "127.0.0.1:8081")
    with pytest.raises(SettingsError, match=r"^EMBEDDING_BASE_URL is not of the form http://127.0.0.1:8081/v1$"):
        load_settings()
    monkeypatch.setenv("EMBEDDING_BASE_URL", "http://127.0.0.1:8081/v1")
    assert str(load_settings().embedding_base_url) == "http://127.0.0.1:8081/v1"


def test_address_of_the_reranker(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().reranker == "none"
    for wrong in ("127.0.0.1:8082", "some", "http://127.0.0.1:8082/rerank?key=hidden"):
        monkeypatch.setenv("RERANKER", wrong)
        with pytest.raises(
            SettingsError, match=r"^RERANKER is not of the form http://127.0.0.1:8082/rerank, and neither none"
        ):
            load_settings()
    monkeypatch.setenv("RERANKER", "http://127.0.0.1:8082/rerank")
    assert str(load_settings().reranker) == "http://127.0.0.1:8082/rerank"


def test_secrets_do_not_show() -> None:
    settings = Settings(
        _env_file=None,
        jwt_secret="0123456789" * 4,
        librechat_secret="hidden" * 6,
        database_url="postgresql://u:hidden@h/d",
        llm_api_key="sk-hidden",
        embedding_api_key="sk-hidden",
        reranker_api_key="sk-hidden",
    )
    assert "0123456789" not in repr(settings)
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+asyncpg://u@h/d"])
def test_database_url_names_the_driver(url: str) -> None:
    assert Settings(_env_file=None, database_url=url).sqlalchemy_url == "postgresql+asyncpg://u@h/d"


@pytest.mark.parametrize(
    "contact", ["someone@example.org", "mailto:", "http://example.org/report", "mailto:a@b.example\nExpires: 1"]
)
def test_invalid_security_contact_is_refused(contact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURITY_CONTACT", contact)
    with pytest.raises(SettingsError, match=r"^SECURITY_CONTACT is neither like mailto:"):
        load_settings()


def test_addresses_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.7, 10.1.0.3/16,fd00::/8")
    assert load_settings().forwarded_allow_ips
    for wrong in ("*", "proxy.example.org", "10.0.0.7;10.0.0.8", "10.0.0.0/33"):
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", wrong)
        with pytest.raises(SettingsError, match=r"^FORWARDED_ALLOW_IPS is not a list of addresses"):
            load_settings()


@pytest.mark.parametrize("name", ["METRICS_TOKEN", "LLM_API_KEY", "RERANKER_API_KEY"])
@pytest.mark.parametrize(
    "token", ["töken-of-sixteen-x", "token of sixteen x", "token-of-sixteen\n", "токен-шестнадцать"]
)
def test_token_that_no_header_carries_is_refused(name: str, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, token)
    with pytest.raises(SettingsError, match=f"^{name} may consist only of ASCII letters, digits and signs") as caught:
        load_settings()
    assert token not in str(caught.value)
    monkeypatch.setenv(name, "sk-proj_123/+=.~!#abc")
    assert load_settings()


@pytest.mark.parametrize("name", ["sqlalchemy_url", "owner_url"])
def test_missing_database_url_is_explained(name: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^DATABASE_URL is not set; set it in .* \.env\. Only doctor, users and reembed find"
    ):
        getattr(Settings(_env_file=None), name)
