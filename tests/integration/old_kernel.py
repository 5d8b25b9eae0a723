"""`python -m tests.integration.old_kernel`: what Sluice finds and does if the kernel refuses Landlock. Prints JSON.

A filter of system calls plays the old kernel. It stays in force for the rest of the process.
"""

import asyncio
import errno
import struct
import sys
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import msgspec

from api.app import create_app
from pipeline.operations.doctor import examine
from pipeline.runtime import open_runtime
from pipeline.sandbox import kernel, landlock, seccomp
from pipeline.sandbox.confinement import summarize_layers
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import Limits
from pipeline.settings import Settings, SettingsError

LIMITS = Limits(seconds=20, memory_bytes=1024**3, pages=10, characters=1000)
AUTO, REQUIRE = Settings(_env_file=None, sandbox="auto"), Settings(_env_file=None, sandbox="require")


class Found(msgspec.Struct):
    causes: dict[str, str | None]
    """What is said about Landlock, by the error of the kernel."""
    summary: str
    refusals: list[str]
    """Of an API and of a worker, with SANDBOX=require."""
    verdicts: list[str]
    """The doctor's, with SANDBOX=auto and with SANDBOX=require."""
    advice: str
    text: str
    """What a child read nevertheless."""


def refuse_landlock(error: int) -> None:
    instructions = struct.pack(
        "=HBBIHBBIHBBIHBBI",
        *(seccomp.LOAD, 0, 0, seccomp.NUMBER_OFFSET),
        *(seccomp.JUMP_IF_EQUAL, 0, 1, landlock.CREATE_RULESET),
        *(seccomp.RETURN, 0, 0, 0x00050000 | error),
        *(seccomp.RETURN, 0, 0, seccomp.ALLOW),
    )
    seccomp.install_program(instructions)


async def diagnose(settings: Settings) -> tuple[str, str]:
    async with aclosing(examine(settings)) as findings:
        async for finding in findings:
            if finding.part == "sandbox":
                return finding.verdict, finding.advice
    raise AssertionError("the doctor did not examine the sandbox")


async def read() -> str:
    sandbox = Sandbox()
    with tempfile.TemporaryFile() as file:
        file.write(b"read nevertheless")
        async with aclosing(sandbox.extract(file, "text/plain", LIMITS)) as extracted:
            text = "".join([page.text async for page in extracted])
    await sandbox.close()
    return text


def find_refusal(start: Callable[[], object]) -> str:
    try:
        start()
    except SettingsError as error:
        return str(error)
    return ""


async def open_and_close() -> None:
    async with open_runtime(REQUIRE, database_timeout_seconds=1):
        pass


def main() -> None:
    kernel.control_process(kernel.PR_SET_NO_NEW_PRIVS, 1)
    causes: dict[str, str | None] = {}
    for error in (errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS):
        refuse_landlock(error)
        causes[errno.errorcode[error]] = landlock.find_problem()
    verdicts = [asyncio.run(diagnose(settings)) for settings in (AUTO, REQUIRE)]
    found = Found(
        causes=causes,
        summary=summarize_layers(),
        refusals=[
            find_refusal(start) for start in (partial(create_app, REQUIRE), lambda: asyncio.run(open_and_close()))
        ],
        verdicts=[verdict for verdict, _ in verdicts],
        advice=verdicts[0][1],
        text=asyncio.run(read()),
    )
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
