"""Fields of a Word document: an instruction, and the result that Word shows."""

from dataclasses import dataclass

from pipeline.stages.extract.office.equation import read_equation
from pipeline.stages.extract.office.names import Names, find_all, get_attribute, is_on, to_int
from pipeline.stages.extract.office.symbols import read_symbol
from pipeline.stages.extract.xml import Element

CHECKED, UNCHECKED = "☒", "☐"
MAX_INSTRUCTION = 1000
"""Longest instruction of a field, in characters, that is looked at."""
SILENT = frozenset({"SET", "ASK"})
"""Fields whose result Word stores, but does not show."""
CHECKBOX_VALUES = ("w:checked", "w:default")


@dataclass(slots=True)
class Field:
    """A field: its instruction comes first, and then its result, which Word shows."""

    in_result: bool = False
    is_ended: bool = False
    instruction: str = ""
    form: str = ""
    """Text of a check box or drop-down list."""
    pieces: int = 0
    """Number of pieces of the paragraph before the result."""

    @property
    def is_silent(self) -> bool:
        """True if Word does not show the result."""
        return any(word.upper() in SILENT for word in self.instruction.split(maxsplit=1)[:1])


def pair_fields(root: Element, names: Names) -> dict[int, int]:
    """Return the ids of the marks of all fields, and for each the id of the mark that begins its field.

    A begin without an end is left out, and so is an end without a begin.
    """
    begun: list[list[Element]] = []
    partners: dict[int, int] = {}
    for element in root.iter():
        if names[element.tag] != "w:fldChar":
            continue
        match get_attribute(element, "fldCharType"):
            case "begin":
                begun.append([element])
            case "separate" if begun:
                begun[-1].append(element)
            case "end" if begun:
                marks = begun.pop()
                partners |= {id(mark): id(marks[0]) for mark in (*marks, element)}
    return partners


def read_form(begin: Element, names: Names) -> str:
    """Return what a check box or drop-down list of an old form shows, or an empty string."""
    for control in find_all(begin, names, "w:checkBox", "w:ddList"):
        values = {names[child.tag]: child for child in control}
        if names[control.tag] == "w:checkBox":
            known = next((values[name] for name in CHECKBOX_VALUES if name in values), None)
            return CHECKED if known is not None and is_on(known) else UNCHECKED
        entries = [get_attribute(child, "val") or "" for child in control if names[child.tag] == "w:listEntry"]
        chosen = values.get("w:result", values.get("w:default"))
        place = to_int(get_attribute(chosen, "val")) if chosen is not None else 0
        return entries[place] if 0 <= place < len(entries) else ""
    return ""


def read_instruction(instruction: str) -> str:
    """Return the text that Word shows for a field without a result."""
    words = instruction.split()
    match [word.upper() for word in words[:1]]:
        case ["MACROBUTTON" | "GOTOBUTTON"]:
            return " ".join(words[2:])
        case ["EQ"]:
            return read_equation(instruction.strip()[2:])
        case ["SYMBOL"] if len(words) > 1:
            font = instruction.partition("\\f")[2].strip().strip('"').split('"')[0]
            code = f"{to_int(words[1]):x}" if words[1].isdigit() else words[1].lower().removeprefix("0x")
            return read_symbol(font, code)
    return ""
