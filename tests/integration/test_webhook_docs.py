"""The examples of docs/webhooks.md."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Settings
from tests.integration.conftest import Api
from tests.integration.test_webhooks import delivering, finish_deliveries
from tests.receiver import receiving
from tests.unit.test_docs import read_blocks

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_networks": "127.0.0.1"})


async def test_example_creates_and_verifies(api: Api, database_url: str) -> None:
    examples: dict[str, Any] = {}
    for block in read_blocks(PAGE.read_text()):
        if block["language"] == "python":
            exec(str(block["text"]), examples)
    person = await api.register()
    posted: list[dict[str, Any]] = []

    class Client:
        """Notes the request of the example, which is made by a client that is not asynchronous."""

        def post(self, path: str, json: dict[str, Any]) -> "Client":
            posted.append({"url": path, "json": json})
            return self

        def raise_for_status(self) -> None:
            """Do nothing."""

        def json(self) -> dict[str, str]:
            return {"secret": "unused"}

    async with receiving() as receiver:
        examples["create"](Client(), receiver.url)
        created = (await api.client.post(**posted[0], headers=person.headers)).json()
        document = (await api.upload(person, b"Text.")).json()
        await api.work()
        async with delivering(api):
            await finish_deliveries(database_url)
        [(headers, body)] = receiver.requests
    assert examples["receive"](created["secret"], headers, body) == ("document.ready", document["id"])
