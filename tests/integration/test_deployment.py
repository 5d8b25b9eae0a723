"""docker-compose.yml as `docker-compose config` reads it, and the Dockerfile as hadolint does. Docker is not needed."""

import ast
import json
import os
import re
import shlex
import subprocess
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sysconfig.get_path("scripts"))
SECRETS = {
    "POSTGRES_PASSWORD": "the-owner-password",
    "SERVICE_PASSWORD": "the-service-password",
    "JWT_SECRET": "the-signing-secret",
}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL")
REQUIRED_VARIABLE = re.compile(r"\$\{[A-Z_]+:\?[^}]+\}")
APP_SERVICES = ("migrate", "api", "worker")


def run_compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # Use these variables only, without the environment and the .env of this checkout.
    options = ["--env-file", os.devnull, "config", "--format", "json"]
    command = [f"{PROGRAMS}/docker-compose", *options, *arguments]
    return subprocess.run(command, env=variables, cwd=PROJECT, capture_output=True, text=True, check=False)


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
        "SERVICE_PASSWORD": {"migrate", "api", "worker"},
        "JWT_SECRET": {"api"},
    }


def list_set(service: dict[str, Any]) -> dict[str, str]:
    """Return the variables that the file itself sets. The others come from `.env`."""
    return {name: value for name, value in service["environment"].items() if value is not None}


def test_every_tuning_setting_reaches_a_service(services: dict[str, dict[str, Any]]) -> None:
    passed = {name for service in APP_SERVICES for name in services[service]["environment"]}
    local = {"HOST", "PORT", "DATA_DIR", "API_PROCESSES", "WORKER_PROCESSES", "FAULT_HOOK"}
    assert {name.upper() for name in Settings.model_fields} - local == passed


def test_environment(services: dict[str, dict[str, Any]]) -> None:
    service_url = "postgresql://sluice_service:the-service-password@db/sluice"
    owner_url = "postgresql://postgres:the-owner-password@db/sluice"
    redis_url = "redis://redis:6379/0"
    assert services["db"]["environment"] == {"POSTGRES_DB": "sluice", "POSTGRES_PASSWORD": "the-owner-password"}
    assert list_set(services["migrate"]) == {"DATABASE_OWNER_URL": owner_url, "DATABASE_URL": service_url}
    assert list_set(services["worker"]) == {"DATABASE_URL": service_url, "REDIS_URL": redis_url}
    assert list_set(services["api"]) == {**list_set(services["worker"]), "JWT_SECRET": "the-signing-secret"}


@pytest.mark.parametrize("service", APP_SERVICES)
def test_environment_names_settings(service: str, services: dict[str, dict[str, Any]]) -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(services[service]["environment"]) <= known


def test_health_checks(services: dict[str, dict[str, Any]]) -> None:
    checks = {name: definition["healthcheck"] for name, definition in services.items() if "healthcheck" in definition}
    assert set(checks) == {"db", "redis", "api"}
    assert checks["db"]["test"] == shlex.split("CMD pg_isready -h 127.0.0.1 -U postgres -d sluice")
    assert checks["redis"]["test"] == ["CMD-SHELL", "valkey-cli ping | grep -q PONG"]
    *command, program = checks["api"]["test"]
    assert command == ["CMD", "python", "-c"]
    assert "http://127.0.0.1:8000/health/ready" in program
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
    }
    assert set(json.loads(run_compose(**SECRETS).stdout)["volumes"]) == {"postgres", "redis"}


def test_redis_loses_nothing_it_accepted(services: dict[str, dict[str, Any]]) -> None:
    assert services["redis"]["command"] == shlex.split("valkey-server --appendonly yes --maxmemory-policy noeviction")


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
    ],
)
def test_commands_exist(service: str, command: str, module: str, services: dict[str, dict[str, Any]]) -> None:
    assert services[service]["command"] == shlex.split(command)
    assert find_spec(module)


def test_images_are_pinned(services: dict[str, dict[str, Any]]) -> None:
    pulled = {definition["image"] for definition in services.values() if "build" not in definition}
    assert pulled == {"pgvector/pgvector:pg18", "valkey/valkey:9"}
    bases = [line.split()[0] for stage in read_stages() for line in find_arguments(stage, "FROM")]
    assert set(bases) == {"python:3.11-slim-trixie"}


def test_dockerfile_has_no_lint() -> None:
    command = [f"{PROGRAMS}/hadolint", "--no-color", "--failure-threshold", "style", f"{PROJECT}/Dockerfile"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_builder_installs_only_pinned_requirements() -> None:
    builder, _ = read_stages()
    assert find_arguments(builder, "RUN")[-1] == "uv pip install -c constraints.txt -r pyproject.toml"
    assert read_environment(builder)["UV_TORCH_BACKEND"] == "cpu"
    assert read_environment(builder)["VIRTUAL_ENV"] == "/opt/venv"


def test_image_contains_only_the_service() -> None:
    builder, final = read_stages()
    copied = [line for stage in (builder, final) for line in find_arguments(stage, "COPY")]
    assert copied == [
        "pyproject.toml constraints.txt ./",
        "--from=builder /opt/venv /opt/venv",
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
    environment = {"PATH": "/opt/venv/bin:$PATH", "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "HOST": "0.0.0.0"}
    assert read_environment(final) == environment
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
