"""PPTX: one page per slide, with its notes and comments. Parsed without a library, which would load every image."""

from collections.abc import Iterator

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_office_file
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.layout import PARAGRAPH
from pipeline.stages.extract.office.drawing import join_words, read_paragraph, read_paragraphs
from pipeline.stages.extract.office.names import Names, find_all, find_child, get_attribute
from pipeline.stages.extract.office.slide import Deck, Related, SlideReader, find_placeholder
from pipeline.stages.extract.opc import Skipped, find_related, open_package, read_optional, read_relationships
from pipeline.stages.extract.xml import Element, parse

MAIN_TYPES = (
    "vnd.openxmlformats-officedocument.presentationml.presentation.main",
    "vnd.openxmlformats-officedocument.presentationml.slideshow.main",
    "vnd.openxmlformats-officedocument.presentationml.template.main",
    "vnd.ms-powerpoint.presentation.macroenabled.main",
    "vnd.ms-powerpoint.slideshow.macroenabled.main",
    "vnd.ms-powerpoint.template.macroenabled.main",
)
NOTES = "body"
"""The placeholder that holds the notes of a notes page."""
MAX_LENGTH = 10
"""Digits of a length of a slide."""


def looks_like_pptx(head: bytes) -> bool:
    """Return True if these are the first bytes of an archive with the parts of a PPTX."""
    return head.startswith(SIGNATURE) and b"ppt/" in head


def read(file: SourceFile) -> Extraction:
    """Read a PPTX, one page per slide, in the order of the presentation. Hidden slides are read, too.

    Raises IngestionError if the file is not a PPTX or is not safe to read.
    """
    presentation = _Presentation(*open_package(file.content, MAIN_TYPES))
    slides = presentation.slides
    return Extraction(len(slides), map(presentation.read_slide, slides))


class _Presentation:
    """A presentation, and the names of the slides that the file contains."""

    def __init__(self, archive: Archive, main: str) -> None:
        self._archive = archive
        self._names = Names()
        self._skipped = Skipped()
        self._related = read_relationships(archive, main, self._skipped)
        root = parse(archive.read(main))
        self._deck = Deck(archive, self._names, _read_size(root, self._names))
        self._authors: dict[str, str] | None = None
        listed = _list_slides(root, self._names, self._related)
        self.slides = [slide for slide in listed if slide in archive]
        if len(self.slides) < len(listed):
            self._skipped.note_missing()
            # their ids may be wrong: slides that the list does not name are read after the others
            related = find_related(self._related, "slide")
            self.slides += [slide for slide in dict.fromkeys(related) if slide not in listed and slide in archive]
        if listed and not self.slides:
            message = "The file lacks all its slides. Open the file, save it again and upload the new copy."
            raise IngestionError(FailureCode.MALFORMED, message)

    def read_slide(self, slide: str) -> ExtractedPage:
        """Return the text of a slide's shapes, notes and comments, in this order."""
        skipped = Skipped([*self._skipped.warnings])
        related = read_relationships(self._archive, slide, skipped)
        texts = SlideReader(self._deck, related, skipped).read(parse(self._archive.read(slide)))
        texts += self._read_notes(related, skipped)
        texts += self._read_comments(related, skipped)
        return ExtractedPage([PARAGRAPH.join(texts)], skipped.warnings)

    def _read_notes(self, related: Related, skipped: Skipped) -> Iterator[str]:
        for part in find_related(related, "notesSlide"):
            root = read_optional(self._archive, part, skipped)
            texts: dict[str | None, list[str]] = {}
            for shape in find_all(root, self._names, "p:sp") if root is not None else ():
                placeholder = find_placeholder(shape, self._names)
                if (body := find_child(shape, self._names, "p:txBody")) is not None:
                    text = "\n".join(read_paragraphs(body, self._names))
                    texts.setdefault(placeholder[0] if placeholder else None, []).append(text)
            # Without a placeholder for notes, they are in other shapes. Beside one, such shapes are labels.
            yield from filter(None, texts.get(NOTES) or texts.get(None, []))

    def _read_comments(self, related: Related, skipped: Skipped) -> Iterator[str]:
        for part in find_related(related, "comments"):
            root = read_optional(self._archive, part, skipped)
            for comment in find_all(root, self._names, "p:cm", "p188:cm") if root is not None else ():
                text = self._read_comment(comment)
                author = self._find_authors(skipped).get(get_attribute(comment, "authorId") or "", "")
                if text:
                    yield f"Comment by {author}: {text}" if author else f"Comment: {text}"

    def _read_comment(self, comment: Element) -> str:
        """Return the text of a comment and of the replies to it."""
        texts = (
            read_paragraph(element, self._names) if self._names[element.tag] == "a:p" else element.text or ""
            for element in find_all(comment, self._names, "p:text", "a:p")
        )
        return join_words(texts)

    def _find_authors(self, skipped: Skipped) -> dict[str, str]:
        """Return the names of those who commented, by their ids."""
        if self._authors is None:
            self._authors = {}
            for part in (*find_related(self._related, "commentAuthors"), *find_related(self._related, "authors")):
                root = read_optional(self._archive, part, skipped)
                for author in root if root is not None else ():
                    name = join_words([get_attribute(author, "name") or ""])
                    self._authors[get_attribute(author, "id") or ""] = name
        return self._authors


def _list_slides(root: Element, names: Names, related: Related) -> list[str]:
    """Return the parts of all slides, in the order of the presentation. A slide that has no part is an empty string."""
    identifiers = [
        identifier
        for entry in find_all(root, names, "p:sldId")
        for attribute, identifier in entry.items()
        if attribute.endswith("}id")
    ]
    slides = [related[identifier].target if identifier in related else "" for identifier in identifiers]
    named = [slide for slide in slides if slide]
    if len(set(named)) < len(named):
        message = "The presentation lists a slide twice. Open it, save it again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    return slides


def _read_size(root: Element, names: Names) -> tuple[int, int] | None:
    """Return width and height of the slides, or None if the file does not say."""
    size = find_child(root, names, "p:sldSz")
    if size is None:
        return None
    width, height = size.get("cx", ""), size.get("cy", "")
    is_valid = all(text.isascii() and text.isdigit() and len(text) <= MAX_LENGTH for text in (width, height))
    return (int(width), int(height)) if is_valid else None


FORMAT = Format(
    media_type="application/vnd.openxmlformats-officedocument.presentationml.presentation",
    extensions=(".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"),
    aliases=(
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
        "application/vnd.openxmlformats-officedocument.presentationml.template",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
        "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
        "application/vnd.ms-powerpoint.template.macroenabled.12",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=looks_like_office_file,
    signature=looks_like_pptx,
    readers=(read,),
    no_text="The slides contain no text. If it is in pictures, run text recognition (OCR) and upload the result.",
)
