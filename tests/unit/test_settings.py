import re
from pathlib import Path

import pytest

from pipeline.operations import env_example
from pipeline.settings import EXAMPLE_SECRET, Settings, SettingsError, load_settings

PROJECT = Path(__file__).resolve().parents[2]
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


def test_example_sets_only_the_placeholder_of_the_secret() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [f"JWT_SECRET={EXAMPLE_SECRET}"]


def test_headings_of_the_example_belong_to_settings() -> None:
    assert env_example.SECTIONS.keys() <= Settings.model_fields.keys()


def test_example_lists_exactly_the_settings() -> None:
    assert set(read_example()) == {name.upper() for name in Settings.model_fields}


def test_example_shows_the_defaults() -> None:
    values = {name: value for name, value in read_example().items() if name != "JWT_SECRET" and value}
    assert Settings.model_validate({name.lower(): value for name, value in values.items()}) == Settings(_env_file=None)


def test_every_setting_is_explained() -> None:
    undocumented = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undocumented == []


@pytest.mark.parametrize("secret", ["short", "x" * 31, EXAMPLE_SECRET])
def test_weak_secret_is_refused_without_showing_it(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    with pytest.raises(SettingsError, match=r"JWT_SECRET is .*openssl rand -base64 48") as caught:
        load_settings()
    assert secret not in str(caught.value).replace("shorter", "")


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


def test_secrets_do_not_show() -> None:
    settings = Settings(
        _env_file=None,
        jwt_secret="0123456789" * 4,
        database_url="postgresql://u:hidden@h/d",
        llm_api_key="sk-hidden",
    )
    assert "0123456789" not in repr(settings)
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+asyncpg://u@h/d"])
def test_database_url_names_the_driver(url: str) -> None:
    assert Settings(_env_file=None, database_url=url).sqlalchemy_url == "postgresql+asyncpg://u@h/d"
