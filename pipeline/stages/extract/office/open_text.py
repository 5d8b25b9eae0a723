"""The text of OpenDocument content: paragraphs, lists, tables, notes, frames and formulas, without recursion."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from pipeline.stages.extract.archive import Archive, resolve
from pipeline.stages.extract.office.mathml import read_formula
from pipeline.stages.extract.office.open_forms import read_controls, read_mark
from pipeline.stages.extract.office.open_styles import (
    MAX_LEVEL,
    MAX_SPACES,
    OUTLINE,
    Styles,
    get_attributes,
    get_name,
    read_count,
)
from pipeline.stages.extract.office.story import Kind, Line, Story
from pipeline.stages.extract.opc import Skipped, read_optional
from pipeline.stages.extract.xml import Element

_SKIPPED_NAMES = """
text:tracked-changes text:ruby-text text:note-citation text:sequence-decls text:variable-decls text:user-field-decls
text:table-of-content-source text:illustration-index-source text:table-index-source text:object-index-source
text:user-index-source text:alphabetical-index-source text:bibliography-source office:scripts
office:event-listeners text:script drawing:image drawing:plugin drawing:applet office:binary-data
table:shapes drawing:glue-point drawing:enhanced-geometry text:dde-connection-decls
presentation:notes text:page-number text:alphabetical-index-auto-mark-file
"""
SKIPPED = frozenset(_SKIPPED_NAMES.split())
"""Elements whose text no reader sees at their place."""
COVERED = "table:covered-table-cell"
"""A cell over which another one extends."""
SHAPES = frozenset(
    f"drawing:{name}"
    for name in (
        "text-box",
        "custom-shape",
        "rect",
        "ellipse",
        "circle",
        "line",
        "polyline",
        "polygon",
        "path",
        "connector",
        "caption",
    )
)
CHART_PARTS = frozenset({"chart:title", "chart:subtitle", "table:table"})
MAX_START = 10**6
"""Largest number that a list begins with."""
Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _List:
    """The list that an element is in: the name of its style, what counts its items, and its level, from 1."""

    style: str = ""
    thread: str = ""
    level: int = 0
    item: "_Item | None" = None


@dataclass(slots=True)
class _Item:
    """An item of a list. Its first paragraph has the number."""

    is_numbered: bool
    start: int | None = None


class OpenReader:
    """Reads elements of one file, and collects comments and warnings. A flat file is in no archive."""

    def __init__(self, archive: Archive | None, styles: Styles, skipped: Skipped) -> None:
        self._archive = archive
        self._styles = styles
        self._skipped = skipped
        self._story = Story()
        self._stack: list[tuple[Element, _List] | Step] = []
        self._threads: dict[str, str] = {}
        self._last_threads: dict[str, str] = {}
        self._controls: dict[str, str] = {}
        self.comments: list[Line] = []
        self.endnotes: list[Line] = []

    def read(self, elements: Iterable[Element]) -> list[Line]:
        """Return the lines of elements."""
        self._story = Story()
        self._push(elements, _List())
        while self._stack:
            step = self._stack.pop()
            if isinstance(step, tuple):
                self._visit(*step)
            else:
                step()
        self.endnotes += self._story.endnotes
        return self._story.finish()

    def _push(self, elements: Iterable[Element], around: _List) -> None:
        self._stack += [(element, around) for element in reversed(list(elements))]

    def _push_mixed(self, element: Element, around: _List) -> None:
        """Push the text and the children of an element."""
        for child in reversed(element):
            if child.tail:
                self._stack.append(partial(self._write, child.tail))
            self._stack.append((child, around))
        if element.text:
            self._stack.append(partial(self._write, element.text))

    def _write(self, text: str) -> None:
        self._story.pieces.append(text.replace("\n", " "))

    def _visit(self, element: Element, around: _List) -> None:
        name = get_name(element)
        if name in SKIPPED or not isinstance(element.tag, str):
            return
        attributes = get_attributes(element)
        if attributes.get("text:display") == "none" or attributes.get("text:is-hidden") == "true":
            return
        if name in {"text:p", "text:h"}:
            self._visit_paragraph(element, attributes, around, is_heading=name == "text:h")
        elif name.startswith("table:table") or name == COVERED:
            self._visit_table(name, element, attributes)
        elif name in {"text:list", "text:list-item", "text:list-header", "text:numbered-paragraph"}:
            self._visit_list(name, element, attributes, around)
        elif name.startswith("drawing:") or name in SHAPES:
            self._visit_drawing(name, element, attributes)
        else:
            self._visit_inline(name, element, attributes, around)

    def _visit_paragraph(
        self, element: Element, attributes: dict[str, str], around: _List, *, is_heading: bool
    ) -> None:
        style = attributes.get("text:style-name", "")
        if self._styles.is_hidden("paragraph", style):
            return
        kind = Kind.HEADING if is_heading else Kind.ITEM if around.item else Kind.PARAGRAPH
        self._story.begin_paragraph(kind, self._find_label(attributes, around, is_heading=is_heading), continues=False)
        self._stack.append(self._story.end_paragraph)
        self._push_mixed(element, around)

    def _find_label(self, attributes: dict[str, str], around: _List, *, is_heading: bool) -> str:
        item = around.item
        if item is not None and item.is_numbered:
            item.is_numbered = False
            name = around.style or self._styles.find_list(attributes.get("text:style-name", ""))
            return self._styles.number(name, around.level, around.thread, item.start)
        if is_heading and item is None and attributes.get("text:is-list-header") != "true":
            start = attributes.get("text:start-value") if attributes.get("text:restart-numbering") == "true" else None
            level = read_count(attributes.get("text:outline-level"), 10)
            return self._styles.number(OUTLINE, level, OUTLINE, read_count(start, MAX_START) if start else None)
        return ""

    def _visit_list(self, name: str, element: Element, attributes: dict[str, str], around: _List) -> None:
        if name == "text:list":
            style = attributes.get("text:style-name") or around.style
            thread = around.thread if around.level else self._find_thread(attributes, style)
            self._push(element, _List(style, thread, around.level + 1))
            return
        if name == "text:numbered-paragraph":
            style, level = attributes.get("text:style-name", ""), read_count(attributes.get("text:level"), MAX_LEVEL)
            around = _List(style, f"id {attributes.get('text:list-id', style)}", level)
        start = attributes.get("text:start-value")
        item = _Item(name != "text:list-header", read_count(start, MAX_START) if start else None)
        self._push(element, replace(around, item=item))

    def _find_thread(self, attributes: dict[str, str], style: str) -> str:
        """Return what counts the items of a list: that of the list it continues, or one of its own."""
        before = self._threads.get(attributes.get("text:continue-list", ""))
        if before is None and attributes.get("text:continue-numbering") == "true":
            before = self._last_threads.get(style)
        thread = before or f"list {len(self._threads)}"
        identifier = attributes.get("id") or attributes.get("text:id") or thread
        self._threads[identifier] = self._last_threads[style] = thread
        return thread

    def _visit_table(self, name: str, element: Element, attributes: dict[str, str]) -> None:
        story = self._story
        if story.is_full:
            self._push(element, _List())
            return
        match name:
            case "table:table":
                story.begin_table()
                self._stack.append(story.end_table)
                self._push(element, _List())
            case "table:table-header-rows":
                for row in reversed(element):
                    self._stack.append(partial(self._begin_row, row, get_attributes(row), is_header=True))
            case "table:table-row":
                self._begin_row(element, attributes, is_header=False)
            case "table:table-cell" | "table:covered-table-cell" if story.has_row:
                self._begin_cell(element, attributes, is_covered=name == COVERED)
            case "table:table-rows" | "table:table-row-group":
                self._push(element, _List())

    def _begin_row(self, row: Element, attributes: dict[str, str], *, is_header: bool) -> None:
        if attributes.get("table:visibility") in {"collapse", "filter"}:
            return
        self._story.begin_row(is_header=is_header, column=0)
        self._stack.append(self._story.end_row)
        self._push(row, _List())

    def _begin_cell(self, cell: Element, attributes: dict[str, str], *, is_covered: bool) -> None:
        """Begin a cell. The columns and rows that a cell spans have covered cells of their own."""
        spans_rows = read_count(attributes.get("table:number-rows-spanned"), 10**6) > 1
        self._story.begin_cell()
        end = partial(self._story.end_cell, 1, begins_merge=spans_rows, continues_merge=is_covered)
        self._stack.append(end)
        self._push([] if is_covered else cell, _List())

    def _visit_drawing(self, name: str, element: Element, attributes: dict[str, str]) -> None:
        match name:
            case "drawing:frame":
                self._visit_frame(element)
            case "drawing:object" | "drawing:object-ole":
                self._visit_object(element, attributes)
            case "drawing:control":
                self._write(self._controls.get(attributes.get("drawing:control", ""), ""))
            case "drawing:a" | "drawing:g" | "drawing:page":
                self._push(element, _List())
            case _ if name in SHAPES:
                if not self._story.is_full:
                    self._story.begin_box()
                    self._stack.append(self._story.end_box)
                self._push(
                    (child for child in element if get_name(child).startswith(("text:", "table:", "drawing:"))), _List()
                )

    def _visit_frame(self, frame: Element) -> None:
        """Read the first form of a frame, and its description."""
        children = {get_name(child): child for child in reversed(frame)}
        first = next((child for child in frame if get_name(child).startswith(("drawing:", "table:"))), None)
        described = children.get("svg-compatible:desc", children.get("svg-compatible:title"))
        if described is not None and (first is None or get_name(first) == "drawing:image"):
            self._write(f" {' '.join(''.join(described.itertext()).split())} ")
        if first is not None:
            self._push([first], _List())

    def _visit_object(self, element: Element, attributes: dict[str, str]) -> None:
        root = self._find_object(element, attributes.get("href", ""))
        if root is None:
            return
        if get_name(root) == "math":
            self._write(f" {read_formula(root)} ")
            return
        charts = [element for element in root.iter() if get_name(element) == "chart:chart"]
        if not charts:
            self._skipped.note_object()
            return
        self._story.begin_box()
        self._stack.append(self._story.end_box)
        self._push([child for child in charts[0] if get_name(child) in CHART_PARTS], _List())

    def _find_object(self, element: Element, target: str) -> Element | None:
        """Return the content of an object. It is in a part of its own, or in the element if the file is flat."""
        if len(element):
            return element[0]
        part = f"{resolve('', target)}/content.xml"
        if self._archive is None or part not in self._archive:
            self._skipped.note_object()
            return None
        return read_optional(self._archive, part, self._skipped)

    def _visit_inline(self, name: str, element: Element, attributes: dict[str, str], around: _List) -> None:
        match name:
            case "text:s":
                self._write(" " * read_count(attributes.get("text:c"), MAX_SPACES))
            case "text:tab":
                self._write("\t")
            case "text:line-break":
                self._story.pieces.append("\n")
            case "text:note" if not self._story.is_full:
                self._visit_note(element, attributes)
            case "office:forms":
                self._controls |= read_controls(element)
            case "field:fieldmark":
                self._write(read_mark(element))
                self._push_mixed(element, around)
            case "office:annotation" | "annotation":
                self._visit_comment(element)
            case "text:span" if self._styles.is_hidden("text", attributes.get("text:style-name", "")):
                pass
            case "text:section" if self._styles.is_hidden("section", attributes.get("text:style-name", "")):
                pass
            case _:
                self._push_mixed(element, around)

    def _visit_note(self, note: Element, attributes: dict[str, str]) -> None:
        citation = next((child for child in note if get_name(child) == "text:note-citation"), None)
        label = "".join(citation.itertext()).strip() if citation is not None else ""
        is_endnote = attributes.get("text:note-class") == "endnote"
        label = f"[{label}]"
        self._write(label)
        self._story.begin_note()
        self._stack.append(partial(self._story.end_note, label, is_endnote=is_endnote))
        self._push(note, _List())

    def _visit_comment(self, comment: Element) -> None:
        author = "".join(
            "".join(child.itertext()) for child in comment if get_name(child).rpartition(":")[2].endswith("creator")
        )
        texts = ("".join(child.itertext()) for child in comment if get_name(child) in {"text:p", "text:list"})
        if text := " ".join(" ".join(texts).split()):
            self.comments.append(Line(f"Comment by {author}: {text}" if author else f"Comment: {text}"))
