"""What arq runs: the doorbell's other end."""

from typing import Any

from workers.consumer import Consumer


async def ring(context: dict[str, Any], document_id: str) -> None:  # noqa: ARG001 - a ring means look, not what
    """Wake the claim loop of this process."""
    consumer: Consumer = context["consumer"]
    consumer.wake()
