"""Calls to the C library and the kernel that Python has no functions for."""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 4 * 1024 * 1024

_library = ctypes.CDLL(None, use_errno=True)


class _Capabilities(ctypes.Structure):
    """Arguments of `capset`: a header, and two words each of effective, permitted and inheritable capabilities."""

    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int), ("words", ctypes.c_uint32 * 6))


CAPABILITY_VERSION_3 = 0x20080522


def call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call `number`, and return its result.

    Raises OSError if it fails.
    """
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(_library.syscall(ctypes.c_long(number), *converted))


def control_process(option: int, value: int) -> None:
    """Call `prctl` with one value.

    Raises OSError if it fails.
    """
    zero = ctypes.c_ulong(0)
    _check(_library.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def hide_memory() -> None:
    """Keep processes of the same user from reading this process's memory, environment and open files. Linux only.

    It also turns core dumps off. A program that this process starts must call it again.
    """
    if sys.platform == "linux":
        control_process(PR_SET_DUMPABLE, 0)


def return_large_blocks() -> None:
    """Make this process return each large block of memory to the system when it is freed. For the GNU C library only.

    The library otherwise keeps blocks of up to 32 MiB, for each thread apart. Other libraries ignore this.
    """
    if hasattr(_library, "mallopt"):
        _library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def drop_capabilities() -> None:
    """Give up all capabilities of this process. Only root has any.

    Raises OSError if it fails.
    """
    none = _Capabilities(CAPABILITY_VERSION_3, 0)
    header, data = ctypes.byref(none), ctypes.byref(none, _Capabilities.words.offset)
    _check(_library.capset(header, data))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
