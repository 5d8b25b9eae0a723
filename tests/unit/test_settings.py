import re
import subprocess
from pathlib import Path

import pytest

from pipeline.settings import EXAMPLE_SECRET, Settings, SettingsError, load_settings

PROJECT = Path(__file__).resolve().parents[2]
ASSIGNMENT = re.compile(r"^([A-Z_]+)=(.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def read_example() -> dict[str, str]:
    return dict(ASSIGNMENT.findall((PROJECT / ".env.example").read_text()))


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


def test_secrets_do_not_show() -> None:
    settings = Settings(_env_file=None, jwt_secret="0123456789" * 4, database_url="postgresql://u:hidden@h/d")
    assert "0123456789" not in repr(settings)
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+asyncpg://u@h/d"])
def test_database_url_names_the_driver(url: str) -> None:
    assert Settings(_env_file=None, database_url=url).sqlalchemy_url == "postgresql+asyncpg://u@h/d"


def test_env_file_is_never_committed() -> None:
    subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=PROJECT, check=True)
