"""Rows 21 to 23 and 26 of the fault matrix: deletes, an API that dies or stops, the same file many times at once."""

import contextlib
import http.client
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import pytest

from pipeline.types import Stage
from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.service import request
from tests.waiting import wait_until

BOUNDARY = "limit-of-parts"


def multipart(content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def begin_upload(url: str, client: Client, content: bytes, *, send: int) -> http.client.HTTPConnection:
    """Open a connection and send the first bytes of an upload."""
    body = multipart(content)
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.putrequest("POST", "/v1/documents")
    connection.putheader("Authorization", client.http.headers["Authorization"])
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:send])
    return connection


def count_rows(cluster: Cluster, client: Client) -> tuple[int, int, int]:
    """Count the documents, slices and audited uploads of this user."""
    [row] = run_sql(
        cluster.database_url,
        """SELECT (SELECT count(*) FROM documents WHERE owner_id = $1),
            (SELECT count(*) FROM document_slices WHERE owner_id = $1),
            (SELECT count(*) FROM audit_logs WHERE actor_user_id = $1 AND event_type = 'document.upload')""",
        arguments=(client.id,),
    )
    return row[0], row[1], row[2]


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in (Stage.FINISHING, Stage.STORED)])
def test_row_21_deleted_at_each_stage(cluster: Cluster, client: Client, stage: Stage) -> None:
    paused = cluster.start_worker(FAULT_HOOK=f"{stage}:pause")
    document_id = client.accept(unique("deleted"))
    wait_until(lambda: paused.is_stopped, 20, "the pause")
    path = f"/v1/documents/{document_id}"
    assert client.http.delete(path).status_code == 204
    assert client.http.get(path).status_code == 404

    def has_noticed() -> bool:
        paused.send_signal(signal.SIGCONT)  # repeatedly: the hook pauses it at every page
        return paused.has_logged("ingestion.lease_lost")

    wait_until(has_noticed, 10, "the worker notices")
    response = client.search()
    assert response is not None
    assert response.json()["passages"] == []
    chunks = "SELECT text FROM chunks WHERE owner_id = $1"
    assert run_sql(cluster.database_url, chunks, arguments=(client.id,)) == []


def test_row_21_deleted_while_it_is_being_committed(cluster: Cluster, client: Client) -> None:
    """The delete waits for the commit. Then nothing is left."""
    paused = cluster.start_worker(FAULT_HOOK=f"{Stage.FINISHING}:pause")
    document_id = client.accept(unique("committed"))
    wait_until(lambda: paused.is_stopped, 20, "the pause")
    path = f"/v1/documents/{document_id}"
    with ThreadPoolExecutor(1) as threads:
        deleting = threads.submit(client.http.delete, path)
        time.sleep(0.5)
        assert not deleting.done()
        paused.send_signal(signal.SIGCONT)
        assert deleting.result().status_code == 204
    assert client.http.get(path).status_code == 404
    assert run_sql(cluster.database_url, "SELECT 1 FROM chunks") == []


def test_row_22_api_killed_in_the_middle_of_an_upload(cluster: Cluster, client: Client) -> None:
    api = cluster.start_api()
    content = unique("half", 2_000)
    connection = begin_upload(api.url, client, content, send=len(content) // 2)
    time.sleep(0.2)
    api.kill()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        connection.getresponse()
    connection.close()
    assert count_rows(cluster, client) == (0, 0, 0)


def test_row_22_api_killed_when_an_upload_has_arrived(cluster: Cluster, client: Client) -> None:
    """Whenever it is killed after the last byte: the document is stored as a whole, or not at all."""
    for pause in (0.05, 0.3, 1.0):
        api = cluster.start_api()
        content = unique(f"whole {pause}", 30)
        connection = begin_upload(api.url, client, content, send=len(multipart(content)))
        time.sleep(pause)
        api.kill()
        connection.close()
        documents, slices, audited = count_rows(cluster, client)
        print(f"killed {pause} s after the last byte: {documents} documents")
        assert (documents > 0, documents) == (slices > 0, audited)
    cluster.start_worker()
    wait_until(lambda: run_sql(cluster.database_url, "SELECT 1 FROM jobs") == [], 90, "the queue is empty")


def test_row_23_sigterm_with_requests_in_flight(cluster: Cluster, client: Client) -> None:
    api = cluster.start_api()
    content = unique("in flight", 30)
    body = multipart(content)
    finishing = begin_upload(api.url, client, content, send=len(body) // 2)
    stalled = begin_upload(api.url, client, unique("stalled", 30), send=100)
    time.sleep(0.3)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(api.stop)
        time.sleep(1)
        finishing.send(body[len(body) // 2 :])
        assert finishing.getresponse().status == 202
        seconds, code = stopping.result()
    print(f"stopped after {seconds:.1f} s")
    assert seconds < 10
    assert code in (0, -signal.SIGTERM)
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        assert stalled.getresponse().status >= 400
    for connection in (finishing, stalled):
        connection.close()
    assert count_rows(cluster, client)[0] == 1
    cluster.start_worker()
    wait_until(lambda: run_sql(cluster.database_url, "SELECT 1 FROM jobs") == [], 90, "the queue is empty")


def test_row_26_the_same_file_twenty_times_at_once(cluster: Cluster, client: Client) -> None:
    content = unique("the same", 200)
    cluster.start_worker()

    def upload(_number: int) -> httpx2.Response:
        return request(
            *("POST", f"{client.url}/v1/documents"),
            headers={"Authorization": client.http.headers["Authorization"]},
            files={"file": ("a.txt", content)},
            timeout=30,
        )

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(upload, range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    [document_id] = {answer.json()["id"] for answer in answers}
    document = client.wait(document_id)
    assert (document["status"], document["attempts"]) == ("ready", 1)
    documents, _slices, audited = count_rows(cluster, client)
    assert (documents, audited) == (1, 1)
