"""`make demo`: upload the samples and ask questions, on a stack that is removed at the end."""

import secrets
import tempfile
import time
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline import samples
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.stack import run_stack, stop_on_signals
from pipeline.settings import load_settings

QUESTIONS = 2
PASSAGES = 2
"""Number of passages shown per question."""
POLL_SECONDS = 0.1
READY_SECONDS = 120.0
"""Time limit for all samples to become ready."""
WIDTH = 100

console = Console(width=WIDTH, highlight=False)


def run() -> None:
    """Start a stack, upload the samples, wait until they are ready, ask two questions, and stop the stack.

    Raises StackError if a step fails or a passage is not the expected one.
    """
    started = monotonic()
    try:
        with stop_on_signals(), tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
            _run_in(Path(folder), started)
    except KeyboardInterrupt:
        raise StackError("the demo was interrupted") from None
    console.print(f"[dim]The stack is stopped. The demo took {monotonic() - started:.0f} s.[/]")


def _run_in(folder: Path, started: float) -> None:
    configured = load_settings()
    settings = configured.model_copy(
        update={
            "data_dir": folder,
            "model_cache": configured.model_cache_folder,
            "port": 0,
            "host": "127.0.0.1",
            "database_url": None,
            "database_owner_url": None,
            "redis_url": None,
            "jwt_secret": SecretStr(secrets.token_urlsafe(48)),
        }
    )
    log_path = folder / "log.jsonl"
    with log_path.open("wb") as log:
        try:
            with run_stack(settings, log=log, report=lambda step: console.print(f"[dim]{step} …[/]")) as stack:
                console.print(f"[green]ready[/] {stack.url} [dim]after {monotonic() - started:.1f} s[/]")
                with httpx2.Client(base_url=stack.url, timeout=30.0) as client:
                    _show(client)
        except StackError:
            console.print(log_path.read_text(errors="replace")[-2000:], markup=False)
            raise


def _show(client: httpx2.Client) -> None:
    credentials = {"email": "demo@example.org", "password": secrets.token_urlsafe(16)}
    client.post("/v1/auth/register", json=credentials).raise_for_status()
    token = client.post("/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    _ingest(client)
    for question in samples.list_questions()[:QUESTIONS]:
        _ask(client, question)


def _ingest(client: httpx2.Client) -> None:
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(),
        TextColumn("{task.fields[status]:<12}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        unfinished: dict[str, TaskID] = {}
        for file in samples.list_documents():
            with file.open("rb") as content:
                document = client.post("/v1/documents", files={"file": (file.name, content)}).raise_for_status().json()
            unfinished[document["id"]] = progress.add_task(file.name, total=1.0, status=document["status"])
        deadline = monotonic() + READY_SECONDS
        while unfinished:
            for document_id, task in list(unfinished.items()):
                document = client.get(f"/v1/documents/{document_id}").raise_for_status().json()
                progress.update(task, completed=document["progress"], status=document["status"])
                if document["status"] == "ready":
                    progress.stop_task(task)
                    del unfinished[document_id]
                elif document["status"] == "failed":
                    raise StackError(f"{document['filename']} failed: {document['error']['message']}")
            if monotonic() > deadline:
                raise StackError(f"the samples were not ready within {READY_SECONDS:g} seconds; see the log above")
            time.sleep(POLL_SECONDS)


def _ask(client: httpx2.Client, question: samples.Question) -> None:
    console.print(f"\n[bold]{question.question}[/]")
    body = {"query": question.question, "top_k": PASSAGES}
    answer: dict[str, Any] = client.post("/v1/search", json=body).raise_for_status().json()
    for passage in answer["passages"]:
        source = f"{passage['title']}, page {passage['page']}"
        console.print(f"  [green]{source}[/] [dim]score {passage['score']:.2f}[/]")
        for line in passage["text"].splitlines():
            console.print(f"    {line}", markup=False, style="dim")
    best = answer["passages"][0]
    if (best["title"], best["page"]) != (question.document, question.page):
        raise StackError(f"the best passage is not from {question.document}, page {question.page}")
