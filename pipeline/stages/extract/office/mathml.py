"""Formulas in MathML as one line of text, such as `a^2 + b_i`."""

from pipeline.stages.extract.office.formula import Group, begin_group, end_group
from pipeline.stages.extract.xml import Element, get_name

SIGNS = {
    "mfrac": ("", "/"),
    "msup": ("", "^"),
    "msub": ("", "_"),
    "msubsup": ("", "_", "^"),
    "munder": ("", "_"),
    "mover": ("", "^"),
    "munderover": ("", "_", "^"),
}
"""For each structure the signs before its operands."""
SEPARATORS = {"mtable": "; ", "mtr": ", "}
TEXTS = frozenset({"mi", "mn", "mo", "mtext", "ms"})
UNREAD = frozenset({"annotation", "annotation-xml", "mphantom"})
Item = Element | str | Group


def read_formula(root: Element) -> str:
    """Return a formula on one line. Not recursive: nesting has no limit."""
    pieces: list[str] = []
    places: list[int] = []
    stack: list[Item] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif item is Group.BEGIN:
            places.append(begin_group(pieces))
        elif item is Group.END:
            end_group(pieces, places.pop())
        elif isinstance(item, Element):
            stack += reversed(_unfold(item))
    return "".join(pieces)


def _unfold(element: Element) -> list[Item]:
    """Return what an element shows: text, signs, and elements that are read in turn."""
    name = get_name(element)
    if name in UNREAD:
        return []
    if name in TEXTS:
        return ["".join(element.itertext()).strip()]
    return _arrange(name, element)


def _arrange(name: str, element: Element) -> list[Item]:
    """Return the operands of a structure, and the signs that stand for their places."""
    children = list(element)
    items: list[Item] = []
    match name:
        case "mroot" if len(children) > 1:
            items = [children[1], "√", *_group(children[:1])]
        case "msqrt":
            items = ["√", *_group(children)]
        case "mfenced":
            inner = _join(children, element.get("separators", ",")[:1])
            items = [element.get("open", "("), *inner, element.get("close", ")")]
        case _ if len(children) == len(SIGNS.get(name, ())):
            for sign, child in zip(SIGNS.get(name, ()), children, strict=True):
                items += [sign, *_group([child])]
            items += [" "] if name == "munderover" else []
        case _:
            items = _join(children, SEPARATORS.get(name, ""))
    return items


def _group(operands: list[Element]) -> list[Item]:
    return [Group.BEGIN, *operands, Group.END]


def _join(children: list[Element], separator: str) -> list[Item]:
    joined: list[Item] = []
    for child in children:
        joined += [separator, child]
    return joined[1:]
