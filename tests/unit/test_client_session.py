"""The client's saved session, its URLs, and the texts of others that it prints."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.client.display import clean
from api.client.errors import UnusableInput
from api.client.identity import normalize_url
from api.client.session import Session, find_session_file, load_session, save_session


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
