"""The end of a worker process that has met a programming error."""

import asyncio
import os
import sys

from pipeline.logs import get_logger


def exit_on_failure(task: asyncio.Task[None]) -> None:
    """End the process with code 1 if the task has failed. A worker that claims nothing must not stay alive.

    The process ends at once, because arq knows no such end, and threads of the model could delay another one. The
    supervisor starts the worker again.
    """
    if task.cancelled() or task.exception() is None:
        return
    get_logger().error("worker.failed", exc_info=task.exception())
    sys.stderr.flush()
    os._exit(1)
