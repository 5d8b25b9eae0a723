"""MSG: messages that Outlook saved, read like other mail."""

from pipeline.stages.extract.archive import COMPOUND_SIGNATURE
from pipeline.stages.extract.embedded import EmbeddedFiles
from pipeline.stages.extract.format import Extraction, Format, SourceFile
from pipeline.stages.extract.formats.eml import looks_like_mail
from pipeline.stages.extract.mail import MailReader
from pipeline.stages.extract.outlook import PROPERTIES, convert

STREAMS = (PROPERTIES.encode("utf-16-le"), "__nameid_version1.0".encode("utf-16-le"))
"""Names in the directory of a message. Other Office files of the same container do not have them."""


def looks_like_message(head: bytes) -> bool:
    """Return True if these are the first bytes of a message of Outlook."""
    return head.startswith(COMPOUND_SIGNATURE) and any(name in head for name in STREAMS)


def read(file: SourceFile) -> Extraction:
    """Read a message as one page. Other programs also name plain mail `.msg`."""
    is_compound = file.content.read(len(COMPOUND_SIGNATURE)) == COMPOUND_SIGNATURE
    file.content.seek(0)
    data = convert(file.content) if is_compound else file.content.read()
    return Extraction(1, iter([MailReader(EmbeddedFiles(file.is_embedded)).read(data)]))


FORMAT = Format(
    media_type="application/vnd.ms-outlook",
    extensions=(".msg",),
    aliases=("application/x-outlook-msg",),
    admits=lambda head: head.startswith(COMPOUND_SIGNATURE) or looks_like_mail(head),
    signature=looks_like_message,
    readers=(read,),
    no_text="The message has no text. Check that it is the right file.",
)
