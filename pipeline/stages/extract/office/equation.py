"""Formulas of `EQ` fields, which Word shows without a stored result, as one line of text."""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(r'\\\* ?(?:"[^"]*"|\w*)|\\([a-z]+) ?-?\d*|\\(.)|([(),;])|([^\\(),;]+)', re.IGNORECASE | re.DOTALL)
"""A format switch, a command or option, a quoted character, a sign between operands, or text."""
BRACKETS = frozenset({"lc", "rc", "bc"})
PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
SIGNS = {"su": "∑", "pr": "∏"}


@dataclass(slots=True)
class _Call:
    """A command with its options and operands. Without a command, it is text in parentheses."""

    words: list[str]
    brackets: str
    operands: list[str] = field(default_factory=lambda: [""])

    def write(self, text: str) -> None:
        self.operands[-1] += text


def read_equation(instruction: str) -> str:
    r"""Return the text of an equation: `a/b` for `\f(a,b)`. A reading above a word is left out.

    Not recursive: nesting has no limit.
    """
    calls = [_Call([], "")]
    words: list[str] = []
    brackets = ""
    for found in TOKEN.finditer(instruction):
        word, quoted, sign, text = found.groups()
        if word:
            words.append(word.lower())
        elif quoted and words and words[-1] in BRACKETS:
            brackets += quoted
        elif sign == "(":
            calls.append(_Call(words, brackets))
            words, brackets = [], ""
        elif sign == ")" and len(calls) > 1:
            done = calls.pop()
            calls[-1].write(_write(done))
        elif sign in (",", ";") and calls[-1].words:
            calls[-1].operands.append("")
        else:
            calls[-1].write(quoted or sign or text or "")
    while len(calls) > 1:
        done = calls.pop()
        calls[-1].write(_write(done))
    return " ".join(calls[0].operands[0].split())


def _write(call: _Call) -> str:
    operands = [operand.strip() for operand in call.operands]
    text = ", ".join(filter(None, operands))
    match call.words[:1], operands:
        case ["f"], [above, below]:
            text = f"{_group(above)}/{_group(below)}"
        case ["r"], [*degree, root]:
            text = f"{''.join(degree)}√{_group(root)}"
        case ["s"], _:
            text = ("_" if "do" in call.words else "^") + _group("".join(operands))
        case ["o"], _:
            plain = [operand for operand in operands if not operand.startswith(("^", "_"))]
            text = "".join(plain or operands)
        case ["b"], _:
            begin = call.brackets[:1] or "("
            text = f"{begin}{text}{call.brackets[1:] or PAIRS.get(begin, begin)}"
        case ["i"], [low, high, body]:
            sign = next((SIGNS[word] for word in call.words if word in SIGNS), "∫")
            text = f"{sign}_{_group(low)}^{_group(high)} {body}"
        case [], _:
            text = f"({text})"
    return text


def _group(text: str) -> str:
    return text if text.isalnum() or len(text) == 1 else f"({text})"
