"""Mailboxes in one file (RFC 4155): one page a message."""

import re
from collections.abc import Iterator

from pipeline.stages.extract.embedded import EmbeddedFiles
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.text import looks_like_text
from pipeline.stages.extract.mail import MailReader
from pipeline.stages.extract.mime import find_header_names

MESSAGE = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]{1,300}\r?\n(?=[A-Za-z][A-Za-z0-9-]*:)")
"""The line before each message: after an empty line, with a header below it."""
FEWEST_HEADERS = 2
ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)
"""A line of a message that mailboxes escape, because it would begin a message (RFC 4155, mboxrd)."""


def looks_like_mailbox(head: bytes) -> bool:
    """Return True if these are the first bytes of a mailbox."""
    return MESSAGE.match(head) is not None and len(find_header_names(head)) >= FEWEST_HEADERS


def read(file: SourceFile) -> Extraction:
    """Read each message of a mailbox as a page. A file that is not a mailbox is one message."""
    data = file.content.read()
    count = sum(1 for _ in MESSAGE.finditer(data))
    return Extraction(max(count, 1), _read_messages(data, is_embedded=file.is_embedded))


def _read_messages(data: bytes, *, is_embedded: bool) -> Iterator[ExtractedPage]:
    for message in _split(data):
        yield MailReader(EmbeddedFiles(is_embedded)).read(ESCAPED.sub(rb"\1", message))


def _split(data: bytes) -> Iterator[bytes]:
    start = 0
    for number, found in enumerate(MESSAGE.finditer(data)):
        if number:
            yield data[start : found.start()]
        start = found.end()
    yield data[start:]


FORMAT = Format(
    media_type="application/mbox",
    extensions=(".mbox",),
    aliases=("text/plain",),
    admits=looks_like_text,
    signature=looks_like_mailbox,
    overrides_text=True,
    readers=(read,),
)
