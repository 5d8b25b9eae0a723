"""Times of requests."""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field


@dataclass
class Times:
    """Seconds that each request took, and that all of them took together."""

    each: list[float] = field(default_factory=list)
    total: float = 0.0

    @property
    def p50(self) -> float:
        """Median in seconds."""
        return statistics.median(self.each)

    @property
    def p95(self) -> float:
        """95th percentile in seconds."""
        return statistics.quantiles(self.each, n=20)[-1]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.each) / self.total


def time_requests(ask: Callable[[str], object], questions: Sequence[str], clients: int) -> Times:
    """Ask each question once, with `clients` requests at a time."""
    times = Times()

    def ask_one(question: str) -> None:
        started = time.perf_counter()
        ask(question)
        times.each.append(time.perf_counter() - started)

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(ask_one, questions))
    times.total = time.perf_counter() - started
    return times
