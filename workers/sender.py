"""`python -m workers.sender`: sends webhooks and does nothing else, for a network in which workers have no internet."""

import asyncio
import signal
import sys

from pipeline.db import schema
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable
from pipeline.ingest.heartbeat import Heartbeat
from pipeline.logs import configure_logging, get_logger
from pipeline.runtime import WORKER_DATABASE_TIMEOUT_SECONDS
from pipeline.sandbox.kernel import hide_memory
from pipeline.settings import Settings, SettingsError, load_settings
from pipeline.webhooks.deliverer import TRANSACTIONS_AT_ONCE, Deliverer
from pipeline.webhooks.sender import Sender
from workers.__main__ import make_stopper
from workers.ending import exit_on_failure

STALL_SECONDS = 300.0
"""Time after which the lease of an event is no longer extended. A request takes at most 15 s."""


async def send_webhooks(settings: Settings) -> None:
    """Send events until SIGTERM or SIGINT. Other workers sweep the leases."""
    is_pooled = settings.database_transaction_pooling
    heartbeat = Heartbeat(
        settings.sqlalchemy_url,
        lease_seconds=settings.lease_seconds,
        stall_seconds=STALL_SECONDS,
        is_pooled=is_pooled,
    )
    database = Database(
        settings.sqlalchemy_url,
        pool_size=TRANSACTIONS_AT_ONCE + 1,
        timeout_seconds=WORKER_DATABASE_TIMEOUT_SECONDS,
        is_pooled=is_pooled,
    )
    await _wait_until_migrated(database, settings.poll_seconds)
    deliverer = Deliverer(
        database,
        Sender(settings.allowed_webhook_networks),
        heartbeat.hold,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
    )
    heartbeat.start()
    sending = asyncio.create_task(deliverer.run())
    sending.add_done_callback(exit_on_failure)

    def stop() -> None:
        sending.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, make_stopper(stop))
    await asyncio.wait((sending,))
    heartbeat.stop()
    await database.close()


async def _wait_until_migrated(database: Database, pause: float) -> None:
    while True:
        try:
            async with database.transaction() as session:
                if schema.compare_revision(await schema.read_revision(session)) != "behind":
                    return
        except DatabaseUnavailable as error:
            get_logger().warning("consumer.database_unavailable", cause=repr(error.__cause__))
        await asyncio.sleep(pause)


def main() -> None:
    """Send webhooks with the settings from the environment."""
    hide_memory()
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        asyncio.run(send_webhooks(settings))
    except SettingsError as error:
        sys.exit(f"sluice sender: {error}")
    get_logger().info("worker.stopped")


if __name__ == "__main__":
    main()
