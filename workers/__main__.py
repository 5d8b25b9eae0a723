"""`python -m workers`: a supervised worker. It outlives Redis, and stops cleanly on SIGTERM or SIGINT."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

from pipeline import metrics
from pipeline.logs import configure_logging, get_logger
from pipeline.settings import Settings, SettingsError, load_settings
from workers import bell
from workers.consumer import open_consumer

STOP_SECONDS = 9.0
"""Longest stop: whoever waits for it kills after 10 s. The leases of what is left run out by themselves."""
NICENESS = 10
"""Whoever waits for an answer of the API goes first, where both run on one machine."""


def make_stopper(stop: Callable[[], None]) -> Callable[[], None]:
    """Return a handler of signals that stops the worker, in time even where a database hangs."""

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
    """Claim jobs until a signal says stop."""
    async with open_consumer(settings) as consumer:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, make_stopper(consumer.stop))
        if settings.worker_metrics_port:
            metrics.serve(settings.worker_metrics_port)
        listener = asyncio.create_task(bell.listen(settings.redis_dsn, consumer))
        await consumer.run()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def main() -> None:
    """Run a worker with the settings of the environment."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        os.nice(NICENESS)
        asyncio.run(work(settings))
    except SettingsError as error:
        sys.exit(f"sluice worker: {error}")
    get_logger().info("worker.stopped")
    sys.stderr.flush()
    # Nothing is left to do, but a model that is still being loaded would keep the process until it has been.
    os._exit(0)


if __name__ == "__main__":
    main()
