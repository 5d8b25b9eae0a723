"""HTML: the text that a reader of the page would see, a line a block."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract.format import Block, Extraction, Format, join_sections
from pipeline.stages.extract.text import decode

INVISIBLE = ["script", "style", "template", "noscript", "head", "svg", "iframe", "object"]
_INLINE_NAMES = """
a abbr b bdi bdo cite code data dfn em font i kbd label mark q s samp small span strong sub sup time tt u var wbr
"""
INLINE = frozenset(_INLINE_NAMES.split())
SEPARATORS = {"td": " ", "th": " ", "tr": "\n", "li": "\n", "br": "\n", "dt": "\n", "dd": "\n"}
PARAGRAPH = "\n\n"
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
DECLARED_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?([a-zA-Z0-9_-]+)", re.IGNORECASE)
CHARSET_WINDOW = 2048
SPACES = re.compile(r"[ \t\r\f\v]+")
BLANK_LINES = re.compile(r"\s*\n\s*\n\s*")
LINE_EDGES = re.compile(r" *\n *")


def looks_like_html(head: bytes) -> bool:
    """Whether these bytes begin an HTML document."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def read(file: BinaryIO) -> Extraction:
    """Read an HTML file as one page, in the sections that its headings begin."""
    tree = LexborHTMLParser(_decode(file.read()))
    tree.strip_tags(INVISIBLE)
    sections = join_sections(_walk(tree.root)) if tree.root else []
    texts = [text for section in sections if (text := _tidy(section))]
    return Extraction(pages=1, texts=iter([[*(text + PARAGRAPH for text in texts[:-1]), *(texts[-1:] or [""])]]))


def _tidy(text: str) -> str:
    text = LINE_EDGES.sub("\n", SPACES.sub(" ", text))
    return BLANK_LINES.sub(PARAGRAPH, text).strip()


def _decode(data: bytes) -> str:
    declared = DECLARED_CHARSET.search(data[:CHARSET_WINDOW])
    if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        try:
            return data.decode(declared[1].decode("ascii"), "replace")
        except LookupError:
            pass
    return decode(data)


def _walk(root: LexborNode) -> Iterator[Block]:
    """Texts in reading order with separators around blocks; a stack of our own, for nesting has no limit."""
    stack: list[tuple[LexborNode | str, bool]] = [(root, False)]
    while stack:
        node, is_heading = stack.pop()
        if isinstance(node, str):
            yield Block(node)
        elif node.tag == "-text":
            yield Block(node.text_content or "", is_heading)
        else:
            separator = "" if node.tag in INLINE else SEPARATORS.get(node.tag or "", PARAGRAPH)
            is_heading = is_heading or node.tag in HEADINGS
            inner = [(child, is_heading) for child in node.iter(include_text=True)]
            stack += [(separator, False), *reversed(inner), (separator, False)]


FORMAT = Format(
    media_type="text/html",
    extensions=(".html", ".htm", ".xhtml"),
    aliases=("application/xhtml+xml",),
    signature=looks_like_html,
    readers=(read,),
)
