"""Which prompts a model's configuration defines, and how they are prepended."""

import json
from pathlib import Path

import pytest

from pipeline.embedding.prompts import CONFIGURATION, Prompts, Purpose, find_prompts, parse_prompts
from pipeline.settings import Settings


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, Prompts()),
        ({"prompts": None}, Prompts()),
        ({"prompts": {"query": "q: ", "document": "d: ", "passage": "p: "}}, Prompts("q: ", "d: ")),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, Prompts("q: ", "p: ")),
        ({"prompts": {"query": "q: ", "document": "", "corpus": "c: "}}, Prompts("q: ", "c: ")),
        ({"prompts": {"query": "q: "}, "default_prompt_name": "query"}, Prompts("q: ", None)),
        ({"prompts": {"query": "q: ", "any": "a: "}, "default_prompt_name": "any"}, Prompts("q: ", "a: ")),
        ({"prompts": {"any": "a: "}, "default_prompt_name": "any"}, Prompts("a: ", "a: ")),
        ({"prompts": {"clustering": "c: "}, "default_prompt_name": None}, Prompts()),
    ],
)
def test_prompts_of_a_configuration(configuration: object, expected: Prompts) -> None:
    assert parse_prompts(json.dumps(configuration).encode()) == expected


@pytest.mark.parametrize("configuration", [b"", b"[]", b'{"prompts": {"query": 7}}', b'{"prompts": ["q: "]}'])
def test_invalid_configuration_is_refused(configuration: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_prompts(configuration)


def test_folder_without_a_configuration_has_no_prompts(tmp_path: Path) -> None:
    assert find_prompts("any", tmp_path) == Prompts()
    (tmp_path / CONFIGURATION).write_text('{"prompts": {"query": "q: "}}')
    assert find_prompts("any", tmp_path) == Prompts("q: ")


def test_prompts_are_prepended_by_purpose() -> None:
    prompts = Prompts(query="q: ").or_else(Prompts("other: ", "d: "))
    assert prompts.prepend(["one", ""], Purpose.QUERY) == ["q: one", "q: "]
    assert prompts.prepend(["one"], Purpose.DOCUMENT) == ["d: one"]
    assert Prompts("", None).prepend(["one"], Purpose.QUERY) == ["one"]


def test_prompts_in_dotenv_keep_their_spaces_and_line_breaks(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('EMBEDDING_QUERY_PROMPT="Instruct: find\\nQuery: "\nEMBEDDING_DOCUMENT_PROMPT="passage: "\n')
    settings = Settings(_env_file=file)
    assert (settings.embedding_query_prompt, settings.embedding_document_prompt) == (
        "Instruct: find\nQuery: ",
        "passage: ",
    )


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (Prompts("query: ", "passage: "), '"query: " before questions and "passage: " before passages'),
        (Prompts(None, "Ü: "), '"Ü: " before passages'),
        (Prompts(None, ""), "no prompts"),
    ],
)
def test_prompts_in_words(prompts: Prompts, words: str) -> None:
    assert prompts.describe() == words
