"""The child process that reads one file: limits first, then the format, then pages as frames on standard output.

Started by `pipeline.sandbox` with the file as standard input. Whatever happens in here is one document's fate.
"""

import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Iterator

import msgspec

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import clean
from pipeline.stages.extract.frames import Done, Failed, Frame, Limits, Page, encode

PR_SET_PDEATHSIG = 1
OPEN_FILES = 32
PAGE_SEPARATOR = "\f"


def main() -> None:
    """Read standard input as `argv[1]` (media type) within `argv[2]` (limits as JSON)."""
    limits = msgspec.json.decode(sys.argv[2], type=Limits)
    _apply(limits)
    gc.freeze()  # what is imported stays: not looking through it again saves a third of the time
    for frame in _read(sys.argv[1], limits):
        sys.stdout.buffer.write(encode(frame))
        sys.stdout.buffer.flush()


def _apply(limits: Limits) -> None:
    """Die with the parent, and keep to memory, processor time, no files and no processes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    seconds = int(limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The kernel holds everybody but root to it; the image runs as an ordinary user.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _read(media_type: str, limits: Limits) -> Iterator[Frame]:
    try:
        with open(0, "rb", closefd=False) as file:
            extraction = get_format(media_type).read(file)
            if extraction.pages > limits.pages:
                message = f"The document has {extraction.pages} pages; at most {limits.pages} are read. Split it."
                raise IngestionError(FailureCode.TOO_MANY_PAGES, message)
            characters = 0
            for number, raw in enumerate(extraction.texts, start=1):
                text = clean(raw) + (PAGE_SEPARATOR if number < extraction.pages else "")
                characters += len(text)
                if characters > limits.characters:
                    message = f"The document has over {limits.characters} characters of text. Split it."
                    raise IngestionError(FailureCode.TOO_LARGE, message)
                yield Page(text=text, pages=extraction.pages)
            yield Done()
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


if __name__ == "__main__":
    main()
