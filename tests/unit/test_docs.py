"""README, RUNBOOK, CONTRIBUTING, CHANGELOG and docs/: short sentences, links that work, and names that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pytest
from prometheus_client.metrics import MetricWrapperBase

from pipeline import metrics
from pipeline.__main__ import make_parser
from pipeline.errors import FailureCode
from pipeline.settings import Settings
from pipeline.stages.extract import find_formats

PROJECT = Path(__file__).resolve().parents[2]
GLOSSARY_AND_CHANGES = {"docs/glossary.md", "CHANGELOG.md"}
PATHS = ["README.md", "RUNBOOK.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PATHS += sorted(str(file.relative_to(PROJECT)) for file in (PROJECT / "docs").glob("*.md"))
TEXTS = {path: (PROJECT / path).read_text() for path in PATHS}
EVERYTHING = "\n".join(TEXTS.values())
RUNBOOK = TEXTS["RUNBOOK.md"]

README_LINES = 150
MEAN_WORDS = 20
LONGEST_SENTENCE_WORDS = 35

FENCE = re.compile(r"(?:^<!-- covered by (?P<cover>\S+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]*)\)")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*]*[A-Z0-9x])")
"""A sentence begins with a capital, a digit, or code, which is replaced by an x."""
PROJECT_PATH = re.compile(r"(?<![\w/.])(?:api|pipeline|workers|migrations|tests|docs)/[\w./-]*\w/?(?![\w*…])")
RUN_LANGUAGES = {"sh", "console", "python"}


def read_blocks(markdown: str) -> list[dict[str, str | None]]:
    return [match.groupdict() for match in FENCE.finditer(markdown)]


def read_paragraphs(markdown: str) -> Iterator[str]:
    """Paragraphs and list items, without code blocks, tables, headings and images."""
    text = COMMENT.sub("", FENCE.sub("\n\n", markdown))
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        if not block.lstrip().startswith(("|", "#", "![")):
            yield block


def read_sentences(markdown: str) -> list[str]:
    found = []
    for paragraph in read_paragraphs(markdown):
        text = CODE.sub("x", LINK.sub(r"\1", re.sub(r"^\s*(?:[-*]|\d+\.) ", "", paragraph)))
        found += [sentence for sentence in SENTENCE_END.split(" ".join(text.split())) if count_words(sentence) > 1]
    return found


def count_words(sentence: str) -> int:
    return sum(any(char.isalnum() for char in word) for word in sentence.split())


def read_headings(markdown: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def read_section(markdown: str, heading: str) -> str:
    return markdown.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def read_first_column(section: str) -> set[str]:
    """Names in backticks in the first column of the tables of a section."""
    cells = re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_sentences_are_found() -> None:
    markdown = (
        "# Title\n\nOne fact. `Two` facts, see [a link](b.md).\n"
        "- An item\n  of a list.\n\n| a | table |\n\n```sh\nrm -r\n```\n"
    )
    assert read_sentences(markdown) == ["One fact.", "x facts, see a link.", "An item of a list."]


def test_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= README_LINES


@pytest.mark.parametrize("path", [path for path in PATHS if path not in GLOSSARY_AND_CHANGES])
def test_sentences_are_short(path: str) -> None:
    sentences = read_sentences(TEXTS[path])
    mean = fmean(map(count_words, sentences))
    longest = max(sentences, key=count_words)
    print(f"{path}: {len(sentences)} sentences, mean {mean:.1f} words, longest {count_words(longest)}")
    assert len(sentences) >= 10
    assert mean < MEAN_WORDS
    assert count_words(longest) <= LONGEST_SENTENCE_WORDS, longest


@pytest.mark.parametrize("path", PATHS)
def test_links_lead_somewhere(path: str) -> None:
    broken = []
    for _, target in LINK.findall(FENCE.sub("", TEXTS[path])):
        name, _, anchor = target.partition("#")
        if re.match(r"https?:", name):
            continue
        file = (PROJECT / path).parent / name if name else PROJECT / path
        if not file.exists() or (anchor and anchor not in read_headings(file.read_text())):
            broken.append(target)
    assert broken == []


def test_every_document_is_linked_from_the_readme() -> None:
    assert [path for path in PATHS if path != "README.md" and f"]({path})" not in TEXTS["README.md"]] == []


@pytest.mark.parametrize("path", PATHS)
def test_named_files_exist(path: str) -> None:
    named = {name for code in CODE.findall(TEXTS[path]) for name in PROJECT_PATH.findall(code)}
    assert sorted(name for name in named if not (PROJECT / name).exists()) == []


@pytest.mark.parametrize(
    ("path", "block"),
    [(path, block) for path in PATHS for block in read_blocks(TEXTS[path]) if block["language"] in RUN_LANGUAGES],
    ids=lambda value: value if isinstance(value, str) else str(value["text"])[:30],
)
def test_block_names_the_test_that_covers_it(path: str, block: dict[str, str | None]) -> None:
    file, _, name = (block["cover"] or "").partition("::")
    assert file, f"a block of {path} without a test"
    assert f"def {name}" in (PROJECT / file).read_text()


@pytest.mark.parametrize("path", PATHS)
def test_blocks_are_found(path: str) -> None:
    blocks = read_blocks(TEXTS[path])
    assert len(blocks) == len(re.findall(r"^\s*```", TEXTS[path], re.MULTILINE)) / 2
    assert [block["text"] for block in blocks if not block["language"]] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {name for code in CODE.findall(EVERYTHING) for name in re.findall(r"\bmake ([a-z-]+)", code)}
    assert len(named) >= 8
    assert named - targets == set()


def test_commands_exist() -> None:
    commands = set(re.findall(r"^    (\w+)", make_parser().format_help(), re.MULTILINE))
    assert commands >= set(re.findall(r"python -m pipeline ([a-z]\w*)", EVERYTHING)) >= {"doctor", "reembed"}
    client = "".join(file.read_text() for file in (PROJECT / "client/src/sluice_command").glob("*.py"))
    named = set(re.findall(r"(?:python -m api\.client|`sluice|\$ sluice) ([a-z]\w*)", EVERYTHING))
    assert named >= {"login", "upload", "search", "ask"}
    assert [name for name in sorted(named) if f'("{name}", commands.' not in client] == []


def test_settings() -> None:
    documented = EVERYTHING + (PROJECT / ".env.example").read_text()
    settings = {name.upper() for name in Settings.model_fields}
    assert [name for name in sorted(settings) if name not in documented] == []
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})`", RUNBOOK + TEXTS["docs/limits.md"]))
    of_compose = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "docker-compose.yml").read_text()))
    of_make = set(re.findall(r"\$\(([A-Z_]+)\)", (PROJECT / "Makefile").read_text()))
    of_others = {*of_compose, *of_make, "COMPOSE_PROJECT_NAME", "PROMETHEUS_MULTIPROC_DIR", "TMPDIR"}
    sql = {"LISTEN"}
    assert named - of_others - sql - settings == set()


@pytest.mark.parametrize(
    ("path", "heading"), [("RUNBOOK.md", "A document failed"), ("docs/usage.md", "Document status")]
)
def test_every_failure_has_its_entry(path: str, heading: str) -> None:
    assert read_first_column(read_section(TEXTS[path], heading)) >= set(FailureCode)


def test_every_error_code_of_the_source_is_explained() -> None:
    codes: set[str] = set()
    for folder in ("api", "pipeline"):
        for file in (PROJECT / folder).rglob("*.py"):
            codes.update(re.findall(r'code\s*=\s*"([a-z_]+)"', file.read_text()))
    codes.update(re.findall(r'\d{3}: "([a-z_]+)"', (PROJECT / "api" / "errors.py").read_text()))
    roots = {"error", "conflict", "unavailable", "lease_lost", "bad_request"}
    assert [code for code in sorted(codes - roots) if f"`{code}`" not in read_section(RUNBOOK, "HTTP errors")] == []


def test_every_metric_has_its_entry() -> None:
    collectors = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    described = [metric for collector in collectors for metric in collector.describe()]
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in described}
    assert len(names) >= 8
    section = read_first_column(read_section(RUNBOOK, "Metrics and alarms"))
    assert names == section


def test_every_log_event_has_its_entry() -> None:
    events: set[str] = set()
    for folder in ("api", "pipeline", "workers"):
        for file in (PROJECT / folder).rglob("*.py"):
            source = re.sub(r'""".*?"""', "", file.read_text(), flags=re.DOTALL)
            events.update(re.findall(r'\.(?:debug|info|warning|error|exception)\(\s*"([a-z_.]+)"', source))
            events.update(f"{server}.unavailable" for server in re.findall(r'CircuitBreaker\(\s*"(\w+)"', source))
    assert len(events) >= 20
    assert events == read_first_column(read_section(RUNBOOK, "Log lines"))


def test_every_route_has_its_entry() -> None:
    paths = json.loads((PROJECT / "docs" / "openapi.json").read_text())["paths"]
    routes = read_section(TEXTS["docs/usage.md"], "Routes")
    named = [re.sub(r"\{(?:document|note|key|webhook)_id\}", "{id}", path) for path in paths]
    assert [path for path in named if path not in routes] == []


def test_every_extension_has_its_entry() -> None:
    extensions = {extension for known in find_formats() for extension in known.extensions}
    assert extensions == set(re.findall(r"`(\.[a-z][a-z0-9]+)`", TEXTS["docs/formats.md"]))


class Room(NamedTuple):
    """A package, and how the tree in architecture.md names it."""

    path: Path
    name: str


def list_rooms() -> list[Room]:
    packages = sorted(
        file.parent for top in ("api", "pipeline", "workers") for file in (PROJECT / top).glob("**/__init__.py")
    )
    return [Room(package, f"{package.name}/") for package in packages if len(package.relative_to(PROJECT).parts) <= 2]


@pytest.mark.parametrize("room", list_rooms(), ids=lambda room: str(room.path.relative_to(PROJECT)))
def test_every_room_is_in_the_tree(room: Room) -> None:
    if room.name != "samples/":
        assert room.name in read_section(TEXTS["docs/architecture.md"], "Rooms")


def test_transitions_name_functions_of_the_queue() -> None:
    section = read_section(TEXTS["docs/architecture.md"], "States of a document")
    rows = [row.split(" | ") for row in re.findall(r"^\|.*\|$", section, re.MULTILINE)]
    functions = {name for row in rows[2:] for name in re.findall(r"`(\w+)`", row[1])}
    source = (PROJECT / "pipeline" / "db" / "queue.py").read_text()
    assert len(functions) >= 8
    assert [name for name in sorted(functions) if f"async def {name}(" not in source] == []
