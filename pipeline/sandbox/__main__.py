"""The fork server of the extractions: a small process that has the readers loaded, and forks a child for each task.

Started by `pipeline.sandbox.pool` with a socket as standard input, over which orders come and reports go. It has no
thread, no secret and no model. It ends with its worker, and its children end with it.
"""

import os
import selectors
import signal
import socket
from contextlib import suppress
from typing import NoReturn

from pipeline.sandbox.child import die_with_parent, run
from pipeline.sandbox.protocol import LENGTH_BYTES, Draw, Ended, Kill, Start, Task, decode_order, encode
from pipeline.stages.extract import find_formats


class ForkServer:
    """Forks, kills and buries the children of one worker."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._children: dict[int, int] = {}
        """Process id to number."""

    def serve(self) -> None:
        """Follow orders until the worker closes the socket."""
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
                if self._orders in ready and not self._follow():
                    return

    def _follow(self) -> bool:
        header, files, _, _ = socket.recv_fds(self._orders, LENGTH_BYTES, 2)
        if not header:
            return False
        body = self._orders.recv(int.from_bytes(header), socket.MSG_WAITALL)
        match decode_order(body):
            case Start() | Draw() as order:
                self._start(order, *files)
            case Kill(number=number):
                self._kill(number)
        return True

    def _start(self, order: Task, file: int, output: int) -> None:
        server_id = os.getpid()
        process_id = os.fork()
        if process_id == 0:
            _become_child(order, file, output, server_id)
        os.close(file)
        os.close(output)
        self._children[process_id] = order.number

    def _kill(self, number: int) -> None:
        for process_id, child in self._children.items():
            if child == number:
                os.kill(process_id, signal.SIGKILL)  # it may not have its group yet, or have left it
                _kill_group(process_id)

    def _reap(self) -> None:
        for process_id in list(self._children):
            if os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Whatever it has started goes with it, as long as its id is not given to another.
            _kill_group(process_id)
            _, status = os.waitpid(process_id, 0)
            number = self._children.pop(process_id)
            self._orders.sendall(encode(Ended(number, os.waitstatus_to_exitcode(status))))


def _kill_group(process_id: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)


def _become_child(order: Task, file: int, output: int, server_id: int) -> NoReturn:
    """Be the child from here on."""
    code = 1
    try:
        die_with_parent()
        if os.getppid() != server_id:  # it went before we could say so
            os._exit(code)
        # A group of its own, so that it goes with whatever it may have started. Not a session: on Linux each
        # session has the same right to the processor, however nice its processes are.
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(file, 0)
        os.dup2(output, 1)
        os.closerange(3, 256)
        run(order)
        code = 0
    finally:
        # No clean-up that belongs to the server, and no traceback of a file that ran into its limits.
        os._exit(code)


def main() -> None:
    """Load the readers, then serve."""
    die_with_parent()
    orders = socket.socket(fileno=os.dup(0))
    find_formats()
    ForkServer(orders).serve()


if __name__ == "__main__":
    main()
