"""Which failures are retried, and after which pause. This module waits for nothing itself."""

import random
from dataclasses import dataclass
from time import monotonic

import httpx2

from sluice_client.errors import Problem, RateLimited, Unavailable
from sluice_client.responses import read_problem, read_retry_after

PATIENCE_SECONDS = 120.0
MIN_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 10.0

UNAVAILABLE_STATUSES = frozenset({408, 502, 503, 504, 507})
"""Retried: a slow upload, a proxy without its service, and a service without its database or with a full disk."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is repeated, in seconds: while the service is unavailable, and while it limits the rate."""

    unavailable: float = PATIENCE_SECONDS
    limited: float = PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next attempt, and why."""

    reason: str
    seconds: float

    def describe(self) -> str:
        """Return what a user is told."""
        return f"{self.reason}; retrying in {max(1, round(self.seconds))} s"


class Attempts:
    """The attempts at one request. The pauses between them grow, and their sum is bounded.

    A request that is not `repeatable` could do its work twice. It is repeated only if it certainly has not been
    carried out: if the connection was never made, and after 429.
    """

    def __init__(self, patience: Patience, *, repeatable: bool) -> None:
        self.pauses = 0
        """How many pauses there were."""
        self._patience = patience
        self._repeatable = repeatable
        self._ends_at: float | None = None
        self._limits_end_at: float | None = None
        self._pause = MIN_PAUSE_SECONDS

    def judge_failure(self, url: str, error: httpx2.RequestError) -> Pause:
        """Return the pause after a request without a response.

        Raises Unavailable if it should not be repeated.
        """
        problem = Problem("unreachable", f"{url} does not answer ({_explain(error)})")
        was_sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        return self._pause_after(problem, None, was_sent=was_sent)

    def judge_response(self, response: httpx2.Response) -> Pause | None:
        """Return the pause after a response, or None if the request is done.

        Raises RateLimited and Unavailable if it should not be repeated any more.
        """
        if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            return self._pause_for_limit(read_problem(response), read_retry_after(response) or MAX_PAUSE_SECONDS)
        if response.status_code not in UNAVAILABLE_STATUSES:
            return None
        problem = read_problem(response)
        if problem.code == "answer_unavailable":
            return None
        return self._pause_after(problem, read_retry_after(response), was_sent=True)

    def _pause_for_limit(self, problem: Problem, seconds: float) -> Pause:
        now = monotonic()
        if self._limits_end_at is None:
            self._limits_end_at = now + self._patience.limited
        if now + seconds > self._limits_end_at:
            raise RateLimited(problem)
        self.pauses += 1
        return Pause(problem.detail.rstrip("."), seconds)

    def _pause_after(self, problem: Problem, retry_after: float | None, *, was_sent: bool) -> Pause:
        reason = problem.detail.rstrip(".")
        if was_sent and not self._repeatable:
            detail = f"{reason}; the request may have been carried out, so it was not repeated"
            raise Unavailable(Problem("unreachable", detail, problem.status, problem.request_id))
        now = monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._patience.unavailable
        if now >= self._ends_at:
            detail = f"{reason}; gave up after {self._patience.unavailable:g} s"
            raise Unavailable(Problem("unreachable", detail, problem.status, problem.request_id))
        # Jitter keeps clients from retrying in step.
        pause = self._pause * random.uniform(0.75, 1.25) if retry_after is None else retry_after  # noqa: S311 - jitter, not a secret
        self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS)
        self.pauses += 1
        return Pause(reason, min(pause, self._ends_at - now))


def _explain(error: httpx2.RequestError) -> str:
    match error:
        case httpx2.ConnectError():
            return "connection failed"
        case httpx2.TimeoutException():
            return "timed out"
        case _:
            return "connection lost"
