import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import MAX_SECTIONS, SourceFile
from pipeline.stages.extract.formats.html import rewrite_xhtml

LINES = [
    *(
        "# One",
        "## Two ##",
        " ### Three",
        "####### no",
        "#no",
        "#",
        "    code",
        "\tcode",
        "===",
        "---",
        "--",
        " = ",
        "= =",
    ),
    *("text", "more text", "", " ", "* * *", "```", "```sh", "~~~", "````", "`` ` ```", "    ```"),
    *("- item", "1. item", "> quote", "*emphasis*", "été 日本 \U0001f469", "\\# no"),
]


def divide(media_type: str, text: str) -> list[str]:
    [page] = get_format(media_type).readers[0](SourceFile(io.BytesIO(text.encode()))).pages
    return page.sections


@pytest.mark.parametrize(
    "sections",
    [
        ["before\n", "# One\ntext\n", "## Two\ntext"],
        ["# One\n\n## Two\n\ntext\n\n", "## Three\n"],
        ["text\n\n", "Under\nlined\n===\ntext\n\n", "Again\n---\n"],
        ["# One\n```sh\n# a comment\n```\n", "# Two\n~~~\n```\n# a comment\n~~~ \n", "# Three\n"],
        ["# One\n- ```\n  # a comment\n  ```\n", "# Two\n> ~~~\n> # a comment\n> ~~~\n", "# Three\n"],
        ["1. one\n\n    ```\n    # a comment\n    ```\n\n", "# Two\n"],
        ["- item\n---\ntext\n***\n\n", "Heading\n-\ntext\n#hashtag\n    # code\n"],
        ["# One\n> quote\nlazy\n===\n", "# Two\n```\n# never closed\n"],
        ["10. ```\n    # a comment\n    ```\n- ```\n  # not closed\n\n", "# One\n> ~~~\n> # a comment\n\n", "# Two\n"],
        ["10. ```\n    # a comment\n    ```\n", "  # One\n"],
        ["\n \n# One\n# Two\n# Three\n"],
    ],
)
def test_sections_of_markdown(sections: list[str]) -> None:
    assert divide("text/markdown", "".join(sections)) == sections


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_headings_are_those_of_commonmark(lines: list[str]) -> None:
    """Every section except the first begins with a heading. Every heading after text begins a section."""
    text = "".join(f"{line}\n" for line in lines)
    tokens = MarkdownIt("commonmark").parse(text)
    expected, has_body = [], False
    for token in tokens:
        if token.level == 0 and token.map:
            if token.type == "heading_open" and has_body:
                expected.append(token.map[0])
                has_body = False
            has_body = has_body or token.type not in {"heading_open", "inline"}
    sections = divide("text/markdown", text)
    assert "".join(sections) == text
    found = [sum(part.count("\n") for part in sections[:index]) for index in range(1, len(sections))]
    assert found == expected


def test_sections_of_html() -> None:
    html = """<body>before<h1> A <i>long</i> title</h1><h2>Sub</h2><p>text<div><a><h3>In a <b>box</b></h3></a>more</div>
        <table><tr><td><h4>In a cell</h4></td><td>beside</td></tr></table><h5>Last</h5></body>"""
    assert divide("text/html", html) == [
        "before\n\n",
        "A long title\n\nSub\n\ntext\n\n",
        "In a box\n\nmore\n\n",
        "In a cell\n\nbeside\n\n",
        "Last",
    ]
    assert divide("text/html", "<h1> </h1>") == [""]


def test_plain_text_is_one_section() -> None:
    assert divide("text/plain", "# One\ntext\n# Two\n") == ["# One\ntext\n# Two\n"]


@pytest.mark.parametrize(("media_type", "unit"), [("text/markdown", "# a\nb\n"), ("text/html", "<h1>a</h1>b")])
def test_number_of_sections_is_limited(media_type: str, unit: str) -> None:
    """Each section becomes at least one chunk. A hostile file could have a heading in every line."""
    sections = divide(media_type, unit * (MAX_SECTIONS + 10))
    assert len(sections) == MAX_SECTIONS
    assert sections[-1].count("b") == 11


@pytest.mark.timeout(8)
@pytest.mark.parametrize("unit", ["a\n===\n\n", "a\n", "- ", "> ", "```\n", "-", "1. ", " \t"])
def test_hostile_markdown_takes_linear_time(unit: str) -> None:
    text = unit * (500_000 // len(unit))
    assert "".join(divide("text/markdown", text)) == text


@pytest.mark.timeout(8)
@pytest.mark.parametrize("unit", ["\u00a0", " ", "\n", "\u00a0\n", "<", "&", "<br>"])
def test_hostile_html_takes_linear_time(unit: str) -> None:
    text = "<p>a" + unit * (100_000 // len(unit)) + "b"
    assert divide("text/html", text)


@pytest.mark.timeout(8)
@pytest.mark.parametrize("unit", ["<", "a", "<a ", "/", "<a/", "<a:"])
def test_hostile_xhtml_takes_linear_time(unit: str) -> None:
    text = "<a" + unit * (100_000 // len(unit))
    assert rewrite_xhtml(text) == text


def test_empty_elements_are_closed() -> None:
    assert rewrite_xhtml('<title/><a href="/b/c"/><br/><p>a/b</p>') == (
        '<title></title><a href="/b/c"></a><br/><p>a/b</p>'
    )
