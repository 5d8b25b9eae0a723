"""The fork server: a small process with the readers loaded, which forks a child for each order.

`pipeline.sandbox.pool` starts it with a socket as standard input. Orders arrive on the socket, and reports are sent on
it. The fork server has no threads, no secrets and no model. It ends with the process that started it, and its children
end with it.
"""

import os
import selectors
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from pipeline.sandbox.child import die_with_parent, limit_process, run
from pipeline.sandbox.confinement import Confinement, Layer, find_layers, prepare
from pipeline.sandbox.kernel import hide_memory
from pipeline.sandbox.preload import load
from pipeline.sandbox.protocol import (
    LENGTH_BYTES,
    NOT_CONFINED,
    Draw,
    Ended,
    Extract,
    Kill,
    NotForked,
    Task,
    decode_order,
    encode,
)

Run = Callable[[Task], None]


class ForkServer:
    """Forks, kills and reaps children."""

    def __init__(
        self, orders: socket.socket, run: Run, confinement: Confinement, fork: Callable[[], int] = os.fork
    ) -> None:
        self._orders = orders
        self._run = run
        self._confinement = confinement
        self._fork_process = fork
        self._children: dict[int, int] = {}
        """Numbers of the running children, by process id."""

    def serve(self) -> None:
        """Carry out orders until the other end closes the socket."""
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._orders, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if woken in ready:
                    woken.recv(4096)
                    self._reap()
                if self._orders in ready and not self._handle_order():
                    return

    def _handle_order(self) -> bool:
        """Carry out the next order. Return False if the other end has closed the socket."""
        header, files, _, _ = socket.recv_fds(self._orders, LENGTH_BYTES, 2)
        if not header:
            return False
        body = self._orders.recv(int.from_bytes(header), socket.MSG_WAITALL)
        match decode_order(body):
            case Extract() | Draw() as task:
                self._fork(task, *files)
            case Kill(number=number):
                self._kill(number)
        return True

    def _fork(self, task: Task, file: int, output: int) -> None:
        server_id = os.getpid()
        try:
            process_id = self._fork_process()
        except OSError as error:
            self._orders.sendall(encode(NotForked(task.number, str(error))))
        else:
            if process_id == 0:
                _become_child(self._run, task, self._confinement, (file, output), server_id)
            self._children[process_id] = task.number
        os.close(file)
        os.close(output)

    def _kill(self, number: int) -> None:
        for process_id, child in self._children.items():
            if child == number:
                os.kill(process_id, signal.SIGKILL)  # it may not have joined its group yet, or may have left it
                _kill_group(process_id)

    def _reap(self) -> None:
        for process_id in list(self._children):
            if os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Kill the processes that the child started. Reap it only then, because its id can be reused after that.
            _kill_group(process_id)
            _, status = os.waitpid(process_id, 0)
            number = self._children.pop(process_id)
            self._orders.sendall(encode(Ended(number, os.waitstatus_to_exitcode(status))))


def _kill_group(process_id: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)


def _become_child(run: Run, task: Task, confinement: Confinement, files: tuple[int, int], server_id: int) -> NoReturn:
    """Confine the forked process, run the task in it, and end it. Nothing of the file is read before."""
    code = NOT_CONFINED
    try:
        die_with_parent()
        if os.getppid() != server_id:  # the server ended before die_with_parent took effect
            os._exit(code)
        # A process group, so that all processes the child starts are killed with it. Not a session: on Linux, each
        # session gets the same share of the CPU, whatever the niceness of its processes.
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        confinement.restrict_access()
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        limit_process(task.limits)
        confinement.restrict_calls()
        code = 1
        run(task)
        code = 0
    finally:
        # Skip the clean-up handlers of the server, and the traceback of an exceeded limit.
        os._exit(code)


def main(run: Run = run, layers: frozenset[Layer] | None = None) -> None:
    """Load the readers, then serve. Each child calls `run`, confined by `layers`; by default, by all of the kernel."""
    hide_memory()
    die_with_parent()
    orders = socket.socket(fileno=os.dup(0))
    load()
    ForkServer(orders, run, prepare(find_layers() if layers is None else layers)).serve()


if __name__ == "__main__":
    main()
