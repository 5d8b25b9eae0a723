"""A server that speaks as OpenAI's does, and misbehaves as a test wants it to."""

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
    """One request, and what is said to it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.path = handler.path
        self.headers = handler.headers
        self.body: dict[str, Any] = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.left_at: float | None = None

    @property
    def prompt(self) -> str:
        """What the user's message to the model is."""
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

    def say_heard(self, word: str, heard: list[str]) -> None:
        """Say a word, and no more before it was heard."""
        self.say(word)
        wait_until(lambda: word in "".join(heard), 10, f"{word} was heard")

    def finish(self) -> None:
        self.say(finish_reason="stop")
        self.send(b"data: [DONE]\n\n")
        self.end()

    def end(self) -> None:
        """End the body as HTTP wants it."""
        self.send(b"")

    def cut(self) -> None:
        self._handler.connection.shutdown(socket.SHUT_RDWR)

    def wait_until_left(self) -> None:
        """Wait for the other side to hang up."""
        self._handler.connection.settimeout(20)
        with suppress(ConnectionResetError):
            assert self._handler.connection.recv(1) == b""
        self.left_at = time.monotonic()


Behaviour = Callable[[Call], None]


def wait_to_be_heard(words: Sequence[str], heard: list[str]) -> Behaviour:
    """Say each word only when the one before it was heard."""

    def behave(call: Call) -> None:
        call.begin()
        for word in words:
            call.say_heard(word, heard)
        call.finish()

    return behave


def say_yes(call: Call) -> None:
    """What a server does by default."""
    call.begin()
    call.say("Yes", " [0]", ".")
    call.finish()


def talk_until_left(call: Call) -> None:
    """Begin an answer that only the client's leaving ends."""
    call.begin()
    call.say("Half")
    call.wait_until_left()


class LlmServer:
    """Serves in threads of its own, so that tests of all kinds can use it."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}/v1"
        self.behave: Behaviour = say_yes
        self.calls: list[Call] = []

    def wait_for_call(self, number: int = 1) -> Call:
        """The first call, or another."""
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
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        llm = LlmServer(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield llm
        finally:
            server.shutdown()
            thread.join()
