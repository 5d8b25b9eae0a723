"""The text of one part of a Word document: its body, a header, a footer, a note or a comment."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.stages.extract.office.chart import clean_description, read_chart, read_diagram
from pipeline.stages.extract.office.context import Context, Related
from pipeline.stages.extract.office.fields import MAX_INSTRUCTION, Field, pair_fields, read_form, read_instruction
from pipeline.stages.extract.office.formula import STRUCTURES, Group, begin_group, end_group, unfold
from pipeline.stages.extract.office.names import choose, get_attribute, is_on, to_int
from pipeline.stages.extract.office.numbering import BULLET
from pipeline.stages.extract.office.story import Kind, Line, Story
from pipeline.stages.extract.office.styles import NOTHING, Properties, read_properties
from pipeline.stages.extract.office.symbols import read_symbol, replace_symbols
from pipeline.stages.extract.opc import read_optional
from pipeline.stages.extract.xml import Element

SIGNS = {"w:tab": "\t", "w:ptab": "\t", "w:br": "\n", "w:cr": "\n", "w:noBreakHyphen": "-"}
OLD_SHAPES = ("v:shape", "v:rect", "v:roundrect", "v:oval", "v:line", "v:polyline", "v:group")
HIDDEN_SHAPE = re.compile(r"visibility: *hidden|display: *none", re.IGNORECASE)
SIGNERS = ("suggestedsigner", "suggestedsigner2")
_UNREAD_NAMES = """
w:del w:moveFrom w:delText w:rt w:rPr w:sdtPr w:tblPr w:tblGrid w:tblPrEx w:trPr w:tcPr m:ctrlPr
"""
UNREAD = frozenset(_UNREAD_NAMES.split())
"""Elements whose content Word does not show."""


@dataclass(frozen=True, slots=True)
class Section:
    """The headers and footers that begin with a section. Those of the section before it go on."""

    margins: dict[tuple[str, str], str]
    """Relationship ids by `w:headerReference` or `w:footerReference`, and by `default`, `first` or `even`."""
    has_first: bool
    """True if the first page of the section has headers and footers of its own."""


Item = Element | str | Callable[[], None]
Action = Callable[["Reader", Element], None]
ACTIONS: dict[str, Action] = {}
"""What to do with an element, by its short name. Of all others, the content is read."""


def _action(*names: str) -> Callable[[Action], Action]:
    """Return a decorator for the method that reads the elements with these names."""

    def register(method: Action) -> Action:
        ACTIONS.update(dict.fromkeys(names, method))
        return method

    return register


class Reader:
    """Walks through a part. Not recursive: nesting has no limit. Takes time linear in the size of the part."""

    def __init__(self, context: Context, related: Related) -> None:
        self.sections: list[Section] = []
        self.endnotes: list[Line] = []
        self._context = context
        self._names = context.names
        self._related = related
        self._story = Story()
        self._stack: list[Item] = []
        self._hidden_paragraphs = [False]
        self._font = ""
        self._partners: dict[int, int] = {}
        self._fields: dict[int, Field] = {}
        self._begun_fields: list[Field] = []
        self._instructions = 0
        self._groups: list[tuple[list[str], int]] = []

    def read(self, root: Element) -> list[Line]:
        """Return the lines of a part, or of one of its elements."""
        self._partners |= pair_fields(root, self._names)
        self._stack.append(root)
        while self._stack:
            item = self._stack.pop()
            if isinstance(item, Element):
                action = ACTIONS.get(self._names[item.tag])
                if action is None:
                    self._stack += reversed(item)
                else:
                    action(self, item)
            elif isinstance(item, str):
                self._add(item)
            else:
                item()
        self.endnotes = self._story.endnotes
        return self._story.finish()

    def _add(self, text: str) -> None:
        if not self._instructions:
            self._story.pieces.append(text)

    def _enter(self, element: Element, end: Callable[[], None]) -> None:
        """Read the content of an element, and then call `end`."""
        self._stack.append(end)
        self._stack += reversed(element)

    @_action(*UNREAD)
    def _skip(self, _element: Element) -> None:
        pass

    # Paragraphs and runs

    @_action("w:p")
    def _read_paragraph(self, element: Element) -> None:
        first = element[0] if len(element) else None
        has_own = first is not None and self._names[first.tag] == "w:pPr"
        own = read_properties(first, self._names) if has_own and first is not None else NOTHING
        properties = own.over(self._context.styles.find(own.style))
        label = "" if own.is_deleted else self._count(properties)
        kind = Kind.ITEM if label else Kind.PARAGRAPH
        if properties.is_heading:
            kind = Kind.HEADING
        if label == BULLET and (kind is Kind.HEADING or self._story.is_in_cell):
            label = ""
        self._hidden_paragraphs.append(bool(properties.hidden))
        self._story.begin_paragraph(kind, label, continues=own.is_deleted)
        self._enter(element, self._end_paragraph)

    def _end_paragraph(self) -> None:
        self._hidden_paragraphs.pop()
        self._story.end_paragraph()

    def _count(self, properties: Properties) -> str:
        number, level = properties.number, properties.level
        if number is None or number == "0":
            return ""
        if level is None:
            level = self._context.numbering.find_level(number, properties.style)
        return self._context.numbering.count(number, level)

    @_action("w:pPr")
    def _read_paragraph_properties(self, element: Element) -> None:
        self._stack += [child for child in element if self._names[child.tag] == "w:sectPr"]

    @_action("w:r")
    def _read_run(self, element: Element) -> None:
        first = element[0] if len(element) else None
        own = NOTHING
        if first is not None and self._names[first.tag] == "w:rPr":
            own = read_properties(first, self._names)
        hidden = own.hidden
        if hidden is None and own.style is not None:
            hidden = self._context.styles.find(own.style).hidden
        if self._hidden_paragraphs[-1] if hidden is None else hidden:
            return
        self._font = own.font
        if own.is_superscript or (own.style is not None and self._context.styles.find(own.style).is_superscript):
            self._mark_superscript(element)
        self._stack += reversed(element)

    @_action("m:r")
    def _read_math(self, element: Element) -> None:
        own = next((child for child in element if self._names[child.tag] == "w:rPr"), None)
        if own is None or not read_properties(own, self._names).hidden:
            self._stack += reversed(element)

    def _mark_superscript(self, run: Element) -> None:
        """Keep a superscript digit apart from the number before it: 10^6, not 106."""
        pieces = self._story.pieces
        text = next((child.text or "" for child in run if self._names[child.tag] == "w:t"), "")
        if pieces and pieces[-1][-1:].isdigit() and text[:1].isdigit():
            self._add("^")

    @_action("w:t", "m:t", "a:t")
    def _read_text(self, element: Element) -> None:
        if element.text:
            self._add(replace_symbols(element.text, self._font).replace("\n", " "))

    @_action(*SIGNS)
    def _read_sign(self, element: Element) -> None:
        self._add(SIGNS[self._names[element.tag]])

    @_action("w:sym")
    def _read_symbol(self, element: Element) -> None:
        self._add(read_symbol(get_attribute(element, "font") or "", get_attribute(element, "char") or ""))

    @_action("mc:AlternateContent")
    def _read_alternatives(self, element: Element) -> None:
        self._stack += reversed(choose(element))

    # Fields

    @_action("w:fldChar")
    def _read_field_mark(self, element: Element) -> None:
        begin = self._partners.get(id(element))
        if begin is None:
            return
        match get_attribute(element, "fldCharType"), self._fields.get(begin):
            case "begin", _:
                self._fields[begin] = Field(form=read_form(element, self._names))
                self._begun_fields.append(self._fields[begin])
                self._instructions += 1
            case "separate", Field(in_result=False, is_silent=False) as field_:
                field_.in_result = True
                field_.pieces = len(self._story.pieces)
                self._instructions -= 1
            case "end", Field() as field_:
                self._end_field(field_)
                del self._fields[begin]

    def _end_field(self, ended: Field) -> None:
        ended.is_ended = True
        if not ended.in_result:
            self._instructions -= 1
            self._add(ended.form or read_instruction(ended.instruction))
        elif ended.form and len(self._story.pieces) == ended.pieces:
            self._add(ended.form)

    @_action("w:instrText")
    def _read_instruction(self, element: Element) -> None:
        while self._begun_fields and self._begun_fields[-1].is_ended:
            self._begun_fields.pop()
        if self._begun_fields:
            innermost = self._begun_fields[-1]
            innermost.instruction = (innermost.instruction + (element.text or ""))[:MAX_INSTRUCTION]

    # Tables

    @_action("w:tbl")
    def _read_table(self, element: Element) -> None:
        if self._story.is_full:
            self._stack += reversed(element)
            return
        self._story.begin_table()
        self._enter(element, self._story.end_table)

    @_action("w:tr")
    def _read_row(self, element: Element) -> None:
        found = {self._names[child.tag]: child for child in self._find_properties(element, "w:trPr")}
        is_gone = any(name in found and is_on(found[name]) for name in ("w:del", "w:hidden"))
        if is_gone:
            return
        if self._story.is_full or not self._story.is_in_cell:
            self._stack += reversed(element)
            return
        before = found.get("w:gridBefore")
        column = to_int(get_attribute(before, "val")) if before is not None else 0
        is_header = "w:tblHeader" in found and is_on(found["w:tblHeader"])
        self._story.begin_row(is_header=is_header, column=column)
        self._enter(element, self._story.end_row)

    @_action("w:tc")
    def _read_cell(self, element: Element) -> None:
        found = {self._names[child.tag]: child for child in self._find_properties(element, "w:tcPr")}
        if "w:cellDel" in found or _continues(found.get("w:hMerge")):
            return
        if self._story.is_full or not self._story.has_row:
            self._stack += reversed(element)
            return
        span = found.get("w:gridSpan")
        width = to_int(get_attribute(span, "val"), 1) if span is not None else 1
        merge = found.get("w:vMerge")
        continues = _continues(merge)
        self._story.begin_cell()
        self._enter(
            element,
            lambda: self._story.end_cell(
                width, begins_merge=merge is not None and not continues, continues_merge=continues
            ),
        )

    def _find_properties(self, element: Element, name: str) -> list[Element]:
        """Return the properties of a row or cell. They come first, or after exceptions of the table's properties."""
        return next((list(child) for child in element[:2] if self._names[child.tag] == name), [])

    # Drawings, notes and other parts

    @_action("a:p", "w:txbxContent")
    def _read_box(self, element: Element) -> None:
        if self._story.is_full:
            self._stack += reversed(element)
            return
        self._story.begin_box()
        self._enter(element, self._story.end_box)

    @_action("wp:inline", "wp:anchor")
    def _read_drawing(self, element: Element) -> None:
        properties = next((child for child in element if self._names[child.tag] == "wp:docPr"), None)
        if properties is not None:
            if get_attribute(properties, "hidden") in ("1", "true"):
                return
            self._add_later(clean_description(get_attribute(properties, "descr")))
        self._stack += reversed(element)

    @_action(*OLD_SHAPES)
    def _read_shape(self, element: Element) -> None:
        if HIDDEN_SHAPE.search(element.get("style", "")):
            return
        self._add_later(clean_description(get_attribute(element, "alt")))
        self._stack += reversed(element)

    @_action("v:textpath")
    def _read_word_art(self, element: Element) -> None:
        self._add_later(" ".join((get_attribute(element, "string") or "").split()))

    @_action("o:signatureline")
    def _read_signature(self, element: Element) -> None:
        self._add_later(*(get_attribute(element, name) or "" for name in SIGNERS))

    def _add_later(self, *texts: str) -> None:
        if not self._instructions:
            self._story.add_later([Line(text) for text in texts if text])

    @_action("c:chart", "cx:chart")
    def _read_chart(self, element: Element) -> None:
        root = self._find_part(get_attribute(element, "id"))
        if root is not None:
            self._add_later("\n".join(read_chart(root, self._names)))

    @_action("dgm:relIds")
    def _read_diagram(self, element: Element) -> None:
        root = self._find_part(get_attribute(element, "dm"))
        if root is not None:
            self._add_later("\n".join(read_diagram(root, self._names)))

    def _find_part(self, identifier: str | None) -> Element | None:
        found = self._related.get(identifier or "")
        if found is None:
            self._context.skipped.note_missing()
            return None
        return read_optional(self._context.archive, found.target, self._context.skipped)

    @_action("o:OLEObject")
    def _read_object(self, _element: Element) -> None:
        self._context.skipped.note_object()

    @_action("w:altChunk")
    def _read_import(self, element: Element) -> None:
        found = self._related.get(get_attribute(element, "id") or "")
        if found is None:
            self._context.skipped.note_missing()
        else:
            self._story.add_lines(self._context.import_part(found.target))

    @_action("w:footnoteReference")
    def _read_footnote(self, element: Element) -> None:
        self._read_note(element, is_endnote=False)

    @_action("w:endnoteReference")
    def _read_endnote(self, element: Element) -> None:
        self._read_note(element, is_endnote=True)

    def _read_note(self, reference: Element, *, is_endnote: bool) -> None:
        """Read a footnote or endnote at its first reference."""
        notes = self._context.find_notes("endnotes" if is_endnote else "footnotes")
        identifier = get_attribute(reference, "id") or ""
        if self._instructions:
            return
        is_first = identifier not in notes.labels
        if is_first:
            has_own_mark = get_attribute(reference, "customMarkFollows") in ("1", "true", "on")
            notes.labels[identifier] = "" if has_own_mark else f"[{notes.count()}]"
        label = notes.labels[identifier]
        self._add(label)
        note = notes.elements.get(identifier)
        if note is None:
            self._context.skipped.note_missing()
        elif is_first and not self._story.is_full:
            self._enter_note(note, notes.related, label, is_endnote=is_endnote)

    def _enter_note(self, note: Element, related: Related, label: str, *, is_endnote: bool) -> None:
        outer, self._related = self._related, related

        def leave() -> None:
            self._related = outer
            self._story.end_note(label, is_endnote=is_endnote)

        self._partners |= pair_fields(note, self._names)
        self._story.begin_note()
        self._enter(note, leave)

    @_action("w:sectPr")
    def _read_section(self, element: Element) -> None:
        has_first = any(self._names[child.tag] == "w:titlePg" and is_on(child) for child in element)
        margins = {
            (name, get_attribute(child, "type") or "default"): get_attribute(child, "id") or ""
            for child in element
            if (name := self._names[child.tag]) in ("w:headerReference", "w:footerReference")
        }
        self.sections.append(Section(margins, has_first))

    # Formulas

    @_action(*STRUCTURES)
    def _read_structure(self, element: Element) -> None:
        marks = {Group.BEGIN: self._begin_group, Group.END: self._end_group}
        items = unfold(element, self._names)
        self._stack += [marks[item] if isinstance(item, Group) else item for item in reversed(items)]

    def _begin_group(self) -> None:
        pieces = self._story.pieces
        self._groups.append((pieces, begin_group(pieces)))

    def _end_group(self) -> None:
        end_group(*self._groups.pop())


def _continues(merge: Element | None) -> bool:
    return merge is not None and get_attribute(merge, "val") in (None, "continue")
