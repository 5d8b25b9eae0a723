"""Text of DrawingML: paragraphs with list numbers, and tables."""

import re
from collections.abc import Iterable, Mapping

from pipeline.stages.extract.counting import format_number
from pipeline.stages.extract.office.formula import STRUCTURES, Group, begin_group, end_group, unfold
from pipeline.stages.extract.office.names import Names, choose, find_all, find_child, to_int, unescape
from pipeline.stages.extract.office.symbols import replace_symbols
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
Forms = Mapping[str, Element | None]
"""Automatic numbers by level, such as `a:lvl1pPr`. None stands for a bullet, or for nothing."""
NOTHING: Forms = {}
SHAPES = {"Period": "{}.", "ParenR": "{})", "ParenBoth": "({})", "Minus": "{} -", "Plain": "{}"}
FONTS = ("a:latin", "a:sym")
UNREAD = frozenset({"a:pPr", "a:rPr", "a:endParaRPr", "m:ctrlPr"})


def read_forms(body: Element, names: Names) -> Forms:
    """Return the numbers or bullets that a text body sets for its levels."""
    style = find_child(body, names, "a:lstStyle")
    levels = style if style is not None else ()
    return {names[level.tag]: find_child(level, names, "a:buAutoNum") for level in levels if _has_bullet(level, names)}


def read_paragraphs(body: Element, names: Names, inherited: Forms = NOTHING) -> list[str]:
    """Return the lines of all paragraphs in a text body, with the numbers of lists. Empty ones are left out.

    `inherited` has the numbers of levels for which the body has none.
    """
    numbering = _Numbering(names, {**inherited, **read_forms(body, names)})
    lines = []
    for paragraph in find_all(body, names, "a:p"):
        text = read_paragraph(paragraph, names).strip("\n")
        label = numbering.count(paragraph) if text.strip() else ""
        lines.append(f"{label} {text}" if label else text)
    return [line for line in lines if line.strip()]


class _Numbering:
    """Counts the paragraphs of a text body."""

    def __init__(self, names: Names, forms: Forms) -> None:
        self._names = names
        self._counters: dict[int, tuple[dict[str, str], int]] = {}
        self._forms = forms

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
        before, number = self._counters.get(level, ({}, 0))
        number = number + 1 if before == form.attrib else to_int(form.get("startAt"), 1)
        self._counters[level] = form.attrib, number
        found = AUTOMATIC.match(form.get("type") or "")
        kind, shape = (found[1], found[2]) if found else ("arabic", "Period")
        return SHAPES[shape].format(format_number(number, FORMS.get(kind, "decimal")))


def _has_bullet(properties: Element | None, names: Names) -> bool:
    """Return True if the paragraph says itself which number or bullet it has, or that it has none."""
    children = properties if properties is not None else ()
    return any(names[child.tag] in ("a:buNone", "a:buChar", "a:buBlip", "a:buAutoNum") for child in children)


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
    baseline, fonts = 0, {}
    for child in run:
        name = names[child.tag]
        if name == "a:rPr":
            baseline = to_int(child.get("baseline"))
            fonts = {names[font.tag]: font.get("typeface", "") for font in child if names[font.tag] in FONTS}
        elif name == "a:t" and child.text:
            if baseline > 0 and child.text[0].isdigit() and pieces and pieces[-1][-1:].isdigit():
                pieces.append("^")
            pieces.append(_replace_symbols(unescape(child.text), fonts))


def _replace_symbols(text: str, fonts: dict[str, str]) -> str:
    """Return the text as its fonts show it.

    PowerPoint writes an arrow as `à` with Wingdings as the font of symbols. The text behind it often keeps that font.
    """
    is_sign = len(text.strip()) == 1 and not text.isascii()
    return replace_symbols(text, fonts.get("a:latin", "") or (fonts.get("a:sym", "") if is_sign else ""))


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
        return [unescape(element.text or "")]
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
