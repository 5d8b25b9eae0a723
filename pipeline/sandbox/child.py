"""The child process for one file: its limits, and the order it runs, which writes frames to standard output.

Forked and confined by `pipeline.sandbox.__main__`. Nothing that happens here affects another file.
"""

import gc
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.errors import FailureCode, IngestionError
from pipeline.sandbox import kernel
from pipeline.sandbox.protocol import (
    MAX_WARNINGS,
    Done,
    Draw,
    Extract,
    Failed,
    Frame,
    Page,
    PageImage,
    ProcessLimits,
    Task,
    encode,
)
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile, clean

MAX_OPEN_FILES = 32
PAGE_SEPARATOR = "\f"


def run(order: Task) -> None:
    """Run the order on the file on standard input, and write its frames to standard output."""
    gc.freeze()  # garbage collection then skips the imported modules, which saves a third of the time
    with open(1, "wb", closefd=False) as output:
        for frame in read(order):
            output.write(encode(frame))
            output.flush()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. Works on Linux only."""
    if sys.platform == "linux":
        kernel.control_process(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_process(limits: ProcessLimits) -> None:
    """Limit the memory and CPU time of this process, and keep it from writing files or starting processes."""
    seconds = int(limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The kernel exempts root from this limit. The container image runs as an ordinary user.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def read(order: Task) -> Iterator[Frame]:
    """Yield the pages or the page image of the file on standard input, then Done. If that fails, yield Failed."""
    try:
        with open(0, "rb", closefd=False) as file:
            match order:
                case Extract():
                    yield from _read_pages(file, order)
                case Draw():
                    yield from _draw_page(file, order)
    except IngestionError as error:
        yield Failed(code=error.failure, message=error.message, cause="")
    except MemoryError:
        yield Failed(
            code=FailureCode.OUT_OF_MEMORY,
            message="Reading the file takes more memory than the limit allows. Split the file, or save it again.",
            cause="MemoryError",
        )
    except Exception as error:  # noqa: BLE001 - the boundary of one file: readers raise any exception
        yield Failed(
            code=FailureCode.MALFORMED,
            message="The file is damaged and cannot be read. Open it, save it again and upload the new copy.",
            cause=_describe(error),
        )


def _describe(error: Exception) -> str:
    """Return the type of an error and where it was raised. Its message may contain text of the file."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.filename}:{frame.lineno}"


def _read_pages(file: BinaryIO, order: Extract) -> Iterator[Frame]:
    limits = order.limits
    extraction = get_format(order.media_type).readers[order.reader](SourceFile(file, order.charset))
    if extraction.count > limits.pages:
        message = f"The document has {extraction.count} pages. The limit is {limits.pages}. Split the document."
        raise IngestionError(FailureCode.TOO_MANY_PAGES, message)
    characters = 0
    for number, extracted in enumerate(extraction.pages, start=1):
        sections = [clean(section) for section in extracted.sections]
        page = Page(sections, extraction.count, extracted.warnings[:MAX_WARNINGS])
        if number < extraction.count:
            page.sections[-1] += PAGE_SEPARATOR
        characters += len(page.text)
        if characters > limits.characters:
            message = f"The document has more than {limits.characters} characters of text. Split the document."
            raise IngestionError(FailureCode.TOO_LARGE, message)
        if number > order.pages_read:
            yield page
    yield Done()


def _draw_page(file: BinaryIO, order: Draw) -> Iterator[Frame]:
    draw = get_format(order.media_type).draw
    if draw is None:
        raise LookupError(order.media_type)
    yield PageImage(draw(file, order.page, order.mark))
    yield Done()
