"""Numbers as a spreadsheet shows them, by their number format (ECMA-376, part 1, 18.8.30)."""

import re
from datetime import datetime, timedelta
from functools import lru_cache
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
CONDITION = re.compile(r"\[[^\]]*\]")
DIGITS = re.compile(r"[#0?][#0?,.]*")
ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - sheets have no time zones
EPOCH_1904 = datetime(1904, 1, 1)  # noqa: DTZ001 - sheets have no time zones
LAST_DAY = 2_958_465
"""The last day of the year 9999."""
LONGEST_CODE = 1000
"""Longest format that is read, in characters. Excel allows 255."""
MAX_DECIMALS = 30
PROTECTED = {code: 0xE000 + code for code in range(128)}
SHOWN = {shown: code for code, shown in PROTECTED.items()}
MAX_INTEGER = 1e15


class Pattern(NamedTuple):
    """What a number format says: date and time, or the signs around a number, and its digits."""

    has_date: bool = False
    has_time: bool = False
    before: str = ""
    after: str = ""
    decimals: int | None = None
    digits: int = 0
    is_grouped: bool = False


def show_number(value: float, code: str, *, since_1904: bool = False) -> str:
    """Return a number in a format. Dates are ISO 8601, whatever their order on the sheet."""
    pattern = read_pattern(code)
    if pattern.has_date or pattern.has_time:
        return _show_moment(value, pattern, EPOCH_1904 if since_1904 else EPOCH)
    if pattern.decimals is None:
        return show_plain(value)
    shown = abs(value) * 100 ** ("%" in pattern.after)
    digits = f"{shown:{',' if pattern.is_grouped else ''}.{pattern.decimals}f}"
    whole, point, rest = digits.partition(".")
    digits = whole.rjust(pattern.digits, "0") + point + rest
    sign = "-" if value < 0 and digits.strip("0.,") else ""
    return f"{sign}{pattern.before}{digits}{pattern.after}".strip()


def show_plain(value: float) -> str:
    """Return a number without a format: all digits of an integer, 11 digits of others."""
    return str(int(value)) if value == int(value) and abs(value) < MAX_INTEGER else f"{value:.11g}"


@lru_cache(maxsize=1000)
def read_pattern(code: str) -> Pattern:
    """Read a number format. What is no date and has no digits is `General`."""
    section = LITERAL.sub(_protect, code[:LONGEST_CODE]).split(";", maxsplit=1)[0]
    if ELAPSED.search(section):
        return Pattern(has_time=True)
    section = CONDITION.sub("", section)
    bare = section.lower()
    if "general" in bare or "@" in bare:
        return Pattern()
    has_date, has_time = bool(set("yd") & set(bare)) or "mmm" in bare, bool(set("hs") & set(bare))
    digits = DIGITS.search(section)
    if has_date or has_time or not digits or "e+" in bare or "/" in bare:
        return Pattern(has_date, has_time)
    whole, _, decimals = digits[0].partition(".")
    before, after = section[: digits.start()].translate(SHOWN), section[digits.end() :].translate(SHOWN)
    places = min(sum(map(decimals.count, "0#?")), MAX_DECIMALS)
    return Pattern(False, False, before, after, places, min(whole.count("0"), MAX_DECIMALS), "," in whole)


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
