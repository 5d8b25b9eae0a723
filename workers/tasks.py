"""The arq task that the doorbell enqueues."""

from typing import Any

from workers.consumer import Consumer


async def ring(context: dict[str, Any], document_id: str) -> None:  # noqa: ARG001 - part of the job; the consumer claims by queue order
    """Wake the claim loop of this process."""
    consumer: Consumer = context["consumer"]
    consumer.wake()
