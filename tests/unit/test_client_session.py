"""The client's saved session, its URLs, and the texts of others that it prints."""

import asyncio
import io
import json
import os
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_client.errors import UnusableInput
from sluice_client.urls import normalize_url
from sluice_command.command_line import ask_for_credentials
from sluice_command.connection import Connection
from sluice_command.display import clean
from sluice_command.errors import NotSignedIn
from sluice_command.identity import identify
from sluice_command.session import Session, find_session_file, load_session, save_session


def test_session_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = find_session_file({"XDG_CONFIG_HOME": str(tmp_path / "settings")})
    assert file == tmp_path / "settings" / "sluice" / "session.json"
    session = Session("http://one", "a@example.org", "token")
    before = os.umask(0)
    try:
        save_session(file, session)
    finally:
        os.umask(before)
    assert load_session(file) == session
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    # The file is replaced in one step: a reader of the old one is not disturbed.
    with file.open() as old:
        save_session(file, Session("http://one", "a@example.org", "new"))
        assert json.loads(old.read())["token"] == "token"
    assert list(file.parent.iterdir()) == [file]
    file.write_text("{")
    assert load_session(file) is None
    assert find_session_file({"XDG_CONFIG_HOME": "relative"}) == Path.home() / ".config" / "sluice" / "session.json"


def test_session_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "sluice").touch()
    with pytest.raises(UnusableInput, match=r"session\.json"):
        save_session(tmp_path / "sluice" / "session.json", Session("http://one", "a@example.org", "token"))


@pytest.mark.parametrize(
    ("typed", "normalized"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("HTTPS://Example.ORG/sluice/", "https://example.org/sluice"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_urls_have_one_spelling(typed: str, normalized: str) -> None:
    assert normalize_url(typed) == normalized


@settings(max_examples=50)
@given(st.text())
def test_no_text_controls_the_terminal(text: str) -> None:
    cleaned = clean(f"{text}\x1b]0;title\x07\x9b31m\r")
    cleaned.encode()
    assert not any((char < " " and char not in "\n\t") or "\x7f" <= char < "\xa0" for char in cleaned)


@pytest.mark.parametrize("saved", [None, "a@example.org", "b@example.org"])
def test_login_without_a_terminal(saved: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "SLUICE_EMAIL": "a@example.org",
        "SLUICE_PASSWORD": "the password",
    }
    if saved:
        save_session(find_session_file(environment), Session("http://one", saved, "token"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    identity = identify("http://one", environment)
    options = Namespace(email=None, password_stdin=False, register=False)
    ask_for_credentials(identity, options, lambda email: pytest.fail(f"asked for the password of {email}"))
    assert (identity.email, identity.password) == ("a@example.org", "the password")


def test_login_without_a_terminal_and_without_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "SLUICE_EMAIL": "a@example.org"}
    save_session(find_session_file(environment), Session("http://one", "a@example.org", "token"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    options = Namespace(email=None, password_stdin=False, register=False)
    with pytest.raises(UnusableInput, match="set SLUICE_EMAIL and SLUICE_PASSWORD"):
        ask_for_credentials(identify("http://one", environment), options, lambda email: email)


def test_account_that_never_had_a_token(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "SLUICE_EMAIL": "other@example.org"}
    save_session(find_session_file(environment), Session("http://one", "a@example.org", "token"))

    async def call() -> None:
        async with Connection(identify("http://one", environment), None, 0) as connection:
            await connection.send("GET", "/v1/users/me")

    with pytest.raises(NotSignedIn, match=r"not signed in as other@example\.org; run"):
        asyncio.run(call())
