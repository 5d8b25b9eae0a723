"""Logging to standard error, one JSON object per line, for our own events and for those of libraries."""

import json
import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

CHATTY_LIBRARIES = (
    "arq",
    "httpcore2",
    "httpx2",
    "mcp",
    "openai",
    "sentence_transformers",
    "pypdf",
    "uvicorn.access",
)
"""Loggers that log only warnings and errors."""
LIBRARIES_WITH_HANDLERS = ("arq", "uvicorn")
"""Loggers to which the commands of these libraries add handlers of their own, which write plain text."""


ENCODER = json.JSONEncoder(default=repr)


class Output:
    """Where all lines go. No error of the stream, such as a full disk, disturbs the caller."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Write a text at once."""
        with self._lock, suppress(OSError, ValueError):  # ValueError if the stream is closed
            self._stream.write(text)
            self._stream.flush()

    def write_line(self, line: str) -> None:
        """Write a line at once. structlog calls this by the name of a level."""
        self.write(f"{line}\n")

    debug = info = warning = error = critical = write_line


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Write all log records of this process at `level` or above to a stream, standard error by default, as JSON."""
    output = Output(stream or sys.stderr)
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(list_frames),
    ]
    # Our own events do not pass through `logging`, which would take twice the time of all else.
    structlog.configure(
        processors=[*shared, encode],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=lambda *_: output,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, encode],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in LIBRARIES_WITH_HANDLERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def encode(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Return a log event as JSON, in ASCII."""
    return ENCODER.encode(event)


def list_frames(exc_info: structlog.typing.ExcInfo) -> list[str]:
    """Return the types and stack frames of an exception and its causes, without messages.

    Messages can contain values of a request, such as the row that a constraint refuses.
    """
    lines: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        lines += [f"{type(error).__module__}.{type(error).__qualname__}"]
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return lines


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger for events: `log.info("document.ready", document_id=…)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
