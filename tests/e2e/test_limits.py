"""Large and hostile files against the running service: right answers, flat memory, and a worker that stays up."""

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pypdf import PdfReader, PdfWriter

from pipeline import samples
from tests.databases import find_violations
from tests.e2e.conftest import Up

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def up(data_dir: Path) -> Iterator[Up]:
    service = Up(data_dir)
    yield service
    service.stop()


def find_api(up: Up) -> psutil.Process:
    return up.find_processes("-m api")[0]


def test_upload_of_60_mib_leaves_memory_flat(up: Up, data_dir: Path) -> None:
    headers = up.login()
    up.upload(headers, "small.txt", b"something small first")
    api = find_api(up)
    before = api.memory_info().rss
    file = data_dir / "large.txt"
    with file.open("wb") as large:
        for number in range(60):
            large.write(f"{number:6d} ".encode() * (MIB // 7))
    peak = before
    with file.open("rb") as content:
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, api.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        response = up.client.post("/v1/documents", headers=headers, files={"file": ("large.txt", content)})
        done.set()
        watcher.join()
    assert response.status_code == 202
    print(f"API memory rose by {(peak - before) / MIB:.1f} MiB")
    assert peak - before < 20 * MIB
    document = up.wait(headers, response.json()["id"])
    assert document["error"]["code"] == "too_large"


def test_file_over_the_limit_gets_its_answer(up: Up) -> None:
    response = up.upload(up.login(), "huge.txt", b"x" * (80 * MIB))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_broken_files_get_their_answers_and_the_worker_stays(up: Up) -> None:
    headers = up.login()
    workers = {process.pid for process in up.find_processes("-m workers")}
    handbook = (samples.FOLDER / "alder-lock-handbook.pdf").read_bytes()
    encrypted, blank = io.BytesIO(), io.BytesIO()
    writer = PdfWriter(PdfReader(io.BytesIO(handbook)))
    writer.encrypt("secret", algorithm="AES-256")
    writer.write(encrypted)
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(blank)
    cases: list[tuple[str, bytes, int | str]] = [
        ("truncated.pdf", handbook[: len(handbook) // 4], "malformed"),
        ("encrypted.pdf", encrypted.getvalue(), "encrypted"),
        ("scan.pdf", blank.getvalue(), "no_text"),
        ("page.pdf", b"<!doctype html><html><body>no PDF</body></html>", 415),
        ("empty.pdf", b"", 422),
    ]
    for name, content, expected in cases:
        response = up.upload(headers, name, content)
        if isinstance(expected, int):
            assert response.status_code == expected, name
            continue
        assert response.status_code == 202, name
        document = up.wait(headers, response.json()["id"])
        assert (document["status"], document["error"]["code"]) == ("failed", expected), name
    assert {process.pid for process in up.find_processes("-m workers")} == workers
    assert find_violations(f"postgresql://postgres:@/postgres?host={up.data_dir / 'postgres'}") == {}


def test_real_report_is_ready_and_its_page_is_found(up: Up, shared_data: Callable[[str], Path]) -> None:
    headers = up.login()
    report = shared_data("finance") / "documents" / "PEPSICO_2023_8K_dated-2023-05-05.pdf"
    document = up.wait(headers, up.upload(headers, report.name, report.read_bytes()).json()["id"])
    assert (document["status"], document["pages"]) == ("ready", 5)
    passages = up.search(
        headers,
        "What was the outcome of the vote on the shareholder proposal for a congruency report on net-zero emissions policies?",
        top_k=5,
    )
    assert 4 in [passage["page"] for passage in passages]
    for passage in passages:
        part = {"start": passage["start"], "end": passage["end"]}
        answer = up.client.get(f"/v1/documents/{document['id']}/text", headers=headers, params=part).json()
        assert answer["text"] == passage["text"]
