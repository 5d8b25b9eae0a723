"""Office Open XML packages, the common base of DOCX and PPTX (ECMA-376, part 2)."""

import posixpath
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import Archive, resolve
from pipeline.stages.extract.xml import BrokenXml, Element, get_name, parse
from pipeline.types import PageWarning, WarningCode

CONTENT_TYPES = "[Content_Types].xml"
PACKAGE = ""
"""The source of relationships that belong to the package itself."""
MISSING_PARTS = "Parts of the file are missing or damaged, and were left out. Open it and save it again."
EMBEDDED_OBJECTS = "The text of embedded objects, such as tables from a spreadsheet, was left out."

UNCALCULATED = (
    "Formulas of the workbook have no results, because no program has calculated it. "
    "Open it in a spreadsheet program, save it and upload the new copy."
)


@dataclass(frozen=True, slots=True)
class Relationship:
    """A reference from one part to another: its kind, and the target's name in the archive."""

    kind: str
    target: str


@dataclass
class Skipped:
    """Warnings about what was left out."""

    warnings: list[PageWarning] = field(default_factory=list)

    def note_missing(self) -> None:
        """Say that parts of the file were left out because they are missing or damaged."""
        self._note(PageWarning(WarningCode.PARTS_SKIPPED, MISSING_PARTS))

    def note_object(self) -> None:
        """Say that embedded objects were not read."""
        self._note(PageWarning(WarningCode.TEXT_NOT_EXTRACTED, EMBEDDED_OBJECTS))

    def note_uncalculated(self) -> None:
        """Say that formulas have no results in the file."""
        self._note(PageWarning(WarningCode.TEXT_NOT_EXTRACTED, UNCALCULATED))

    def _note(self, warning: PageWarning) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def open_package(file: BinaryIO, main_types: tuple[str, ...]) -> tuple[Archive, str]:
    """Open a package whose main part has one of these content types. Return it and the name of the main part.

    Raises IngestionError if it is not such a package.
    """
    archive = Archive(file)
    types = archive.find(CONTENT_TYPES)
    main = _find_main(archive, types, main_types) if types in archive else None
    if main is None:
        message = (
            "The file is a ZIP archive, but does not have the format of its name or media type. "
            "Upload it with the right name and type."
        )
        raise IngestionError(FailureCode.MALFORMED, message)
    return archive, main


def _find_main(archive: Archive, types: str, main_types: tuple[str, ...]) -> str | None:
    """Return the main part: what the package says it is, or else the part whose content type says so."""
    wanted = [f"application/{kind}+xml" for kind in main_types]
    declared = {
        element.get("PartName" if get_name(element) == "Override" else "Extension", ""): element.get("ContentType", "")
        for element in parse(archive.read(types))
    }
    names = [name for name, kind in declared.items() if kind.strip().lower() in wanted]
    if not names:
        return None
    parts = [archive.find(resolve("", name)) for name in names]
    related = find_related(read_relationships(archive, PACKAGE, Skipped()), "officeDocument")
    # some files say that their theme is the main part
    found = [*(part for part in related if part in parts), *parts, *related]
    return next((part for part in found if part in archive), (related or parts)[0])


def read_relationships(archive: Archive, part: str, skipped: Skipped) -> dict[str, Relationship]:
    """Return the relationships of a part to other parts of the archive, by relationship id.

    If they are broken, note it and return none.
    Raises IngestionError if they have a DOCTYPE or are too large.
    """
    folder, name = posixpath.split(part)
    source = archive.find(posixpath.join(folder, "_rels", f"{name}.rels"))
    root = read_optional(archive, source, skipped) if source in archive else None
    return {
        found.get("Id", ""): Relationship(
            kind=found.get("Type", "").rpartition("/")[2],
            target=archive.find(resolve(folder, found.get("Target", ""))),
        )
        for found in (root if root is not None else ())
        if found.get("TargetMode") != "External"
    }


def find_related(relationships: dict[str, Relationship], kind: str) -> list[str]:
    """Return the names of the parts related by this kind of relationship."""
    return [found.target for found in relationships.values() if found.kind == kind]


def read_optional(archive: Archive, part: str, skipped: Skipped) -> Element | None:
    """Return the root element of a part. If the part is missing or broken, note it and return None.

    Raises IngestionError if the part has a DOCTYPE or is too large.
    """
    if part in archive:
        try:
            return parse(archive.read(part))
        except BrokenXml:
            pass
    skipped.note_missing()
    return None
