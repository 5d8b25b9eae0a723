"""`python -m workers`: a worker that survives Redis outages and stops cleanly on SIGTERM or SIGINT."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

from pipeline.logs import configure_logging, get_logger
from pipeline.sandbox.kernel import hide_memory
from pipeline.settings import Settings, SettingsError, load_settings
from workers import bell
from workers.consumer import open_consumer
from workers.ending import exit_on_failure
from workers.probe import serve_probe

STOP_SECONDS = 9.0
"""Time limit for a clean stop. Supervisors kill after 10 s. The leases of unfinished jobs then expire."""
NICENESS = 10
"""Added to the process's niceness, so that an API on the same machine gets the CPU first."""


def make_stopper(stop: Callable[[], None]) -> Callable[[], None]:
    """Return a signal handler that stops the worker, and ends the process if the stop takes over 9 s."""

    def stop_in_time() -> None:
        stop()
        deadline = threading.Timer(STOP_SECONDS, _give_up)
        deadline.daemon = True
        deadline.start()

    return stop_in_time


def _give_up() -> None:
    get_logger().error("worker.stop_forced", after_seconds=STOP_SECONDS)
    os._exit(1)


async def work(settings: Settings) -> None:
    """Claim jobs until SIGTERM or SIGINT."""
    async with open_consumer(settings) as consumer:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, make_stopper(consumer.stop))
        if settings.worker_metrics_port:
            serve_probe(settings.host, settings.worker_metrics_port, consumer.find_stuck)
        claiming = asyncio.create_task(consumer.run(bell.listen(settings.redis_dsn, consumer, consumer.helpers)))
        claiming.add_done_callback(exit_on_failure)
        await claiming


def main() -> None:
    """Run a worker with the settings from the environment."""
    hide_memory()
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        os.nice(NICENESS)
        asyncio.run(work(settings))
    except SettingsError as error:
        sys.exit(f"sluice worker: {error}")
    get_logger().info("worker.stopped")
    sys.stderr.flush()
    # Exit at once: a normal exit would wait for the thread of a model that is still loading.
    os._exit(0)


if __name__ == "__main__":
    main()
