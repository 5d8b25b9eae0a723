"""`python -m tests.integration.crowded`: a worker's sandbox and threads at a limit on processes. Prints JSON.

It must run as an ordinary user, because the kernel exempts root from RLIMIT_NPROC.
"""

import asyncio
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import BinaryIO

import msgspec
import psutil

from pipeline.errors import SandboxUnavailable
from pipeline.logs import configure_logging
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import Limits
from pipeline.threads import make_executor

LIMITS = Limits(seconds=20, memory_bytes=1024**3, pages=10, characters=1000)


@contextmanager
def crowd(process: int) -> Iterator[None]:
    """Keep a process from starting others, and threads."""
    before, most = resource.prlimit(process, resource.RLIMIT_NPROC)
    resource.prlimit(process, resource.RLIMIT_NPROC, (0, most))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NPROC, (before, most))


async def read(sandbox: Sandbox, file: BinaryIO) -> str:
    try:
        async with aclosing(sandbox.extract(file, "text/plain", LIMITS)) as extracted:
            return "".join([page.text async for page in extracted])
    except SandboxUnavailable:
        return "no process"


async def find_ends() -> list[str]:
    asyncio.get_running_loop().set_default_executor(make_executor(2))
    sandbox, ends = Sandbox(), []
    with tempfile.TemporaryFile() as file:
        file.write(b"it was read")
        with crowd(0):
            await sandbox.start()
            ends += [await read(sandbox, file), await asyncio.to_thread(lambda: "a thread answered")]
        ends.append(await read(sandbox, file))
        [server] = [child for child in psutil.Process().children() if "pipeline.sandbox" in child.cmdline()]
        with crowd(server.pid):
            ends.append(await read(sandbox, file))
        ends.append(await read(sandbox, file))
        assert server.is_running(), "the fork server survives it"
    await sandbox.close()
    return ends


def main() -> None:
    configure_logging("ERROR")
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(find_ends())))


if __name__ == "__main__":
    main()
