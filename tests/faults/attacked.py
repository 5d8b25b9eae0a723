"""`python -m tests.faults.attacked`: a process like a worker, whose files attack it. Prints the outcomes as JSON."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import BinaryIO

import msgspec

from pipeline.errors import IngestionError
from pipeline.logs import configure_logging
from pipeline.sandbox.confinement import Layer
from pipeline.sandbox.kernel import hide_memory
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import PNG_END, Limits
from tests.faults.attacks import BEFORE_OUTCOME, IS_X86, Outcome, Target, make_all_apart

LIMITS = Limits(seconds=20, memory_bytes=1024**3, pages=10, characters=100_000)
PROGRAM = """
from pipeline.sandbox.__main__ import main
from tests.faults import attacks
main({run}, frozenset({layers}))
"""


class Outcomes(msgspec.Struct):
    """What came of the attacks, in each kind of child."""

    text: Outcome
    image: Outcome
    without_landlock: Outcome
    without_seccomp: Outcome
    """Of the attacks that Landlock refuses."""
    unconfined: Outcome | None
    """None for root, whose attacks would do harm."""
    other_calls: list[str]
    """How children ended that made system calls by x32, and by 32 bits."""


def make_sandbox(run: str, *layers: Layer) -> Sandbox:
    return Sandbox(("-c", PROGRAM.format(run=run, layers=[str(layer) for layer in layers])))


async def extract(sandbox: Sandbox, file: BinaryIO) -> str:
    """Return the text that the child sent, or the failure code."""
    try:
        async with aclosing(sandbox.extract(file, "text/plain", LIMITS)) as extracted:
            [text] = [page.text async for page in extracted]
    except IngestionError as error:
        return error.code
    finally:
        await sandbox.close()
    return text


async def make_attacks(file: BinaryIO, target: Target) -> Outcomes:
    attacker = make_sandbox("attacks.attack", *Layer)
    image = await attacker.draw(file, "text/plain", LIMITS, 1, None)
    outcome = image.removeprefix(BEFORE_OUTCOME).removesuffix(PNG_END)
    crossings = [f"lambda _: attacks.cross(attacks.{way})" for way in ("call_by_x32", "call_by_32_bits")]
    return Outcomes(
        image=msgspec.json.decode(outcome, type=Outcome),
        text=msgspec.json.decode(await extract(attacker, file), type=Outcome),
        without_landlock=msgspec.json.decode(
            await extract(make_sandbox("attacks.attack", Layer.SECCOMP), file), type=Outcome
        ),
        without_seccomp=msgspec.json.decode(
            await extract(
                make_sandbox("lambda order: attacks.attack(order, attacks.LANDLOCKED)", Layer.LANDLOCK), file
            ),
            type=Outcome,
        ),
        unconfined=make_all_apart(target) if os.getuid() else None,
        other_calls=[await extract(make_sandbox(crossing, *Layer), file) for crossing in crossings if IS_X86],
    )


@contextmanager
def open_target() -> Iterator[Target]:
    """Create the files and sockets that the attacks aim at."""
    name = f"sluice-attacked-{os.getpid()}"
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket() as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        for listener, address in ((tcp, ("127.0.0.1", 0)), (unix, f"{folder}/socket"), (abstract, f"\0{name}")):
            listener.bind(address)
            listener.listen()
        target = Target(os.getpid(), folder, tcp.getsockname()[1], name)
        target.restore()
        yield target


def main() -> None:
    hide_memory()
    configure_logging("ERROR")
    with open_target() as target, tempfile.TemporaryFile() as file:
        file.write(msgspec.json.encode(target))
        file.flush()
        os.dup2(file.fileno(), 0)  # as in a child
        sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(make_attacks(file, target))))


if __name__ == "__main__":
    main()
