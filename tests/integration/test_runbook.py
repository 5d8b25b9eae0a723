"""RUNBOOK.md: its SQL runs, its shell blocks are covered, and it speaks of everything there is."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from pipeline import metrics
from pipeline.errors import FailureCode
from pipeline.settings import Settings
from tests.databases import migrate_again, run_sql
from tests.llm_server import run_llm_server
from tests.servers import find_postgres_program

PROJECT = Path(__file__).resolve().parents[2]
RUNBOOK = (PROJECT / "RUNBOOK.md").read_text()
README = (PROJECT / "README.md").read_text()
BLOCK = re.compile(r"(?:<!-- covered by (?P<cover>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(RUNBOOK)]
USER = "01a2084b-9065-752d-aaf7-35b94206de34"


def test_blocks_are_found() -> None:
    assert len(BLOCKS) == RUNBOOK.count("```") / 2 >= 15


@pytest.mark.parametrize("text", [block["text"] for block in BLOCKS if block["language"] == "sql"])
def test_sql_runs_as_it_stands(database_url: str, text: str) -> None:
    for statement in text.replace("<user-uuid>", USER).split(";\n"):
        if statement.strip():
            run_sql(database_url, statement)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block["language"] != "sql"], ids=lambda b: b["text"][:30]
)
def test_shell_block_names_the_test_that_covers_it(block: dict[str, str]) -> None:
    path, _, name = (block["cover"] or "").partition("::")
    assert path, "a block without a test"
    assert f"def {name}" in (PROJECT / path).read_text()


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in RUNBOOK.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= headings


def test_every_failure_has_its_entry() -> None:
    section = RUNBOOK.split("## A document failed", 1)[1].split("\n## ", 1)[0]
    assert [code for code in FailureCode if f"| `{code}` |" not in section] == []


def test_every_error_code_of_the_source_is_explained() -> None:
    codes: set[str] = set()
    for folder in ("api", "pipeline"):
        for file in (PROJECT / folder).rglob("*.py"):
            codes.update(re.findall(r'code\s*=\s*"([a-z_]+)"', file.read_text()))
    codes.update(re.findall(r'\d{3}: "([a-z_]+)"', (PROJECT / "api" / "errors.py").read_text()))
    roots = {"error", "conflict", "unavailable", "lease_lost", "bad_request"}
    assert [code for code in sorted(codes - roots) if f"`{code}`" not in RUNBOOK] == []


def test_every_metric_is_named() -> None:
    collectors = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    described = [metric for collector in collectors for metric in collector.describe()]
    names = [f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in described]
    assert len(names) >= 8
    assert [name for name in names if f"`{name}`" not in RUNBOOK] == []


def test_every_setting_is_documented() -> None:
    documented = RUNBOOK + README + (PROJECT / ".env.example").read_text()
    assert [name.upper() for name in Settings.model_fields if name.upper() not in documented] == []


def test_every_setting_and_command_that_the_runbook_names_exists() -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})`", RUNBOOK))
    of_others = {"POSTGRES_PASSWORD", "SERVICE_PASSWORD", "PROMETHEUS_MULTIPROC_DIR", "FORWARDED_ALLOW_IPS", "TMPDIR"}
    assert named - of_others - {name.upper() for name in Settings.model_fields} == set()
    commands = set(re.findall(r"python -m pipeline (\w+)", RUNBOOK + README))
    assert commands <= {"up", "demo", "migrate", "reembed", "doctor", "users"}


def test_backup_is_a_dump_of_the_database(database_url: str, tmp_path: Path) -> None:
    dump = tmp_path / "sluice.dump"
    tool = find_postgres_program("pg_dump")
    subprocess.run([tool, "--format=custom", f"--file={dump}", database_url], check=True)
    restored = migrate_again(database_url, dump, tool.with_name("pg_restore"))
    tables = run_sql(restored, "SELECT relname FROM pg_class WHERE relrowsecurity")
    assert {"documents", "chunks", "notes"} <= {row["relname"] for row in tables}


def test_question_to_the_language_model() -> None:
    [block] = [block["text"] for block in BLOCKS if "chat/completions" in block["text"]]
    with run_llm_server() as server:
        environment = {**os.environ, "LLM_BASE_URL": server.url, "LLM_API_KEY": "key", "LLM_MODEL": "a-model"}
        done = subprocess.run(["sh", "-c", block], env=environment, capture_output=True, text=True, check=True)
    assert '"content": "Yes"' in done.stdout
    assert (server.calls[0].body["model"], server.calls[0].headers["Authorization"]) == ("a-model", "Bearer key")
