"""Files in other files, such as the attachments of a mail: the text of those that have a readable format."""

import io
from dataclasses import dataclass, field
from zipfile import BadZipFile, ZipFile

from pipeline.errors import IngestionError, UnsupportedMedia
from pipeline.stages.extract import get_format
from pipeline.stages.extract.archive import looks_like_zip
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.identify import HEAD_BYTES, identify
from pipeline.stages.extract.layout import PARAGRAPH
from pipeline.types import MAX_WARNING_CHARACTERS, PageWarning, WarningCode

MAX_FILES = 1000
"""Maximum number of files in one file whose text is read."""
MAX_EMBEDDED_BYTES = 128 * 1024 * 1024
"""Maximum size of these files together, in bytes. Of archives, such as office files, the inflated size counts."""
MAX_NAMES = 20
"""Maximum number of names in a warning."""
MAX_NAME_CHARACTERS = 40


@dataclass
class EmbeddedFiles:
    """Reads the files in one file, and remembers the warnings about them.

    Files in an embedded file are not read, so that no file can hold itself without end.
    """

    is_embedded: bool
    """True if the outer file is embedded itself."""
    warnings: list[PageWarning] = field(default_factory=list)
    _left_out: list[str] = field(default_factory=list)
    _files: int = 0
    _bytes: int = 0

    def read(self, name: str, declared_type: str, data: bytes, charset: str | None = None) -> list[str]:
        """Return the sections of a file, its name first. If it cannot be read, remember its name, and return none."""
        self._files += 1
        self._bytes += _measure(data)
        if self.is_embedded or self._files > MAX_FILES or self._bytes > MAX_EMBEDDED_BYTES:
            self.leave_out(name)
            return []
        pages = _read_pages(_identify(name, declared_type, data[:HEAD_BYTES]), data, charset)
        if pages is None:
            self.leave_out(name)
            return []
        for warning in (warning for page in pages for warning in page.warnings):
            if warning not in self.warnings:
                self.warnings.append(warning)
        return name_sections(name, [_end_page(page.sections) for page in pages])

    def leave_out(self, name: str) -> None:
        """Remember a file that is not read."""
        self._left_out.append(name)

    def find_warnings(self) -> list[PageWarning]:
        """Return the warnings of the files that were read, and one that names the others."""
        if not self._left_out:
            return self.warnings
        names = ", ".join(name[:MAX_NAME_CHARACTERS] for name in self._left_out[:MAX_NAMES])
        more = len(self._left_out) - MAX_NAMES
        message = f"These files in the file were not read: {names}{f' and {more} more' if more > 0 else ''}."
        return [*self.warnings, PageWarning(WarningCode.TEXT_NOT_EXTRACTED, message[:MAX_WARNING_CHARACTERS])]


def name_sections(name: str, pages: list[list[str]]) -> list[str]:
    """Return the sections of the pages of a file, the first one with the name of the file above it."""
    sections = [section for page in pages for section in page]
    return [f"{name}{PARAGRAPH}{sections[0]}", *sections[1:]] if sections else []


def _end_page(sections: list[str]) -> list[str]:
    """Let the next page begin a paragraph."""
    return [*sections[:-1], sections[-1].rstrip() + PARAGRAPH] if sections[-1].strip() else sections[:-1]


def _measure(data: bytes) -> int:
    """Return the size of a file. That of an archive is what its directory says, which `Archive` checks."""
    if not looks_like_zip(data):
        return len(data)
    try:
        return max(len(data), sum(entry.file_size for entry in ZipFile(io.BytesIO(data)).infolist()))
    except (BadZipFile, NotImplementedError, ValueError):
        return len(data)


def _identify(name: str, declared_type: str, head: bytes) -> str | None:
    """Return the media type of a file. Mail programs often declare wrong types, so the name and content may do."""
    for declared in (declared_type, ""):
        try:
            return identify(name, declared, head)
        except UnsupportedMedia:
            continue
    return None


def _read_pages(media_type: str | None, data: bytes, charset: str | None) -> list[ExtractedPage] | None:
    if media_type is None:
        return None
    for reader in get_format(media_type).readers:
        try:
            return list(reader(SourceFile(io.BytesIO(data), charset, is_embedded=True)).pages)
        except MemoryError:
            raise
        except IngestionError:
            return None
        except Exception:  # noqa: BLE001, S112 - readers raise any exception for broken input, which costs this file only
            continue
    return None
