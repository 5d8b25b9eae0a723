"""Office Open XML packages, the common base of DOCX and PPTX (ECMA-376, part 2)."""

import posixpath
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import Archive, resolve
from pipeline.stages.extract.xml import parse

CONTENT_TYPES = "[Content_Types].xml"
PACKAGE = ""
"""The source of relationships that belong to the package itself."""


@dataclass(frozen=True, slots=True)
class Relationship:
    """A reference from one part to another: its kind, and the target's name in the archive."""

    kind: str
    target: str


def open_package(file: BinaryIO, main_type: bytes) -> Archive:
    """Open a package whose main part has this content type.

    Raises IngestionError if it is not such a package.
    """
    archive = Archive(file)
    if CONTENT_TYPES not in archive or main_type not in archive.read(CONTENT_TYPES):
        message = (
            "The file is a ZIP archive, but does not have the format of its name or media type. "
            "Upload it with the right name and type."
        )
        raise IngestionError(FailureCode.MALFORMED, message)
    return archive


def read_relationships(archive: Archive, part: str) -> dict[str, Relationship]:
    """Return the relationships of a part to other parts of the archive, by relationship id.

    Raises IngestionError if they cannot be read.
    """
    folder, name = posixpath.split(part)
    source = posixpath.join(folder, "_rels", f"{name}.rels")
    if source not in archive:
        return {}
    return {
        found.get("Id", ""): Relationship(
            kind=found.get("Type", "").rpartition("/")[2],
            target=resolve(folder, found.get("Target", "")),
        )
        for found in parse(archive.read(source))
        if found.get("TargetMode") != "External"
    }


def find_related(relationships: dict[str, Relationship], kind: str) -> list[str]:
    """Return the names of the parts related by this kind of relationship."""
    return [found.target for found in relationships.values() if found.kind == kind]
