"""JSON as people write it: comments, trailing commas, names without quotes (JSON5). In time linear in its size."""

import json
import re

TOKEN = re.compile(
    r'"(?:[^"\\]++|\\.)*+"?'
    r"|(?P<single>'(?:[^'\\]++|\\.)*+'?)"
    r"|(?P<comment>//[^\n]*+|#[^\n]*+|/\*(?:.*?\*/|.*+))"
    r"|(?P<bare>[^\s\"'{}\[\]:,/#]++)",
    re.DOTALL,
)
"""A string, a comment or a bare word. What is not closed goes on to the end of the text."""
TRAILING_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+"?)|,(?=\s*[}\]])', re.DOTALL)
STRICT = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d+)?)", re.ASCII)
COLON = re.compile(r"\s*:")
ESCAPE = re.compile(r"\\(.)|(\")", re.DOTALL)
"""An escape sequence, or a double quote."""
KEPT_ESCAPES = frozenset("\\/bfnrtu")


def make_strict(text: str) -> str:
    """Return strict JSON with the same values, if the text is JSON5. Numbers that JSON lacks become strings."""
    return TRAILING_COMMA.sub(lambda found: found[1] or "", TOKEN.sub(_translate, text))


def _translate(found: re.Match[str]) -> str:
    if found["comment"]:
        return " "
    if single := found["single"]:
        return f'"{ESCAPE.sub(_translate_escape, single[1:-1])}"'
    bare = found["bare"]
    if bare and not STRICT.fullmatch(bare) and (NUMBER.fullmatch(bare) or COLON.match(found.string, found.end())):
        return json.dumps(bare, ensure_ascii=False)
    return found[0]


def _translate_escape(found: re.Match[str]) -> str:
    escaped = found[1]
    if found[2] or escaped == '"':
        return r"\""
    if escaped in KEPT_ESCAPES:
        return found[0]
    return "" if escaped == "\n" else escaped
