"""The child process of one file: limits first, then the format, then what is asked of it as frames on standard output.

Forked by `pipeline.sandbox.__main__`. Whatever happens in here is one document's fate.
"""

import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.errors import FailureCode, IngestionError
from pipeline.sandbox.protocol import Done, Draw, Failed, Frame, Page, PageImage, ProcessLimits, Start, Task, encode
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import clean

PR_SET_PDEATHSIG = 1
OPEN_FILES = 32
PAGE_SEPARATOR = "\f"


def run(order: Task) -> None:
    """Read standard input as the order says, and write what it holds to standard output."""
    limit_process(order.limits)
    gc.freeze()  # what is imported stays: not looking through it again saves a third of the time
    with open(1, "wb", closefd=False) as output:
        for frame in read(order):
            output.write(encode(frame))
            output.flush()


def die_with_parent() -> None:
    """From here on this process ends when its parent does, whatever ends that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_process(limits: ProcessLimits) -> None:
    """Keep to memory, processor time, no files and no processes."""
    seconds = int(limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The kernel holds everybody but root to it; the image runs as an ordinary user.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def read(order: Task) -> Iterator[Frame]:
    """Frames of the file on standard input: what was ordered, then Done, or else why it cannot be read."""
    try:
        with open(0, "rb", closefd=False) as file:
            match order:
                case Start():
                    yield from _read_pages(file, order)
                case Draw():
                    yield from _draw_page(file, order)
    except IngestionError as error:
        yield Failed(code=error.failure, message=error.message, cause="")
    except MemoryError:
        yield Failed(
            code=FailureCode.OUT_OF_MEMORY,
            message="Reading the file needs more memory than is allowed. Split it or save it anew.",
            cause="MemoryError",
        )
    except Exception as error:  # noqa: BLE001 - the boundary of one extraction: readers raise anything at all
        yield Failed(
            code=FailureCode.MALFORMED,
            message="The file is damaged and cannot be read. Open it, save it anew and upload that.",
            cause=f"{type(error).__name__}: {error}"[:500],
        )


def _read_pages(file: BinaryIO, order: Start) -> Iterator[Frame]:
    limits = order.limits
    extraction = get_format(order.media_type).readers[order.attempt](file)
    if extraction.pages > limits.pages:
        message = f"The document has {extraction.pages} pages; at most {limits.pages} are read. Split it."
        raise IngestionError(FailureCode.TOO_MANY_PAGES, message)
    characters = 0
    for number, raw in enumerate(extraction.texts, start=1):
        page = Page([clean(section) for section in raw], extraction.pages)
        if number < extraction.pages:
            page.sections[-1] += PAGE_SEPARATOR
        characters += len(page.text)
        if characters > limits.characters:
            message = f"The document has over {limits.characters} characters of text. Split it."
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
