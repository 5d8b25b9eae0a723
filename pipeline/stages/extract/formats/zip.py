"""ZIP archives: each file of a readable format is a section under its path."""

from pipeline.stages.extract import get_format
from pipeline.stages.extract.archive import Archive, looks_like_zip
from pipeline.stages.extract.embedded import EmbeddedFiles
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile, limit_sections
from pipeline.stages.extract.identify import HEAD_BYTES, identify

FILES_OF_SYSTEMS = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that operating systems add to archives."""
OFFICE_PARTS = ("[Content_Types].xml", "mimetype")


def read(file: SourceFile) -> Extraction:
    """Read the files of an archive as one page. An office file that is named like an archive is read as what it is.

    Raises IngestionError if the archive is damaged, encrypted, too large, or built to deceive a reader.
    """
    archive = Archive(file.content)
    if any(part in archive for part in OFFICE_PARTS):
        file.content.seek(0)
        kind = identify("file", "", file.content.read(HEAD_BYTES))
        file.content.seek(0)
        return get_format(kind).readers[0](file)
    files = EmbeddedFiles(file.is_embedded)
    names = [name for name in archive.names() if not name.endswith("/") and not _is_of_system(name)]
    sections = [section for name in names for section in files.read(name, "", archive.read(name))]
    page = ExtractedPage(limit_sections(sections) or [""], files.find_warnings())
    return Extraction(1, iter([page]))


def _is_of_system(name: str) -> bool:
    return name.startswith(FILES_OF_SYSTEMS) or name.rpartition("/")[2] in FILES_OF_SYSTEMS


FORMAT = Format(
    media_type="application/zip",
    extensions=(".zip",),
    aliases=("application/x-zip-compressed", "multipart/x-zip"),
    admits=looks_like_zip,
    readers=(read,),
)
