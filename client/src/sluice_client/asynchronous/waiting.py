"""Waits until a document or note is ready."""

import asyncio
from time import monotonic
from typing import TypeVar

from sluice_client.asynchronous.connection import AsyncConnection
from sluice_client.errors import IngestionFailed, Problem, WaitTimeout
from sluice_client.models import Document, Note
from sluice_client.responses import decode

HOLD_SECONDS = 20
"""How long the service holds a request that waits for a change."""
MIN_POLL_SECONDS = 0.5
"""Between two requests that the service did not hold."""

Subject = TypeVar("Subject", Document, Note)


async def wait_until_terminal(
    connection: AsyncConnection, path: str, kind: type[Subject], timeout_seconds: float | None
) -> Subject:
    """Wait until it is `ready`.

    Raises IngestionFailed if it becomes `failed`, WaitTimeout, and other errors.
    """
    ends_at = None if timeout_seconds is None else monotonic() + timeout_seconds
    while True:
        asked_at = monotonic()
        left = HOLD_SECONDS if ends_at is None else max(0.0, min(HOLD_SECONDS, ends_at - asked_at))
        response = await connection.send("GET", path, headers={"Prefer": f"wait={int(left)}"})
        subject = decode(response, kind)
        if subject.status == "failed" and subject.error:
            raise IngestionFailed(Problem(subject.error.code, subject.error.message), subject.id)
        if subject.status == "ready":
            return subject
        if ends_at is not None and monotonic() >= ends_at:
            raise WaitTimeout(f"{subject.id} is still {subject.status} after {timeout_seconds:g} s")
        await asyncio.sleep(max(0.0, min(MIN_POLL_SECONDS - (monotonic() - asked_at), left)))
