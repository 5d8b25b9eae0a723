"""Styles of a Word document: which paragraphs are headings, are numbered or are hidden."""

import re
from dataclasses import dataclass, field, replace

from pipeline.stages.extract.office.names import Names, get_attribute, is_on, to_int
from pipeline.stages.extract.xml import Element

BODY_LEVEL = 9
"""Outline level of text that is not a heading. Headings have the levels 0 to 8."""
HEADING = re.compile(r"heading ?([1-9])", re.IGNORECASE)
TITLES = frozenset({"title"})
GONE_MARKS = frozenset({"w:del", "w:moveFrom", "w:vanish", "w:specVanish"})
"""Properties of a mark at the end of a paragraph that is deleted or hidden, so that the next paragraph continues."""


@dataclass(frozen=True, slots=True)
class Properties:
    """Properties of a paragraph or a run, from its style or its own. None means: as the style says."""

    style: str | None = None
    outline: int | None = None
    number: str | None = None
    """Id of the list, `0` for none."""
    level: int | None = None
    """Level in the list, counted from 0."""
    hidden: bool | None = None
    is_deleted: bool = False
    """True if the end of the paragraph is deleted or hidden, so that the next one continues it."""
    is_superscript: bool = False
    font: str = ""

    @property
    def is_heading(self) -> bool:
        """True if a section begins with the paragraph."""
        return self.outline is not None and 0 <= self.outline < BODY_LEVEL

    def over(self, base: "Properties") -> "Properties":
        """Return these properties, with those of the style where they say nothing."""
        return Properties(
            style=self.style,
            outline=base.outline if self.outline is None else self.outline,
            number=base.number if self.number is None else self.number,
            level=base.level if self.level is None else self.level,
            hidden=base.hidden if self.hidden is None else self.hidden,
            is_deleted=self.is_deleted,
            is_superscript=self.is_superscript or base.is_superscript,
        )


NOTHING = Properties()


@dataclass
class Styles:
    """The styles of a document, by id."""

    names: Names
    _own: dict[str, Properties] = field(default_factory=dict)
    _based_on: dict[str, str] = field(default_factory=dict)
    _resolved: dict[str, Properties] = field(default_factory=dict)
    _default: str = ""

    def load(self, root: Element) -> None:
        """Add the styles of the part `styles.xml`."""
        for element in root:
            if self.names[element.tag] == "w:style":
                self._add(element, get_attribute(element, "styleId") or "")

    def find(self, identifier: str | None) -> Properties:
        """Return the properties of a style with those of the styles it is based on. None is the default style."""
        wanted = self._default if identifier is None else identifier
        chain = []
        while wanted not in self._resolved:
            chain.append(wanted)
            self._resolved[wanted] = NOTHING  # ends a loop of styles
            wanted = self._based_on.get(wanted, "")
        base = self._resolved.get(wanted, NOTHING)
        for name in reversed(chain):
            base = self._resolved[name] = self._own.get(name, _guess(name)).over(base)
        return base

    def find_own(self, identifier: str) -> Properties:
        """Return the properties of a style alone."""
        return self._own.get(identifier, NOTHING)

    def _add(self, style: Element, identifier: str) -> None:
        own = NOTHING
        for element in style:
            match self.names[element.tag]:
                case "w:name":
                    own = replace(own, outline=_get_outline(get_attribute(element, "val") or ""))
                case "w:basedOn":
                    self._based_on[identifier] = get_attribute(element, "val") or ""
                case "w:pPr" | "w:rPr":
                    own = read_properties(element, self.names).over(own)
        self._own[identifier] = own
        if get_attribute(style, "default") in ("1", "true", "on") and get_attribute(style, "type") == "paragraph":
            self._default = identifier


def read_properties(element: Element, names: Names) -> Properties:
    """Return the properties in a `w:pPr` or `w:rPr`."""
    found: dict[str, str | int | bool | None] = {}
    is_deleted = False
    for child in element:
        match names[child.tag]:
            case "w:pStyle" | "w:rStyle":
                found["style"] = get_attribute(child, "val")
            case "w:outlineLvl":
                found["outline"] = to_int(get_attribute(child, "val"), BODY_LEVEL)
            case "w:vanish":
                found["hidden"] = is_on(child)
            case "w:vertAlign":
                found["is_superscript"] = get_attribute(child, "val") == "superscript"
            case "w:rFonts":
                found["font"] = get_attribute(child, "ascii") or get_attribute(child, "hAnsi") or ""
            case "w:numPr":
                found |= _read_number(child, names)
            case "w:rPr":  # of the mark at the end of the paragraph
                is_deleted = is_deleted or any(names[mark.tag] in GONE_MARKS and is_on(mark) for mark in child)
            case "w:framePr":  # a large initial continues in the next paragraph
                is_deleted = is_deleted or get_attribute(child, "dropCap") in ("drop", "margin")
    return Properties(is_deleted=is_deleted, **found)  # type: ignore[arg-type]  # each key has the type of its field


def _read_number(element: Element, names: Names) -> dict[str, str | int | bool | None]:
    found: dict[str, str | int | bool | None] = {}
    for child in element:
        match names[child.tag]:
            case "w:numId":
                found["number"] = get_attribute(child, "val")
            case "w:ilvl":
                found["level"] = to_int(get_attribute(child, "val"))
    return found


def _get_outline(name: str) -> int | None:
    """Return the outline level of the built-in style with this name. The names are the same in all languages."""
    if name.lower() in TITLES:
        return 0
    found = HEADING.fullmatch(name)
    return int(found[1]) - 1 if found else None


def _guess(identifier: str) -> Properties:
    """Return the properties of a style that the file does not define, by its usual id."""
    return Properties(outline=_get_outline(identifier))
