"""RUNBOOK.md: its SQL runs, and its commands do what it says. `tests/unit/test_docs.py` checks the rest of it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.embedding.model import PACKAGED_MODEL, find_folder
from tests.databases import migrate_again, run_sql
from tests.embedding_server import embed
from tests.llm_server import run_llm_server
from tests.servers import find_postgres_program

PROJECT = Path(__file__).resolve().parents[2]
RUNBOOK = (PROJECT / "RUNBOOK.md").read_text()
BLOCK = re.compile(r"(?P<cover><!-- covered by \S+ -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
ELSEWHERE = "test_migrations.py"
"""Test module that runs the statements of an administrator."""
BLOCKS = [match.groupdict() for match in BLOCK.finditer(RUNBOOK)]
USER = "01a2084b-9065-752d-aaf7-35b94206de34"


def test_blocks_are_found() -> None:
    assert len(BLOCKS) == RUNBOOK.count("```") / 2 >= 15


@pytest.mark.parametrize(
    "text",
    [block["text"] for block in BLOCKS if block["language"] == "sql" and ELSEWHERE not in (block["cover"] or "")],
)
def test_sql_runs_as_it_stands(database_url: str, text: str) -> None:
    for statement in text.replace("<user-uuid>", USER).split(";\n"):
        if statement.strip():
            run_sql(database_url, statement)


def test_backup_is_a_dump_of_the_database(database_url: str, tmp_path: Path) -> None:
    dump = tmp_path / "sluice.dump"
    tool = find_postgres_program("pg_dump")
    subprocess.run([tool, "--format=custom", f"--file={dump}", database_url], check=True)
    restored = migrate_again(database_url, dump, tool.with_name("pg_restore"))
    tables = run_sql(restored, "SELECT relname FROM pg_class WHERE relrowsecurity")
    assert {"documents", "chunks", "notes"} <= {row["relname"] for row in tables}


def test_request_to_the_embedding_server() -> None:
    [block] = [block["text"] for block in BLOCKS if "/embeddings" in block["text"]]
    with run_llm_server() as server:
        server.behave = embed
        names = {"EMBEDDING_BASE_URL": server.url, "EMBEDDING_API_KEY": "key", "EMBEDDING_MODEL": "a-model"}
        done = subprocess.run(["sh", "-c", block], env=os.environ | names, capture_output=True, text=True, check=True)
    assert '"embedding": [' in done.stdout
    assert (server.calls[0].body["model"], server.calls[0].headers["Authorization"]) == ("a-model", "Bearer key")


def test_folders_of_models(tmp_path: Path) -> None:
    [block] = [block["text"] for block in BLOCKS if "snapshot_download" in block["text"]]
    folder = tmp_path / "hub" / "models--NAME" / "snapshots" / "revision"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(folder.name)
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = subprocess.run(["sh", "-c", block], env=environment, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(find_folder(PACKAGED_MODEL)), str(folder)]


def test_question_to_the_language_model() -> None:
    [block] = [block["text"] for block in BLOCKS if "chat/completions" in block["text"]]
    with run_llm_server() as server:
        environment = {**os.environ, "LLM_BASE_URL": server.url, "LLM_API_KEY": "key", "LLM_MODEL": "a-model"}
        done = subprocess.run(["sh", "-c", block], env=environment, capture_output=True, text=True, check=True)
    assert '"content": "Yes"' in done.stdout
    assert (server.calls[0].body["model"], server.calls[0].headers["Authorization"]) == ("a-model", "Bearer key")
