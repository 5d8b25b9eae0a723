"""The filter of system calls for both processors, run by an interpreter of its instructions."""

import mmap
import os
import signal
import struct
from collections.abc import Iterator

import pytest

from pipeline.sandbox import seccomp
from pipeline.sandbox.seccomp import ALLOW, CALLS, KILL, PROCESSORS, REFUSE, Processor, build_program

PROCESS_ID = 4321
LAST_NUMBER = 600
"""Higher than that of every system call."""
OTHER_ARGUMENT = 2**63


def decide(processor: Processor, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Return what the filter decides about a system call."""
    call = struct.pack(
        "=iIQ6Q",
        number,
        architecture or processor.architecture,
        0,
        *arguments,
        *[OTHER_ARGUMENT] * (6 - len(arguments)),
    )
    instructions = list(struct.iter_unpack("=HBBI", build_program(processor, PROCESS_ID)))
    position = loaded = 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        match code:
            case seccomp.LOAD:
                (loaded,) = struct.unpack_from("=I", call, value)
            case seccomp.RETURN:
                return int(value)
            case seccomp.JUMP_IF_EQUAL:
                position += if_true if loaded == value else if_false
            case seccomp.JUMP_IF_ANY_BIT:
                position += if_true if loaded & value else if_false
            case seccomp.JUMP_IF_AT_LEAST:
                position += if_true if loaded >= value else if_false


def find_number(processor: Processor, name: str) -> int:
    [call] = [call for call in CALLS if call.name == name]
    number = processor.find_number(call)
    assert number is not None
    return number


PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
WRITABLE = mmap.PROT_READ | mmap.PROT_WRITE
DECISIONS: dict[str, list[tuple[tuple[int, ...], bool]]] = {
    "read": [((0, 0, 1), True)],
    "write": [((1, 0, 1), True), ((2, 0, 1), True), ((0, 0, 1), False), ((3, 0, 1), False)],
    "openat": [
        ((0, 0, os.O_RDONLY | os.O_CLOEXEC), True),
        ((0, 0, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK), True),
        ((0, 0, os.O_WRONLY), False),
        ((0, 0, os.O_RDWR), False),
        ((0, 0, os.O_RDONLY | os.O_CREAT), False),
        ((0, 0, os.O_RDONLY | os.O_TRUNC), False),
        ((0, 0, os.O_RDONLY | os.O_APPEND), False),
    ],
    "mmap": [
        ((0, 1, WRITABLE, PRIVATE), True),
        ((0, 1, WRITABLE | mmap.PROT_EXEC, PRIVATE), False),
        ((0, 1, WRITABLE, mmap.MAP_SHARED), False),
    ],
    "mprotect": [((0, 1, WRITABLE), True), ((0, 1, mmap.PROT_EXEC), False)],
    "madvise": [((0, 1, 4), True), ((0, 1, 10), False)],
    "ioctl": [((0, 0x5401, 0), True), ((0, 0x5412, 0), False)],
    "futex": [((0, 129, 1), True), ((0, 1, 1), False), ((0, 128 | 6, 1), False)],
    "tgkill": [((PROCESS_ID, 5, signal.SIGABRT), True), ((1, 1, signal.SIGKILL), False)],
}


def list_decisions() -> Iterator[tuple[str, str, tuple[int, ...], bool]]:
    for processor in PROCESSORS:
        for name, cases in DECISIONS.items():
            for arguments, is_allowed in cases:
                yield processor, name, arguments, is_allowed


@pytest.mark.parametrize(("name", "call", "arguments", "is_allowed"), list(list_decisions()))
def test_arguments_decide(name: str, call: str, arguments: tuple[int, ...], is_allowed: bool) -> None:
    processor = PROCESSORS[name]
    decision = decide(processor, find_number(processor, call), *arguments)
    assert decision == (ALLOW if is_allowed else REFUSE)


@pytest.mark.parametrize("name", PROCESSORS)
def test_all_other_calls_are_refused(name: str) -> None:
    processor = PROCESSORS[name]
    listed = {processor.find_number(call) for call in CALLS}
    decisions = {decide(processor, number) for number in range(LAST_NUMBER) if number not in listed}
    assert decisions == {REFUSE}


@pytest.mark.parametrize("name", PROCESSORS)
def test_calls_with_conditions_are_those_tested(name: str) -> None:
    processor = PROCESSORS[name]
    assert {call.name for call in CALLS if call.conditions} == DECISIONS.keys() - {"read"}
    free = [call for call in CALLS if not call.conditions]
    numbers = [number for call in free if (number := processor.find_number(call)) is not None]
    assert {decide(processor, number) for number in numbers} == {ALLOW}


@pytest.mark.parametrize("name", PROCESSORS)
def test_calls_of_other_architectures_kill(name: str) -> None:
    processor = PROCESSORS[name]
    read = find_number(processor, "read")
    others = {other.architecture for other in PROCESSORS.values()} | {0x40000003, 0x40000028}
    for architecture in others - {processor.architecture}:
        assert decide(processor, read, architecture=architecture) == KILL
    assert decide(processor, seccomp.X32_BIT + read) == (KILL if processor.has_x32 else REFUSE)
