"""What all parts of a Word document share: its styles, lists and notes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.stages.extract.archive import Archive
from pipeline.stages.extract.office.names import Names, get_attribute
from pipeline.stages.extract.office.numbering import Numbering
from pipeline.stages.extract.office.story import Line
from pipeline.stages.extract.office.styles import Styles
from pipeline.stages.extract.opc import Relationship, Skipped, find_related, read_optional, read_relationships
from pipeline.stages.extract.xml import Element

Related = dict[str, Relationship]


@dataclass
class Notes:
    """Footnotes or endnotes, and the numbers of those that were referred to."""

    elements: dict[str, Element]
    related: Related
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass
class Context:
    """What all parts of a document share."""

    archive: Archive
    main: str
    skipped: Skipped
    import_part: Callable[[str], list[Line]]
    """Reads a part in another format, which the document includes (`w:altChunk`)."""
    names: Names = field(default_factory=Names)
    styles: Styles = field(init=False)
    numbering: Numbering = field(init=False)
    related: Related = field(init=False)
    _notes: dict[str, Notes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Load the styles and lists."""
        self.styles = Styles(self.names)
        self.numbering = Numbering(self.names, self.styles)
        self.related = read_relationships(self.archive, self.main, self.skipped)
        for kind, load in (("styles", self.styles.load), ("numbering", self.numbering.load)):
            for part in find_related(self.related, kind):
                if (root := read_optional(self.archive, part, self.skipped)) is not None:
                    load(root)

    def find_notes(self, kind: str) -> Notes:
        """Return the `footnotes` or `endnotes` of the document."""
        if kind not in self._notes:
            notes = self._notes[kind] = Notes({}, {})
            for part in find_related(self.related, kind):
                root = read_optional(self.archive, part, self.skipped)
                notes.elements |= {get_attribute(note, "id") or "": note for note in root} if root is not None else {}
                notes.related |= read_relationships(self.archive, part, self.skipped)
        return self._notes[kind]
