"""HTML: the visible text, one paragraph per block."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract.charset import Decoded, decode
from pipeline.stages.extract.format import (
    MAX_SECTIONS,
    Block,
    ExtractedPage,
    Extraction,
    Format,
    SourceFile,
    join_sections,
)
from pipeline.stages.extract.formats.text import looks_like_text

INVISIBLE = ["script", "style", "template", "noscript", "head", "svg", "iframe", "object"]
_INLINE_NAMES = """
a abbr b bdi bdo cite code data dfn em font i kbd label mark q s samp small span strong sub sup time tt u var wbr
"""
INLINE = frozenset(_INLINE_NAMES.split())
_VOID_NAMES = """
area base br col embed hr img input link meta param source track wbr
"""
VOID = frozenset(_VOID_NAMES.split())
SEPARATORS = {"td": " ", "th": " ", "tr": "\n", "li": "\n", "br": "\n", "dt": "\n", "dd": "\n"}
PARAGRAPH = "\n\n"
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
DECLARED_CHARSET = re.compile(rb"<(?:meta[^>]+charset|\?xml[^>]+encoding)=[\"']?([a-zA-Z0-9_-]+)", re.IGNORECASE)
COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
CHARSET_WINDOW = 4096
"""Number of bytes that are searched for a declared encoding."""
SPACES = re.compile(r"[ \t\r\f\v]+")
BLANK_LINES = re.compile(r"\n{2,}")
EMPTY_ELEMENT = re.compile(r"<([a-zA-Z][\w:.-]*+)((?:[^<>/]|/(?!>))*+)/>")


def looks_like_html(head: bytes) -> bool:
    """Return True if these are the first bytes of an HTML document."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def read(file: SourceFile) -> Extraction:
    """Read an HTML file as one page. Each heading begins a section.

    Raises IngestionError if the text encoding is unknown.
    """
    decoded = decode_html(file.content.read(), file.charset)
    return Extraction(1, iter([ExtractedPage(read_sections(decoded.text), decoded.warnings)]))


def read_sections(html: str, max_sections: int = MAX_SECTIONS) -> list[str]:
    """Return the visible text of a page in sections that begin with headings, at least one and at most `max_sections`.

    Parsing follows the HTML standard (selectolax, Lexbor) and accepts any input.
    """
    tree = LexborHTMLParser(html)
    tree.strip_tags(INVISIBLE)
    sections = join_sections(_walk(tree.root), max_sections) if tree.root else []
    texts = [text for section in sections if (text := _tidy(section))]
    return [*(text + PARAGRAPH for text in texts[:-1]), *(texts[-1:] or [""])]


def expand_empty_elements(xhtml: str) -> str:
    """Write empty XHTML elements as a start and an end tag.

    An HTML parser treats `<title/>` as a start tag, and all text after it as the title.
    """
    return EMPTY_ELEMENT.sub(_close, xhtml)


def _close(element: re.Match[str]) -> str:
    return element[0] if element[1].lower() in VOID else f"<{element[1]}{element[2]}></{element[1]}>"


def _tidy(text: str) -> str:
    lines = (line.strip() for line in SPACES.sub(" ", text).split("\n"))
    return BLANK_LINES.sub(PARAGRAPH, "\n".join(lines)).strip()


def decode_html(data: bytes, charset: str | None = None) -> Decoded:
    """Decode a page. `charset` is what was declared for the file. Without it, the page's own declaration counts.

    Raises IngestionError if the data is no text.
    """
    return decode(data, charset or _find_declared_charset(data))


def _find_declared_charset(data: bytes) -> str | None:
    """Return the character set that the page declares. A page whose `meta` element can be read is not in UTF-16."""
    declared = DECLARED_CHARSET.search(COMMENT.sub(b"", data[:CHARSET_WINDOW]))
    label = declared[1].decode("ascii") if declared else ""
    return None if label.lower().startswith("utf-16") else label


def _walk(root: LexborNode) -> Iterator[Block]:
    """Yield the texts in reading order, with separators around blocks. Not recursive: nesting has no limit."""
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
    admits=looks_like_text,
    signature=looks_like_html,
    readers=(read,),
)
