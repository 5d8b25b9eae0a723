"""Logging to standard error, one JSON object per line, for our own events and for those of libraries."""

import logging
import sys
import traceback

import structlog

CHATTY_LIBRARIES = ("arq", "httpx2", "openai", "sentence_transformers", "pypdf", "uvicorn.access")
"""Loggers that log only warnings and errors."""
LIBRARIES_WITH_HANDLERS = ("arq", "uvicorn")
"""Loggers to which the commands of these libraries add handlers of their own, which write plain text."""


def configure_logging(level: str) -> None:
    """Write all log records of this process at `level` or above to standard error, as JSON."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(list_frames),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
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


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return a logger for events: `log.info("document.ready", document_id=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger
