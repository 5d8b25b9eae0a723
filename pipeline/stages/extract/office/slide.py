"""The shapes of a slide in reading order, and their text."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.stages.extract.archive import Archive
from pipeline.stages.extract.office.chart import clean_description, read_chart, read_diagram
from pipeline.stages.extract.office.drawing import Forms, read_forms, read_paragraphs, read_table
from pipeline.stages.extract.office.layout import Box, Boxed, order
from pipeline.stages.extract.office.names import Names, find_all, find_child, get_attribute
from pipeline.stages.extract.opc import Relationship, Skipped, find_related, read_optional, read_relationships
from pipeline.stages.extract.xml import Element

SHAPES = ("p:sp", "p:pic", "p:graphicFrame", "p:grpSp", "p:cxnSp")
TITLES = frozenset({"title", "ctrTitle"})
NUMBER = "sldNum"
"""The placeholder of the slide number, which is not read."""
REPEATED = frozenset({"dt", "ftr", "hdr"})
"""Placeholders whose text is on many slides: date, footer and header."""
MASTER_TYPES = {"ctrTitle": "title", "subTitle": "body", "obj": "body"}
"""Placeholders of a master by those of layouts. Others have the same type in both."""

Related = dict[str, Relationship]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """What the placeholder of a layout or master says for the shapes that fill it."""

    box: Box | None = None
    forms: Forms = field(default_factory=dict)


NO_PLACEHOLDER = Placeholder()
Placeholders = dict[str, Placeholder]
"""Placeholders by their index, such as `1`, and by their type, such as `body`."""


@dataclass
class Deck:
    """What the slides of a presentation share."""

    archive: Archive
    names: Names
    size: tuple[int, int] | None
    """Width and height of the slides, or None if the file does not say."""
    layouts: dict[str, Placeholders] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    """Texts of headers and footers that were read."""


class SlideReader:
    """Reads the shapes of one slide."""

    def __init__(self, deck: Deck, related: Related, skipped: Skipped) -> None:
        self._deck = deck
        self._names = deck.names
        self._related = related
        self._skipped = skipped

    def read(self, root: Element) -> list[str]:
        """Return the texts of the shapes: titles first, then from top to bottom and from left to right."""
        shapes = list(_list_shapes(find_child(root, self._names, "p:cSld", "p:spTree"), self._names))
        titles = [shape for shape in shapes if self._get_type(shape) in TITLES]
        others = [shape for shape in shapes if self._get_type(shape) not in TITLES]
        texts = []
        stack = [*reversed([*titles, *self._order(others, self._deck.size)])]
        while stack:
            shape = stack.pop()
            if self._is_hidden(shape):
                continue
            if self._names[shape.tag] == "p:grpSp":
                stack += reversed(self._order(list(_list_shapes(shape, self._names)), None))
            texts.append("\n".join(self._read_shape(shape)))
        return [text for text in texts if text]

    def _order(self, shapes: list[Element], size: tuple[int, int] | None) -> list[Element]:
        """Return shapes in reading order, without those outside a slide of this size."""
        boxed: list[Boxed[Element]] = []
        last = Box()
        for shape in shapes:
            box = self._find_box(shape)
            if box is None or size is None or not box.is_outside(*size):
                last = box or last
                boxed.append((last, shape))
        return [shape for _, shape in order(boxed)]

    def _find_box(self, shape: Element) -> Box | None:
        """Return the place of a shape: its own, or that of its placeholder in the layout."""
        return _read_box(shape, self._names) or self._find_placeholder(shape).box

    def _find_placeholder(self, shape: Element) -> Placeholder:
        """Return the placeholder of the layout that a shape fills."""
        placeholder = find_placeholder(shape, self._names)
        if placeholder is None:
            return NO_PLACEHOLDER
        for layout in find_related(self._related, "slideLayout"):
            if layout not in self._deck.layouts:
                self._deck.layouts[layout] = self._read_layout(layout)
            kind, index = placeholder
            known = self._deck.layouts[layout]
            return known.get(index) or known.get(kind) or NO_PLACEHOLDER
        return NO_PLACEHOLDER

    def _read_layout(self, part: str) -> Placeholders:
        """Return the placeholders of a layout. What they do not say is as in its master."""
        masters = find_related(read_relationships(self._deck.archive, part, self._skipped), "slideMaster")
        for master in masters:
            if master not in self._deck.layouts:
                self._deck.layouts[master] = self._read_placeholders(master, {})
        return self._read_placeholders(part, self._deck.layouts[masters[0]] if masters else {})

    def _read_placeholders(self, part: str, inherited: Placeholders) -> Placeholders:
        """Return the placeholders of a part, by index and by type."""
        root = read_optional(self._deck.archive, part, self._skipped)
        found: Placeholders = {}
        for shape in find_all(root, self._names, *SHAPES) if root is not None else ():
            placeholder = find_placeholder(shape, self._names)
            if placeholder is not None:
                kind, index = placeholder
                above = inherited.get(MASTER_TYPES.get(kind, kind), NO_PLACEHOLDER)
                body = find_child(shape, self._names, "p:txBody")
                own = read_forms(body, self._names) if body is not None else {}
                box = _read_box(shape, self._names) or above.box
                for key in filter(None, (index, kind)):
                    found.setdefault(key, Placeholder(box, {**above.forms, **own}))
        return found

    def _get_type(self, shape: Element) -> str | None:
        placeholder = find_placeholder(shape, self._names)
        return placeholder[0] if placeholder else None

    def _is_hidden(self, shape: Element) -> bool:
        properties = _get_properties(shape, self._names)
        return properties is not None and get_attribute(properties, "hidden") in ("1", "true")

    def _read_shape(self, shape: Element) -> list[str]:
        """Return the lines of a shape and its description. For a group, only its description."""
        properties = _get_properties(shape, self._names)
        description = clean_description(get_attribute(properties, "descr")) if properties is not None else ""
        lines = [] if self._names[shape.tag] == "p:grpSp" else self._read_content(shape)
        return [*lines, *([description] if description and description not in lines else [])]

    def _read_content(self, shape: Element) -> list[str]:
        kind = self._get_type(shape)
        if kind == NUMBER:
            return []
        if self._names[shape.tag] == "p:graphicFrame":
            return [line for element in find_all(shape, self._names, *FRAMES) for line in self._read_frame(element)]
        body = find_child(shape, self._names, "p:txBody")
        forms = self._find_placeholder(shape).forms
        lines = read_paragraphs(body, self._names, forms) if body is not None else []
        if kind in REPEATED:
            lines = [line for line in lines if line not in self._deck.repeated]
            self._deck.repeated.update(lines)
        return lines

    def _read_frame(self, element: Element) -> list[str]:
        """Return the lines of a table, a chart or a diagram."""
        match self._names[element.tag]:
            case "a:tbl":
                return read_table(element, self._names)
            case "dgm:relIds":
                root = self._find_part(get_attribute(element, "dm"))
                return read_diagram(root, self._names) if root is not None else []
            case "p:oleObj":
                self._skipped.note_object()
                return []
        root = self._find_part(get_attribute(element, "id"))
        return read_chart(root, self._names) if root is not None else []

    def _find_part(self, identifier: str | None) -> Element | None:
        found = self._related.get(identifier or "")
        if found is None:
            self._skipped.note_missing()
            return None
        return read_optional(self._deck.archive, found.target, self._skipped)


FRAMES = ("a:tbl", "c:chart", "cx:chart", "dgm:relIds", "p:oleObj")


def find_placeholder(shape: Element, names: Names) -> tuple[str, str] | None:
    """Return type and index of the placeholder that a shape fills, or None."""
    for child in shape:
        if names[child.tag] in ("p:nvSpPr", "p:nvPicPr", "p:nvGraphicFramePr"):
            found = find_child(child, names, "p:nvPr", "p:ph")
            return None if found is None else (found.get("type", "obj"), found.get("idx", ""))
    return None


def _list_shapes(tree: Element | None, names: Names) -> Iterator[Element]:
    """Yield the shapes of a slide or a group in drawing order, but not those in its groups."""
    return find_all(tree, names, *SHAPES) if tree is not None else iter(())


def _get_properties(shape: Element, names: Names) -> Element | None:
    """Return the element with the name and description of a shape."""
    return find_child(shape[0], names, "p:cNvPr") if len(shape) else None


def _read_box(shape: Element, names: Names) -> Box | None:
    for child in shape:
        name = names[child.tag]
        if name in ("p:spPr", "p:grpSpPr", "p:xfrm"):
            transform = child if name == "p:xfrm" else find_child(child, names, "a:xfrm")
            offset, extent = (find_child(transform, names, name) for name in ("a:off", "a:ext"))
            if offset is not None and extent is not None:
                return Box(*(_to_length(element.get(key)) for element, key in _corners(offset, extent)))
    return None


def _corners(offset: Element, extent: Element) -> list[tuple[Element, str]]:
    return [(offset, "x"), (offset, "y"), (extent, "cx"), (extent, "cy")]


def _to_length(value: str | None) -> int:
    """Return a length in English Metric Units, 914,400 to the inch."""
    text = (value or "").strip()
    return int(text) if len(text) < 16 and text.lstrip("-").isascii() and text.lstrip("-").isdigit() else 0
