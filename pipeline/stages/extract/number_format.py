"""Numbers as a spreadsheet shows them, by their number format (ECMA-376, part 1, 18.8.30)."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple

BUILT_IN = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    **dict.fromkeys((14, 15, 16, 17, *range(27, 32), 36, *range(50, 59)), "yyyy-mm-dd"),
    **dict.fromkeys((18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47), "hh:mm:ss"),
    22: "yyyy-mm-dd hh:mm",
    37: "#,##0",
    38: "#,##0",
    39: "#,##0.00",
    40: "#,##0.00",
    44: "#,##0.00",
}
"""Formats that files name by number only. Most show a date in the order of the reader's country."""
LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*+)[^\]]*+\]|_.|\*.', re.DOTALL)
"""Text that a format shows as it is, a currency, or a space of a certain width."""
CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?[0-9.]{1,30})\]")
BRACKETS = re.compile(r"\[[^\]]*\]")
DIGITS = re.compile(r"[#0?][#0?,.]*")
MASK = re.compile(r"[#0?](?:[^.]*[#0?])?", re.DOTALL)
"""The places of digits with signs between them, as in `000-000`."""
COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": le, ">=": ge, "<>": ne, "<": lt, ">": gt, "=": eq}
ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - sheets have no time zones
EPOCH_1904 = datetime(1904, 1, 1)  # noqa: DTZ001 - sheets have no time zones
LAST_DAY = 2_958_465
"""The last day of the year 9999."""
LONGEST_CODE = 1000
"""Longest format that is read, in characters. Excel allows 255."""
MAX_DECIMALS = 30
MAX_THOUSANDS = 5
PROTECTED = {code: 0xE000 + code for code in range(128)}
SHOWN = {shown: code for code, shown in PROTECTED.items()}
MAX_INTEGER = 1e15


class Pattern(NamedTuple):
    """What a part of a number format says: date and time, or the signs around a number, and its digits."""

    has_date: bool = False
    has_time: bool = False
    before: str = ""
    after: str = ""
    decimals: int | None = None
    digits: int = 0
    is_grouped: bool = False
    thousands: int = 0
    """How often the number is divided by 1,000 to be shown."""
    mask: str = ""
    """The places of digits, if there are signs between them."""
    is_text: bool = False
    """True if the format shows its own text and no digits. The text may be empty."""


class Part(NamedTuple):
    """A part of a number format, and the numbers that it is for. Without a comparison, it is for all."""

    comparison: str
    limit: float
    pattern: Pattern


def show_number(value: float, code: str, *, since_1904: bool = False) -> str:
    """Return a number in a format. Dates are ISO 8601, whatever their order on the sheet."""
    parts = read_parts(code)
    index = next((n for n, part in enumerate(parts) if _fits(value, part)), len(parts) - 1)
    pattern = parts[index].pattern
    if pattern.has_date or pattern.has_time:
        return _show_moment(value, pattern, EPOCH_1904 if since_1904 else EPOCH)
    if pattern.is_text:
        return pattern.before.strip()
    if pattern.decimals is None:
        return show_plain(value)
    digits = _show_digits(abs(value) * 100 ** ("%" in pattern.after), pattern)
    # Parts for negative numbers show the sign themselves, for example as parentheses.
    has_sign = value < 0 and len(parts) == 1 and digits.strip("0.,")
    return f"{'-' if has_sign else ''}{pattern.before}{digits}{pattern.after}".strip()


def _fits(value: float, part: Part) -> bool:
    return not part.comparison or COMPARE[part.comparison](value, part.limit)


def _show_digits(value: float, pattern: Pattern) -> str:
    digits = f"{value / 1000**pattern.thousands:{',' if pattern.is_grouped else ''}.{pattern.decimals}f}"
    if pattern.mask:
        return _fill_mask(digits, pattern.mask)
    whole, point, rest = digits.partition(".")
    if whole == "0" and not point and not pattern.digits:
        return ""
    return whole.rjust(pattern.digits, "0") + point + rest


def _fill_mask(digits: str, mask: str) -> str:
    """Put digits into their places, from the right. The first place takes all that are left."""
    left = list(digits.lstrip("0"))
    shown: list[str] = []
    is_open = True
    for sign in reversed(mask):
        if sign not in "#0?":
            shown += [sign] if is_open else []
        elif left:
            shown.append(left.pop())
        else:
            shown += ["0"] if sign == "0" else []
            is_open = sign == "0"
    return "".join([*left, *reversed(shown)])


def show_plain(value: float) -> str:
    """Return a number without a format: all digits of an integer, 11 digits of others."""
    return str(int(value)) if value == int(value) and abs(value) < MAX_INTEGER else f"{value:.11g}"


@lru_cache(maxsize=1000)
def read_parts(code: str) -> tuple[Part, ...]:
    """Read a number format: its parts for positive and negative numbers and zero, or for its conditions."""
    if not code.strip():
        return (Part("", 0.0, Pattern()),)
    sections = LITERAL.sub(_protect, code[:LONGEST_CODE]).split(";")[:3]
    conditions = [CONDITION.search(section) for section in sections]
    if any(conditions):
        found = [(each[1], float(each[2])) if each and each[2].count(".") < 2 else ("", 0.0) for each in conditions]
    else:
        found = [(">=", 0.0), ("<", 0.0)] if len(sections) == 2 else [(">", 0.0), ("<", 0.0), ("", 0.0)]
    return tuple(
        Part(comparison if len(sections) > 1 else "", limit, _read_pattern(section))
        for (comparison, limit), section in zip(found, sections, strict=False)
    )


def _read_pattern(section: str) -> Pattern:
    """Read a part of a number format."""
    if ELAPSED.search(section):
        return Pattern(has_time=True)
    section = BRACKETS.sub("", section)
    bare = section.lower()
    if "general" in bare or "@" in bare:
        return Pattern()
    has_date, has_time = bool(set("yd") & set(bare)) or "mmm" in bare, bool(set("hs") & set(bare))
    digits = DIGITS.search(section)
    if has_date or has_time or "e+" in bare or "/" in bare:
        return Pattern(has_date, has_time)
    if not digits:
        return Pattern(is_text=True, before=section.translate(SHOWN))
    mask = MASK.search(section)
    if mask and not DIGITS.fullmatch(mask[0]):
        before, after = section[: mask.start()].translate(SHOWN), section[mask.end() :].translate(SHOWN)
        return Pattern(before=before, after=after, decimals=0, mask=mask[0].translate(SHOWN))
    places = digits[0].rstrip(",")
    whole, _, decimals = places.partition(".")
    before, after = section[: digits.start()].translate(SHOWN), section[digits.end() :].translate(SHOWN)
    return Pattern(
        before=before,
        after=after,
        decimals=min(sum(map(decimals.count, "0#?")), MAX_DECIMALS),
        digits=min(whole.count("0"), MAX_DECIMALS),
        is_grouped="," in whole,
        thousands=min(len(digits[0]) - len(places), MAX_THOUSANDS),
    )


def _protect(found: re.Match[str]) -> str:
    """Return literal text in characters that stand for nothing else."""
    return (found[1] or found[2] or found[3] or (" " if found[0].startswith("_") else "")).translate(PROTECTED)


def _show_moment(value: float, pattern: Pattern, epoch: datetime) -> str:
    if not 0 <= value <= LAST_DAY:
        return show_plain(value)
    moment = epoch + timedelta(seconds=round(value * 86_400))
    if not pattern.has_date:
        minutes, seconds = divmod(round(value * 86_400), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
    return moment.strftime(
        "%Y-%m-%d" + (" %H:%M" if pattern.has_time else "") + (":%S" if pattern.has_time and moment.second else "")
    )
