"""RTF 1.9: the text that Word shows, with headers and footers once, notes, and rows of tables as lines."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.stages.extract.format import Block, ExtractedPage, Extraction, Format, SourceFile, join_sections
from pipeline.stages.extract.layout import join_row

SIGNATURE = b"{\\rtf"
TOKEN = re.compile(
    rb"\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?[0-9]{1,10})? ?|'(?P<hex>[0-9a-fA-F]{2})|(?P<symbol>[^a-zA-Z]))"
    rb"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)|[\r\n]+|\\",
    re.DOTALL,
)
WESTERN = "cp1252"
CHARSETS = {
    77: "mac-roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "big5hkscs",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}
"""Character sets of fonts, by `fcharset`. Others mean the one of the file."""
CODE_PAGES = {
    **{number: f"cp{number}" for number in (437, 850, 852, 855, 857, 858, 860, 862, 863, 864, 865, 866, 874, 932, 949)},
    **{number: f"cp{number}" for number in range(1250, 1259)},
    936: "gb18030",
    950: "big5hkscs",
    1361: "johab",
    10000: "mac-roman",
    10007: "mac-cyrillic",
    65001: "utf-8",
}
CHARACTERS = {
    "tab": "\t",
    "emdash": "—",
    "endash": "–",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
    "bullet": "•",
    "lquote": "‘",
    "rquote": "’",
    "ldblquote": "“",
    "rdblquote": "”",
    "line": "\n",
    "lbr": "\n",
    "softline": "\n",
    "zwj": "\u200d",
    "zwnj": "\u200c",
    "ltrmark": "\u200e",
    "rtlmark": "\u200f",
}
SYMBOLS = {b"~": "\u00a0", b"_": "\u2011", b"-": "\u00ad"}
_SKIPPED_WORDS = """
fonttbl colortbl stylesheet info pict object nonshppict shprslt fldinst sp xe tc tcn rxe bkmkstart bkmkend template
private listname listlevel listpicture revtbl rsidtbl themedata colorschememapping datastore latentstyles filetbl
nonesttables mmathPict pn panose falt ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn generator userprops xmlnstbl
atnid atntime atndate atnref atrfstart atrfend atnicn atnparent do background mctrlPr
"""
SKIPPED = frozenset(_SKIPPED_WORDS.split())
"""Destinations whose text Word does not show at their place."""
OPENED = frozenset(
    {"shpinst", "shppict", "moMath", "moMathPara", "ud", "annotation", "atnauthor", "footnote", "fldrslt"}
)
"""Destinations that are read although they are marked with `*`."""
MARGINS = {
    **dict.fromkeys(("header", "headerl", "headerr", "headerf"), "header"),
    **dict.fromkeys(("footer", "footerl", "footerr", "footerf"), "footer"),
}
INNERMOST = frozenset({"note", "comment", "author", "box"})
"""Kinds of stories in which no other story begins."""
FORMULA_SIGNS = {"msup": "^", "msub": "_", "mden": "/", "mdeg": "√"}
MAX_LEVEL = 8
"""Highest outline level, from 0. Body text has a higher one."""
HEADING = re.compile(r"heading [1-9]|title", re.IGNORECASE)


@dataclass
class _Story:
    """Text with paragraphs of its own: the body, a header, a note, a comment or a text box."""

    kind: str
    parts: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Notes and text boxes that follow the paragraph or row they belong to."""
    author: str = ""
    number: int = 0
    """Number of a note."""

    def take(self) -> str:
        text = "".join(self.parts)
        self.parts.clear()
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def end_cell(self) -> None:
        self.cells.append(" ".join(self.take().split()))

    def end_row(self) -> None:
        if text := self.take().strip():
            self.cells.append(" ".join(text.split()))
        self._add(join_row(self.cells), "\n", is_heading=False)
        self.cells.clear()

    def end_paragraph(self, *, is_heading: bool = False) -> None:
        if self.cells:
            self.end_row()
        self._add(self.take().strip(" \t\n"), "\n\n", is_heading=is_heading)

    def finish(self) -> str:
        self.end_paragraph()
        return "".join(block.text for block in self.blocks).strip()

    def _add(self, text: str, end: str, *, is_heading: bool) -> None:
        if text:
            was_row = bool(self.blocks) and not self.blocks[-1].text.endswith("\n\n")
            self.blocks.append(Block(f"\n{text}{end}" if was_row and end != "\n" else f"{text}{end}", is_heading))
        self.blocks += [Block(f"{each}\n\n") for each in self.waiting]
        self.waiting.clear()


class _State(NamedTuple):
    """What a group inherits from the group around it, and what ends with it."""

    story: _Story
    skips: bool = False
    is_hidden: bool = False
    is_deleted: bool = False
    skips_web: bool = False
    is_raised: bool = False
    """True for superscripts."""
    table: str = ""
    """Name of the table of fonts or styles whose entries are read."""
    font: int = -1
    style: int = -1
    level: int = MAX_LEVEL + 1
    in_table: bool = False
    fallback: int = 1
    """Number of characters after a Unicode character that stand for it in older programs."""


class _Reader:
    """Reads a file token by token. Groups are on a stack, so their nesting has no limit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._body = _Story("body")
        self._state = _State(self._body)
        self._stack: list[_State] = []
        self._codec = WESTERN
        self._fonts: dict[int, str] = {}
        self._headings: set[int] = set()
        self._style_name: list[bytes] = []
        self._bytes = bytearray()
        self._was_raised = False
        self._bytes_codec = WESTERN
        self._left_out = 0
        self._is_starred = False
        self._margins: dict[str, dict[str, None]] = {"header": {}, "footer": {}}
        self._comments: list[str] = []
        self._author = ""
        self._notes = 0

    def read(self) -> Iterator[Block]:
        """Yield headers, body, footers and comments as blocks."""
        self._read_tokens()
        self._flush()
        while self._stack:
            self._close()
        self._body.end_paragraph()
        for line in self._margins["header"]:
            yield Block(f"{line}\n\n", is_heading=True)
        yield from self._body.blocks
        for line in [*self._margins["footer"], *self._comments]:
            yield Block(f"{line}\n\n")

    def _read_tokens(self) -> None:
        position = 0
        while token := TOKEN.match(self._data, position):
            position = token.end()
            if (text := token["text"]) is not None:
                self._write_bytes(text)
            elif (digits := token["hex"]) is not None:
                self._write_bytes(bytes.fromhex(digits.decode()), is_escape=True)
            elif (brace := token["brace"]) is not None:
                self._open() if brace == b"{" else self._close()
            elif (word := token["word"]) is not None:
                number = int(token["number"]) if token["number"] else None
                if word == b"bin":
                    position += max(0, number or 0)
                else:
                    self._do(word.decode(), number)
            elif (symbol := token["symbol"]) is not None:
                self._write_symbol(symbol)

    def _open(self) -> None:
        self._left_out = 0
        self._stack.append(self._state)

    def _close(self) -> None:
        self._flush()
        self._left_out, self._is_starred = 0, False
        closed = self._state
        if not self._stack:
            return
        self._state = self._stack.pop()
        if closed.table == "styles" and self._style_name:
            self._end_style(closed)
        if closed.story is not self._state.story:
            self._end_story(closed.story)

    def _end_style(self, closed: _State) -> None:
        name = b"".join(self._style_name).decode("latin-1").strip().rstrip(";")
        self._style_name.clear()
        if closed.level <= MAX_LEVEL or HEADING.fullmatch(name):
            self._headings.add(closed.style)

    def _end_story(self, story: _Story) -> None:
        outer, text = self._state.story, story.finish()
        if story.kind == "author":
            self._author = text
        elif not text:
            return
        elif story.kind in self._margins:
            self._margins[story.kind].update(dict.fromkeys(filter(None, map(str.strip, text.split("\n")))))
        elif story.kind == "comment":
            self._comments.append(f"Comment by {self._author}: {text}" if self._author else f"Comment: {text}")
        elif story.kind == "note":
            outer.waiting.append(f"[{story.number}] {text}")
        else:
            outer.waiting.append(text)

    def _is_shown(self) -> bool:
        state = self._state
        return not (state.skips or state.is_hidden or state.is_deleted or state.skips_web)

    def _write_bytes(self, data: bytes, *, is_escape: bool = False) -> None:
        if self._left_out:
            cut = 1 if is_escape else min(self._left_out, len(data))
            self._left_out -= cut
            data = data[cut:]
        if self._state.table == "styles":
            self._style_name.append(data)
        elif data and self._is_shown():
            codec = self._fonts.get(self._state.font, self._codec)
            if codec != self._bytes_codec:
                self._flush()
                self._bytes_codec = codec
            if self._state.is_raised and not self._was_raised and data[:1].isdigit() and self._ends_with_digit():
                self._bytes += b"^"  # 10^6, not 106
            self._was_raised = self._state.is_raised
            self._bytes += data

    def _ends_with_digit(self) -> bool:
        parts = self._state.story.parts
        return self._bytes[-1:].isdigit() if self._bytes else bool(parts) and parts[-1][-1:].isdigit()

    def _write(self, text: str) -> None:
        if self._is_shown():
            self._flush()
            self._state.story.parts.append(text)

    def _flush(self) -> None:
        if self._bytes:
            self._state.story.parts.append(self._bytes.decode(self._bytes_codec, "replace"))
            self._bytes.clear()

    def _write_symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._is_starred = True
        elif symbol in b"\r\n":
            self._do("par", None)
        elif symbol in b"{}\\":
            self._write_bytes(symbol)  # it may be the second byte of a letter
        elif text := SYMBOLS.get(symbol):
            self._write(text)

    def _do(self, word: str, number: int | None) -> None:
        """Execute a control word."""
        if self._left_out and word != "u":
            self._left_out -= 1
            return
        starred, self._is_starred = self._is_starred, False
        if starred and word not in OPENED:
            self.change(skips=True)
        elif text := CHARACTERS.get(word):
            self._write(text)
        elif word in SKIPPED or word.endswith("Pr"):
            self._skip(word)
        elif word in MARGINS:
            self.begin_story(MARGINS[word])
        elif word in FORMULA_SIGNS:
            self._write(FORMULA_SIGNS[word])
        elif action := ACTIONS.get(word):
            action(self, number)

    def change(self, **changes: object) -> None:
        self._flush()
        self._state = self._state._replace(**changes)  # type: ignore[arg-type]  # names and types as in _State

    def _skip(self, word: str) -> None:
        table = {"fonttbl": "fonts", "stylesheet": "styles"}.get(word, "")
        # A picture's result and an object's result are read, and their data are destinations of their own.
        if word != "object":
            self.change(skips=True, table=table)

    def begin_story(self, kind: str) -> None:
        if self._state.skips:
            return
        if self._state.story.kind in INNERMOST:  # nested stories would be copied once per level
            self.end_paragraph(None)
        else:
            self.change(story=_Story(kind), level=MAX_LEVEL + 1, style=-1, in_table=False, is_hidden=False)

    def begin_note(self, _number: int | None) -> None:
        if self._is_shown() and self._state.story.kind not in INNERMOST:
            self._notes += 1
            self.begin_story("note")
            self._state.story.number = self._notes

    def write_note_number(self, _number: int | None) -> None:
        """Write the reference to the note that follows. In the note itself, its number is written by `_end_story`."""
        if self._state.story.kind != "note":
            self._write(f"[{self._notes + 1}]")

    def end_paragraph(self, _number: int | None) -> None:
        self._flush()
        state = self._state
        if state.skips:
            return
        if state.in_table:
            state.story.parts.append(" ")
        else:
            state.story.end_paragraph(is_heading=state.level <= MAX_LEVEL or state.style in self._headings)

    def end_cell(self, _number: int | None) -> None:
        self._flush()
        if not self._state.skips:
            self._state.story.end_cell()

    def end_row(self, _number: int | None) -> None:
        self._flush()
        if not self._state.skips:
            self._state.story.end_row()

    def write_unicode(self, number: int | None) -> None:
        self._left_out = 0
        self._write(chr((number or 0) & 0xFFFF))
        self._left_out = self._state.fallback

    def reset_paragraph(self, _number: int | None) -> None:
        self.change(in_table=False, level=MAX_LEVEL + 1, style=-1)

    def set_code_page(self, number: int | None) -> None:
        self._codec = CODE_PAGES.get(number or 0, WESTERN)

    def set_font(self, number: int | None) -> None:
        self.change(font=-1 if number is None else number)

    def set_font_charset(self, number: int | None) -> None:
        if self._state.table == "fonts" and (codec := CHARSETS.get(number or 0)):
            self._fonts[self._state.font] = codec

    def read_twin(self, _number: int | None) -> None:
        """Skip the older form of a text that is followed by its Unicode form."""
        self.change(skips=True, table="twin")

    def read_unicode_twin(self, _number: int | None) -> None:
        if self._state.table == "twin":
            self.change(skips=False, table="")


Action = Callable[[_Reader, int | None], None]


def _set(name: str) -> Action:
    """Return an action that switches a property of the text on, or off if its number is 0."""
    return lambda reader, number: reader.change(**{name: number != 0})


def _begin(kind: str) -> Action:
    return lambda reader, _number: reader.begin_story(kind)


def _set_number(name: str) -> Action:
    return lambda reader, number: reader.change(**{name: max(0, number or 0)})


ACTIONS: dict[str, Action] = {
    **dict.fromkeys(("par", "sect", "page", "column"), _Reader.end_paragraph),
    **dict.fromkeys(("cell", "nestcell"), _Reader.end_cell),
    "row": _Reader.end_row,
    "u": _Reader.write_unicode,
    "uc": _set_number("fallback"),
    "v": _set("is_hidden"),
    "deleted": _set("is_deleted"),
    "htmlrtf": _set("skips_web"),
    "super": _set("is_raised"),
    "nosupersub": lambda reader, _number: reader.change(is_raised=False),
    "plain": lambda reader, _number: reader.change(is_hidden=False, is_deleted=False, is_raised=False, font=-1),
    "pard": _Reader.reset_paragraph,
    "intbl": _set("in_table"),
    "outlinelevel": _set_number("level"),
    "s": _set_number("style"),
    **dict.fromkeys(("f", "af"), _Reader.set_font),
    "fcharset": _Reader.set_font_charset,
    "ansicpg": _Reader.set_code_page,
    "mac": lambda reader, _number: reader.set_code_page(10000),
    "pc": lambda reader, _number: reader.set_code_page(437),
    "pca": lambda reader, _number: reader.set_code_page(850),
    "chftn": _Reader.write_note_number,
    "footnote": _Reader.begin_note,
    "annotation": _begin("comment"),
    "atnauthor": _begin("author"),
    "shptxt": _begin("box"),
    "upr": _Reader.read_twin,
    "ud": _Reader.read_unicode_twin,
}


def looks_like_rtf(head: bytes) -> bool:
    """Return True if these are the first bytes of an RTF file."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(SIGNATURE)


def read(file: SourceFile) -> Extraction:
    """Read an RTF file as one page. Each heading begins a section."""
    return Extraction(1, iter([ExtractedPage(read_sections(file.content.read()))]))


def read_sections(data: bytes) -> list[str]:
    """Return the text of an RTF file in sections that begin with headings, at least one."""
    return join_sections(_Reader(data).read())


FORMAT = Format(
    media_type="application/rtf",
    extensions=(".rtf",),
    aliases=("text/rtf", "text/richtext", "application/x-rtf"),
    admits=looks_like_rtf,
    signature=looks_like_rtf,
    overrides_text=True,
    readers=(read,),
)
