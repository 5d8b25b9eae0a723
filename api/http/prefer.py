"""Parses the header `Prefer: wait=N` (RFC 7240): the client waits for a change. Litestar ignores the header."""

import re
from typing import Annotated

from litestar.params import HeaderParameter

Prefer = Annotated[
    str | None,
    HeaderParameter(name="Prefer", description="`wait=N`: wait up to N seconds, at most 30, for a new status."),
]
"""The header, as a parameter of a handler."""
MAX_WAIT_SECONDS = 30
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)


def parse_wait(prefer: str | None) -> int | None:
    """Return N of `wait=N`, at most 30, or None if the header has no `wait`. Other preferences are ignored."""
    found = WAIT.search(prefer or "")
    return min(int(found[1]), MAX_WAIT_SECONDS) if found else None


def confirm_wait(wait: int | None) -> dict[str, str]:
    """Return the header that confirms `wait=N`, or no header."""
    return {} if wait is None else {"Preference-Applied": f"wait={wait}"}
