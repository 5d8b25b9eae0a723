"""Find the format of a file by its name, its declared media type and its first bytes."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from pipeline.errors import UnsupportedMedia
from pipeline.stages.extract import find_formats
from pipeline.stages.extract.format import Format
from pipeline.stages.extract.formats.html import FORMAT as HTML
from pipeline.stages.extract.formats.text import FORMAT as TEXT
from pipeline.stages.extract.formats.text import reads_as_text

HEAD_BYTES = 4096
"""Number of bytes that are examined to find the format of a file."""
GENERIC_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
ARCHIVE_TYPES = frozenset({"application/zip", "application/x-zip-compressed"})
"""Types that clients declare for all formats that are ZIP archives."""
WEB_PAGE = re.compile(rb"<(?:html|head|body|table|div|p)\b", re.IGNORECASE)
OFFICE_NAMES = frozenset({".doc", ".dot", ".xls", ".xlt", ".ppt", ".pps", ".pot"})
"""Names under which Word and Excel, and programs that export for them, also save web pages and texts."""
LEGACY_ADVICE = {
    **dict.fromkeys((".doc", ".dot"), "Save it as .docx and upload it."),
    **dict.fromkeys((".ppt", ".pps", ".pot"), "Save it as .pptx and upload it."),
}
"""What to do with files of Office 97 to 2003, by their extensions. Files of other formats often have these names."""


def identify(filename: str, declared_type: str, head: bytes) -> str:
    """Return the canonical media type of a file by its extension, declared media type and first 4,096 bytes.

    A file with an unknown extension, or none, is plain text if its first bytes read as text. A format that its first
    bytes prove counts more than a name of plain text, if the format says so.
    Raises UnsupportedMedia if these do not determine a supported format, or contradict each other.
    """
    suffix = PurePosixPath(filename).suffix.lower()
    declared = declared_type.partition(";")[0].strip().lower()
    by_name = _find(lambda known: suffix in known.extensions)
    is_disguised = suffix in OFFICE_NAMES and reads_as_text(head)
    if is_disguised:
        chosen: Format | None = _find_disguised(head)
    else:
        chosen = by_name or _find_without_name(suffix, declared, head)
    if chosen is TEXT or chosen is None:
        chosen = _find(lambda known: known.overrides_text and _has_signature(known, head)) or chosen
    if chosen is None:
        raise _unsupported(LEGACY_ADVICE.get(suffix, "The format of the file is not supported."))
    is_proven = is_disguised or (chosen.overrides_text and by_name in (TEXT, None))
    if not is_proven and _contradicts(declared, chosen):
        raise _unsupported(f"The file extension is {suffix or 'missing'}, but the declared media type is {declared}.")
    if not chosen.admits(head):
        raise _unsupported(
            f"The name or declared type of the file says {chosen.media_type}, but its content is different."
        )
    return chosen.media_type


def _find_without_name(suffix: str, declared: str, head: bytes) -> Format | None:
    """Return the format of a file whose extension is unknown. It may have such a name if it is a text, or none."""
    by_type = None if declared in GENERIC_TYPES else _find(lambda known: declared == known.media_type)
    by_alias = _find(lambda known: declared in known.aliases)
    by_content = _find(lambda known: _has_signature(known, head))
    found = by_content if declared in ARCHIVE_TYPES else None
    found = found or by_type or by_alias or by_content
    if suffix and suffix not in LEGACY_ADVICE and not reads_as_text(head):
        return None
    return found or (TEXT if reads_as_text(head) else None)


def _find_disguised(head: bytes) -> Format:
    """Return the format of a text that has the name of an Office file."""
    by_content = _find(lambda known: _has_signature(known, head))
    return by_content or (HTML if WEB_PAGE.search(head) else TEXT)


def _has_signature(known: Format, head: bytes) -> bool:
    return known.signature is not None and known.signature(head)


def _contradicts(declared: str, chosen: Format) -> bool:
    """Return True if the media type is one of another format. Clients declare other types for the same files."""
    return declared not in {chosen.media_type, *chosen.aliases} and any(
        declared in {known.media_type, *known.aliases} for known in find_formats()
    )


def _find(condition: Callable[[Format], bool]) -> Format | None:
    """Return the only format that meets the condition. Return None if no format or several formats do."""
    found = [known for known in find_formats() if condition(known)]
    return found[0] if len(found) == 1 else None


def _unsupported(reason: str) -> UnsupportedMedia:
    extensions = sorted(extension for known in find_formats() for extension in known.extensions)
    return UnsupportedMedia(f"{reason} Supported formats: {', '.join(extensions)}, and text with any other name.")
