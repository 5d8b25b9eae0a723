"""Threads that are started early, because the process may not get any more later."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

MAX_THREADS = 32


def make_executor(threads: int = min(MAX_THREADS, (os.cpu_count() or 1) + 4)) -> ThreadPoolExecutor:
    """Return an executor all of whose threads have started. As an event loop's default, it has asyncio's own size.

    An ordinary executor starts its threads when it needs them, which fails at a limit on processes. Raises RuntimeError
    if a thread cannot be started.
    """
    executor = ThreadPoolExecutor(threads)
    everybody = threading.Barrier(threads + 1)
    for _ in range(threads):
        executor.submit(everybody.wait)
    everybody.wait()
    return executor
