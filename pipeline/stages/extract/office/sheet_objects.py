"""What lies upon the cells of a sheet in an XLSX file: text boxes, charts, diagrams and comments."""

from collections.abc import Iterator

from pipeline.stages.extract.archive import Archive
from pipeline.stages.extract.layout import LINE
from pipeline.stages.extract.office.chart import clean_description, read_chart, read_diagram
from pipeline.stages.extract.office.drawing import read_paragraphs
from pipeline.stages.extract.office.names import Names, find_all, get_attribute
from pipeline.stages.extract.opc import Relationship, Skipped, find_related, read_optional, read_relationships
from pipeline.stages.extract.xml import Element, get_name

OBJECTS = ("xdr:txBody", "c:chart", "cx:chart", "dgm:relIds")
TRUE = ("1", "true", "on")
COPY = "[Threaded comment]"
"""Begins the copy of a comment with replies, for programs that know only plain comments."""


class ObjectReader:
    """Reads the objects of the sheets of one workbook."""

    def __init__(self, archive: Archive, workbook: dict[str, Relationship], skipped: Skipped) -> None:
        """Read the names of the people who comment. `workbook` has the relationships of the workbook."""
        self._archive = archive
        self._skipped = skipped
        self._names = Names()
        self._people = {
            person.get("id", ""): person.get("displayName", "")
            for part in find_related(workbook, "person")
            for person in self._list(part)
        }

    def read(self, part: str) -> list[str]:
        """Return the paragraphs of the objects of a sheet, in the order of the file, and its comments."""
        related = read_relationships(self._archive, part, self._skipped)
        drawings = find_related(related, "drawing")
        texts = [text for drawing in drawings for text in self._read_drawing(drawing)]
        threads = [text for found in find_related(related, "threadedComment") for text in self._read_threads(found)]
        comments = [text for found in find_related(related, "comments") for text in self._read_comments(found)]
        return [*texts, *threads, *comments]

    def _list(self, part: str) -> Iterator[Element]:
        root = read_optional(self._archive, part, self._skipped)
        yield from root if root is not None else ()

    def _read_drawing(self, part: str) -> Iterator[str]:
        related = read_relationships(self._archive, part, self._skipped)
        for anchor in self._list(part):
            properties = list(find_all(anchor, self._names, "xdr:cNvPr"))
            if any(found.get("hidden") in TRUE for found in properties):
                continue
            lines = [clean_description(found.get("descr")) for found in properties]
            for found in find_all(anchor, self._names, *OBJECTS):
                lines += self._read_object(found, related)
            yield LINE.join(filter(None, lines))

    def _read_object(self, found: Element, related: dict[str, Relationship]) -> list[str]:
        name = self._names[found.tag]
        if name == "xdr:txBody":
            return read_paragraphs(found, self._names)
        target = related.get(get_attribute(found, "dm" if name == "dgm:relIds" else "id") or "")
        root = read_optional(self._archive, target.target, self._skipped) if target else None
        if root is None:
            return []
        return (read_diagram if name == "dgm:relIds" else read_chart)(root, self._names)

    def _read_threads(self, part: str) -> Iterator[str]:
        for comment in self._list(part):
            text = "".join(found.text or "" for found in comment if get_name(found) == "text")
            yield _mark(text, self._people.get(comment.get("personId", ""), ""), comment)

    def _read_comments(self, part: str) -> Iterator[str]:
        groups = {get_name(group): group for group in self._list(part)}
        authors = ["".join(author.itertext()) for author in groups.get("authors", ())]
        for comment in groups.get("commentList", ()):
            text = "".join(
                found.text or "" for found in comment.iter() if get_name(found) == "t" and found.text is not None
            )
            index = comment.get("authorId", "")
            author = authors[int(index)] if index.isdecimal() and int(index) < len(authors) else ""
            if not text.startswith(COPY):
                yield _mark(text, author, comment)


def _mark(text: str, author: str, comment: Element) -> str:
    """Return a comment with its cell and its author."""
    by = f" by {author.strip()}" if author.strip() else ""
    words = " ".join(text.split())
    return f"Comment{by} on {comment.get('ref', '')}: {words}" if words else ""
