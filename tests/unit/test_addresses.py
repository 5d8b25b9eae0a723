"""Addresses of the service, in the links of invitations and in the commands of operators."""

import pytest
from pydantic import HttpUrl

from pipeline.__main__ import make_parser
from pipeline.operations.local.address import find_public_url, make_local_url
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.stack import make_worker_ports, refuse_mismatch
from pipeline.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_url_on_this_machine(host: str, url: str) -> None:
    assert make_local_url(host, 8000) == url
    assert HttpUrl(url)


def test_page_is_where_the_settings_say() -> None:
    assert find_public_url(Settings(_env_file=None)) == "http://127.0.0.1:8000"
    assert find_public_url(Settings(_env_file=None, host="::1", port=80)) == "http://[::1]:80"
    settings = Settings(_env_file=None, host="0.0.0.0", public_url=HttpUrl("https://sluice.example.org/docs/"))
    assert find_public_url(settings) == "https://sluice.example.org/docs/"


@pytest.mark.parametrize(("host", "port"), [("0.0.0.0", 8000), ("::", 8000), ("127.0.0.1", 0)])
def test_no_link_that_cannot_work(host: str, port: int) -> None:
    with pytest.raises(SettingsError, match="set PUBLIC_URL, or add --url"):
        find_public_url(Settings(_env_file=None, host=host, port=port))


@pytest.mark.parametrize(
    "option",
    [
        "--url=sluice.example.org",
        "--url=//a",
        "--url=http://",
        "--url=http://a/?b",
        "--url=http://a/#b",
        "--url=ftp://a",
    ],
)
def test_wrong_page_of_an_invitation(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["users", "invite", option])
    assert "is not of the form https://sluice.example.org" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "91", "-1", "1.5", "many"])
def test_wrong_lifetime_of_an_invitation(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["users", "invite", f"--days={days}"])
    assert capsys.readouterr().err.endswith("argument --days: must be a number from 1 to 90\n")


def test_each_worker_has_a_metrics_port_of_its_own() -> None:
    ports = [make_worker_ports(9000, number) for number in range(3)]
    assert ports == [{"WORKER_METRICS_PORT": port} for port in ("9000", "9001", "9002")]
    assert make_worker_ports(0, 1) == {}


def test_start_with_another_model_than_the_active_one_ends_with_advice() -> None:
    with pytest.raises(StackError, match=r"^EMBEDDING_MODEL is a-model, .* model\.mismatched .* reembed$"):
        refuse_mismatch(b'{"status": "not_ready", "checks": {"redis": "ok", "embedding_model": "mismatch"}}', "a-model")
    for body in (b'{"checks": {"redis": "mismatch", "embedding_model": "unavailable"}}', b'{"code": "overloaded"}'):
        refuse_mismatch(body, "a-model")
