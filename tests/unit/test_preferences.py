import pytest

from api.http.prefer import parse_wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5),
        ("Wait=5", 5),
        ("respond-async, wait=10", 10),
        ("wait = 3", 3),
        ('wait="4"', 4),
        ("wait=0", 0),
        ("wait=99", 30),
        ("handling=lenient; wait=2", 2),
        (None, None),
        ("", None),
        ("wait", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("await=5", None),
    ],
)
def test_wait_is_read(header: str | None, seconds: int | None) -> None:
    assert parse_wait(header) == seconds
