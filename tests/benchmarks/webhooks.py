"""Webhooks while their receiver is down: `python -m tests.benchmarks.webhooks`.

Documents are uploaded and deleted. The receiver is down for a while, and then answers 500 for as long. The program checks
that each event was accepted at least once, in order for each document, and signed.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from tests.faults.cluster import Cluster
from tests.faults.history import Client
from tests.receiver import Receiver, receiving
from tests.waiting import wait_until

PATIENCE_SECONDS = 1800
ORDER = ["document.ready", "document.deleted"]


def upload(client: Client, number: int) -> str:
    files = {"file": (f"{number}.txt", f"Document {number} of {client.id}.".encode())}
    document_id: str = client.http.post("/v1/documents", files=files).raise_for_status().json()["id"]
    return document_id


def list_statuses(client: Client) -> list[str]:
    statuses: list[str] = []
    query = "limit=100"
    while query:
        page = client.http.get(f"/v1/documents?{query}").raise_for_status().json()
        statuses += [item["status"] for item in page["items"]]
        query = f"limit=100&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    return statuses


def cause_events(client: Client, count: int) -> None:
    """Make `count` events: half of them by documents that become ready, half by their deletion."""
    documents = [upload(client, number) for number in range(count // 2)]
    wait_until(lambda: set(list_statuses(client)) == {"ready"}, PATIENCE_SECONDS, "all documents")
    for document_id in documents:
        client.http.delete(f"/v1/documents/{document_id}").raise_for_status()


def verify(secret: str, headers: dict[str, str], payload: bytes) -> None:
    """Check a signature. The library refuses old timestamps, so it signs the request again instead."""
    sent = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signature = Webhook(secret).sign(headers["webhook-id"], sent, payload.decode())
    assert signature == headers["webhook-signature"], headers["webhook-id"]


def count_pending(client: Client, webhook_id: str) -> int:
    path = f"/v1/webhooks/{webhook_id}/deliveries?status=pending"
    return len(client.http.get(path).raise_for_status().json()["items"])


async def measure(url: str, count: int, seconds: float) -> dict[str, Any]:
    accepted: list[dict[str, Any]] = []
    state = {"failing": True}

    async def answer(event: dict[str, Any]) -> int:
        if state["failing"]:
            return 500
        accepted.append(event)
        return 200

    async with receiving() as reserved:
        port = reserved.port
    with Client(url) as client:
        body = {"url": Receiver(port).url, "events": ORDER}
        webhook = client.http.post("/v1/webhooks", json=body).raise_for_status().json()
        causing = asyncio.create_task(asyncio.to_thread(cause_events, client, count))
        started = time.monotonic()
        await asyncio.sleep(seconds)  # the receiver is down
        async with receiving(port=port, answer=answer) as receiver:
            await asyncio.sleep(seconds)
            failed = len(receiver.requests)
            state["failing"] = False
            back = time.monotonic()
            await causing
            await asyncio.to_thread(
                wait_until, lambda: not count_pending(client, webhook["id"]), PATIENCE_SECONDS, "all events"
            )
            for headers, payload in receiver.requests:
                verify(webhook["secret"], headers, payload)
    by_document: dict[str, list[str]] = defaultdict(list)
    for event in accepted:
        by_document[event["data"]["id"]].append(event["type"])
    return {
        "events": count,
        "accepted": len(accepted),
        "answered_500": failed,
        "documents": len(by_document),
        "in_order": sum(list(dict.fromkeys(types)) == ORDER for types in by_document.values()),
        "seconds_after_recovery": round(time.monotonic() - back, 1),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60, help="how long the receiver is down, and then fails")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-webhooks-") as folder, closing(Cluster(Path(folder))) as cluster:
        cluster.environment["WEBHOOK_NETWORKS"] = "127.0.0.1"
        cluster.start_worker()
        api = cluster.start_api(until="live")
        wait_until(lambda: cluster.is_ready(api.url), PATIENCE_SECONDS, "readiness")
        print(json.dumps(asyncio.run(measure(api.url, options.events, options.seconds))))


if __name__ == "__main__":
    main()
