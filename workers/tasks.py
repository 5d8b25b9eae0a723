"""The arq task that the doorbell enqueues."""

from typing import Any

from workers.consumer import Consumer


async def ring(context: dict[str, Any], subject_id: str) -> None:  # noqa: ARG001 - arq passes it; the queue decides which job is next
    """Wake the claim loop of this process."""
    consumer: Consumer = context["consumer"]
    consumer.wake()
