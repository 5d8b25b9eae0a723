"""HTML: the text that a reader of the page would see, a line a block."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract.format import Extraction, Format
from pipeline.stages.extract.text import decode

INVISIBLE = ["script", "style", "template", "noscript", "head", "svg", "iframe", "object"]
_INLINE_NAMES = """
a abbr b bdi bdo cite code data dfn em font i kbd label mark q s samp small span strong sub sup time tt u var wbr
"""
INLINE = frozenset(_INLINE_NAMES.split())
SEPARATORS = {"td": " ", "th": " ", "tr": "\n", "li": "\n", "br": "\n", "dt": "\n", "dd": "\n"}
PARAGRAPH = "\n\n"
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
    """Read an HTML file as one page."""
    tree = LexborHTMLParser(_decode(file.read()))
    tree.strip_tags(INVISIBLE)
    parts = "".join(_walk(tree.root)) if tree.root else ""
    text = LINE_EDGES.sub("\n", SPACES.sub(" ", parts))
    return Extraction(pages=1, texts=iter([BLANK_LINES.sub("\n\n", text).strip()]))


def _decode(data: bytes) -> str:
    declared = DECLARED_CHARSET.search(data[:CHARSET_WINDOW])
    if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        try:
            return data.decode(declared[1].decode("ascii"), "replace")
        except LookupError:
            pass
    return decode(data)


def _walk(root: LexborNode) -> Iterator[str]:
    """Texts in reading order with separators around blocks; a stack of our own, for nesting has no limit."""
    stack: list[LexborNode | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif node.tag == "-text":
            yield node.text_content or ""
        else:
            separator = "" if node.tag in INLINE else SEPARATORS.get(node.tag or "", PARAGRAPH)
            stack += [separator, *reversed(list(node.iter(include_text=True))), separator]


FORMAT = Format(
    media_type="text/html",
    extensions=(".html", ".htm", ".xhtml"),
    aliases=("application/xhtml+xml",),
    signature=looks_like_html,
    readers=(read,),
)
