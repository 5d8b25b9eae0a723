"""Row 43 of the fault matrix: a flood of logins from one address."""

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import httpx2
import pytest

from tests.faults.cluster import Cluster
from tests.faults.history import Client

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("alone")]

FLOOD_PER_SECOND = 100
LOGINS = 6
"""Right logins during the flood."""
PAUSE_SECONDS = 0.2
"""Before each of them. The flood has filled the queue before the first one."""
FLOODING_ADDRESS = "127.0.0.2"
OTHER_ADDRESS = "127.0.0.3"


@dataclass
class Flood:
    """Logins of unknown accounts, as many a second whether they are answered or not."""

    url: str
    answers: Counter[int] = field(default_factory=Counter)

    async def run(self) -> None:
        limits = httpx2.Limits(max_connections=2000)
        transport = httpx2.AsyncHTTPTransport(local_address=FLOODING_ADDRESS, limits=limits)
        async with (
            httpx2.AsyncClient(base_url=self.url, transport=transport, timeout=60) as client,
            asyncio.TaskGroup() as requests,
        ):
            started = time.monotonic()
            for number in count():
                await asyncio.sleep(started + number / FLOOD_PER_SECOND - time.monotonic())
                requests.create_task(self._guess(client, number))

    async def _guess(self, client: httpx2.AsyncClient, number: int) -> None:
        credentials = {"email": f"nobody{number}@example.org", "password": "password of nobody"}
        self.answers[(await client.post("/v1/auth/login", json=credentials)).status_code] += 1


async def measure_logins(url: str, credentials: dict[str, str], address: str) -> tuple[list[float], Counter[int]]:
    """Return the seconds of logins from this address, and how often each status answered."""
    seconds, statuses = [], Counter[int]()
    transport = httpx2.AsyncHTTPTransport(local_address=address)
    async with httpx2.AsyncClient(base_url=url, transport=transport, timeout=60) as client:
        for _ in range(LOGINS):
            await asyncio.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            statuses[(await client.post("/v1/auth/login", json=credentials)).status_code] += 1
            seconds.append(time.perf_counter() - started)
    return seconds, statuses


@pytest.mark.parametrize("redis", ["with Redis", "without Redis"])
async def test_row_43_login_flood_from_one_address(cluster: Cluster, client: Client, redis: str) -> None:
    if redis == "without Redis":
        cluster.to_valkey.refuse()
    flood = Flood(client.url)
    flooding = asyncio.create_task(flood.run())
    try:
        seconds, statuses = await measure_logins(client.url, client.credentials, OTHER_ADDRESS)
    finally:
        flooding.cancel()
    print(
        f"right login {redis}: median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s; flood {flood.answers}"
    )
    assert statuses == {200: LOGINS}
    assert max(seconds) < 1
    assert flood.answers[503] > flood.answers[401] > 0, "the flood is refused at the queue"
