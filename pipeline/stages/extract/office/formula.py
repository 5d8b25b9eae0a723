"""Formulas (OMML) as one line of text, such as `a^2 + b_i` or `(a + b)/(2c)`."""

from collections.abc import Sequence
from enum import Enum

from pipeline.stages.extract.office.names import OFF, Names, get_attribute, is_on
from pipeline.stages.extract.xml import Element


class Group(Enum):
    """Begin and end of an operand. It is put into parentheses unless it is one number, one word or one sign."""

    BEGIN = "begin"
    END = "end"


Item = Element | str | Group
PATTERNS: dict[str, tuple[tuple[str, str], ...]] = {
    "m:f": (("", "m:num"), ("/", "m:den")),
    "m:sSup": (("", "m:e"), ("^", "m:sup")),
    "m:sSub": (("", "m:e"), ("_", "m:sub")),
    "m:sSubSup": (("", "m:e"), ("_", "m:sub"), ("^", "m:sup")),
    "m:sPre": (("_", "m:sub"), ("^", "m:sup"), (" ", "m:e")),
    "m:limLow": (("", "m:e"), ("_", "m:lim")),
    "m:limUpp": (("", "m:e"), ("^", "m:lim")),
}
"""For each structure its operands, and the sign before each."""
STRUCTURES = frozenset(
    {*PATTERNS, "m:rad", "m:nary", "m:d", "m:func", "m:m", "m:mr", "m:eqArr", "m:acc", "m:oMathPara", "m:phant"}
)


def unfold(element: Element, names: Names) -> list[Item]:
    """Return the signs and operands of a structure, in order. Operands may contain structures themselves."""
    name = names[element.tag]
    operands: dict[str, Element] = {names[child.tag]: child for child in element}
    if name in PATTERNS:
        parts = [(sign, operands.get(operand)) for sign, operand in PATTERNS[name]]
        items: list[Item] = []
        if name == "m:f" and _get(operands.get("m:fPr"), names, "m:type", "") == "noBar":
            parts[1] = (" ", parts[1][1])
        for sign, operand in parts:
            items += [sign, *_group(operand)] if _is_full(operand) else []
        return items
    if name == "m:oMathPara":
        return _join([child for child in element if names[child.tag] == "m:oMath"], "\n")
    if name in ("m:d", "m:m", "m:mr", "m:eqArr"):
        return _unfold_list(element, name, names)
    return _unfold_operation(operands, name, names)


def _unfold_operation(operands: dict[str, Element], name: str, names: Names) -> list[Item]:
    """Return a root, a function, a letter with an accent, or a sum."""
    match name:
        case "m:rad":
            is_shown = _is_full(operands.get("m:deg")) and not _has(operands.get("m:radPr"), names, "m:degHide")
            degree = _group(operands.get("m:deg")) if is_shown else []
            return [*degree, "√", *_group(operands.get("m:e"))]
        case "m:func":
            return [*_find(operands, "m:fName"), " ", *_find(operands, "m:e")]
        case "m:phant" if _get(operands.get("m:phantPr"), names, "m:show", "1") in OFF:
            return []
        case "m:phant":
            return _find(operands, "m:e")
        case "m:acc":
            return [*_find(operands, "m:e"), _get(operands.get("m:accPr"), names, "m:chr", "\u0302")]
    return _unfold_sum(operands, names)


def _unfold_list(element: Element, name: str, names: Names) -> list[Item]:
    """Return what is between brackets, a matrix, a row of it, or equations below each other."""
    inner = [child for child in element if names[child.tag] in ("m:e", "m:mr")]
    if name == "m:d":
        properties = next((child for child in element if names[child.tag] == "m:dPr"), None)
        begin, end = (_get(properties, names, key, sign) for key, sign in (("m:begChr", "("), ("m:endChr", ")")))
        return [begin, *_join(inner, _get(properties, names, "m:sepChr", "|")), end]
    return _join(inner, ", " if name == "m:mr" else "; ")


def _unfold_sum(operands: dict[str, Element], names: Names) -> list[Item]:
    """Return a sum, an integral or a product with its bounds."""
    bounds: list[Item] = []
    for sign, name in (("_", "m:sub"), ("^", "m:sup")):
        if _is_full(bound := operands.get(name)) and not _has(operands.get("m:naryPr"), names, f"{name}Hide"):
            bounds += [sign, *_group(bound)]
    return [_get(operands.get("m:naryPr"), names, "m:chr", "∫"), *bounds, " ", *_find(operands, "m:e")]


def _join(elements: Sequence[Element], separator: str) -> list[Item]:
    joined: list[Item] = []
    for element in elements:
        joined += [separator, element]
    return joined[1:]


def _find(operands: dict[str, Element], name: str) -> list[Item]:
    return [operands[name]] if name in operands else []


def _group(operand: Element | None) -> list[Item]:
    return [] if operand is None else [Group.BEGIN, operand, Group.END]


def _is_full(operand: Element | None) -> bool:
    return operand is not None and len(operand) > 0


def _get(properties: Element | None, names: Names, name: str, default: str) -> str:
    """Return the sign that the properties name: the default if they do not, an empty string if they name none."""
    for child in properties if properties is not None else ():
        if names[child.tag] == name:
            return get_attribute(child, "val") or ""
    return default


def _has(properties: Element | None, names: Names, name: str) -> bool:
    """Return True if a property is set and on."""
    return any(names[child.tag] == name and is_on(child) for child in (properties if properties is not None else ()))


def begin_group(pieces: list[str]) -> int:
    """Keep a place for a parenthesis, and return it."""
    pieces.append("")
    return len(pieces) - 1


def end_group(pieces: list[str], place: int) -> None:
    """Put the pieces after a place into parentheses, unless they are one number, one word or one sign."""
    inner = pieces[place + 1 :] if len(pieces) - place <= 2 else None
    if inner is None or not all(piece.isalpha() or piece.isdigit() or len(piece) == 1 for piece in inner):
        pieces[place] = "("
        pieces.append(")")
