"""Unit tests are pure: they fail if they start a process, open a connection or load the embedding model."""

import sys
from collections.abc import Iterator

import pytest

IMPURE = {"subprocess.Popen", "os.fork", "os.posix_spawn", "socket.connect", "socket.bind"}
_is_forbidden = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _is_forbidden and (event in IMPURE or (event == "import" and arguments[0] == "torch")):
        raise AssertionError(f"a unit test must not do this: {event} {arguments}")


# Audit hooks stay for the life of the process, which also runs other tests.
sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def pure() -> Iterator[None]:
    global _is_forbidden  # noqa: PLW0603 - read by the audit hook
    _is_forbidden = True
    yield
    _is_forbidden = False
