"""The port on which a worker process serves its metrics, and a probe that sees whether its parts still turn."""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from pipeline.settings import SettingsError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROBE_PATH = "/health/live"


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Log nothing, because probes are frequent."""


def make_app(find_stuck: Callable[[], list[str]]) -> "WSGIApplication":
    """Return an application that serves the metrics, and answers the probe with 503 if parts are stuck."""
    metrics: WSGIApplication = make_wsgi_app()

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != PROBE_PATH:
            return metrics(environ, start_response)
        stuck = find_stuck()
        status = HTTPStatus.SERVICE_UNAVAILABLE if stuck else HTTPStatus.OK
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
        return [json.dumps({"status": "stuck" if stuck else "ok", "stuck": stuck}).encode()]

    return serve


class _IPv6Server(ThreadingWSGIServer):
    address_family = socket.AF_INET6


def serve_probe(host: str, port: int, find_stuck: Callable[[], list[str]]) -> None:
    """Serve metrics and the probe from threads, so that a blocked event loop is seen.

    Raises SettingsError if the worker cannot listen there.
    """
    kind = _IPv6Server if ":" in host else ThreadingWSGIServer
    try:
        server = make_server(host, port, make_app(find_stuck), kind, _SilentHandler)
    except OSError as error:
        reason = f"cannot listen on {host}:{port}: {error.strerror}"
        raise SettingsError(f"{reason}; set WORKER_METRICS_PORT to another port, or correct HOST") from None
    threading.Thread(target=server.serve_forever, name="probe", daemon=True).start()
