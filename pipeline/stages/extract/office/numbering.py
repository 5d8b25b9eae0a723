"""Numbers of list items and headings in a Word document, as Word shows them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.stages.extract.counting import format_number
from pipeline.stages.extract.office.names import Names, choose, get_attribute, is_on, to_int
from pipeline.stages.extract.office.styles import Styles, read_properties
from pipeline.stages.extract.xml import Element

LEVELS = 9
MAX_LABEL = 100
"""Longest pattern of a number, in characters. Longer ones are cut."""
BULLET = "•"
PLACE = re.compile(r"%([1-9])")


@dataclass(frozen=True, slots=True)
class Level:
    """How the items of one level of a list are numbered."""

    start: int = 1
    form: str = "decimal"
    pattern: str = ""
    restart: int = LEVELS
    """Number of levels above, any of which lets the numbers begin again. 0: they go on through the document."""
    is_legal: bool = False
    """True if numbers of the levels above are written as 1, 2, 3."""
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class List:
    """A list: the definition it uses, and what it changes of it."""

    definition: str
    levels: dict[int, Level]
    starts: dict[int, int]


@dataclass
class _Definition:
    levels: dict[int, Level] = field(default_factory=dict)
    linked_styles: dict[str, int] = field(default_factory=dict)
    """Levels by the id of the paragraph style that they number."""
    style: str = ""
    """Id of the list style that has the levels instead, or an empty string."""
    counters: list[int | None] = field(default_factory=lambda: [None] * LEVELS)


class Numbering:
    """The lists of a document and how far they are counted. Lists that share a definition share its counters."""

    def __init__(self, names: Names, styles: Styles) -> None:
        self._names = names
        self._styles = styles
        self._definitions: dict[str, _Definition] = {}
        self._lists: dict[str, List] = {}
        self._begun: set[str] = set()

    def load(self, root: Element) -> None:
        """Add the lists of the part `numbering.xml`."""
        for element in root:
            match self._names[element.tag]:
                case "w:abstractNum":
                    self._definitions[get_attribute(element, "abstractNumId") or ""] = self._read_definition(element)
                case "w:num":
                    self._lists[get_attribute(element, "numId") or ""] = self._read_list(element)

    def find_level(self, number: str, style: str | None) -> int:
        """Return the level of a list that numbers paragraphs of this style."""
        definition = self._find_definition(number)
        return definition.linked_styles.get(style or "", 0) if definition else 0

    def count(self, number: str, level: int) -> str:
        """Count an item of a list, and return its number: `2.1.`, `•`, or an empty string if it has none."""
        definition = self._find_definition(number)
        if definition is None or not 0 <= level < LEVELS:
            return ""
        known = self._lists[number]
        if number not in self._begun:
            self._begun.add(number)
            for place, start in known.starts.items():
                definition.counters[place] = start - 1
        levels = {**definition.levels, **known.levels}
        _advance(definition.counters, levels, level)
        return _write(definition.counters, levels, level)

    def _find_definition(self, number: str) -> _Definition | None:
        """Return the definition of a list. It may name a list style, whose list has the definition."""
        known = self._lists.get(number)
        definition = self._definitions.get(known.definition) if known else None
        if definition and definition.style and not definition.levels:
            linked = self._lists.get(self._styles.find_own(definition.style).number or "")
            definition = self._definitions.get(linked.definition, definition) if linked else definition
        return definition

    def _read_definition(self, element: Element) -> _Definition:
        definition = _Definition()
        for child in element:
            match self._names[child.tag]:
                case "w:numStyleLink":
                    definition.style = get_attribute(child, "val") or ""
                case "w:lvl":
                    number = to_int(get_attribute(child, "ilvl"))
                    definition.levels[number] = self._read_level(child)
                    for style in child:
                        if self._names[style.tag] == "w:pStyle":
                            definition.linked_styles[get_attribute(style, "val") or ""] = number
        return definition

    def _read_list(self, element: Element) -> List:
        found = List("", {}, {})
        for child in element:
            match self._names[child.tag]:
                case "w:abstractNumId":
                    found = List(get_attribute(child, "val") or "", found.levels, found.starts)
                case "w:lvlOverride":
                    self._read_override(child, found)
        return found

    def _read_override(self, element: Element, found: List) -> None:
        number = to_int(get_attribute(element, "ilvl"), LEVELS)
        for child in element:
            match self._names[child.tag]:
                case "w:startOverride" if 0 <= number < LEVELS:
                    found.starts[number] = to_int(get_attribute(child, "val"), 1)
                case "w:lvl":
                    found.levels[number] = self._read_level(child)

    def _read_level(self, element: Element) -> Level:
        start, form, pattern, restart, is_legal, is_hidden = 1, "decimal", "", LEVELS, False, False
        for child in _list_children(element, self._names):
            value = get_attribute(child, "val") or ""
            match self._names[child.tag]:
                case "w:start":
                    start = to_int(value, 1)
                case "w:numFmt":
                    form = get_attribute(child, "format") or value
                case "w:lvlText":
                    pattern = value[:MAX_LABEL]
                case "w:lvlRestart":
                    restart = to_int(value, LEVELS)
                case "w:isLgl":
                    is_legal = is_on(child)
                case "w:rPr":
                    is_hidden = bool(read_properties(child, self._names).hidden)
        return Level(start, form, pattern, restart, is_legal, is_hidden)


def _list_children(element: Element, names: Names) -> Iterator[Element]:
    """Yield the children of an element, and the first of alternatives among them."""
    for child in element:
        if names[child.tag] == "mc:AlternateContent":
            yield from choose(child)
        else:
            yield child


def _advance(counters: list[int | None], levels: dict[int, Level], level: int) -> None:
    for above in range(level):
        if counters[above] is None:
            counters[above] = levels.get(above, Level()).start
    current = counters[level]
    counters[level] = levels.get(level, Level()).start if current is None else current + 1
    for below in range(level + 1, LEVELS):
        if level < levels.get(below, Level()).restart:
            counters[below] = None


def _write(counters: list[int | None], levels: dict[int, Level], level: int) -> str:
    own = levels.get(level, Level())
    if own.is_hidden:
        return ""
    if own.form == "bullet":
        return BULLET

    def fill(place: re.Match[str]) -> str:
        above = int(place[1]) - 1
        form = "decimal" if own.is_legal else levels.get(above, Level()).form
        return format_number(counters[above] or 0, form)

    return PLACE.sub(fill, own.pattern).strip()
