"""Reads untrusted files, each in a child process with limits and no secrets, which is killed at its deadline."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from pipeline.errors import FailureCode, IngestionError, SandboxUnavailable
from pipeline.logs import get_logger
from pipeline.sandbox.confinement import find_problems
from pipeline.sandbox.protocol import (
    LENGTH_BYTES,
    NOT_CONFINED,
    Done,
    Draw,
    Ended,
    Extract,
    Failed,
    Frame,
    Kill,
    Limits,
    NotForked,
    Order,
    Page,
    PageImage,
    ProcessLimits,
    Task,
    decode_frame,
    decode_report,
    encode,
)
from pipeline.settings import Settings, SettingsError
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import MAX_SECTIONS, Mark

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
EXIT_SECONDS = 0.5
"""Grace period for a child to exit after it closes its output."""
KILL_SECONDS = 5.0
"""Time limit for the fork server to kill a child. After that, the server and all its children are killed."""

log = get_logger()

Result = TypeVar("Result", Page, PageImage)


def make_limits(settings: Settings) -> Limits:
    """Return the limits of one extraction from the settings."""
    return Limits(
        seconds=settings.extract_timeout_seconds,
        memory_bytes=settings.extract_memory_bytes,
        pages=settings.max_pages,
        characters=settings.max_text_characters,
    )


def require_layers(settings: Settings) -> None:
    """Check that all layers are there if SANDBOX is `require`.

    Raises SettingsError if one is missing.
    """
    problems = find_problems()
    if settings.sandbox == "require" and problems:
        reasons = "; ".join(f"{layer}: {problem}" for layer, problem in problems.items())
        raise SettingsError(f"SANDBOX is require, but files could not be read safely. {reasons}")


class ServerLost(Exception):
    """The fork server has ended, and its children with it. A new one can be started."""


class Sandbox:
    """Reads files in children of a fork server. The server is started on first use, and again if it is lost."""

    def __init__(
        self, server: Sequence[str] = ("-m", "pipeline.sandbox"), *, kill_seconds: float = KILL_SECONDS
    ) -> None:
        self._program = server
        self._kill_seconds = kill_seconds
        self._server: ServerConnection | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the fork server, so that the first file does not wait for it. If that fails, the first file tries."""
        with contextlib.suppress(SandboxUnavailable):
            await self._get_server()

    async def extract(
        self, file: BinaryIO, media_type: str, limits: Limits, *, charset: str | None = None
    ) -> AsyncGenerator[Page]:
        """Yield the pages of a file as a child process reads them. `charset` is what was declared for the file.

        If a reader fails with `malformed`, the next reader of the format continues after the pages that were yielded.
        Any other failure is final. The child has ended when the iterator ends. To stop early, close the iterator
        (`contextlib.aclosing`).
        Raises IngestionError if the format is unknown, or if the file cannot be read within the limits. Raises
        SandboxUnavailable if no child can be started.
        """
        deadline = asyncio.get_running_loop().time() + limits.seconds
        readers = len(get_format(media_type).readers)
        pages = declared = sections = characters = 0
        for reader in range(readers):
            order = Extract(0, media_type, charset, limits, reader, pages)
            try:
                async with contextlib.aclosing(self._run(file, order, deadline, Page)) as extracted:
                    async for page in extracted:
                        if not pages < page.pages <= limits.pages:
                            raise _explain_invalid_frame()
                        declared = page.pages
                        pages, characters = pages + 1, characters + len(page.text)
                        sections += len(page.sections)
                        if sections > limits.pages + MAX_SECTIONS or characters > limits.characters:
                            message = "The file has more text than the limit allows. Split the file."
                            raise IngestionError(FailureCode.TOO_LARGE, message)
                        yield page
            except IngestionError as error:
                if error.failure != FailureCode.MALFORMED or reader + 1 == readers:
                    raise
            else:
                if pages < declared:
                    raise _explain_invalid_frame()
                return

    async def draw(self, file: BinaryIO, media_type: str, limits: ProcessLimits, page: int, mark: Mark | None) -> bytes:
        """Return a page of the file, counted from 1, as a PNG with `mark` highlighted.

        Raises IngestionError if the format is unknown, or if the page cannot be drawn within the limits. Raises
        SandboxUnavailable if no child can be started.
        """
        deadline = asyncio.get_running_loop().time() + limits.seconds
        order = Draw(0, media_type, limits, page, mark)
        async with contextlib.aclosing(self._run(file, order, deadline, PageImage)) as images:
            async for image in images:
                return image.png
        raise _explain_end(0, limits)

    async def _run(
        self, file: BinaryIO, order: Task, deadline: float, expected: type[Result]
    ) -> AsyncGenerator[Result]:
        """Have a child run the order, and yield its frames of the expected type. The child is not trusted."""
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
            message = "The process that reads files was lost. Retry the document. If it fails again, report it."
            raise IngestionError(FailureCode.WORKER_LOST, message) from None
        if isinstance(frame, Failed):
            log.info("extraction.failed", code=frame.code, cause=frame.cause)
            raise IngestionError(frame.code, frame.message)
        if frame is None:
            raise _explain_end(exit_code, order.limits)
        if not isinstance(frame, Done):
            raise _explain_invalid_frame()

    async def _get_server(self) -> "ServerConnection":
        async with self._starting:
            if self._server is None or self._server.is_lost:
                await self.close()
                with translate_exhaustion():
                    self._server = await start_server(self._program, self._kill_seconds)
            return self._server

    async def close(self) -> None:
        """End the fork server and all its children."""
        if self._server:
            await self._server.close()
            self._server = None


NO_THREAD = "can't start new thread"
"""What Python's RuntimeError says at a limit on processes."""


@contextlib.contextmanager
def translate_exhaustion() -> Iterator[None]:
    """Raise SandboxUnavailable if the kernel refuses a process or a file, or the thread that waits for the process."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and str(error) != NO_THREAD:
            raise
        log.warning("sandbox.unavailable", cause=repr(error))
        raise SandboxUnavailable from error


async def start_server(program: Sequence[str], kill_seconds: float) -> "ServerConnection":
    """Start a fork server. It inherits no environment variable, and so no secret."""
    own_end, server_end = socket.socketpair()
    with contextlib.ExitStack() as stack:
        # Without its other end, a server ends that has started although this process had no thread to wait for it.
        stack.enter_context(own_end)
        with server_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program,
                stdin=server_end.fileno(),
                stdout=DEVNULL,
                stderr=DEVNULL,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=PROJECT_FOLDER,
                start_new_session=True,  # uvloop does not support process_group
            )
        stack.pop_all()
    own_end.setblocking(False)
    orders = own_end.dup()
    reports, writer = await asyncio.open_connection(sock=own_end)
    return ServerConnection(process, orders, reports, writer, kill_seconds)


class ServerConnection:
    """This process's end of the socket to a fork server, `pipeline.sandbox.__main__`."""

    def __init__(
        self,
        process: Process,
        orders: socket.socket,
        reports: StreamReader,
        writer: asyncio.StreamWriter,
        kill_seconds: float,
    ) -> None:
        self.kill_seconds = kill_seconds
        self._process = process
        self._orders = orders
        self._writer = writer
        self._children: dict[int, Child] = {}
        self._forked = 0
        self._listening = asyncio.create_task(self._listen(reports))

    @property
    def is_lost(self) -> bool:
        """True if the fork server has ended."""
        return self._listening.done()

    async def fork(self, order: Task, file: BinaryIO) -> "Child":
        """Fork a child that runs the order on the file.

        Raises ServerLost if the fork server has ended, SandboxUnavailable if no more files can be opened.
        """
        self._forked += 1
        order = msgspec.structs.replace(order, number=self._forked)
        with translate_exhaustion():
            source, sink = os.pipe()
        try:
            child = Child(self, order, *await _open_pipe(source))
            self._children[order.number] = child
            self.send(order, file.fileno(), sink)
        finally:
            os.close(sink)
        return child

    def send(self, order: Order, *files: int) -> None:
        """Send an order, with open files.

        Raises ServerLost if the fork server has ended.
        """
        try:
            socket.send_fds(self._orders, [encode(order)], files)
        except OSError as error:
            raise ServerLost from error

    async def _listen(self, reports: StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                length = int.from_bytes(await reports.readexactly(LENGTH_BYTES))
                match decode_report(await reports.readexactly(length)):
                    case Ended(number=number, exit_code=exit_code):
                        self._children.pop(number).ended.set_result(exit_code)
                    case NotForked(number=number, reason=reason):
                        log.warning("sandbox.unavailable", cause=reason)
                        self._children.pop(number).fail(SandboxUnavailable())
        for child in self._children.values():
            child.fail(ServerLost())
        self._children.clear()

    async def kill(self) -> None:
        """Kill the fork server. The kernel kills its children with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def close(self) -> None:
        """Kill the fork server and close the socket."""
        await self.kill()
        self._orders.close()
        self._writer.close()


class Child:
    """A child of the fork server, and its output."""

    def __init__(
        self, server: ServerConnection, order: Task, output: StreamReader, pipe: asyncio.ReadTransport
    ) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The child's exit code; or ServerLost or SandboxUnavailable."""
        self._server = server
        self._order = order
        self._output = output
        self._pipe = pipe

    def fail(self, error: Exception) -> None:
        """Let those who wait for the end get this error."""
        self.ended.set_exception(error)
        self.ended.exception()  # retrieved here, because asyncio logs exceptions that are never retrieved

    async def receive(self, deadline: float) -> Frame | None:
        """Return the next frame, or None if the child ended without one.

        `deadline` is a time of the event loop. Raises IngestionError (`timeout`) after it, and (`malformed`) if the
        child sent anything but a valid frame.
        """
        try:
            async with asyncio.timeout_at(deadline):
                frame = await self._receive()
        except TimeoutError:
            raise _timeout(self._order.limits) from None
        if frame is None:
            await asyncio.wait([self.ended], timeout=EXIT_SECONDS)
        return frame

    async def _receive(self) -> Frame | None:
        try:
            length = int.from_bytes(await self._output.readexactly(LENGTH_BYTES))
            if length > self._order.max_frame_bytes:
                raise _explain_invalid_frame()
            return decode_frame(await self._output.readexactly(length))
        except asyncio.IncompleteReadError:
            return None
        except ValueError:
            raise _explain_invalid_frame() from None

    async def kill(self) -> None:
        """Kill the child and all processes that it started, and wait until it has ended."""
        self._pipe.close()
        with contextlib.suppress(ServerLost):
            if not self.ended.done():
                self._server.send(Kill(self._order.number))
                await asyncio.wait([self.ended], timeout=self._server.kill_seconds)
        if not self.ended.done():
            log.error("sandbox.server_hung")
            await self._server.kill()


async def _open_pipe(source: int) -> tuple[StreamReader, asyncio.ReadTransport]:
    output = StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), os.fdopen(source, "rb", 0))
    return output, pipe


def _explain_end(exit_code: int, limits: ProcessLimits) -> IngestionError:
    """Return the error of a child that ended without a frame: the kernel stopped it, or its reader crashed."""
    log.warning("sandbox.child_died", exit_code=exit_code)
    if exit_code == -signal.SIGXCPU:
        return _timeout(limits)
    if exit_code == NOT_CONFINED:
        message = "The file could not be read safely. Retry the document. If it fails again, report it."
        return IngestionError(FailureCode.WORKER_LOST, message)
    if exit_code == -signal.SIGKILL:
        message = "Reading the file was stopped, probably for lack of memory. Split the file, or save it again."
        return IngestionError(FailureCode.OUT_OF_MEMORY, message)
    return _crash()


def _explain_invalid_frame() -> IngestionError:
    """Return the error of a child that sent what no reader sends: the file has damaged or taken over its reader."""
    log.warning("sandbox.invalid_frame")
    return _crash()


def _crash() -> IngestionError:
    message = "The file crashes its reader. Open it, save it again and upload the new copy."
    return IngestionError(FailureCode.MALFORMED, message)


def _timeout(limits: ProcessLimits) -> IngestionError:
    message = f"Reading the file took longer than {limits.seconds:g} seconds. Split the file, or save it again."
    return IngestionError(FailureCode.TIMEOUT, message)
