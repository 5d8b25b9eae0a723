"""Rows 24 and 25 of the fault matrix: clients that vanish, and slow clients."""

import itertools
import os
import socket
import statistics
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import psutil
import pytest

from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.faults.test_requests import BOUNDARY, count_rows, multipart
from tests.llm_server import run_llm_server, talk_until_left
from tests.processes import LoggedProcess
from tests.waiting import wait_until

HALF_HEADERS = 300
HALF_BODIES = 300
HEADER_SECONDS = 10
JSON_SECONDS = 10


def open_socket(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port or 0), timeout=30)


def write_request(client: Client, method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: sluice",
        f"Authorization: {client.http.headers['Authorization']}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def write_upload(client: Client, content: bytes) -> bytes:
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return write_request(client, "POST", "/v1/documents", multipart(content), kind)


def write_json(client: Client, path: str, body: bytes) -> bytes:
    return write_request(client, "POST", path, body, "Content-Type: application/json")


def vanish(connection: socket.socket, *, abruptly: bool) -> None:
    """Close the connection, by FIN or by RST."""
    if abruptly:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_status(connection: socket.socket) -> int:
    """Return the status that arrives, or 0 if the connection ends without one."""
    try:
        line = connection.recv(65536).split(b"\r\n")[0].split()
    except ConnectionError:
        return 0
    return int(line[1]) if line else 0


def has_temporary_file(api: LoggedProcess) -> bool:
    return any("(deleted)" in file.path for file in psutil.Process(api.pid).open_files())


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees the files of a process that hides its memory")
@pytest.mark.parametrize("abruptly", [False, True], ids=["by FIN", "by RST"])
def test_row_24_client_vanishes(cluster: Cluster, client: Client, *, abruptly: bool) -> None:
    cluster.start_worker()
    content = unique("download", 40_000)
    document_id = client.accept(content[: 3 * 1024 * 1024])
    note = b'{"title":"never whole","body":"' + b"x" * 200_000 + b'"}'
    question = b'{"query":"which sentence","top_k":3}'
    upload = write_upload(client, unique("half", 4_000))
    whole = {
        "upload": upload[: len(upload) // 2],
        "note": write_json(client, "/v1/notes", note)[:100_000],
        "search body": write_json(client, "/v1/search", question)[:-5],
        "login body": write_json(client, "/v1/auth/login", question)[:-5],
        "query": write_json(client, "/v1/search", question),
        "long poll": write_request(client, "GET", f"/v1/documents/{document_id}", b"", "Prefer: wait=30"),
        "download": write_request(client, "GET", f"/v1/documents/{document_id}/content"),
        "header": upload[:60],
    }
    api = cluster.start_api()
    for name, data in whole.items():
        for pause in (0.0, 0.2):
            connection = open_socket(api.url)
            connection.sendall(data)
            time.sleep(pause)
            if name == "download":
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            vanish(connection, abruptly=abruptly)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' OR wait_event_type = 'Lock'"
    wait_until(lambda: run_sql(cluster.database_url, waiting) == [], 5, "no transaction is left open")
    wait_until(lambda: not has_temporary_file(api), 5, "no temporary file is left")
    wait_until(lambda: len(psutil.Process(api.pid).net_connections("tcp")) < 15, 5, "no connection is left")
    seconds, _code = api.stop()
    assert seconds < 2, "a request still waited for its client"
    log = api.log.read_text()
    assert [
        line for line in log.splitlines() if "crashed" in line or "Traceback" in line or '"status": 500' in line
    ] == []
    assert count_rows(cluster, client)[0] == 1
    assert run_sql(cluster.database_url, "SELECT 1 FROM notes WHERE owner_id = $1", arguments=(client.id,)) == []
    client.http.delete(f"/v1/documents/{document_id}")


def test_row_24_client_leaves_its_answer(cluster: Cluster, client: Client) -> None:
    """The language model stops within a second, for a stream and for a whole answer."""
    cluster.start_worker()
    client.wait(client.accept(unique("asked about")))
    with run_llm_server() as llm:
        llm.behave = talk_until_left
        api = cluster.start_api(LLM_BASE_URL=llm.url, LLM_MODEL="a-model")
        ways = itertools.product(["text/event-stream", "application/json"], [False, True])
        for number, (accept, abruptly) in enumerate(ways, start=1):
            headers = ("Content-Type: application/json", f"Accept: {accept}")
            connection = open_socket(api.url)
            connection.sendall(write_request(client, "POST", "/v1/ask", b'{"question":"which sentence"}', *headers))
            call = llm.wait_for_call(number)
            if accept == "text/event-stream":
                wait_until(lambda: "Half" in connection.recv(65536).decode(), 5, "the first words")  # noqa: B023 - called in this round
            left = time.monotonic()
            vanish(connection, abruptly=abruptly)
            wait_until(lambda: call.left_at, 5, f"the model was stopped: {accept}")  # noqa: B023 - called in this round
            assert call.left_at
            assert call.left_at - left < 1
    seconds, _code = api.stop()
    assert seconds < 2, "a request still waited for its client"
    assert not any(word in api.log.read_text() for word in ("crashed", "Traceback", '"status": 500'))


def measure_searches(client: Client, seconds: float) -> list[float]:
    """Search for a while. Return the seconds of each search; all are answered."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        response = client.search()
        assert response is not None
        assert response.status_code == 200
        took.append(time.monotonic() - started)
        time.sleep(0.02)
    return took


def test_row_25_slow_clients(cluster: Cluster, client: Client) -> None:
    idle = measure_searches(client, 1)
    half_bodies = [
        write_json(client, "/v1/search", b'{"query":"which sentence"}')[:-5],
        write_json(client, "/v1/auth/login", b'{"email":"a@example.org"}')[:-5],
        write_json(client, "/v1/notes", b'{"title":"a","body":"b"}')[:-5],
    ]
    half_header = b"POST /v1/search HTTP/1.1\r\nHost: sluice\r\nX-Long: "
    with ExitStack() as stack:
        late = stack.enter_context(ThreadPoolExecutor(1)).submit(send_after_refusal, client)
        started = time.monotonic()
        silent = [stack.enter_context(open_socket(client.url)) for _ in range(HALF_HEADERS)]
        stalled = [stack.enter_context(open_socket(client.url)) for _ in range(HALF_BODIES)]
        for connection in silent:
            connection.sendall(half_header)
        for number, connection in enumerate(stalled):
            connection.sendall(half_bodies[number % len(half_bodies)])
        dribbling = threading.Thread(target=dribble, args=(silent[0], started + HEADER_SECONDS + 3), daemon=True)
        dribbling.start()
        busy = measure_searches(client, 5)
        assert {read_status(connection) for connection in silent[1:]} == {408}
        assert {read_status(connection) for connection in stalled} == {408}
        seconds = time.monotonic() - started
        dribbling.join(HEADER_SECONDS + 5)
        # Bytes that arrive after the timeout may reset the connection before the answer is read.
        assert read_status(silent[0]) in (408, 0)
        assert late.result() < 12
    print(
        f"search p50 {1000 * statistics.median(idle):.0f} ms idle, {1000 * statistics.median(busy):.0f} ms among slow clients"
    )
    print(f"all answered after {seconds:.1f} s")
    assert max(HEADER_SECONDS, JSON_SECONDS) - 1 < seconds < 25
    assert count_rows(cluster, client)[0] == 0


def send_after_refusal(client: Client) -> float:
    """Send more of a body that was refused. Return the seconds until the API closes the connection.

    It reads the rest for a while, so that the client sees the answer.
    """
    request = write_json(client, "/v1/search", b"x" * 1000).replace(b"Bearer ", b"Bearer x")
    with open_socket(client.url) as connection:
        connection.sendall(request[:-500])
        assert read_status(connection) == 401
        connection.sendall(request[-500:-400])
        started = time.monotonic()
        while connection.recv(4096):
            pass  # the rest of the answer
        return time.monotonic() - started


def dribble(connection: socket.socket, until: float) -> None:
    """Send a header byte by byte, without an end."""
    try:
        while time.monotonic() < until:
            connection.sendall(b"x")
            time.sleep(0.3)
    except OSError:
        pass


def test_row_25_more_than_is_read(client: Client) -> None:
    """A header or body without end is refused as soon as it is too large."""
    with open_socket(client.url) as connection:
        assert send_until_refused(connection, b"GET / HTTP/1.1\r\nX-Long: ") == 431
    note = write_json(client, "/v1/notes", b"x" * 100_000_000).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    with open_socket(client.url) as connection:
        assert send_until_refused(connection, note) == 413


def send_until_refused(connection: socket.socket, first: bytes) -> int:
    connection.sendall(first)
    connection.settimeout(0.01)
    for _ in range(200):
        connection.sendall(b"x" * 10_000)
        try:
            return read_status(connection)
        except TimeoutError:
            continue
    raise AssertionError("never refused")
