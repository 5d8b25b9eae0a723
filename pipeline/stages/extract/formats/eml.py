"""Mail as programs save it, one message a file (RFC 5322)."""

from pipeline.stages.extract.embedded import EmbeddedFiles
from pipeline.stages.extract.format import Extraction, Format, SourceFile
from pipeline.stages.extract.formats.mhtml import looks_like_mhtml
from pipeline.stages.extract.formats.text import looks_like_text
from pipeline.stages.extract.mail import MailReader
from pipeline.stages.extract.mime import find_header_names

ORIGIN = frozenset({"from", "received", "return-path", "delivered-to"})
ENVELOPE = frozenset({"message-id", "mime-version", "date", "received"})
"""Headers that a text does not begin with by chance."""


def looks_like_mail(head: bytes) -> bool:
    """Return True if these are the first bytes of a mail."""
    names = find_header_names(head)
    is_mail = bool(names & ORIGIN) and len(names & ENVELOPE) > 1
    return is_mail and not looks_like_mhtml(head) and not head.startswith(b"From ")


def read(file: SourceFile) -> Extraction:
    """Read a mail as one page."""
    page = MailReader(EmbeddedFiles(file.is_embedded)).read(file.content.read())
    return Extraction(1, iter([page]))


FORMAT = Format(
    media_type="message/rfc822",
    extensions=(".eml",),
    aliases=("text/plain",),
    admits=looks_like_text,
    signature=looks_like_mail,
    overrides_text=True,
    readers=(read,),
)
