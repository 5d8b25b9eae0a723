"""Extraction as if every file were an attack: a child process with limits and no secrets, killed at its deadline."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from pipeline.errors import FailureCode, IngestionError
from pipeline.logs import get_logger
from pipeline.stages.extract.frames import LENGTH_BYTES, Done, Failed, Frame, Limits, Page, decode

PROJECT_FOLDER = Path(__file__).resolve().parent.parent
BYTES_A_CHARACTER = 4
DRAIN_BYTES = 64 * 1024

log = get_logger()


def extract(file: BinaryIO, media_type: str, limits: Limits) -> AsyncGenerator[Page]:
    """Yield the pages of a file as a child process reads them.

    Raises IngestionError where the file cannot be read, or not within the limits. The child is gone at the end,
    whatever the end is; close the iterator (`contextlib.aclosing`) when leaving early.
    """
    reader = ("-m", "pipeline.stages.extract", media_type, msgspec.json.encode(limits).decode())
    return run_reader(reader, file, limits)


async def run_reader(reader: Sequence[str], file: BinaryIO, limits: Limits) -> AsyncGenerator[Page]:
    """Yield the pages that a Python program writes; what it says is believed no further than the limits."""
    file.seek(0)
    # A group of its own, so that the child goes with whatever it may have started. Not a session: on Linux each
    # session has the same right to the processor, however nice its processes are.
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *reader,
        stdin=file,
        stdout=PIPE,
        stderr=DEVNULL,
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=PROJECT_FOLDER,
        process_group=0,
    )
    deadline = asyncio.get_running_loop().time() + limits.seconds
    pages = characters = 0
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    frame = await _receive(child, limits)
            except TimeoutError:
                raise _timeout(limits) from None
            match frame:
                case Page():
                    pages, characters = pages + 1, characters + len(frame.text)
                    if pages > limits.pages or characters > limits.characters:
                        raise IngestionError(FailureCode.TOO_LARGE, "The file has more text than is read. Split it.")
                    yield frame
                case Done():
                    return
                case Failed():
                    log.info("extraction.failed", code=frame.code, cause=frame.cause)
                    raise IngestionError(frame.code, frame.message)
                case None:
                    raise await _explain_end(child, limits)
    finally:
        await _kill(child)


async def _receive(child: Process, limits: Limits) -> Frame | None:
    """Next frame, or None where the child ended without one or sent rubbish."""
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe")
    try:
        length = int.from_bytes(await child.stdout.readexactly(LENGTH_BYTES))
        if length > (limits.characters + 1024) * BYTES_A_CHARACTER:
            return None
        return decode(await child.stdout.readexactly(length))
    except (asyncio.IncompleteReadError, msgspec.MsgspecError):
        return None


async def _explain_end(child: Process, limits: Limits) -> IngestionError:
    """Why a child ended without saying so: the kernel stopped it, or its reader crashed."""
    await _kill(child, after_seconds=0.5)
    log.warning("extraction.ended", exit_code=child.returncode)
    if child.returncode == -signal.SIGXCPU:
        return _timeout(limits)
    if child.returncode == -signal.SIGKILL:
        return IngestionError(
            FailureCode.OUT_OF_MEMORY,
            "Reading the file was stopped, most likely for want of memory. Split it or save it anew.",
        )
    return IngestionError(FailureCode.MALFORMED, "The file crashes its reader. Save it anew and upload that.")


def _timeout(limits: Limits) -> IngestionError:
    message = f"Reading the file took longer than {limits.seconds:g} seconds. Split it or save it anew."
    return IngestionError(FailureCode.TIMEOUT, message)


async def _kill(child: Process, after_seconds: float = 0.0) -> None:
    """Kill the child's whole group, after a moment in which it may end by itself, and wait for it."""
    if child.returncode is None and after_seconds:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_seconds):
                await child.wait()
    with contextlib.suppress(ProcessLookupError):
        child.kill()  # it may have left its group
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    # asyncio says that a child has ended when its pipe is read to the end, and not before.
    while child.stdout and await child.stdout.read(DRAIN_BYTES):
        pass
    await child.wait()
