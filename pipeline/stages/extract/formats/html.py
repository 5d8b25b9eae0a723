"""HTML: what a reader sees, one paragraph per block, one line per row of a table."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from html import escape

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract.charset import Decoded, decode
from pipeline.stages.extract.counting import format_number
from pipeline.stages.extract.format import MAX_SECTIONS, ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.text import looks_like_text
from pipeline.stages.extract.layout import LINE, PARAGRAPH, Writer, join_row, repeat_header
from pipeline.stages.extract.office.mathml import read_formula
from pipeline.stages.extract.xml import BrokenXml, parse

_INVISIBLE_NAMES = """
script style template head datalist audio video canvas embed applet param source track rt rp defs desc metadata
progress meter
"""
INVISIBLE = frozenset(_INVISIBLE_NAMES.split())
"""Elements that browsers show nothing of. Readings beside characters (`rt`) would part the words."""
_PARAGRAPH_NAMES = """
address article aside blockquote body center details dialog dir div dl fieldset figcaption figure footer form frameset
h1 h2 h3 h4 h5 h6 header hgroup hr html legend listing main menu nav ol optgroup p plaintext pre search section summary
table tbody tfoot thead ul xmp caption select textarea foreignobject
"""
PARAGRAPHS = frozenset(_PARAGRAPH_NAMES.split())
"""Elements that begin a paragraph by their default display in the HTML standard. Unknown elements are inline."""
LINES = frozenset({"li", "dt", "dd", "tr", "option", "text"})
"""Elements that begin a line. `text` is that of SVG."""
CELLS = frozenset({"td", "th"})
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
PREFORMATTED = frozenset({"pre", "listing", "xmp", "plaintext", "textarea"})
_SHOWN_INPUT_NAMES = """
text search email url tel number date time button submit reset
"""
SHOWN_INPUTS = frozenset(_SHOWN_INPUT_NAMES.split())
"""Types of `input` elements whose value is shown."""
HIDDEN_STYLE = re.compile(
    r"""(?:^|;)\s*(?:
        display\s*:\s*none
        | visibility\s*:\s*(?:hidden|collapse)
        | (?:opacity|font-size)\s*:\s*0(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:!|;|$)
        | mso-hide\s*:\s*all
        | (?:left|top|right|bottom|text-indent|margin-left)\s*:\s*-[0-9]{4,}(?:px|pt|em)
        | clip\s*:\s*rect\(\s*[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?\s*\)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""Inline styles of what nobody sees: not shown, without size, or moved off the page."""
DISPLAY = re.compile(r"(?:^|;)\s*display\s*:\s*([a-z-]+)", re.IGNORECASE)
BLOCK_DISPLAYS = frozenset({"block", "flex", "grid", "table", "list-item", "flow-root", "table-row"})
FLEXIBLE_DISPLAYS = frozenset({"flex", "grid", "inline-flex", "inline-grid"})
"""Values of `display` whose child elements are blocks, whatever they are elsewhere."""
KEEPS_SPACE = re.compile(r"(?:^|;)\s*white-space\s*:\s*(?:pre|pre-wrap|break-spaces)\s*(?:!|;|$)", re.IGNORECASE)
MAX_ROW_CHARACTERS = 2000
"""Longest row of a table of data. Tables with longer ones lay out a page, and keep their paragraphs."""
LAYOUT = "table table, td h1, td h2, td h3, td h4, td h5, td h6"
"""Selects what tables of data do not have."""
FORMS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
"""Types of ordered lists, by the names of `format_number`."""
INTEGER = re.compile(r"-?[0-9]{1,9}")
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""The number of a note must not look like the last digits of the number before it."""
MAX_SPAN = 100
"""Maximum number of rows in which a cell is repeated that spans several."""
VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
DECLARED_CHARSET = re.compile(rb"<(?:meta[^>]+charset|\?xml[^>]+encoding)=[\"']?([a-zA-Z0-9_-]+)", re.IGNORECASE)
COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
CHARSET_WINDOW = 4096
"""Number of bytes that are searched for a declared encoding."""
EMPTY_ELEMENT = re.compile(r"<([a-zA-Z][\w:.-]*+)((?:[^<>/]|/(?!>))*+)/>")
CDATA = re.compile(r"<!\[CDATA\[((?:[^\]]|\](?!\]>))*+)\]\]>")
SHADOW_ROOT = re.compile(r"<template(?=[^>]*\sshadowrootmode\b)", re.IGNORECASE)
Step = LexborNode | Callable[[], None]


def looks_like_html(head: bytes) -> bool:
    """Return True if these are the first bytes of an HTML document."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def read(file: SourceFile) -> Extraction:
    """Read an HTML file as one page. Its title and each heading begin a section.

    Raises IngestionError if the file is not text.
    """
    decoded = decode_html(file.content.read(), file.charset)
    is_xml = decoded.text.lstrip("\ufeff \t\r\n").startswith("<?xml")
    html = rewrite_xhtml(decoded.text) if is_xml else decoded.text
    return Extraction(1, iter([ExtractedPage(read_sections(html, has_title=True), decoded.warnings)]))


def read_sections(html: str, max_sections: int = MAX_SECTIONS, *, has_title: bool = False) -> list[str]:
    """Return the visible text of a page in sections that begin with headings, at least one and at most `max_sections`.

    With `has_title`, the title of the page is the first heading. What is only for browsers without scripts counts if
    nothing else is there. Parsing follows the HTML standard (selectolax, Lexbor) and accepts any input.
    """
    tree = LexborHTMLParser(SHADOW_ROOT.sub("<shadow-root", html))
    if tree.root is None:
        return [""]
    title = tree.css_first("head > title") if has_title else None
    for hides_noscript in (True, False):
        writer = Writer(max_sections)
        _walk(tree.root, writer, hides_noscript=hides_noscript)
        sections = writer.finish()
        if sections != [""]:
            break
    return _put_first(title.text() if title else "", sections)


def _put_first(title: str, sections: list[str]) -> list[str]:
    """Put the title of a page before its text, unless the text begins with it."""
    title = " ".join(title.split())
    if not title or sections[0].startswith(title):
        return sections
    return [f"{title}{PARAGRAPH}{sections[0]}" if sections[0] else title, *sections[1:]]


def rewrite_xhtml(xhtml: str) -> str:
    """Rewrite what an HTML parser reads differently: empty elements and sections of character data.

    It would treat `<title/>` as a start tag, and all text after it as the title.
    """
    return EMPTY_ELEMENT.sub(_close, CDATA.sub(lambda data: escape(data[1]), xhtml))


def _close(element: re.Match[str]) -> str:
    return element[0] if element[1].lower() in VOID else f"<{element[1]}{element[2]}></{element[1]}>"


def decode_html(data: bytes, charset: str | None = None) -> Decoded:
    """Decode a page. `charset` is what was declared for the file. Without it, the page's own declaration counts.

    Raises IngestionError if the data is not text.
    """
    return decode(data, charset or _find_declared_charset(data))


def _find_declared_charset(data: bytes) -> str | None:
    """Return the character set that the page declares. A page whose `meta` element can be read is not in UTF-16."""
    declared = DECLARED_CHARSET.search(COMMENT.sub(b"", data[:CHARSET_WINDOW]))
    label = declared[1].decode("ascii") if declared else ""
    return None if label.lower().startswith("utf-16") else label


def _walk(root: LexborNode, writer: Writer, *, hides_noscript: bool) -> None:
    """Write the texts in reading order. Not recursive: nesting has no limit."""
    stack: list[Step] = [root]
    while stack:
        step = stack.pop()
        if not isinstance(step, LexborNode):
            step()
        elif step.tag == "-text":
            writer.write(step.text_content or "")
        elif not (_is_hidden(step) or (hides_noscript and step.tag == "noscript")):
            _visit(step, writer, stack)


def _visit(node: LexborNode, writer: Writer, stack: list[Step]) -> None:
    """Write an element that has no children, or push the steps for its children."""
    text = _read_whole(node)
    if text is not None:
        writer.write(text)
        return
    match node.tag:
        case "br":
            writer.break_line()
        case "ol":
            writer.end_paragraph()
            stack += [writer.end_paragraph, *reversed(_number_items(node, writer))]
        case "table" if rows := _read_data_table(node):
            _write_rows(rows, writer)
        case "iframe":
            framed = LexborHTMLParser(node.attributes.get("srcdoc") or "").root
            stack += [writer.end_paragraph, *([framed] if framed else [])]
            writer.end_paragraph()
        case _:
            begin, end = _find_marks(node, writer)
            for mark in begin:
                mark()
            stack += [*reversed(end), *reversed([*node.iter(include_text=True)])]


def _read_whole(node: LexborNode) -> str | None:
    """Return the text of an element that stands for itself, whatever its children are. None for other elements."""
    match node.tag:
        case "img" | "area":
            return f" {node.attributes.get('alt') or ''} "
        case "input":
            is_shown = (node.attributes.get("type") or "text").lower() in SHOWN_INPUTS
            return f" {node.attributes.get('value') or ''} " if is_shown else ""
        case "sup" if (digits := (node.text() or "").strip()) and digits.isascii() and digits.isdigit():
            return digits.translate(SUPERSCRIPTS)
        case "math":
            return _read_math(node)
    return None


def _read_math(node: LexborNode) -> str:
    """Return a formula on one line, as in Office files."""
    try:
        return read_formula(parse((node.html or "").replace("&nbsp;", " ").encode()))
    except BrokenXml:
        return node.text()


def _number_items(ordered: LexborNode, writer: Writer) -> list[Step]:
    """Return the steps for an ordered list. Each item has its number, as browsers show it."""
    items = [child for child in ordered.iter(include_text=True) if child.tag != "li" or not _is_hidden(child)]
    count = sum(item.tag == "li" for item in items)
    is_reversed = "reversed" in ordered.attributes
    number = _read_integer(ordered.attributes.get("start"), count if is_reversed else 1)
    form = FORMS.get(ordered.attributes.get("type") or "", "decimal")
    steps: list[Step] = []
    for item in items:
        if item.tag == "li":
            number = _read_integer(item.attributes.get("value"), number)
            steps += [partial(writer.label, f"{format_number(number, form)}. "), item, partial(writer.label, "")]
            number += -1 if is_reversed else 1
        else:
            steps.append(item)
    return steps


def _read_integer(value: str | None, default: int) -> int:
    return int(value) if value and INTEGER.fullmatch(value) else default


def _find_marks(node: LexborNode, writer: Writer) -> tuple[list[Callable[[], None]], list[Callable[[], None]]]:
    """Return what happens before and after the children of an element."""
    tag = node.tag or ""
    if tag in HEADINGS:
        return [writer.begin_heading], [writer.end_heading]
    if tag == "blockquote" and _quotes_mail(node):
        return [writer.begin_quote], [writer.end_quote]
    style = node.attributes.get("style") or ""
    is_block = tag in PARAGRAPHS or _get_display(style) in BLOCK_DISPLAYS or _is_flexible(node.parent)
    separate = writer.end_paragraph if is_block else writer.end_line
    if tag in PREFORMATTED or KEEPS_SPACE.search(style):
        return [separate, writer.begin_preformatted], [writer.end_preformatted, separate]
    if tag in CELLS:
        return [partial(writer.write, " ")], []
    if tag == "ins" and node.prev and node.prev.tag == "del":
        return [partial(writer.write, " ")], []
    return ([separate], [separate]) if is_block or tag in LINES else ([], [])


def _quotes_mail(node: LexborNode) -> bool:
    """Return True if mail programs wrote this element around the message that is answered."""
    attributes = node.attributes
    return attributes.get("type") == "cite" or "gmail_quote" in (attributes.get("class") or "")


def _get_display(style: str) -> str:
    found = DISPLAY.search(style)
    return found[1].lower() if found else ""


def _is_flexible(parent: LexborNode | None) -> bool:
    return parent is not None and _get_display(parent.attributes.get("style") or "") in FLEXIBLE_DISPLAYS


def _is_hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    if node.tag in INVISIBLE or (node.tag == "dialog" and "open" not in attributes):
        return True
    return bool(attributes) and (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or HIDDEN_STYLE.search(attributes.get("style") or "") is not None
    )


def _write_rows(rows: list[str], writer: Writer) -> None:
    writer.end_paragraph()
    for row in rows:
        if row.startswith(LINE):
            writer.end_paragraph()
        writer.write(row)
        writer.end_line()
    writer.end_paragraph()


def _read_data_table(table: LexborNode) -> list[str]:
    """Return the caption and the rows of a table as lines, or no lines if the table lays out a page."""
    if table.css_first(LAYOUT):
        return []
    captions = [_read_cell(caption) for caption in table.css("caption")]
    rows = [row for row in table.css("tr") if not _is_hidden(row)]
    lines = list(_join_cells(rows))
    if any(len(line) > MAX_ROW_CHARACTERS for line in lines):
        return []
    has_header = bool(rows) and all(cell.tag == "th" for cell in _find_cells(rows[0]))
    header = lines[0] if has_header else ""
    return list(filter(None, [*captions, *repeat_header(header, lines[has_header:])]))


def _find_cells(row: LexborNode) -> list[LexborNode]:
    return [cell for cell in row.iter() if cell.tag in CELLS and not _is_hidden(cell)]


def _join_cells(rows: list[LexborNode]) -> Iterator[str]:
    """Yield each row as a line. A cell that spans several rows is in each of them."""
    spanning: dict[int, tuple[str, int]] = {}
    for row in rows:
        texts: dict[int, str] = {column: text for column, (text, _) in spanning.items()}
        spanning = {column: (text, left - 1) for column, (text, left) in spanning.items() if left > 1}
        column = 0
        for cell in _find_cells(row):
            while column in texts:
                column += 1
            texts[column] = _read_cell(cell)
            if (span := _read_span(cell, "rowspan")) > 1:
                spanning[column] = (texts[column], span - 1)
            column += _read_span(cell, "colspan")
        yield join_row(texts[column] for column in sorted(texts))


def _read_span(cell: LexborNode, attribute: str) -> int:
    span = cell.attributes.get(attribute) or ""
    return min(int(span), MAX_SPAN) if span.isascii() and span.isdigit() and len(span) < MAX_SPAN and int(span) else 1


def _read_cell(cell: LexborNode) -> str:
    """Return the text of a cell as one line."""
    writer = Writer(max_sections=1)
    _walk(cell, writer, hides_noscript=True)
    return " ".join("".join(writer.finish()).split())


FORMAT = Format(
    media_type="text/html",
    extensions=(".html", ".htm", ".xhtml"),
    aliases=("application/xhtml+xml",),
    admits=looks_like_text,
    signature=looks_like_html,
    readers=(read,),
    no_text="The page contains no text. If scripts add it, save the page from the browser and upload that file.",
)
