import io
import json
import logging
from collections.abc import Iterator
from uuid import UUID

import pytest

from pipeline.logs import configure_logging, get_logger
from tests.conftest import log_errors_only


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging("INFO", stream)
    yield stream
    log_errors_only()


def test_own_events_and_those_of_libraries_are_lines_of_ascii_json(stream: io.StringIO) -> None:
    get_logger().info("thing.happened", name="\x9b\u2028\ud800é", subject_id=UUID(int=1))
    get_logger().debug("thing.hidden")
    logging.getLogger("library").warning("Something of %s", "a library")
    text = stream.getvalue()
    assert text.isascii()
    own, foreign = (json.loads(line) for line in text.splitlines())
    assert own["name"] == "\x9b\u2028\ud800é"
    assert own.keys() == {"event", "level", "timestamp", "name", "subject_id"}
    assert (foreign["event"], foreign["level"]) == ("Something of a library", "warning")


def test_stream_that_cannot_be_written_disturbs_nobody(stream: io.StringIO) -> None:
    stream.close()
    get_logger().error("thing.failed")
    logging.getLogger("library").error("It failed.")
