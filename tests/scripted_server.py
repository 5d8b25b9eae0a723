"""An HTTP server that gives prepared answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], object]
"""Status, headers and body. A body that is not bytes is sent as JSON."""


class Script:
    """The answers that are left, and the requests so far."""

    def __init__(self, url: str, answers: list[Answer]) -> None:
        self.url = url
        self.answers = answers
        self.asked: list[tuple[str, str | None]] = []
        self.bodies: list[bytes] = []


@contextmanager
def serve(*answers: Answer, decide: Callable[[str, str | None], Answer] | None = None) -> Iterator[Script]:
    """Give the answers in order, or those that `decide` returns for "METHOD path" and the authorization."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            script.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            script.asked.append((f"{self.command} {self.path}", self.headers["authorization"]))
            status, headers, body = decide(*script.asked[-1]) if decide else script.answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server calls methods of these names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script = Script(f"http://127.0.0.1:{server.server_port}", list(answers))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


def refuse(status: int, code: str, **headers: str) -> Answer:
    """Return a problem as the service sends it."""
    problem = {"type": "about:blank", "title": "x", "status": status, "detail": f"It is {code}.", "code": code}
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, {**problem, "request_id": "r-1"}
