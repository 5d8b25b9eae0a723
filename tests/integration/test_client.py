"""`sluice` with a scripted server instead of the service."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from sluice_command.command_line import run
from sluice_command.identity import identify
from sluice_command.session import Session, find_session_file, save_session
from tests.scripted_server import Answer, refuse, serve

PROJECT = Path(__file__).resolve().parents[2]
ID = "01a2084b-9065-752d-aaf7-35b94206de34"
NOWHERE = "http://127.0.0.1:1"
DOCUMENT = {
    "id": ID,
    "filename": "a.txt",
    "status": "ready",
    "error": None,
    "pages": 1,
    "chunks": 1,
    "progress": 1.0,
    "queue_position": None,
    "size_bytes": 1,
    "created_at": "2026-11-27T00:00:00Z",
    "a_field_of_tomorrow": 1,
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path), "SLUICE_TOKEN": "token"}


def test_token_is_for_one_url_and_one_person(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    save_session(find_session_file(environment), Session("http://one", "a@example.org", "kept"))
    assert identify("http://one", environment).token == "kept"
    assert identify("http://two", environment).token is None
    assert identify("https://one", environment).token is None
    assert identify("http://one", {**environment, "SLUICE_EMAIL": "b@example.org"}).token is None
    other = identify("http://two", {**environment, "SLUICE_TOKEN": "given"})
    assert (other.token, other.email, other.has_session) == ("given", None, False)
    with serve() as script:
        assert run(["status", "--url", script.url], environment) == 3
        assert script.asked == []


@pytest.mark.parametrize(
    "typed",
    ["", "127.0.0.1:8000", "ftp://a", "http://", "http://a:b", "http://me:secret@host", "http://a?b", "http://[:"],
)
def test_urls_that_are_none_are_refused_unshown(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", f"--url={typed or ' '}"], {}) == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["upload"],
        ["status", "no-id"],
        ["upload", "--parallel", "0", "a"],
        ["search", "x", "--top-k", "0"],
        ["status", "--patience", "-1"],
    ],
)
def test_what_cannot_be_typed(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(arguments, {})
    assert end.value.code == 2


def test_files_are_looked_at_before_anything_is_sent(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "a.txt"
    good.write_text("a")
    with serve() as script:
        for bad, why in (
            (tmp_path, "is a folder"),
            (tmp_path / "none.txt", "does not exist"),
            (Path("/dev/null"), "not a regular file"),
        ):
            assert run(["upload", str(good), str(bad), "--url", script.url], environment) == 2
            assert why in capsys.readouterr().err
        assert script.asked == []


def test_limits_and_outages_are_waited_for(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("some text")
    with serve(
        refuse(429, "rate_limited", Retry_After="1"),
        refuse(503, "database_unavailable", Retry_After="1"),
        (502, {}, b"<html>a proxy</html>"),
        (202, {}, DOCUMENT),
    ) as script:
        began = time.monotonic()
        assert run(["upload", str(file), "--json", "--url", script.url], environment) == 0
        assert time.monotonic() - began >= 2
    assert script.asked == [("POST /v1/documents", "Bearer token")] * 4
    assert all(b"some text" in body and b'filename="a.txt"' in body for body in script.bodies)
    assert json.loads(capsys.readouterr().out) == {**DOCUMENT, "file": str(file)}


def test_limit_is_no_test_of_patience(environment: dict[str, str]) -> None:
    page: dict[str, object] = {"items": [], "next_cursor": None}
    with serve(refuse(429, "rate_limited", Retry_After="1"), (200, {}, page)) as script:
        assert run(["status", "--url", script.url, "--patience", "0"], environment) == 0
    with serve(refuse(503, "database_unavailable", Retry_After="1")) as script:
        assert run(["status", "--url", script.url, "--patience", "0"], environment) == 4


def test_what_is_no_text_is_told_or_replaced(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", "caf\udce9", "--url", NOWHERE], environment) == 2
    for token in ("tok\u00e9n", "one\ntwo"):
        assert run(["status", "--url", NOWHERE], {**environment, "SLUICE_TOKEN": token}) == 2
    file = tmp_path / "caf\udce9.txt"
    file.write_text("some text")
    capsys.readouterr()
    with serve((202, {}, DOCUMENT)) as script:
        assert run(["upload", str(file), "--json", "--url", script.url], environment) == 0
    assert json.loads(capsys.readouterr().out)["file"] == f"{tmp_path}/caf\ufffd.txt"
    assert 'filename="caf\ufffd.txt"'.encode() in script.bodies[0]


def test_service_that_is_away(environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.txt"
    file.write_text("some text")
    assert run(["status", "--url", NOWHERE, "--patience", "0"], environment) == 4
    assert (
        capsys.readouterr().err
        == f"sluice: {NOWHERE} does not answer (connection failed); gave up after 0 s (see --patience)\n"
    )
    assert run(["upload", str(file), "--json", "--url", NOWHERE, "--patience", "0.3"], environment) == 4
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"file": str(file), "status": "sending", "error": None}
    assert json.loads(printed.err)["code"] == "unreachable"


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (refuse(404, "not_found"), 1, "sluice: It is not_found. (request r-1)\n"),
        (refuse(500, "internal_error"), 1, "sluice: It is internal_error. (request r-1)\n"),
        ((404, {}, b"<html>"), 1, "answered 404 Not Found, not as Sluice does; check the URL\n"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), 1, "answered 302 Found, not as Sluice does; check the URL\n"),
        ((200, {}, b"[]"), 1, "the response to /v1/documents is not one that Sluice sends; check the URL\n"),
        (refuse(401, "token_expired"), 3, "set SLUICE_TOKEN to a new one\n"),
    ],
)
def test_refusals_are_one_line(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    code: int,
    told: str,
) -> None:
    with serve(answer) as script:
        assert run(["status", "--url", script.url], environment) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith(told)
    assert printed.err.count("\n") == 1


def test_one_sign_in_serves_all_who_wait(environment: dict[str, str], tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file in files:
        file.write_text(f"text of {file.name}")
    all_are_refused = threading.Barrier(len(files), timeout=20)

    def decide(asked: str, authorization: str | None) -> Answer:
        if asked == "POST /v1/auth/login":
            return 200, {}, {"access_token": "new", "token_type": "bearer", "expires_in": 900}
        if authorization == "Bearer new":
            return 202, {}, DOCUMENT
        all_are_refused.wait()
        return refuse(401, "token_expired")

    environment |= {"SLUICE_EMAIL": "a@example.org", "SLUICE_PASSWORD": "password"}
    with serve(decide=decide) as script:
        assert run(["upload", *map(str, files), "--url", script.url, "--parallel", "3"], environment) == 0
    assert [asked for asked, _ in script.asked].count("POST /v1/auth/login") == 1
    assert not find_session_file(environment).exists(), "a token from the environment is not kept"


def test_wrong_password_is_not_tried_again(environment: dict[str, str]) -> None:
    environment |= {"SLUICE_EMAIL": "a@example.org", "SLUICE_PASSWORD": "password"}
    with serve(refuse(401, "token_expired"), refuse(401, "invalid_credentials")) as script:
        assert run(["status", "--url", script.url], environment) == 3
        assert len(script.asked) == 2


def test_login_without_a_terminal(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice_command", "login", "--url", NOWHERE],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2


def test_client_needs_nothing_of_the_service() -> None:
    code = "import sys, sluice_command.command_line; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"httpx2", "rich", "msgspec"} <= loaded
    assert loaded & {"litestar", "sqlalchemy", "redis", "torch", "numpy", "pydantic", "pipeline", "workers"} == set()


@pytest.mark.parametrize("invitation", ["secret-of-a-link", "https://sluice.example.org/#invite=secret-of-a-link"])
def test_invitation_is_sent_in_the_body(tmp_path: Path, invitation: str) -> None:
    environment = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "SLUICE_EMAIL": "anna@example.org",
        "SLUICE_PASSWORD": "password of anna",
        "SLUICE_INVITATION": invitation,
    }
    with serve((201, {}, {}), (200, {}, {"access_token": "token"})) as script:
        assert run(["login", "--register", "--url", script.url], environment) == 0
    assert [asked for asked, _ in script.asked] == ["POST /v1/auth/register", "POST /v1/auth/login"]
    assert [json.loads(body).get("invitation") for body in script.bodies] == ["secret-of-a-link", None]


def test_closed_registration_is_explained(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    credentials = {"SLUICE_EMAIL": "anna@example.org", "SLUICE_PASSWORD": "password of anna"}
    with serve(refuse(403, "registration_closed")) as script:
        assert run(["login", "--register", "--url", script.url], {**environment, **credentials}) == 1
    assert "set SLUICE_INVITATION to the link" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limits", "lines"),
    [
        ((None, None), "stored: 1.5 kB (no limit)\ndocuments and notes: 3 (no limit)\n"),
        ((2_000_000, 10), "stored: 1.5 kB (limit 2.0 MB)\ndocuments and notes: 3 (limit 10)\n"),
    ],
)
def test_account_shows_usage_and_quotas(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    limits: tuple[int | None, int | None],
    lines: str,
) -> None:
    usage = {"stored_bytes": {"used": 1500, "limit": limits[0]}, "documents": {"used": 3, "limit": limits[1]}}
    account = {"id": "1", "email": "anna@example.org", "created_at": "2026-11-27T08:30:00Z", "usage": usage}
    with serve((200, {}, json.dumps(account).encode())) as script:
        assert run(["account", "--url", script.url], environment) == 0
    assert capsys.readouterr().out == f"anna@example.org\n{lines}"


def test_refusal_at_the_quota_is_not_repeated(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("some text")
    with serve(refuse(403, "quota_exceeded")) as script:
        assert run(["upload", str(file), "--json", "--url", script.url], environment) == 1
        assert len(script.asked) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["error"]["code"]) == ("refused", "quota_exceeded")


def test_keys_are_created_listed_and_revoked(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    key = {
        "id": ID,
        "name": "reports",
        "scopes": ["read"],
        "created_at": "2026-11-27T00:00:00Z",
        "collection_ids": None,
    }
    page = {"items": [key], "next_cursor": None}
    with serve((201, {}, {**key, "secret": "sk-new"}), (200, {}, page), (204, {}, b"")) as script:
        assert run(["keys", "create", "reports", "--scope", "read", "--url", script.url], environment) == 0
        assert capsys.readouterr().out == "sk-new\n"
        assert run(["keys", "--url", script.url], environment) == 0
        assert capsys.readouterr().out == f"{ID}  reports  read, never used\n"
        # The URL counts also if it stands before the action.
        assert run(["keys", "--url", script.url, "revoke", ID], environment) == 0
        assert capsys.readouterr().out == f"{ID} revoked\n"
    assert json.loads(script.bodies[0]) == {"name": "reports", "scopes": ["read"]}
    assert [asked for asked, _ in script.asked][1:] == ["GET /v1/api-keys?limit=100", f"DELETE /v1/api-keys/{ID}"]


def test_collections_are_listed_and_chosen(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = {"id": ID, "name": "Boats", "documents": 2, "notes": 1, "created_at": "2026-11-27T00:00:00Z"}
    file = tmp_path / "a.txt"
    file.write_text("some text")
    answers = [{"items": [collection], "next_cursor": None}, DOCUMENT, {"passages": []}]
    with serve(*((200, {}, answer) for answer in answers)) as script:
        assert run(["collections", "--url", script.url], environment) == 0
        assert capsys.readouterr().out == f"{ID}  Boats  2 documents, 1 notes\n"
        assert run(["upload", str(file), "--collection", ID, "--url", script.url], environment) == 0
        assert run(["search", "ferry", "--collection", ID, "--url", script.url], environment) == 0
    assert f'name="collection_id"\r\n\r\n{ID}'.encode() in script.bodies[1]
    assert json.loads(script.bodies[2])["collection_ids"] == [ID]


def test_documents_are_chosen_and_deleted_together(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = ID.replace("01a2", "01a3")
    answers = [{"items": [], "next_cursor": None}, {"deleted": [ID], "not_found": [other]}]
    options = ["--name", "boat", "--collection", ID, "--filter", '{"key":"a"}', "--sort", "largest", "--limit", "1"]
    with serve(*((200, {}, answer) for answer in answers)) as script:
        assert run(["status", *options, "--url", script.url], environment) == 0
        capsys.readouterr()
        assert run(["delete", ID, other, "--url", script.url], environment) == 1
    assert capsys.readouterr().out == f"{ID} deleted\n{other} does not exist\n"
    chosen = {"collection_id": ID, "name": "boat", "filter": '{"key":"a"}', "sort": "-size_bytes", "limit": "1"}
    assert dict(parse_qsl(script.asked[0][0].partition("?")[2])) == chosen
    assert script.asked[1][0] == "POST /v1/documents/delete"
    assert json.loads(script.bodies[1]) == {"ids": [ID, other]}


def test_webhooks_and_the_audit_log(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    made = {"id": ID, "created_at": "2026-11-27T00:00:00Z"}
    webhook = {**made, "url": "https://a", "events": ["document.ready"]}
    dead = {
        **made,
        "event": "document.ready",
        "document_id": ID,
        "status": "dead",
        "attempts": 9,
        "error": "No answer.",
    }
    action = {**made, "event_type": "login", "details": {"address": "::1\u001b", "key_id": None}}
    calls: list[tuple[list[str], int, object, str]] = [
        (["webhooks", "create", "https://a"], 201, {**webhook, "secret": "whsec_a"}, "whsec_a"),
        (["webhooks"], 200, {"items": [webhook], "next_cursor": None}, f"{ID}  https://a  document.ready"),
        (
            ["webhooks", "deliveries", ID, "--status", "dead"],
            200,
            {"items": [dead], "next_cursor": None},
            f"{ID}  document.ready  {ID}  dead after 9 tries: No answer.",
        ),
        (
            ["webhooks", "redeliver", ID, ID],
            202,
            {**dead, "status": "pending", "attempts": 0, "error": None},
            f"{ID}  document.ready  {ID}  pending after 0 tries",
        ),
        (["webhooks", "delete", ID], 204, b"", f"{ID} deleted"),
        (["audit"], 200, {"items": [action], "next_cursor": None}, "2026-11-27 00:00:00  login  address=::1"),
    ]
    with serve(*((status, {}, answer) for _, status, answer, _ in calls)) as script:
        for arguments, _, _, printed in calls:
            assert run([*arguments, "--url", script.url], environment) == 0
            assert capsys.readouterr().out == f"{printed}\n"
    events = ["document.ready", "document.failed", "document.deleted"]
    assert json.loads(script.bodies[0]) == {"url": "https://a", "events": events}
    assert [asked for asked, _ in script.asked][2:] == [
        *(
            f"GET /v1/webhooks/{ID}/deliveries?status=dead&limit=100",
            f"POST /v1/webhooks/{ID}/deliveries/{ID}/redeliver",
        ),
        *(f"DELETE /v1/webhooks/{ID}", "GET /v1/audit-logs?limit=20"),
    ]
