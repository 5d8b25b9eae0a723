"""Attacks that a file could make if it took control of its reader: `run` is a fork server's child that makes them all.

A child reads a sample of every format first, so that whatever a reader needs and opens is there when the attacks begin.
Each attack returns if it succeeds and raises OSError if it is refused. None does damage when it succeeds.
"""

import contextlib
import ctypes
import errno
import fcntl
import io
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import termios
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from pipeline.sandbox.protocol import PNG_BEGINNING, PNG_END, Done, Draw, Page, PageImage, Task, encode
from pipeline.stages.extract import find_formats
from pipeline.stages.extract.format import Extraction, SourceFile
from tests.samples import SAMPLES

library = ctypes.CDLL(None, use_errno=True)
HERE = -100
"""AT_FDCWD."""
BUFFER = ctypes.create_string_buffer(256)
SERVER = os.getpid()
"""The fork server imports this module, and forks the attackers. They may not even ask for their parent."""
IS_X86 = platform.machine() == "x86_64"


class Target(msgspec.Struct):
    """What the attacks aim at. The process that started the fork server prepares it."""

    process: int
    """The process that started the fork server: an API or a worker."""
    folder: str
    """A folder of that process's user, with `victim`, `empty/`, `socket` and `.env`."""
    port: int
    """A TCP port that listens, and a UDP port."""
    abstract: str
    """Name of an abstract Unix socket that listens."""

    def find(self, name: str) -> Path:
        return Path(self.folder, name)

    def restore(self) -> None:
        """Undo what a successful attack did to the files."""
        for name in ("victim", ".env"):
            self.find(name).write_text("a secret")
        self.find("empty").mkdir(exist_ok=True)


class Outcome(msgspec.Struct):
    """What came of the attacks of one child."""

    read: list[str]
    """Media types of the samples that it read before."""
    refused: list[str]
    """Refused with EPERM or EACCES."""
    other: dict[str, str]
    """Succeeded, or failed with another error, by the name of the attack."""


INSTRUCTIONS = mmap.mmap(
    -1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
)
INSTRUCTIONS.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret

Attack = Callable[[Target], object]


def call(number: int, *arguments: int | bytes | Path | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call. Raises OSError."""
    result: int = library.syscall(ctypes.c_long(number), *map(convert, arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def convert(value: int | bytes | Path | ctypes.Array[ctypes.c_char] | None) -> object:
    match value:
        case int():
            return ctypes.c_long(value)
        case Path():
            return os.fsencode(value)
    return value


def by_processor(x86_64: int, aarch64: int) -> int:
    return x86_64 if IS_X86 else aarch64


def write_to(path: str | Path, flags: int = os.O_WRONLY) -> None:
    os.close(os.open(path, flags, 0o600))


def end_in_child(process: int) -> None:
    """A fork that succeeded: end the new process."""
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)


def start_thread() -> None:
    try:
        threading.Thread(target=lambda: None).start()
    except RuntimeError as error:
        raise PermissionError(errno.EPERM, str(error)) from error


def connect(family: int, kind: int, address: str | bytes | tuple[str, int]) -> None:
    with socket.socket(family, kind) as connection:
        connection.connect(address)
        if kind == socket.SOCK_DGRAM:
            connection.send(b"x")


def listen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


def move_memory(number: int, process: int) -> None:
    """process_vm_readv or process_vm_writev, at the address of a buffer that the fork made the same in both."""
    vector = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(BUFFER), 1), 16)
    call(number, process, vector, 1, vector, 1, 0)


def run_new_code() -> None:
    mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def make_executable() -> None:
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call(by_processor(10, 226), address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def run_memory_file() -> None:
    file = call(by_processor(319, 279), b"program", 0)
    os.write(file, Path("/bin/true").read_bytes())
    os.execve(file, ["true"], {})


def write_own_memory() -> None:
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(ctypes.addressof(BUFFER))
        memory.write(b"x")


def remove(control: int, identifier: int) -> None:
    """Remove an object of System V that an attack has made."""
    call(control, identifier, 0, None)


def open_queue() -> None:
    os.close(call(by_processor(240, 180), b"sluice-attack", os.O_CREAT | os.O_RDWR, 0o600, None))
    call(by_processor(241, 181), b"sluice-attack")


def create_shared() -> None:
    file = Path("/dev/shm/sluice-attack")
    write_to(file, os.O_RDWR | os.O_CREAT)
    file.unlink()


def use_inherited() -> None:
    """Find a descriptor besides the file, the output and /dev/null: the fork server's orders, for example."""
    for number in range(3, 1024):
        try:
            os.read(number, 0)
        except OSError as error:
            if error.errno != errno.EBADF:
                return
        else:
            return
    raise PermissionError(errno.EPERM, "there is none")


def get_file_of(process: int) -> None:
    """pidfd_getfd: take a descriptor out of a process."""
    os.close(call(438, call(434, process, 0), 0, 0))


FILES: dict[str, Attack] = {
    "read /etc/passwd": lambda _: Path("/etc/passwd").read_bytes(),
    "read the project's settings": lambda target: target.find(".env").read_bytes(),
    "read a file of DATA_DIR": lambda target: target.find("victim").read_bytes(),
    "list the root": lambda _: list(Path("/").iterdir()),
    "list temporary files": lambda _: list(Path("/tmp").iterdir()),
    "read the environment of the fork server": lambda _: Path(f"/proc/{SERVER}/environ").read_bytes(),
    "read the environment of the worker": lambda target: Path(f"/proc/{target.process}/environ").read_bytes(),
    "read the memory of the worker": lambda target: write_to(f"/proc/{target.process}/mem", os.O_RDONLY),
    "read the memory map of the worker": lambda target: Path(f"/proc/{target.process}/maps").read_bytes(),
    "list the files of the worker": lambda target: list(Path(f"/proc/{target.process}/fd").iterdir()),
    "list all processes": lambda _: list(Path("/proc").iterdir()),
    "use a capability of root": lambda _: os.setpriority(os.PRIO_PROCESS, 0, -1),
}
"""Files that only Landlock protects from being read, because readers open files for reading, too."""

ATTACKS: dict[str, Attack] = {
    # other processes
    "write the memory of the fork server": lambda _: write_to(f"/proc/{SERVER}/mem"),
    "write the memory of the worker": lambda target: write_to(f"/proc/{target.process}/mem"),
    "write its own memory through /proc": lambda _: write_own_memory(),
    "ptrace the fork server": lambda _: call(by_processor(101, 117), 0x4206, SERVER, 0, 0),
    "ptrace the worker": lambda target: call(by_processor(101, 117), 0x4206, target.process, 0, 0),
    "be traced by the fork server": lambda _: call(by_processor(101, 117), 0, 0, 0, 0),
    "process_vm_readv": lambda _: move_memory(by_processor(310, 270), SERVER),
    "process_vm_writev": lambda _: move_memory(by_processor(311, 271), SERVER),
    "signal the fork server": lambda _: os.kill(SERVER, signal.SIGCONT),
    "signal the worker": lambda target: os.kill(target.process, signal.SIGCONT),
    "signal everybody": lambda _: os.kill(-1, 0),
    "signal its group": lambda _: os.killpg(0, 0),
    "signal a thread of the worker": lambda target: call(
        by_processor(234, 131), target.process, target.process, signal.SIGCONT
    ),
    "queue a signal": lambda _: call(by_processor(129, 138), SERVER, signal.SIGCONT, BUFFER),
    "pidfd_open": lambda _: os.close(call(434, SERVER, 0)),
    "pidfd_getfd": lambda _: get_file_of(SERVER),
    "pidfd_send_signal": lambda _: call(424, 0, 0, None, 0),
    "process_madvise": lambda _: call(440, 0, None, 0, 0, 0),
    "kcmp": lambda _: call(by_processor(312, 272), os.getpid(), SERVER, 0, 0, 0),
    "sched_setaffinity of the worker": lambda target: os.sched_setaffinity(target.process, {0}),
    "setpriority of the worker": lambda target: os.setpriority(os.PRIO_PROCESS, target.process, 19),
    "prlimit of the worker": lambda target: resource.prlimit(target.process, resource.RLIMIT_NOFILE),
    "leave its process group": lambda _: os.setpgid(0, os.getpgid(SERVER)),
    "survive its parent": lambda _: call(by_processor(157, 167), 1, 0, 0, 0, 0),
    "change its name": lambda _: call(by_processor(157, 167), 15, b"init", 0, 0, 0),
    "raise its limits": lambda _: call(by_processor(302, 261), 0, resource.RLIMIT_CORE, bytes(16), None),
    # new processes
    "fork": lambda _: end_in_child(os.fork()),
    "clone3": lambda _: call(435, None, 0),
    "thread": lambda _: start_thread(),
    "execve": lambda _: os.execve("/bin/true", ["true"], {}),
    "execveat": lambda _: call(by_processor(322, 281), HERE, b"/bin/true", None, None, 0),
    "memfd and execve": lambda _: run_memory_file(),
    "memfd": lambda _: os.close(call(by_processor(319, 279), b"program", 0)),
    "map executable memory": lambda _: run_new_code(),
    "make memory executable": lambda _: make_executable(),
    "personality": lambda _: call(by_processor(135, 92), 0xFFFFFFFF),
    # network
    "TCP": lambda target: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", target.port)),
    "TCP server": lambda _: listen(),
    "UDP": lambda target: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", target.port)),
    "Unix socket": lambda target: connect(socket.AF_UNIX, socket.SOCK_STREAM, str(target.find("socket"))),
    "abstract socket": lambda target: connect(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{target.abstract}"),
    "netlink": lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "vsock": lambda _: socket.socket(40, socket.SOCK_STREAM).close(),
    "socket pair": lambda _: socket.socketpair(),
    # files
    "open for writing": lambda target: write_to(target.find("victim")),
    "open for reading and writing": lambda target: write_to(target.find("victim"), os.O_RDWR),
    "open for appending": lambda target: write_to(target.find("victim"), os.O_WRONLY | os.O_APPEND),
    "open and truncate": lambda target: write_to(target.find("victim"), os.O_RDONLY | os.O_TRUNC),
    "create": lambda target: write_to(target.find("new"), os.O_RDONLY | os.O_CREAT),
    "create without a name": lambda target: write_to(target.folder, os.O_WRONLY | os.O_TMPFILE),
    "create in shared memory": lambda _: create_shared(),
    "open as a path": lambda target: write_to(target.find("victim"), os.O_PATH),
    "openat2": lambda target: os.close(
        call(437, HERE, target.find("victim"), ctypes.create_string_buffer(struct.pack("QQQ", 1, 0, 0), 24), 24)
    ),
    "truncate": lambda target: os.truncate(target.find("victim"), 0),
    "truncate its file": lambda _: os.ftruncate(0, 0),
    "write to its file": lambda _: os.pwrite(0, b"", 0) and None,
    "map its file for writing": lambda _: call(by_processor(9, 222), 0, 4096, mmap.PROT_WRITE, mmap.MAP_SHARED, 0, 0),
    "reserve space": lambda _: os.posix_fallocate(0, 0, 1),
    "unlink": lambda target: target.find("victim").unlink(),
    "rmdir": lambda target: target.find("empty").rmdir(),
    "rename": lambda target: target.find("victim").rename(target.find("moved")),
    "link": lambda target: target.find("linked").hardlink_to(target.find("victim")),
    "symlink": lambda target: target.find("symbolic").symlink_to(target.find("victim")),
    "mkdir": lambda target: target.find("made").mkdir(),
    "mknod": lambda target: os.mkfifo(target.find("pipe")),
    "chmod": lambda target: target.find("victim").chmod(0o777),
    "fchmod": lambda _: os.fchmod(0, 0o777),
    "chown": lambda target: os.chown(target.find("victim"), os.getuid(), os.getgid()),
    "utimes": lambda target: os.utime(target.find("victim"), (0, 0)),
    "setxattr": lambda target: os.setxattr(target.find("victim"), b"user.attack", b"x"),
    "read extended attributes": lambda target: os.listxattr(target.find("victim")),
    "chdir": lambda target: os.chdir(target.folder),
    "chroot": lambda target: os.chroot(target.folder),
    "lock a file": lambda _: fcntl.flock(0, fcntl.LOCK_SH),
    "receive signals of a file": lambda _: fcntl.fcntl(0, fcntl.F_SETOWN, SERVER),
    "copy between files": lambda _: os.sendfile(1, 0, 0, 0) and None,
    "inotify": lambda _: os.close(call(by_processor(294, 26), 0)),
    "fanotify": lambda _: os.close(call(by_processor(300, 262), 0, 0)),
    "name_to_handle_at": lambda target: call(by_processor(303, 264), HERE, target.find("victim"), BUFFER, BUFFER, 0),
    "open_by_handle_at": lambda _: call(by_processor(304, 265), HERE, BUFFER, 0),
    "type into a terminal": lambda _: fcntl.ioctl(2, termios.TIOCSTI, b"x"),
    "take a terminal": lambda _: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
    # the kernel
    "user namespace": lambda _: call(by_processor(272, 97), 0x10000000),
    "user namespace by clone": lambda _: end_in_child(call(by_processor(56, 220), 0x10000000 | 17, 0, 0, 0, 0)),
    "setns": lambda _: call(by_processor(308, 268), 0, 0),
    "mount": lambda target: call(by_processor(165, 40), b"none", target.find("empty"), b"tmpfs", 0, None),
    "umount": lambda target: call(by_processor(166, 39), target.find("empty"), 0),
    "pivot_root": lambda target: call(by_processor(155, 41), target.find("empty"), target.find("empty")),
    "fsopen": lambda _: os.close(call(430, b"tmpfs", 0)),
    "open_tree": lambda target: os.close(call(428, HERE, target.find("empty"), 0)),
    "io_uring": lambda _: call(425, 1, ctypes.create_string_buffer(120)),
    "io_submit": lambda _: call(by_processor(206, 0), 1, ctypes.create_string_buffer(8)),
    "bpf": lambda _: call(by_processor(321, 280), 0, BUFFER, 48),
    "perf_event_open": lambda _: call(by_processor(298, 241), BUFFER, 0, -1, -1, 0),
    "userfaultfd": lambda _: os.close(call(by_processor(323, 282), 1)),
    "keyctl": lambda _: call(by_processor(250, 219), 0, -3, 0, 0, 0),
    "add_key": lambda _: call(by_processor(248, 217), b"user", b"attack", b"x", 1, -2),
    "request_key": lambda _: call(by_processor(249, 218), b"user", b"attack", None, 0),
    "init_module": lambda _: call(by_processor(175, 105), BUFFER, 0, b""),
    "kexec_load": lambda _: call(by_processor(246, 104), 0, 0, None, 0),
    "reboot": lambda _: call(by_processor(169, 142), 0, 0, 0, None),
    "read the kernel's log": lambda _: call(by_processor(103, 116), 10, None, 0),
    "set the clock": lambda _: call(by_processor(227, 112), 0, BUFFER),
    "set the host's name": lambda _: call(by_processor(170, 161), b"attack", 6),
    "seccomp": lambda _: call(by_processor(317, 277), 1, 0, None),
    "Landlock": lambda _: call(444, None, 0, 1),
    "be root": lambda _: os.setuid(0),
    "be somebody else": lambda _: os.setgid(os.getgid()),
    "set groups": lambda _: os.setgroups([]),
    "capset": lambda _: call(
        by_processor(126, 91), ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0)), BUFFER
    ),
    # communication between processes
    "shmget": lambda _: remove(by_processor(31, 195), call(by_processor(29, 194), 0, 4096, 0o1600)),
    "shmat": lambda _: call(by_processor(30, 196), 0, None, 0),
    "semget": lambda _: call(by_processor(66, 191), call(by_processor(64, 190), 0, 1, 0o1600), 0, 0),
    "msgget": lambda _: remove(by_processor(71, 187), call(by_processor(68, 186), 0, 0o1600)),
    "mq_open": lambda _: open_queue(),
    "pipe": lambda _: os.pipe(),
    "eventfd": lambda _: os.close(os.eventfd(0)),
    "use an inherited descriptor": lambda _: use_inherited(),
}
"""Attacks that every layer of calls refuses. Some are harmless alone. They are refused because no reader needs them."""


LANDLOCKED = (
    *FILES,
    *("write its own memory through /proc", "signal the fork server", "signal the worker", "TCP", "TCP server"),
    *("abstract socket", "open for writing", "open and truncate", "create", "create in shared memory", "truncate"),
    *("unlink", "rmdir", "rename", "link", "symlink", "mkdir", "mknod"),
)
"""Attacks that Landlock refuses even without a filter of calls."""


def make_all(target: Target, names: Collection[str]) -> Outcome:
    """Read the samples, and make these attacks in this process."""
    read = read_samples()
    attacks = {name: attack for name, attack in {**FILES, **ATTACKS}.items() if name in names}
    return sort_out({name: find_error(attack, target) for name, attack in attacks.items()}, read)


def make_all_apart(target: Target) -> Outcome:
    """Make each attack in a process of its own, because some that succeed end or change the process."""
    errors: dict[str, int] = {}
    for name, attack in {**FILES, **ATTACKS}.items():
        target.restore()
        process = os.fork()
        if process == 0:
            os._exit(find_error(attack, target))
        errors[name] = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return sort_out(errors, [])


def read_samples() -> list[str]:
    """Read a sample of each format with each of its readers, and draw what can be drawn. Return the media types."""
    found = []
    for known in find_formats():
        sample = SAMPLES.get(known.media_type, b"")
        texts = [_read_text(reader(SourceFile(io.BytesIO(sample)))) for reader in known.readers if sample]
        if known.draw:
            known.draw(io.BytesIO(sample), 1, None)
        if texts and all("text" in text for text in texts):
            found.append(known.media_type)
    return found


def _read_text(extraction: Extraction) -> str:
    return "".join(section for page in extraction.pages for section in page.sections)


def sort_out(errors: dict[str, int], read: list[str]) -> Outcome:
    refusals = {errno.EPERM, errno.EACCES}
    return Outcome(
        read=read,
        refused=[name for name, error in errors.items() if error in refusals],
        other={
            name: errno.errorcode.get(error, "it succeeded") for name, error in errors.items() if error not in refusals
        },
    )


def find_error(attack: Attack, target: Target) -> int:
    """Return the number of the error, or 0."""
    try:
        attack(target)
    except OSError as error:
        return error.errno or 0
    return 0


BEFORE_OUTCOME = PNG_BEGINNING + (1).to_bytes(4) * 2
"""Sent before an outcome, so that it passes as a page image. `PNG_END` is sent after it."""


def attack(order: Task, names: Collection[str] = {**FILES, **ATTACKS}.keys()) -> None:
    """Make attacks on the target that the file describes, and send the outcome as text or as a page image."""
    target = msgspec.json.decode(os.read(0, 65536), type=Target)
    outcome = msgspec.json.encode(make_all(target, names))
    image = BEFORE_OUTCOME + outcome + PNG_END
    answer = PageImage(image) if isinstance(order, Draw) else Page([outcome.decode()], 1)
    os.write(1, encode(answer) + encode(Done()))


def cross(call_otherwise: Callable[[], object]) -> None:
    """Make a system call in a way that the filter may not know, and report that the process survived it."""
    with contextlib.suppress(OSError):
        call_otherwise()
    os.write(1, encode(Page(["it lives"], 1)) + encode(Done()))


def call_by_x32() -> None:
    """Call `getpid` by the x32 ABI."""
    call(0x40000000 + 39)


def call_by_32_bits() -> None:
    """Call `getpid` as programs of 32 bits do. The fork server has prepared the instructions."""
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(INSTRUCTIONS)))()
