"""Bounds on the uploads of one account that are under way, as its clients see them."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from pipeline.use_cases.upload_room import MAX_UPLOADS, UploadRoom
from tests.integration.conftest import Api, Person

pytestmark = pytest.mark.anyio

LARGE = b"x" * 3 * 1024 * 1024


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Uploads under way that end with the test. The application, which counts them, serves other tests, too."""
    with ExitStack() as uploads:
        yield uploads


def list_temporary_files() -> list[str]:
    """Return the open files of this process that have no name any more."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return [link for link in links if link.startswith(tempfile.gettempdir()) and link.endswith("(deleted)")]


async def begin_uploads(api: Api, held: ExitStack, person: Person, number: int, size: int = 0) -> None:
    """Count this many uploads of the account as under way, each with `size` bytes in the temporary folder."""
    owner_id = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    room: UploadRoom = api.app.state.upload_room
    for _ in range(number):
        held.enter_context(room.begin(owner_id)).take(size, 2**62)


async def send_file(api: Api, person: Person, location: str | None, content: bytes) -> httpx2.Response:
    """Send a new version of the document, or a new document if there is no location."""
    return await (api.replace(person, location, content) if location else api.upload(person, content))


def assert_too_many(response: httpx2.Response) -> None:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (429, "too_many_uploads"), response.text
    assert response.headers["retry-after"] == "30"


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_uploads_beyond_the_number_are_refused(api: Api, held: ExitStack, method: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    location = (await api.upload(anna, b"first")).headers["location"] if method == "PUT" else None
    await begin_uploads(api, held, anna, MAX_UPLOADS - 1)
    assert (await send_file(api, anna, location, b"second")).status_code == 202
    await begin_uploads(api, held, anna, 1)
    assert_too_many(await send_file(api, anna, location, b"third"))
    assert (await api.upload(bert, b"third")).status_code == 202
    held.close()
    assert (await send_file(api, anna, location, b"third")).status_code == 202


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_refusal_comes_before_the_body(api: Api, held: ExitStack, method: str) -> None:
    person = await api.register()
    location = (await api.upload(person, b"first")).headers["location"]
    path = f"{location}/content" if method == "PUT" else "/v1/documents"
    await begin_uploads(api, held, person, MAX_UPLOADS)
    sent: list[bytes] = []

    async def send() -> AsyncIterator[bytes]:
        sent.append(LARGE)
        yield LARGE

    headers = {**person.headers, "Expect": "100-continue", "Content-Type": "multipart/form-data; boundary=x"}
    assert_too_many(await api.client.request(method, path, headers=headers, content=send()))
    assert sent == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_refused_uploads_leave_no_temporary_file(api: Api, held: ExitStack, method: str) -> None:
    person = await api.register()
    location = (await api.upload(person, b"first")).headers["location"] if method == "PUT" else None
    await begin_uploads(api, held, person, 1, size=2**60)  # more than any folder leaves free
    before = list_temporary_files()
    assert_too_many(await send_file(api, person, location, LARGE))
    assert list_temporary_files() == before
    held.close()
    assert (await send_file(api, person, location, LARGE)).status_code == 202
    assert list_temporary_files() == before
