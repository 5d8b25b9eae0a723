"""The SDK of OpenAI, with the application in the test process as its server."""

import httpx2
import openai

from tests.integration.conftest import Api, Person, make_transport


class Sdk(openai.AsyncOpenAI):
    """The SDK for one account. It remembers the paths of its requests."""

    def __init__(self, api: Api, person: Person) -> None:
        self.person = person
        self.paths: list[str] = []

        async def remember(request: httpx2.Request) -> None:
            self.paths.append(request.url.path)

        http = openai.DefaultAsyncHttpxClient(transport=make_transport(api.app), event_hooks={"request": [remember]})
        key = person.headers["Authorization"].removeprefix("Bearer ")
        super().__init__(base_url="http://test/v1", api_key=key, http_client=http, max_retries=0)
