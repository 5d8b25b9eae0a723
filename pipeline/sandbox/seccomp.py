"""seccomp: the kernel refuses a process every system call that is not in `CALLS`.

A refused call returns EPERM, so that a reader which makes one raises an ordinary exception. A call of another
architecture (32 bits, x32), which no reader makes, kills the process.

The list was measured with strace: 758 children that read 391 files and drew 327 page images. Calls that only other
versions of the C library or other kernels make have the reason beside them.
"""

import ctypes
import errno
import mmap
import os
import platform
import struct
from dataclasses import dataclass

from pipeline.sandbox import kernel

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
KILL = 0x80000000
LOAD, JUMP_IF_EQUAL, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
"""Instructions of the kernel's filter machine (classic BPF)."""
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16
X32_BIT = 0x40000000
"""Added to the numbers of x32 calls, which share the architecture of x86-64."""
FILTER_MODE = 1
INSTRUCTION_BYTES = 8

FUTEX_PRIVATE, FUTEX_CLOCK_REALTIME = 128, 256
FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = 0, 1, 9, 10
TCGETS = 0x5401
MADV_DONTNEED, MADV_FREE = 4, 8
READ_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_DIRECTORY
ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class OneOf:
    """Condition: the argument at this index is one of the values."""

    index: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class NoneOf:
    """Condition: the argument at this index has none of these bits."""

    index: int
    bits: int


@dataclass(frozen=True)
class OwnProcess:
    """Condition: the argument at this index is the id of this process."""

    index: int


@dataclass(frozen=True)
class Call:
    """A system call that is allowed if all its conditions hold, with its number on each processor."""

    name: str
    x86_64: int
    aarch64: int | None
    conditions: tuple[OneOf | NoneOf | OwnProcess, ...] = ()


CALLS = (
    # The file and the output. Only the output and standard error may be written.
    Call("read", 0, 63),
    Call("write", 1, 64, (OneOf(0, (1, 2)),)),
    Call("lseek", 8, 62),
    Call("close", 3, 57),
    # Memory that is neither executable nor shared.
    Call("brk", 12, 214),
    Call("mmap", 9, 222, (NoneOf(2, mmap.PROT_EXEC), NoneOf(3, mmap.MAP_SHARED))),
    Call("mprotect", 10, 226, (NoneOf(2, mmap.PROT_EXEC),)),
    Call("munmap", 11, 215),
    Call("mremap", 25, 216),
    Call("madvise", 28, 233, (OneOf(2, (MADV_DONTNEED, MADV_FREE)),)),  # a C library that returns freed memory
    # Python modules and fonts, for reading.
    Call("openat", 257, 56, (NoneOf(2, ALL_BITS ^ READ_FLAGS),)),
    Call("newfstatat", 262, 79),
    Call("stat", 4, None),
    Call("fstat", 5, 80),  # an older C library
    Call("getdents64", 217, 61),
    Call("getcwd", 79, 17),  # an import while the search path has an empty entry
    Call("ioctl", 16, 29, (OneOf(1, (TCGETS,)),)),  # Python asks whether a file is a terminal
    # Locks of the C library and of PDFium, in one process.
    Call(
        "futex",
        202,
        98,
        (
            OneOf(
                1,
                (
                    FUTEX_WAIT | FUTEX_PRIVATE,
                    FUTEX_WAKE | FUTEX_PRIVATE,
                    FUTEX_WAIT_BITSET | FUTEX_PRIVATE,
                    FUTEX_WAIT_BITSET | FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME,
                    FUTEX_WAKE_BITSET | FUTEX_PRIVATE,
                ),
            ),
        ),
    ),
    # The process itself: its end, and `abort`, which PDFium calls when it has no memory.
    Call("getpid", 39, 172),
    Call("gettid", 186, 178),
    Call("tgkill", 234, 131, (OwnProcess(0),)),
    Call("rt_sigprocmask", 14, 135),
    Call("rt_sigaction", 13, 134),  # `abort` of an older C library
    Call("rt_sigreturn", 15, 139),  # the return from a signal handler
    Call("restart_syscall", 219, 128),  # a wait that a stop and a continue interrupted
    Call("exit", 60, 93),
    Call("exit_group", 231, 94),
    # Clocks, if the kernel does not offer them without a call; and random numbers.
    Call("clock_gettime", 228, 113),
    Call("gettimeofday", 96, 169),
    Call("getrandom", 318, 278),
)


@dataclass(frozen=True)
class Processor:
    """What a filter depends on: the architecture's number, that of `seccomp`, and whether there are x32 calls."""

    architecture: int
    seccomp: int
    has_x32: bool

    def find_number(self, call: Call) -> int | None:
        """Return the number of the call on this processor, or None if it does not exist."""
        return call.x86_64 if self.has_x32 else call.aarch64


PROCESSORS = {
    "x86_64": Processor(0xC000003E, 317, has_x32=True),
    "aarch64": Processor(0xC00000B7, 277, has_x32=False),
}


PROBLEMS = {
    errno.EPERM: "the container's seccomp profile forbids filters; Docker's default profile allows them",
    errno.ENOSYS: "the kernel has no seccomp filters; it must be built with CONFIG_SECCOMP_FILTER",
    errno.EINVAL: "the kernel has no seccomp filters; it must be built with CONFIG_SECCOMP_FILTER",
}


def find_problem() -> str | None:
    """Return why this process cannot use a filter, or None if it can."""
    processor = PROCESSORS.get(platform.machine())
    if processor is None:
        return f"there is no filter for processors of type {platform.machine()}, only for {', '.join(PROCESSORS)}"
    try:
        kernel.call(processor.seccomp, FILTER_MODE, 0, None)
    except OSError as error:
        # The kernel looks at the missing program only if it could install one.
        if error.errno != errno.EFAULT:
            return PROBLEMS.get(error.errno or 0, f"filters cannot be used ({error.strerror})")
    return None


def install_filter() -> None:
    """Allow this process only `CALLS` for the rest of its life. The process must have `no_new_privs`.

    Raises OSError if the kernel refuses.
    """
    install_program(build_program(PROCESSORS[platform.machine()], os.getpid()))


def install_program(instructions: bytes) -> None:
    """Filter this process's calls by these instructions, besides the filters that it has already.

    Raises OSError if the kernel refuses.
    """
    number = PROCESSORS[platform.machine()].seccomp
    program = ctypes.create_string_buffer(instructions, len(instructions))
    description = struct.pack("@HP", len(instructions) // INSTRUCTION_BYTES, ctypes.addressof(program))
    kernel.call(number, FILTER_MODE, 0, ctypes.create_string_buffer(description, len(description)))


def build_program(processor: Processor, process_id: int) -> bytes:
    """Return the filter for a process, as instructions of 8 bytes."""
    start = [_load(ARCHITECTURE_OFFSET), _jump(JUMP_IF_EQUAL, processor.architecture, 1, 0), _return(KILL)]
    start.append(_load(NUMBER_OFFSET))
    if processor.has_x32:
        start += [_jump(JUMP_IF_AT_LEAST, X32_BIT, 0, 1), _return(KILL)]
    for call in CALLS:
        number = processor.find_number(call)
        if number is not None:
            body = _check_arguments(call, process_id)
            start += [_jump(JUMP_IF_EQUAL, number, 0, len(body)), *body]
    return b"".join([*start, _return(REFUSE)])


def _check_arguments(call: Call, process_id: int) -> list[bytes]:
    """Return instructions that end with a decision. The kernel uses 32 bits of every argument that is checked."""
    body: list[bytes] = []
    for condition in call.conditions:
        body.append(_load(ARGUMENTS_OFFSET + 8 * condition.index))
        match condition:
            case NoneOf(bits=bits):
                body += [_jump(JUMP_IF_ANY_BIT, bits, 0, 1), _return(REFUSE)]
            case OneOf(values=values):
                body += _require_value(values)
            case OwnProcess():
                body += _require_value((process_id,))
    return [*body, _return(ALLOW)]


def _require_value(values: tuple[int, ...]) -> list[bytes]:
    # Each comparison jumps over the ones after it and over the refusal.
    jumps = [_jump(JUMP_IF_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
    return [*jumps, _return(REFUSE)]


def _load(offset: int) -> bytes:
    return _jump(LOAD, offset, 0, 0)


def _return(decision: int) -> bytes:
    return _jump(RETURN, decision, 0, 0)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
