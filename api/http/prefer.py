"""The `Prefer` header (RFC 7240)."""

import re

MAX_WAIT_SECONDS = 30
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)


def parse_wait(prefer: str | None) -> int | None:
    """Return N of `wait=N`, 30 at most; None where the client has no such wish. Unknown wishes are ignored."""
    found = WAIT.search(prefer or "")
    return min(int(found[1]), MAX_WAIT_SECONDS) if found else None
