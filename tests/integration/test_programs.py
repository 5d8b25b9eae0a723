"""The programs that `make` and pip install: `sluice-server` and `sluice`."""

import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import httpx2
import pytest

import sluice_client
from pipeline.__main__ import make_parser
from tests.processes import PROJECT, run_program

PROGRAMS = Path(sysconfig.get_path("scripts"))


@pytest.mark.parametrize(
    ("command", "module", "arguments"),
    [
        ("api", "api", []),
        ("worker", "workers", []),
        ("api --help", "pipeline", ["api", "--help"]),
        ("up", "pipeline", ["up"]),
    ],
)
def test_server_commands_become_the_programs(tmp_path: Path, command: str, module: str, arguments: list[str]) -> None:
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").touch()
    (tmp_path / module / "__main__.py").write_text("import os, sys; print(os.getpid(), *sys.argv[1:])")
    whole = [str(PROGRAMS / "sluice-server"), *command.split()]
    with subprocess.Popen(whole, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=60)
    assert output.split() == [str(process.pid), *arguments]


def test_server_has_a_command_for_each_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["worker", "--help"])
    assert "usage: sluice-server worker" in capsys.readouterr().out
    commands = ("up", "api", "worker", "migrate", "doctor", "reembed", "users list", "demo")
    named = {make_parser().parse_args([*command.split(), *give_options(command)]).command for command in commands}
    assert named == {command.split()[0] for command in commands}


def give_options(command: str) -> list[str]:
    return ["--model", "a-model"] if command == "reembed" else []


def test_package_of_the_client_needs_only_what_it_declares(tmp_path: Path) -> None:
    """Its wheel is installed into an empty environment, with its dependencies from PyPI."""
    try:
        httpx2.head("https://pypi.org/simple/", timeout=5)
    except httpx2.TransportError:
        pytest.skip("PyPI does not answer")
    uv, environment = str(PROGRAMS / "uv"), tmp_path / "environment"
    built = run_program(uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(PROJECT / "client"))
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    made = run_program(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
    assert made.returncode == 0, made.stderr
    python = str(environment / "bin" / "python")
    installed = run_program(uv, "pip", "install", "--quiet", "--python", python, str(wheel))
    assert installed.returncode == 0, installed.stderr
    version = tomllib.loads((PROJECT / "client" / "pyproject.toml").read_text())["project"]["version"]
    assert run_program(environment / "bin" / "sluice", "--version", folder=tmp_path).stdout == f"sluice {version}\n"


def test_synchronous_client_is_what_the_asynchronous_one_gives() -> None:
    made = runpy.run_path(str(PROJECT / "client" / "make_synchronous.py"))["make"]()
    folder = PROJECT / "client" / "src" / "sluice_client" / "synchronous"
    assert set(made) == set(folder.glob("*.py"))
    stale = [file.name for file, content in made.items() if file.read_text() != content]
    assert stale == [], "run `make client`"


def test_every_method_and_error_of_the_client_is_documented() -> None:
    document = (PROJECT / "docs" / "client.md").read_text()
    with sluice_client.Client(api_key="sk-key") as client:
        rows = {"the client": client, **{f"`{name}`": part for name, part in vars(client).items() if name[0] != "_"}}
    table = dict(re.findall(r"^\| (.+?) \| (.+) \|$", document.split("## Methods\n")[1], re.MULTILINE))
    assert {row: set(re.findall(r"`(\w+)`", table[row])) - {"aclose"} for row in rows} == {
        row: {name for name in dir(part) if name[0] != "_" and callable(getattr(part, name))}
        for row, part in rows.items()
    }
    errors = {
        name for name, value in vars(sluice_client).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert {name for name in errors if f"| `{name}` |" not in document} == {"SluiceError"}
