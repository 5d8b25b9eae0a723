"""A server with the protocol of OpenAI, which misbehaves as a test asks."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import wait_until


class Call:
    """One request, and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.path = handler.path
        self.headers = handler.headers
        self.body: dict[str, Any] = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.left_at: float | None = None

    @property
    def prompt(self) -> str:
        """The user message to the model."""
        return str(self.body["messages"][1]["content"])

    def begin(self, status: int = 200, **headers: str) -> None:
        self._handler.send_response(status)
        for name, value in {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()

    def send(self, data: bytes) -> None:
        self._handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def send_event(self, event: object) -> None:
        self.send(f"data: {json.dumps(event)}\n\n".encode())

    def say(self, *words: str, finish_reason: str | None = None) -> None:
        for word in words or [""]:
            delta = {"index": 0, "delta": {"content": word}, "finish_reason": finish_reason}
            self.send_event({"id": "1", "object": "chat.completion.chunk", "choices": [delta]})

    def say_and_wait(self, word: str, received: list[str]) -> None:
        """Send a word and wait until the client has it."""
        self.say(word)
        wait_until(lambda: word in "".join(received), 10, f"{word} was received")

    def finish(self) -> None:
        self.say(finish_reason="stop")
        self.send(b"data: [DONE]\n\n")
        self.end()

    def end(self) -> None:
        """Send the last, empty chunk of the body."""
        self.send(b"")

    def cut(self) -> None:
        self._handler.connection.shutdown(socket.SHUT_RDWR)

    def wait_until_left(self) -> None:
        """Wait until the client closes the connection."""
        self._handler.connection.settimeout(20)
        with suppress(ConnectionResetError):
            assert self._handler.connection.recv(1) == b""
        self.left_at = time.monotonic()


Behaviour = Callable[[Call], None]


def wait_to_be_heard(words: Sequence[str], received: list[str]) -> Behaviour:
    """Return a behaviour that sends each word when the client has the previous one."""

    def behave(call: Call) -> None:
        call.begin()
        for word in words:
            call.say_and_wait(word, received)
        call.finish()

    return behave


def say_yes(call: Call) -> None:
    """Give a complete answer. This is the default."""
    call.begin()
    call.say("Yes", " [1]", ".")
    call.finish()


def talk_until_left(call: Call) -> None:
    """Begin an answer that ends when the client closes the connection."""
    call.begin()
    call.say("Half")
    call.wait_until_left()


class LlmServer:
    """Serves in its own threads, so that sync and async tests can use it."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}/v1"
        self.behave: Behaviour = say_yes
        self.calls: list[Call] = []

    def wait_for_call(self, number: int = 1) -> Call:
        """Wait for a call and return it. Calls count from 1."""
        wait_until(lambda: len(self.calls) >= number, 20, "a call")
        return self.calls[number - 1]


@contextmanager
def run_llm_server() -> Iterator[LlmServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            call = Call(self)
            llm.calls.append(call)
            self.close_connection = True
            try:
                llm.behave(call)
            except (BrokenPipeError, ConnectionResetError):
                call.left_at = time.monotonic()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        llm = LlmServer(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield llm
        finally:
            server.shutdown()
            thread.join()
