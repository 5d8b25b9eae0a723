"""Files are read as if each were an attack: by a child process with limits and no secrets, killed at its deadline."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from pipeline.errors import FailureCode, IngestionError
from pipeline.logs import get_logger
from pipeline.sandbox.protocol import (
    LENGTH_BYTES,
    Done,
    Draw,
    Failed,
    Frame,
    Kill,
    Limits,
    Order,
    Page,
    PageImage,
    ProcessLimits,
    Start,
    Task,
    decode_frame,
    decode_report,
    encode,
)
from pipeline.settings import Settings
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import MAX_SECTIONS, Mark

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
END_SECONDS = 0.5
"""So long a child that has closed its output may take to end by itself."""
KILL_SECONDS = 5.0
"""So long the fork server may take to kill a child; after that it is killed itself, and all its children with it."""

log = get_logger()

Result = TypeVar("Result", Page, PageImage)


def make_limits(settings: Settings) -> Limits:
    """Return the limits of one extraction."""
    return Limits(
        seconds=settings.extract_timeout_seconds,
        memory_bytes=settings.extract_memory_bytes,
        pages=settings.max_pages,
        characters=settings.max_text_characters,
    )


class ServerLost(Exception):
    """The fork server is gone, and its children with it; a new one can be started."""


class Sandbox:
    """Reads files in children of a fork server, which is started when it is needed and after it was lost."""

    def __init__(self, server: Sequence[str] = ("-m", "pipeline.sandbox")) -> None:
        self._program = server
        self._server: ForkServer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Have a fork server ready, so that the first file need not wait for it."""
        await self._get_server()

    async def extract(self, file: BinaryIO, media_type: str, limits: Limits) -> AsyncGenerator[Page]:
        """Yield the pages of a file as a child process reads them.

        Where a reader of the format breaks down, the next one goes on behind the pages that are there; a file that
        is stopped at a limit has had its chance.
        Raises IngestionError where the file cannot be read, or not within the limits. The child is gone at the end,
        whatever the end is; close the iterator (`contextlib.aclosing`) when leaving early.
        """
        deadline = asyncio.get_running_loop().time() + limits.seconds
        attempts = len(get_format(media_type).readers)
        pages = sections = characters = 0
        for attempt in range(attempts):
            order = Start(0, media_type, limits, attempt, pages)
            try:
                async with contextlib.aclosing(self._run(file, order, deadline, Page)) as extracted:
                    async for page in extracted:
                        pages, characters = pages + 1, characters + len(page.text)
                        sections += len(page.sections)
                        is_too_many = pages > limits.pages or sections > limits.pages + MAX_SECTIONS
                        if is_too_many or characters > limits.characters:
                            message = "The file has more text than is read. Split it."
                            raise IngestionError(FailureCode.TOO_LARGE, message)
                        yield page
            except IngestionError as error:
                if error.failure != FailureCode.MALFORMED or attempt + 1 == attempts:
                    raise
            else:
                return

    async def draw(self, file: BinaryIO, media_type: str, limits: ProcessLimits, page: int, mark: Mark | None) -> bytes:
        """Return a page of the file, counted from 1, as a PNG with the passage marked.

        Raises IngestionError where it cannot be drawn, or not within the limits.
        """
        deadline = asyncio.get_running_loop().time() + limits.seconds
        order = Draw(0, media_type, limits, page, mark)
        async with contextlib.aclosing(self._run(file, order, deadline, PageImage)) as pictures:
            async for picture in pictures:
                return picture.png
        raise _explain_end(0, limits)

    async def _run(
        self, file: BinaryIO, order: Task, deadline: float, expected: type[Result]
    ) -> AsyncGenerator[Result]:
        """Have a child do the task; what it says is believed no further than the limits."""
        file.seek(0)
        try:
            child = await (await self._get_server()).fork(order, file)
            try:
                while isinstance(frame := await child.receive(deadline), expected):
                    yield frame
            finally:
                await child.kill()
            exit_code = await child.ended
        except ServerLost:
            message = "The process that reads files was lost. Retry; if it fails again, report it."
            raise IngestionError(FailureCode.WORKER_LOST, message) from None
        if isinstance(frame, Failed):
            log.info("extraction.failed", code=frame.code, cause=frame.cause)
            raise IngestionError(frame.code, frame.message)
        if not isinstance(frame, Done):
            raise _explain_end(exit_code, order.limits)

    async def _get_server(self) -> "ForkServer":
        async with self._starting:
            if self._server is None or self._server.is_lost:
                await self.close()
                self._server = await start_server(self._program)
            return self._server

    async def close(self) -> None:
        """End the fork server, and with it whatever still runs."""
        if self._server:
            await self._server.close()
            self._server = None


async def start_server(program: Sequence[str]) -> "ForkServer":
    """Start a fork server, with nothing of our environment."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            stdin=theirs.fileno(),
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=PROJECT_FOLDER,
            start_new_session=True,  # uvloop knows no process_group
        )
    ours.setblocking(False)
    orders = ours.dup()
    reports, writer = await asyncio.open_connection(sock=ours)
    return ForkServer(process, orders, reports, writer)


class ForkServer:
    """Our end of `pipeline.sandbox.__main__`."""

    def __init__(
        self, process: Process, orders: socket.socket, reports: StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._orders = orders
        self._writer = writer
        self._children: dict[int, Child] = {}
        self._forked = 0
        self._listening = asyncio.create_task(self._listen(reports))

    @property
    def is_lost(self) -> bool:
        """Whether it is gone."""
        return self._listening.done()

    async def fork(self, order: Task, file: BinaryIO) -> "Child":
        """Start a child that does the task with the file."""
        self._forked += 1
        order = msgspec.structs.replace(order, number=self._forked)
        source, sink = os.pipe()
        try:
            child = Child(self, order, *await _open_pipe(source))
            self._children[order.number] = child
            self.send(order, file.fileno(), sink)
        finally:
            os.close(sink)
        return child

    def send(self, order: Order, *files: int) -> None:
        """Send an order.

        Raises ServerLost.
        """
        try:
            socket.send_fds(self._orders, [encode(order)], files)
        except OSError as error:
            raise ServerLost from error

    async def _listen(self, reports: StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                length = int.from_bytes(await reports.readexactly(LENGTH_BYTES))
                report = decode_report(await reports.readexactly(length))
                self._children.pop(report.number).ended.set_result(report.exit_code)
        for child in self._children.values():
            child.ended.set_exception(ServerLost())
            child.ended.exception()  # it may be that nobody asks any more
        self._children.clear()

    async def kill(self) -> None:
        """Kill the server; its children die with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def close(self) -> None:
        """Kill the server and forget it."""
        await self.kill()
        self._orders.close()
        self._writer.close()


class Child:
    """A child of the fork server, and what it says."""

    def __init__(self, server: ForkServer, order: Task, output: StreamReader, pipe: asyncio.ReadTransport) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit code, or ServerLost."""
        self._server = server
        self._order = order
        self._output = output
        self._pipe = pipe

    async def receive(self, deadline: float) -> Frame | None:
        """Next frame, or None where the child ended without one or sent rubbish.

        Raises IngestionError after the deadline.
        """
        try:
            async with asyncio.timeout_at(deadline):
                frame = await self._receive()
        except TimeoutError:
            raise _timeout(self._order.limits) from None
        if frame is None:
            await asyncio.wait([self.ended], timeout=END_SECONDS)
        return frame

    async def _receive(self) -> Frame | None:
        try:
            length = int.from_bytes(await self._output.readexactly(LENGTH_BYTES))
            if length > self._order.longest_frame:
                return None
            return decode_frame(await self._output.readexactly(length))
        except (asyncio.IncompleteReadError, msgspec.MsgspecError):
            return None

    async def kill(self) -> None:
        """Kill it with whatever it may have started, and wait until it is gone."""
        self._pipe.close()
        with contextlib.suppress(ServerLost):
            if not self.ended.done():
                self._server.send(Kill(self._order.number))
                await asyncio.wait([self.ended], timeout=KILL_SECONDS)
        if not self.ended.done():
            log.error("sandbox.server_hung")
            await self._server.kill()


async def _open_pipe(source: int) -> tuple[StreamReader, asyncio.ReadTransport]:
    output = StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), os.fdopen(source, "rb", 0))
    return output, pipe


def _explain_end(exit_code: int, limits: ProcessLimits) -> IngestionError:
    """Why a child ended without saying so: the kernel stopped it, or its reader crashed."""
    log.warning("sandbox.child_died", exit_code=exit_code)
    if exit_code == -signal.SIGXCPU:
        return _timeout(limits)
    if exit_code == -signal.SIGKILL:
        return IngestionError(
            FailureCode.OUT_OF_MEMORY,
            "Reading the file was stopped, most likely for want of memory. Split it or save it anew.",
        )
    return IngestionError(FailureCode.MALFORMED, "The file crashes its reader. Save it anew and upload that.")


def _timeout(limits: ProcessLimits) -> IngestionError:
    message = f"Reading the file took longer than {limits.seconds:g} seconds. Split it or save it anew."
    return IngestionError(FailureCode.TIMEOUT, message)
