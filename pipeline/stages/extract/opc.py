"""Office Open XML packages: what DOCX and PPTX have in common (ECMA-376, part 2)."""

import posixpath
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import Archive, resolve
from pipeline.stages.extract.xml import parse

CONTENT_TYPES = "[Content_Types].xml"
PACKAGE = ""
"""The part that the relationships of the package itself belong to."""


@dataclass(frozen=True, slots=True)
class Relationship:
    """What a part says of another one: of what kind it is to it, and its name in the archive."""

    kind: str
    target: str


def open_package(file: BinaryIO, main_type: bytes) -> Archive:
    """Open a package whose main part is of this content type.

    Raises IngestionError where it is none.
    """
    archive = Archive(file)
    if CONTENT_TYPES not in archive or main_type not in archive.read(CONTENT_TYPES):
        message = "The file is an archive, but no document of the format that its name or type says."
        raise IngestionError(FailureCode.MALFORMED, message)
    return archive


def read_relationships(archive: Archive, part: str) -> dict[str, Relationship]:
    """Return the relationships of a part to others in the archive, by their ids.

    Raises IngestionError where they cannot be read.
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
    """Names of the parts that are of this kind."""
    return [found.target for found in relationships.values() if found.kind == kind]
