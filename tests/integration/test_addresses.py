"""Whether the API can listen on HOST and PORT, before anything is started."""

import socket
from pathlib import Path

import pytest

from pipeline.operations.local import address
from pipeline.operations.local.address import find_port
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.stack import run_stack
from pipeline.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1", "::"])
def test_free_port_of_every_kind_of_address(host: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    port = find_port(host, 0)
    assert find_port(host, port) == port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_taken_port(host: str, tmp_path: Path) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match="in use; set PORT to another port"):
            find_port(host, port)
        # Nothing is started before the check.
        settings = Settings(_env_file=None, host=host, port=port, data_dir=tmp_path)
        with pytest.raises(StackError, match="in use"), run_stack(settings):
            pytest.fail("the port is taken")
    assert not (tmp_path / "postgresql.log").exists()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a..b"])
def test_host_on_which_nothing_can_listen(host: str) -> None:
    with pytest.raises(StackError, match=r"cannot listen on .*; correct HOST$"):
        find_port(host, 8000)


def test_port_of_root_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "LOWEST_PORT_FILE", tmp_path / "lowest")
    free = find_port("127.0.0.1", 0)
    (tmp_path / "lowest").write_text(f"{free + 1}\n")
    assert find_port("127.0.0.1", free) == free
    with pytest.raises(StackError, match="set PORT to 1024 or higher"):
        find_port("127.0.0.1", free, is_child_unprivileged=True)
