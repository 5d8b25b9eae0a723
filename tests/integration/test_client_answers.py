"""Streamed answers in `sluice ask`: complete, cut off, and not from Sluice."""

from pathlib import Path

import pytest

from sluice_client.asynchronous.answers import MAX_EVENT_BYTES
from sluice_command.command_line import run
from tests.scripted_server import serve

PASSAGES = b'event: passages\ndata: {"passages":[{"title":"lock.txt","page":1,"text":"x","score":1.0}],"model":"m"}\n\n'
TOKEN = 'event: token\ndata: {"text":"At 3.2 metres [1]\u2028."}\n\n'.encode()
DONE = b'event: done\ndata: {"answer":"x","citations":[{"number":1,"passage":"p","start":14,"end":17}],"model":"m"}\n\n'
CUT_OFF = "sluice: the answer was cut off; ask again\n"
UNEXPECTED = "sluice: the response to /v1/ask is not one that Sluice sends; check the URL\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path), "SLUICE_TOKEN": "token"}


@pytest.mark.parametrize(
    ("body", "code", "output", "errors"),
    [
        (PASSAGES + b": ping\n\n" + TOKEN + DONE, 0, "At 3.2 metres [1]\u2028.\n\n[1] lock.txt, page 1\n", ""),
        (PASSAGES + TOKEN + DONE.rstrip(), 1, "At 3.2 metres [1]\u2028.", CUT_OFF),
        (PASSAGES + b'event: error\ndata: {"code":"x","detail":"No."}\n\n', 1, "\n", "sluice: No.\n"),
        (b"event: token\ndata: [\n\n", 1, "", UNEXPECTED),
        (b'event: token\ndata: {"text":"' + b"x" * MAX_EVENT_BYTES, 1, "", UNEXPECTED),
    ],
    ids=["complete", "cut off", "error", "not JSON", "too large"],
)
def test_streamed_answer(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], body: bytes, code: int, output: str, errors: str
) -> None:
    with serve((200, {"Content-Type": "text/event-stream"}, body)) as script:
        assert run(["ask", "When?", "--url", script.url], environment) == code
    assert capsys.readouterr() == (output, errors)


def test_response_that_is_not_a_stream(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with serve((200, {"Content-Type": "text/html"}, b"<html>")) as script:
        assert run(["ask", "When?", "--url", script.url], environment) == 1
    assert capsys.readouterr() == ("", UNEXPECTED)
