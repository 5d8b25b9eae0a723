"""README.md, docs/usage.md and docs/client.md: their commands run, in order, and print what the documents show."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import run_sql
from tests.processes import PROJECT, run_program
from tests.service import PASSWORD, Service

ADDRESS = "http://127.0.0.1:8000"
MARK = "=== command "
CHANGING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "<time>"),
    (re.compile(r'(?<="took_ms":)[0-9.]+'), "<milliseconds>"),
    (re.compile(r'(?<="score":)[0-9.]+'), "<score>"),
    (re.compile(r"(?<=  score )[0-9.]+"), "<score>"),
    (re.compile(r"(?<=^id: )\d+", re.MULTILINE), "<id>"),
)
"""Parts of an output that differ in every run."""


@dataclass
class Example:
    """A command, and the output shown below it."""

    command: str
    output: str


def read_examples(block: str) -> list[Example]:
    """Commands begin with `$` and continue with `>`. Other lines are their output."""
    examples: list[Example] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            examples.append(Example(line[2:], ""))
        elif line.startswith("> ") and not examples[-1].output:
            examples[-1].command += "\n" + line[2:]
        else:
            examples[-1].output += line + "\n"
    return examples


def find_block(document: str, heading: str, language: str) -> str:
    section = (PROJECT / document).read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    [block] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(block)


def run(examples: list[Example], environment: dict[str, str]) -> list[str]:
    """Run the commands in one shell and return the output of each."""
    script = "".join(f"echo '{MARK}'\n{example.command}\necho\n" for example in examples)
    done = run_program("bash", "-c", script, environment=environment, timeout=120)
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout.split(f"{MARK}\n")[1:]


def settle(output: str) -> str:
    for pattern, name in CHANGING:
        output = pattern.sub(name, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


@pytest.fixture
def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    """Environment after `source .venv/bin/activate`, with credentials instead of questions."""
    run_sql(service.database_url, "DELETE FROM users WHERE email ~ '^(ada|me|you)@'")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path),
        "SLUICE_URL": service.url,
        "SLUICE_EMAIL": "you@example.org",
        "SLUICE_PASSWORD": PASSWORD,
    }


@pytest.mark.parametrize(
    ("document", "heading"),
    [("README.md", "Run it"), ("docs/usage.md", "Command line"), ("docs/usage.md", "curl")],
)
def test_commands_print_what_the_document_shows(
    service: Service, environment: dict[str, str], document: str, heading: str
) -> None:
    examples = read_examples(find_block(document, heading, "console").replace(ADDRESS, service.url))
    assert len(examples) >= 4
    outputs = run(examples, environment)
    assert [settle(output) for output in outputs] == [settle(example.output) for example in examples]


def test_python_prints_what_the_document_shows(service: Service, environment: dict[str, str]) -> None:
    service.http.post("/v1/auth/register", json={"email": "ada@example.org", "password": "correct horse"})
    code = find_block("docs/usage.md", "Python", "python").replace(ADDRESS, service.url)
    done = run_program("python", "-c", code, environment=environment)
    assert settle(done.stdout) == settle(find_block("docs/usage.md", "Python", "text"))


def test_examples_of_the_client_run(service: Service, environment: dict[str, str]) -> None:
    """Each continues with what the one before it has stored."""
    for heading in ("Upload, search and ask", "Answers word by word", "asyncio", "Collections and filters"):
        code = find_block("docs/client.md", heading, "python").replace(ADDRESS, service.url)
        done = run_program("python", "-c", code, environment=environment)
        assert done.stdout.strip() == find_block("docs/client.md", heading, "text").strip(), done.stderr
