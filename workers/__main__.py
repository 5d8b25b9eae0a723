"""`python -m workers`: a supervised worker. It outlives Redis, and stops cleanly on SIGTERM or SIGINT."""

import asyncio
import signal
import sys

from pipeline import metrics
from pipeline.logs import configure_logging, get_logger
from pipeline.settings import Settings, SettingsError, load_settings
from workers import bell
from workers.consumer import open_consumer


async def work(settings: Settings) -> None:
    """Claim jobs until a signal says stop."""
    async with open_consumer(settings) as consumer:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, consumer.stop)
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
        asyncio.run(work(settings))
    except SettingsError as error:
        sys.exit(f"sluice worker: {error}")
    get_logger().info("worker.stopped")


if __name__ == "__main__":
    main()
