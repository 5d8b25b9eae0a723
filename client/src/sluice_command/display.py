"""Output for people: progress bars on standard error during an upload, tables on standard output after it."""

import sys
from collections.abc import Iterable, Sequence
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from sluice_client.models import (
    Account,
    ApiKey,
    AuditEntry,
    Collection,
    Delivery,
    Document,
    DocumentWarning,
    Failure,
    Passage,
    Webhook,
)
from sluice_client.responses import decode_json
from sluice_command.identity import AskPassword
from sluice_command.upload import Phase, Upload

MAX_BARS = 8
BAR_WIDTH = 24
REFRESHES_PER_SECOND = 8
NON_TERMINAL_WIDTH = 100
"""Columns of a table that is written to a file or a pipe."""
CONTROLS = dict.fromkeys(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t")
STYLES = {"ready": "green", "failed": "red", "refused": "red"}


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else NON_TERMINAL_WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def clean(text: str) -> str:
    """Return text from others without control characters, which could command the terminal."""
    return text.translate(CONTROLS).encode(errors="replace").decode()


class Board:
    """Progress bars of an upload: one for all files, and one for each active file. Shown only on a terminal."""

    def __init__(self, uploads: Sequence[Upload], console: Console) -> None:
        self._uploads = uploads
        self._started_at = monotonic()
        self._note = ""
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=REFRESHES_PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def hide_during(self, ask: AskPassword) -> AskPassword:
        """Return a prompt that hides the bars while it asks."""

        def ask_without_bars(email: str) -> str:
            self._live.stop()
            try:
                return ask(email)
            finally:
                self._start()

        return ask_without_bars

    def _start(self) -> None:
        if self._live.console.is_terminal:
            self._live.start()

    def tell(self, note: str) -> None:
        """Show why a request waits. "" removes the note."""
        self._note = clean(note)

    def _draw(self) -> Table:
        name = Column(no_wrap=True, max_width=40, overflow="ellipsis")
        bars = Table.grid(name, Column(), Column(no_wrap=True, overflow="ellipsis"), padding=(0, 1))
        ended = sum(upload.phase == Phase.ENDED for upload in self._uploads)
        completed = sum(upload.fraction for upload in self._uploads)
        state = f"{ended} of {len(self._uploads)} done, {monotonic() - self._started_at:.0f} s"
        bars.add_row("all files", ProgressBar(max(1, len(self._uploads)), completed, width=BAR_WIDTH), state)
        for upload in self._choose():
            bars.add_row(clean(upload.path.name), ProgressBar(1.0, upload.fraction, width=BAR_WIDTH), describe(upload))
        if self._note:
            bars.add_row("", "", self._note)
        return bars

    def _choose(self) -> list[Upload]:
        """Return the uploads to show. Those that are sent or ingested come before those in the queue."""
        active = [upload for upload in self._uploads if upload.phase in {Phase.SENDING, Phase.ACCEPTED}]
        return sorted(active, key=lambda upload: upload.status == "pending")[:MAX_BARS]


def describe(upload: Upload) -> str:
    """Return the progress of a file as text."""
    if upload.document:
        return describe_status(upload.document)
    if upload.note:
        return clean(upload.note)
    return f"sent {decimal(upload.sent_bytes)} of {decimal(upload.size_bytes)}"


def tabulate_uploads(uploads: Iterable[Upload]) -> Table:
    """Return a table with the result for each file."""
    table = Table("file", "status", "pages", "passages", "error")
    for upload in uploads:
        table.add_row(*_describe_row(upload.path.name, upload.status, upload.document), _describe_error(upload.error))
    return table


def tabulate_documents(documents: Iterable[Document]) -> Table:
    """Return a table of documents, in the given order."""
    table = Table(Column("id", no_wrap=True), "file", "status", "pages", "passages", "error")
    for document in documents:
        row = _describe_row(document.filename, document.status, document)
        table.add_row(document.id, *row, _describe_error(document.error))
    return table


def _describe_row(name: str, status: str, document: Document | None) -> tuple[Text, Text, str, str]:
    # While a document is ingested again, both numbers are those of its previous version.
    pages = str(document.pages) if document and document.pages is not None else ""
    passages = str(document.chunks) if document and document.chunks else ""
    return Text(clean(name), overflow="fold"), Text(status, STYLES.get(status, "")), pages, passages


def _describe_error(error: Failure | None) -> str:
    return f"{error.code}: {clean(error.message)}" if error else ""


def _describe_warning(warning: DocumentWarning) -> str:
    pages = f" (pages {', '.join(map(str, warning.pages))})" if warning.pages else ""
    return f"{warning.code}: {clean(warning.message)}{pages}"


def describe_document(document: Document) -> Table:
    """Return a table with the details of one document."""
    details = Table.grid(Column(style="dim"), Column(overflow="fold"), padding=(0, 2))
    rows = {
        "id": document.id,
        "file": clean(document.filename),
        "status": describe_status(document),
        "size": decimal(document.size_bytes),
        "pages": str(document.pages) if document.pages is not None else "",
        "passages": str(document.chunks) if document.chunks else "",
        "uploaded": document.created_at.isoformat(timespec="seconds"),
        "error": _describe_error(document.error),
        "warnings": "\n".join(map(_describe_warning, document.warnings)),
    }
    for name, value in rows.items():
        if value:
            details.add_row(name, value)
    return details


def describe_status(document: Document) -> str:
    """Return the status of a document with its progress or its place in the queue."""
    if document.status == "processing":
        return f"processing {document.progress:.0%}"
    if document.status == "pending" and document.queue_position:
        return f"pending, position {document.queue_position} in the queue"
    return document.status


def describe_place(passage: Passage) -> str:
    """Return the title and page of a passage."""
    return f"{clean(passage.title)}, page {passage.page}"


def show_passages(console: Console, passages: Iterable[Passage]) -> None:
    """Print passages with their title, page and score."""
    for passage in passages:
        console.print(Text.assemble((describe_place(passage), "green"), (f"  score {passage.score:.2f}", "dim")))
        console.print(Text("\n".join(f"  {line}" for line in clean(passage.text).splitlines())))
        console.print()


def describe_account(account: Account) -> str:
    """Return three lines: the address, the stored bytes and the number of documents and notes."""
    if account.usage is None:
        return clean(account.email)
    stored, documents = account.usage.stored_bytes, account.usage.documents
    stored_limit = "no limit" if stored.limit is None else f"limit {decimal(stored.limit)}"
    documents_limit = "no limit" if documents.limit is None else f"limit {documents.limit}"
    return (
        f"{clean(account.email)}\n"
        f"stored: {decimal(stored.used)} ({stored_limit})\n"
        f"documents and notes: {documents.used} ({documents_limit})"
    )


def describe_key(body: bytes) -> str:
    """Return the id, the name, what the key may do, and when it was last used."""
    key = decode_json(body, ApiKey)
    used = f"last used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
    ends = f", expires {key.expires_at:%Y-%m-%d}" if key.expires_at else ""
    reach = "" if key.collection_ids is None else f", {len(key.collection_ids)} collections only"
    return f"{key.id}  {clean(key.name)}  {'+'.join(key.scopes)}{reach}{ends}, {used}"


def describe_collection(body: bytes) -> str:
    """Return the id, the name and the numbers of documents and notes."""
    found = decode_json(body, Collection)
    return f"{found.id}  {clean(found.name)}  {found.documents} documents, {found.notes} notes"


def describe_webhook(body: bytes) -> str:
    """Return the id, the address and the events."""
    webhook = decode_json(body, Webhook)
    return f"{webhook.id}  {clean(webhook.url)}  {', '.join(webhook.events)}"


def describe_delivery(body: bytes) -> str:
    """Return the id, the event, the document, the status and why the last try failed."""
    sent = decode_json(body, Delivery)
    error = f": {clean(sent.error)}" if sent.error else ""
    return f"{sent.id}  {sent.event}  {sent.document_id}  {sent.status} after {sent.attempts} tries{error}"


def describe_action(body: bytes) -> str:
    """Return the time, the kind and the details of an action."""
    entry = decode_json(body, AuditEntry)
    details = "".join(f"  {name}={value}" for name, value in entry.details.items() if value is not None)
    return clean(f"{entry.created_at:%Y-%m-%d %H:%M:%S}  {entry.event_type}{details}")
