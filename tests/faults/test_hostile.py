"""Rows 14 and 29 of the fault matrix: files that kill, hang or flood their reader, and the hostile corpus in one batch."""

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import archives
from tests.faults import bombs
from tests.faults.cluster import Cluster, find_readers
from tests.faults.history import Client, unique
from tests.processes import LoggedProcess
from tests.waiting import wait_until

MIB = 1024 * 1024
LIMITS = {"EXTRACT_TIMEOUT_SECONDS": "6", "EXTRACT_MEMORY_BYTES": str(512 * MIB), "MAX_PAGES": "5000"}

FAILURES: dict[str, set[int | str]] = {
    "text": {"ready"},
    "empty-needs-ocr": {"no_text"},
    "encrypted": {"encrypted"},
    # A reader may repair a damaged file.
    "malformed": {"malformed", "ready", "no_text", 415, 422},
    # A reader that stops at a limit of its own calls the file malformed.
    "resource-limit": {"timeout", "out_of_memory", "too_large", "too_many_pages", "malformed", 415},
}

OTHERWISE = {
    "js-colors.pdf": "ready",  # the values of its form are text
    "pages_1m_shared.pdf": "ready",  # a page that is listed a million times is read once
    "secHandler.pdf": "ready",  # the appearance of its annotation shows words
    "surrogate_tounicode.pdf": "no_text",  # its only letters are lone surrogates, which nobody can read
}
"""Files whose class the manifest took from a library that reads less, or more."""


def find_outcome(client: Client, name: str, content: bytes) -> int | str:
    """Return the status that refused the file, or the id of the accepted document."""
    response = client.upload(content, name)
    assert response is not None, name
    assert response.status_code < 500, (name, response.text)
    return str(response.json()["id"]) if response.status_code in (200, 202) else response.status_code


def find_end(client: Client, outcome: int | str, seconds: float) -> int | str:
    if isinstance(outcome, int):
        return outcome
    document = client.wait(outcome, seconds)
    end: str = document["error"]["code"] if document["error"] else document["status"]
    return end


def accepts(file: dict[str, Any], end: int | str) -> bool:
    classes = {file["expect"], *(name for name in FAILURES if any(f"{name} also" in tag for tag in file["tags"]))}
    return end == OTHERWISE.get(file["file"]) or any(end in FAILURES[name] for name in classes)


def test_row_29_hostile_corpus_in_one_batch(
    cluster: Cluster, client: Client, shared_data: Callable[[str], Path]
) -> None:
    folder = shared_data("hostile")
    files = json.loads((folder / "MANIFEST.json").read_text())["files"]
    worker = cluster.start_worker(**LIMITS)
    assert client.wait(client.accept(unique("a normal file", 500)))["status"] == "ready"
    base = psutil.Process(worker.pid).memory_info().rss
    outcomes = {
        file["file"]: find_outcome(client, file["file"], (folder / file["file"]).read_bytes()) for file in files
    }
    ends = {name: find_end(client, outcome, 150) for name, outcome in outcomes.items()}
    wrong = {
        file["file"]: (file["expect"], ends[file["file"]]) for file in files if not accepts(file, ends[file["file"]])
    }
    assert wrong == {}
    _is_as_before(worker, base)


def _is_as_before(worker: LoggedProcess, base: int) -> None:
    assert worker.is_running
    wait_until(lambda: find_readers(worker) == [], 5, "no extraction child is left")
    rss = psutil.Process(worker.pid).memory_info().rss
    print(f"worker memory {base / MIB:.0f} MiB before, {rss / MIB:.0f} MiB after")
    assert rss < 1.15 * base


RESOURCES: set[int | str] = {"timeout", "out_of_memory", "too_large", "too_many_pages", "malformed"}
DOCX = archives.docx_parts(archives.write_word("text"))
BOMBS: dict[str, tuple[Callable[[], bytes], set[int | str]]] = {
    "flate.pdf": (bombs.flate, RESOURCES),
    "flate in flate.pdf": (bombs.flate_in_flate, RESOURCES),
    "one string of 60 MB.pdf": (bombs.long_string, RESOURCES),
    "three million operators.pdf": (bombs.many_operators, RESOURCES | {"no_text"}),
    "a million pages.pdf": (bombs.many_pages, RESOURCES),
    "deep arrays.pdf": (bombs.deep_arrays, RESOURCES | {"no_text"}),
    "deep page tree.pdf": (bombs.deep_page_tree, RESOURCES | {"no_text"}),
    "circular page tree.pdf": (bombs.circular_page_tree, {"malformed", "no_text"}),
    "circular xref.pdf": (bombs.circular_xref, {"malformed", "no_text"}),
    "xref loop without a document.pdf": (lambda: bombs.XREF_LOOP, {"malformed"}),
    "one line of 50 MB.txt": (lambda: b"word " * (10 * MIB), {"too_large"}),
    "a token of 50 MB.txt": (lambda: b"x" * (50 * MIB), {"too_large"}),
    "utf-16.txt": (lambda: "\ufeffUTF-16, ä".encode("utf-16"), {"ready"}),
    "cp1252.txt": (lambda: "\u201cquoted\u201d costs 5 \u20ac, no more, in a café".encode("cp1252"), {"ready"}),
    "nul.txt": (lambda: b"be\0fore and af\0ter", {"ready"}),
    "surrogate.txt": (lambda: b"lone \xed\xa0\x80 surrogate", {"ready"}),
    "deep.html": (lambda: b"<div>" * 20_000 + b"deep", {"ready"}),
    "deep.md": (lambda: b"> " * 20_000 + b"deep", {"ready"}),
    "64 MiB in a part.docx": (lambda: archives.inflate_to(DOCX, "word/document.xml", 64 * MIB), {"too_large"}),
    "a billion laughs.docx": (
        lambda: archives.pack(archives.docx_parts("&l9;", archives.BILLION_LAUGHS)),
        {"malformed"},
    ),
    "a name above.docx": (lambda: archives.pack({**DOCX, "../../../tmp/slip.xml": b"<x/>"}), {"malformed"}),
    "another archive.docx": (lambda: archives.pack({"a.txt": b"text"}), {"malformed"}),
    "encrypted.docx": (lambda: archives.encrypt(DOCX), {"encrypted"}),
    "named otherwise.txt": (lambda: archives.pack(DOCX), {415}),
    "deep.json": (lambda: b"[" * MIB, {"malformed"}),
    "never closed.csv": (lambda: b'a,b\n1,"' + b"x " * 9_999, {"ready"}),
}


def test_row_29_bombs_of_our_own(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker(**LIMITS)
    assert client.wait(client.accept(unique("a normal file", 500)))["status"] == "ready"
    base = psutil.Process(worker.pid).memory_info().rss
    outcomes = {name: find_outcome(client, name, build()) for name, (build, _) in BOMBS.items()}
    ends = {name: find_end(client, outcome, 100) for name, outcome in outcomes.items()}
    print(ends)
    assert {name: end for name, end in ends.items() if end not in BOMBS[name][1]} == {}
    _is_as_before(worker, base)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, "out_of_memory"), (signal.SIGSTOP, "timeout")])
def test_row_14_extraction_child_killed_or_hung(
    cluster: Cluster, client: Client, number: signal.Signals, code: str
) -> None:
    worker = cluster.start_worker(EXTRACT_TIMEOUT_SECONDS="3")
    client.wait(client.accept(unique("warm")))
    document_id = client.accept(b"%PDF-1.7\n" + b"1 0 obj <<>> endobj\n" * 100_000, "slow.pdf")
    wait_until(lambda: find_readers(worker) != [], 20, "the extraction child")

    def is_terminal() -> bool:
        for reader in find_readers(worker):  # when one is killed, the next one tries
            with suppress(psutil.NoSuchProcess):
                reader.send_signal(number)
        return bool(client.show(document_id)["status"] != "processing")

    wait_until(is_terminal, 60, "the document fails")
    document = client.show(document_id)
    assert (document["status"], document["error"]["code"]) == ("failed", code)
    wait_until(lambda: find_readers(worker) == [], 5, "no extraction child is left")
    assert worker.is_running


def test_row_14_extraction_child_out_of_memory(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker(EXTRACT_MEMORY_BYTES=str(160 * MIB))
    document_id = client.accept(b"<p>" + b"x" * (60 * MIB), "large.html")
    document = client.wait(document_id)
    assert (document["status"], document["error"]["code"]) == ("failed", "out_of_memory")
    assert worker.is_running
