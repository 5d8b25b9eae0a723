"""Large and hostile files: the right answers, flat memory, and a worker that survives."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
from pypdf import PdfReader, PdfWriter

from pipeline import samples
from tests.service import Service

MIB = 1024 * 1024
JOIN_SECONDS = 10


class MemoryWatch(threading.Thread):
    """Remembers how much memory a process had at most."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self.before = self.peak = self._process.memory_info().rss

    def run(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def stop(self) -> int:
        """Return by how many bytes the memory rose."""
        self._done.set()
        self.join(JOIN_SECONDS)
        return self.peak - self.before


def test_upload_of_60_mib_leaves_memory_flat(service: Service, tmp_path: Path) -> None:
    headers = service.login()
    service.upload(headers, "small.txt", b"something small first")
    file = tmp_path / "large.txt"
    with file.open("wb") as large:
        for number in range(60):
            large.write(f"{number:6d} ".encode() * (MIB // 7))
    watch = MemoryWatch(service.api.pid)
    watch.start()
    with file.open("rb") as content:
        response = service.http.post("/v1/documents", headers=headers, files={"file": ("large.txt", content)})
    rise = watch.stop()
    assert response.status_code == 202
    print(f"API memory rose by {rise / MIB:.1f} MiB")
    assert rise < 20 * MIB
    document = service.wait(headers, response.json()["id"])
    assert document["error"]["code"] == "too_large"


def test_file_over_the_limit_gets_its_answer(service: Service) -> None:
    response = service.upload(service.login(), "huge.txt", b"x" * (80 * MIB))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_broken_files_get_their_answers_and_the_worker_survives(service: Service) -> None:
    headers = service.login()
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
        response = service.upload(headers, name, content)
        if isinstance(expected, int):
            assert response.status_code == expected, name
            continue
        assert response.status_code == 202, name
        document = service.wait(headers, response.json()["id"])
        assert (document["status"], document["error"]["code"]) == ("failed", expected), name
    assert service.worker.is_running
    assert service.find_violations() == {}


def test_real_report_is_ready_and_its_page_is_found(service: Service, shared_data: Callable[[str], Path]) -> None:
    headers = service.login()
    report = shared_data("finance") / "documents" / "PEPSICO_2023_8K_dated-2023-05-05.pdf"
    document = service.wait(headers, service.upload(headers, report.name, report.read_bytes()).json()["id"])
    assert (document["status"], document["pages"]) == ("ready", 5)
    passages = service.search(
        headers,
        "What was the outcome of the vote on the shareholder proposal for a congruency report on net-zero emissions policies?",
        top_k=5,
    )
    assert 4 in [passage["page"] for passage in passages]
    for passage in passages:
        part = {"start": passage["start"], "end": passage["end"]}
        answer = service.http.get(f"/v1/documents/{document['id']}/text", headers=headers, params=part).json()
        assert answer["text"] == passage["text"]
