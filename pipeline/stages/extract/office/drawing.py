"""Text of DrawingML: paragraphs with list numbers, and tables."""

import re
from collections.abc import Iterable

from pipeline.stages.extract.counting import format_number
from pipeline.stages.extract.office.formula import STRUCTURES, Group, begin_group, end_group, unfold
from pipeline.stages.extract.office.names import Names, choose, find_all, find_child, to_int
from pipeline.stages.extract.xml import Element

CELL = " | "
MAX_REPEATED = 200
"""Longest text of a merged cell, in characters, that is repeated in each of its rows."""
LEVELS = 9
AUTOMATIC = re.compile(r"(\w+?)(Period|ParenR|ParenBoth|Minus|Plain)")
FORMS = {
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
    "circleNumDb": "decimalEnclosedCircle",
    "circleNumWdBlack": "decimalEnclosedCircle",
    "circleNumWdWhite": "decimalEnclosedCircle",
    "arabicDb": "decimalFullWidth",
    "ea1Chs": "chineseCounting",
    "ea1Cht": "taiwaneseCounting",
    "ea1JpnKor": "japaneseCounting",
    "ea1JpnChsDb": "chineseCounting",
    "arabic1": "arabicAlpha",
    "arabic2": "arabicAbjad",
    "hebrew2": "hebrew2",
    "thaiAlpha": "thaiLetters",
    "thaiNum": "thaiNumbers",
    "hindiAlpha": "hindiConsonants",
    "hindiNum": "hindiNumbers",
}
SHAPES = {"Period": "{}.", "ParenR": "{})", "ParenBoth": "({})", "Minus": "{} -", "Plain": "{}"}
UNREAD = frozenset({"a:pPr", "a:rPr", "a:endParaRPr", "m:ctrlPr"})


def read_paragraphs(body: Element, names: Names) -> list[str]:
    """Return the lines of all paragraphs in a text body, with the numbers of lists. Empty ones are left out."""
    numbering = _Numbering(body, names)
    lines = []
    for paragraph in find_all(body, names, "a:p"):
        text = read_paragraph(paragraph, names)
        label = numbering.count(paragraph) if text.strip() else ""
        lines.append(f"{label} {text}" if label else text)
    return [line for line in lines if line.strip()]


class _Numbering:
    """Counts the paragraphs of a text body."""

    def __init__(self, body: Element, names: Names) -> None:
        """Read the numbers that the body has for each level: elements such as `a:lvl1pPr`."""
        self._names = names
        self._counters: dict[int, int] = {}
        style = find_child(body, names, "a:lstStyle")
        levels = style if style is not None else ()
        self._forms = {names[level.tag]: find_child(level, names, "a:buAutoNum") for level in levels}

    def count(self, paragraph: Element) -> str:
        """Return the number of a paragraph in its list, or an empty string."""
        properties = find_child(paragraph, self._names, "a:pPr")
        if properties is None and not self._forms:
            self._counters.clear()
            return ""
        level = to_int(properties.get("lvl")) if properties is not None else 0
        level = min(max(level, 0), LEVELS - 1)
        form = find_child(properties, self._names, "a:buAutoNum")
        if form is None and not _has_bullet(properties, self._names):
            form = self._forms.get(f"a:lvl{level + 1}pPr")
        for below in range(level if form is None else level + 1, LEVELS):
            self._counters.pop(below, None)
        if form is None:
            return ""
        before = self._counters.get(level, to_int(form.get("startAt"), 1) - 1)
        self._counters[level] = before + 1
        found = AUTOMATIC.match(form.get("type") or "")
        kind, shape = (found[1], found[2]) if found else ("arabic", "Period")
        return SHAPES[shape].format(format_number(before + 1, FORMS.get(kind, "decimal")))


def _has_bullet(properties: Element | None, names: Names) -> bool:
    """Return True if the paragraph says itself which bullet it has, or that it has none."""
    children = properties if properties is not None else ()
    return any(names[child.tag] in ("a:buNone", "a:buChar", "a:buBlip") for child in children)


def read_paragraph(paragraph: Element, names: Names) -> str:
    """Return the text of a paragraph, with formulas on one line."""
    pieces: list[str] = []
    for child in paragraph:
        name = names[child.tag]
        if name == "a:r":
            _read_run(child, pieces, names)
        elif name not in UNREAD:
            _read_content(child, pieces, names)
    return "".join(pieces)


def _read_run(run: Element, pieces: list[str], names: Names) -> None:
    """Read a run. A superscript digit is kept apart from the number before it: 10^6, not 106."""
    baseline = 0
    for child in run:
        name = names[child.tag]
        if name == "a:rPr":
            baseline = to_int(child.get("baseline"))
        elif name == "a:t" and child.text:
            if baseline > 0 and child.text[0].isdigit() and pieces and pieces[-1][-1:].isdigit():
                pieces.append("^")
            pieces.append(child.text)


def _read_content(root: Element, pieces: list[str], names: Names) -> None:
    """Read an element that may contain others, such as a formula. Not recursive: nesting has no limit."""
    places: list[int] = []
    stack: list[Element | str | Group] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif item is Group.BEGIN:
            places.append(begin_group(pieces))
        elif item is Group.END:
            end_group(pieces, places.pop())
        elif isinstance(item, Element):
            stack += reversed(_unfold(item, names))


def _unfold(element: Element, names: Names) -> list[Element | str | Group]:
    """Return what an element shows: text, and elements that are read in turn."""
    name = names[element.tag]
    if name in ("a:t", "m:t"):
        return [element.text or ""]
    if name == "a:br":
        return ["\n"]
    if name == "mc:AlternateContent":
        return list(choose(element))
    if name in STRUCTURES:
        return unfold(element, names)
    return [] if name in UNREAD else list(element)


def read_table(table: Element, names: Names) -> list[str]:
    """Return the rows of a table as lines. A merged cell is repeated in each of its rows."""
    above: dict[int, str] = {}
    return [line for row in find_all(table, names, "a:tr") if (line := _read_row(row, above, names))]


def _read_row(row: Element, above: dict[int, str], names: Names) -> str:
    texts = []
    for column, cell in enumerate(find_all(row, names, "a:tc")):
        if cell.get("hMerge") in ("1", "true"):
            continue
        if cell.get("vMerge") in ("1", "true"):
            texts.append(above.get(column, ""))
            continue
        text = join_words(read_paragraphs(cell, names))
        above[column] = text if len(text) <= MAX_REPEATED else ""
        texts.append(text)
    return CELL.join(filter(None, texts))


def join_words(lines: Iterable[str]) -> str:
    """Return lines as one, with single spaces."""
    return " ".join(" ".join(lines).split())
