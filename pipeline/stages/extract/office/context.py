"""What all parts of a Word document share: its styles, lists and notes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.stages.extract.archive import Archive
from pipeline.stages.extract.counting import format_number
from pipeline.stages.extract.office.names import Names, find_child, get_attribute, to_int
from pipeline.stages.extract.office.numbering import Numbering
from pipeline.stages.extract.office.story import Line
from pipeline.stages.extract.office.styles import Styles
from pipeline.stages.extract.opc import Relationship, Skipped, find_related, read_optional, read_relationships
from pipeline.stages.extract.xml import Element

Related = dict[str, Relationship]


@dataclass
class Notes:
    """Footnotes or endnotes, and the marks of those that were referred to."""

    form: str
    """Form of their numbers, as in ECMA-376, 17.18.59."""
    number: int
    """Number of the next note."""
    elements: dict[str, Element] = field(default_factory=dict)
    related: Related = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """Marks by the ids of notes. A note whose mark is part of the text has an empty one."""

    def count(self) -> str:
        """Return the number of the next note."""
        self.number += 1
        return format_number(self.number - 1, self.form)


@dataclass
class Context:
    """What all parts of a document share."""

    archive: Archive
    main: str
    root: Element
    """Root of the main part."""
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
            notes = self._notes[kind] = self._prepare_notes(kind)
            for part in find_related(self.related, kind):
                root = read_optional(self.archive, part, self.skipped)
                notes.elements |= {get_attribute(note, "id") or "": note for note in root} if root is not None else {}
                notes.related |= read_relationships(self.archive, part, self.skipped)
        return self._notes[kind]

    def _prepare_notes(self, kind: str) -> Notes:
        """Return notes without content. The last section says how all of them are numbered."""
        body = find_child(self.root, self.names, "w:body")
        section = body[-1] if body is not None and len(body) else None
        properties = find_child(section, self.names, f"w:{kind[:-1]}Pr")
        form = find_child(properties, self.names, "w:numFmt")
        start = find_child(properties, self.names, "w:numStart")
        default = "lowerRoman" if kind == "endnotes" else "decimal"
        return Notes(
            form=(get_attribute(form, "val") if form is not None else None) or default,
            number=to_int(get_attribute(start, "val"), 1) if start is not None else 1,
        )
