"""DOCX: mammoth converts the file to HTML, which is read like any other HTML."""

import io
import xml.dom.expatbuilder  # noqa: F401 - loaded before the limits; minidom imports it on first use
from typing import Any
from zipfile import ZipFile

import mammoth

from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_office_file
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.html import read_sections
from pipeline.stages.extract.opc import open_package
from pipeline.stages.extract.xml import check

MAIN_TYPE = b"wordprocessingml.document.main+xml"
STYLES = "p[style-name='Title'] => h1:fresh"


def looks_like_docx(head: bytes) -> bool:
    """Return True if these are the first bytes of an archive with the parts of a DOCX."""
    return head.startswith(SIGNATURE) and b"word/" in head


def read(file: SourceFile) -> Extraction:
    """Read a DOCX as one page. Each heading begins a section.

    Raises IngestionError if the file is not a DOCX or is not safe to read.
    """
    package = _rebuild(open_package(file.content, MAIN_TYPE))
    html = mammoth.convert_to_html(
        package,
        style_map=STYLES,
        include_embedded_style_map=False,
        external_file_access=False,
        convert_image=_skip,
    ).value
    # A paragraph in each cell would put the cells of a row into separate paragraphs.
    html = html.replace("<td><p>", "<td>").replace("</p></td>", "</td>")
    return Extraction(1, iter([ExtractedPage(read_sections(html))]))


def _rebuild(archive: Archive) -> io.BytesIO:
    """Copy the checked XML parts to a new package. Mammoth gets no other part of the file."""
    package = io.BytesIO()
    with ZipFile(package, "w") as rebuilt:
        for name in archive.names():
            if name.endswith((".xml", ".rels")):
                part = archive.read(name)
                check(part)
                rebuilt.writestr(name, part)
    package.seek(0)
    return package


def _skip(_image: Any) -> list[Any]:
    return []


FORMAT = Format(
    media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    extensions=(".docx",),
    aliases=("application/zip", "application/x-zip-compressed"),
    admits=looks_like_office_file,
    signature=looks_like_docx,
    readers=(read,),
)
