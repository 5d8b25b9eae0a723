"""Divide text into sentences and headings, each a slice of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile

PARAGRAPH = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)
CLOSING = "[\"'”’»)\\]」』）]*"  # noqa: RUF001 - marks of other scripts are meant
GREEK_QUESTION_MARK = "(?<=[\u0370-\u03ff\u1f00-\u1fff]);"
"""It is a semicolon. Unicode normalisation makes one of U+037E, too."""
END = re.compile(rf"(?:[.!?…؟۔।]|{GREEK_QUESTION_MARK}){CLOSING}(?=\s|\Z)|[。！？]{CLOSING}")  # noqa: RUF001 - as above
LAST_END = re.compile(rf"(?:[.!?…؟۔।。！？]|{GREEK_QUESTION_MARK}){CLOSING}\Z")  # noqa: RUF001 - as above
QUESTION = re.compile(rf"(?:[?؟？]|{GREEK_QUESTION_MARK}){CLOSING}\Z")  # noqa: RUF001 - as above
NOT_AFTER_HEADING = tuple(".!?…؟۔।。！？,;:；：")  # noqa: RUF001 - as above
LAST_WORD = re.compile(r"[^\W\d_]+\Z")
LONGEST_ABBREVIATION = 8
"""Number of characters to look at before a full stop."""
ABBREVIATION = re.compile(
    r"(?:\w|dr|mrs?|ms|prof|st|mt|gen|col|lt|sgt|capt|rev|hon|sen|rep|gov|nos?|figs?|eqs?|sec|art|vol|pp|pub|stat|eds?"
    r"|vs|cf|ca|approx|al|nr|abs|bd|vgl|bzw|sra?|dra)\Z",
    re.IGNORECASE,
)
"""Initials, and words that a full stop shortens and that rarely end a sentence."""
NEXT_CHARACTER = re.compile(r"\s*(\S?)")
MARKDOWN_HEADING = re.compile(r"#{1,6}\s")
NUMBERING = re.compile(
    r"(?:(?:part|item|chapter|section|article|appendix|note)\s+)?(?:\d+|[ivxlc]+)(?:\.\d+)*[.):]?\s+", re.IGNORECASE
)
END_OF_ROW = re.compile(r"\w\W+\w.*\s(?:[—–-]|\W*(?!(?:19|20)\d\d\Z)\d[\d.,]*)[)%\s]*\Z")  # noqa: RUF001 - dashes are meant
"""Words and a number, but a year, or a dash. `Note 7` is not a row."""
LONGEST_HEADING = 12
"""Longest heading without the marks of Markdown, in words."""
LONGEST_MARKDOWN_HEADING = 24
HEADINGS_IN_A_ROW = 3
"""More lines like headings in a row are a list, unless a table follows."""
SHORTEST_TITLE_WORD = 4
"""Shorter words may begin with a small letter in a title."""
DIGITS_OF_TITLE = 0.25
"""Highest share of digits in a title, which may name a year."""
DIGITS_OF_PROSE = 0.1
"""Highest share of digits in a line of running text."""
LONGEST_CHARACTERS = 600
"""Longest sentence, in characters, if it can be divided: a table into rows, other text after semicolons."""
SHORTEST_FULL_LINE = 40
"""Shortest line of running text that is wrapped, in characters."""
FULLNESS = 0.75
"""Length of a wrapped line, compared with the longest one."""
CLAUSE = re.compile(r"(?<=[;；])\s*")  # noqa: RUF001 - as above


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, a row of a table or a heading, as it stands in the text."""

    text: str
    start: int
    """Offset in the text that was divided, in characters."""
    is_heading: bool
    is_question: bool
    """Whether it ends with a question mark of any script."""
    is_whole: bool
    """False if its beginning or its end is missing."""
    is_first: bool
    """Whether a paragraph begins with it. The rows of a table are one paragraph."""

    @property
    def end(self) -> int:
        """Offset of the first character after it."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text whose place is not known yet."""

    text: str
    is_heading: bool = False
    is_cut: bool = False
    is_first: bool = True


def split_sentences(text: str, *, is_continued: bool = False) -> list[Sentence]:
    """Return the sentences and headings of a text in their order.

    `is_continued` says that the text is not the beginning of a document, so its first sentence may be cut.
    A heading is a short line without a sentence end, if running text follows it. Within a paragraph, it begins the text
    or follows the end of a sentence. In title case, it may also be the end of the text, or the only such line at the
    beginning of a document.
    """
    paragraphs = [match[0].rstrip() for match in PARAGRAPH.finditer(text)]
    sentences: list[Sentence] = []
    parts = (_split(paragraphs, number, is_continued=is_continued) for number in range(len(paragraphs)))
    for part in chain.from_iterable(parts):
        start = text.index(part.text, sentences[-1].end if sentences else 0)
        is_begun = is_continued and not sentences and part.text[0].islower()
        sentences.append(
            Sentence(
                text=part.text,
                start=start,
                is_heading=part.is_heading,
                is_question=bool(QUESTION.search(part.text)),
                is_whole=not (part.is_cut or is_begun),
                is_first=part.is_first,
            )
        )
    return sentences


def _split(paragraphs: Sequence[str], number: int, *, is_continued: bool) -> Iterator[Part]:
    paragraph = paragraphs[number]
    if _is_heading(paragraphs, number, is_continued=is_continued):
        yield Part(paragraph, is_heading=True)
        return
    sections = list(_divide_into_sections(paragraph.splitlines(keepends=True)))
    for place, (headings, body) in enumerate(sections, 1):
        yield from (Part(heading, is_heading=True) for heading in headings)
        is_end = number == len(paragraphs) - 1 and place == len(sections)
        yield from _split_body(body, is_end=is_end)


def _split_body(body: str, *, is_end: bool) -> Iterator[Part]:
    """Yield the sentences of text without headings. `is_end` says that it is the end of the whole text."""
    rows = list(_list_rows(body)) if _measure_lines(body) >= SHORTEST_FULL_LINE else [body]
    firsts = [True, *(bool(LAST_END.search(row)) for row in rows[:-1])]
    pieces = [
        (piece, is_first and place == 0)
        for row, is_first in zip(rows, firsts, strict=True)
        for place, piece in enumerate(part for sentence in _cut(row) for part in _divide(sentence))
    ]
    # A page number may follow the last sentence.
    last = max((place for place, (piece, _) in enumerate(pieces) if not piece.isdecimal()), default=0)
    for place, (piece, is_first) in enumerate(pieces):
        is_last = is_end and place == last > 0
        # The sentences before it have an end, so its own is in the next passage.
        is_cut = is_last and piece[-1].isalnum() and LAST_END.search(pieces[place - 1][0])
        yield Part(piece, is_cut=bool(is_cut), is_first=is_first)


def _is_heading(paragraphs: Sequence[str], number: int, *, is_continued: bool) -> bool:
    """Return whether a paragraph is a heading of the following ones."""
    paragraph = paragraphs[number]
    if not _is_short_line(paragraph):
        return False
    if MARKDOWN_HEADING.match(paragraph):
        return True
    before = len(list(takewhile(_is_short_line, reversed(paragraphs[:number]))))
    after = len(list(takewhile(_is_short_line, paragraphs[number:])))
    if before + after > HEADINGS_IN_A_ROW:
        return False
    if not is_continued and number == 0 and _is_title(paragraph) and paragraphs[1:] and not _is_title(paragraphs[1]):
        return True
    if following := paragraphs[number + after :]:
        return bool(END.search(following[0])) and len(following[0]) > len(paragraph)
    return number > before and _is_title(paragraph)


def _divide_into_sections(lines: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the lines of a paragraph as headings and the text that follows them."""
    longest = _measure_lines("".join(lines))
    headings: list[str] = []
    start = place = 0
    while place < len(lines):
        titles = _list_titles(lines, place, longest)
        if titles and _are_headings(titles, "".join(lines[place + len(titles) :])):
            if place:
                yield headings, "".join(lines[start:place])
            headings, start = titles, place + len(titles)
        place += len(titles) or 1
    yield headings, "".join(lines[start:])


def _list_titles(lines: Sequence[str], place: int, longest: int) -> list[str]:
    """Return the lines from this place that could be headings. `longest` is the length of a full line."""
    before = lines[place - 1].strip() if place else ""
    stripped = [line.strip() for line in lines[place:]]
    if before and not LAST_END.search(before) and _continues(before, stripped[0], longest):
        return []
    return list(takewhile(lambda line: _could_be_heading(line, longest), stripped))


def _are_headings(titles: Sequence[str], rest: str) -> bool:
    """Return whether lines that could be headings are those of the text after them."""
    is_table = sum(map(str.isdigit, rest)) > DIGITS_OF_PROSE * len(rest)
    if not rest or (len(titles) > HEADINGS_IN_A_ROW and not is_table):
        return False
    if NUMBERING.match(rest) and not all(map(_is_title, titles)):
        return False
    is_prose = END.search(rest) and not rest.lstrip()[:1].islower()
    return bool(is_prose or is_table or MARKDOWN_HEADING.match(titles[-1]))


def _could_be_heading(line: str, longest: int) -> bool:
    """Return whether a line could be a heading: in title case, or too short to be a line of running text."""
    is_short = line[:1].isalnum() and longest >= SHORTEST_FULL_LINE and len(line) < FULLNESS * longest
    return _is_short_line(line) and (is_short or _is_title(line))


def _is_short_line(text: str) -> bool:
    """Return whether the text could be a heading: one short line without a sentence end or many digits."""
    words = len(text.split(maxsplit=LONGEST_MARKDOWN_HEADING))
    if "\n" in text or not words:
        return False
    if MARKDOWN_HEADING.match(text):
        return words <= LONGEST_MARKDOWN_HEADING
    if words > LONGEST_HEADING or text.endswith(NOT_AFTER_HEADING) or END_OF_ROW.search(text):
        return False
    name = NUMBERING.sub("", text, count=1)
    digits = sum(map(str.isdigit, name))
    return not digits or (digits <= DIGITS_OF_TITLE * len(name) and ":" not in name and _is_title(name))


def _is_title(line: str) -> bool:
    """Return whether all longer words begin with a capital letter."""
    initials = [word[0] for word in NUMBERING.sub("", line, count=1).split() if len(word) >= SHORTEST_TITLE_WORD]
    letters = [initial for initial in initials if initial.isalpha()]
    return bool(MARKDOWN_HEADING.match(line)) or (bool(letters) and all(map(str.isupper, letters)))


def _cut(text: str) -> Iterator[str]:
    """Yield the text between the ends of sentences."""
    start = 0
    for match in END.finditer(text):
        if not _goes_on(text, match):
            yield text[start : match.end()].strip()
            start = match.end()
    if rest := text[start:].strip():
        yield rest


def _goes_on(text: str, stop: re.Match[str]) -> bool:
    """Return whether a small letter follows a mark, or an abbreviation or initial precedes a full stop."""
    following = NEXT_CHARACTER.match(text, stop.end())
    if following and following[1].islower():
        return True
    if not stop[0].startswith("."):
        return False
    word = LAST_WORD.search(text[max(0, stop.start() - LONGEST_ABBREVIATION) : stop.start()])
    return bool(word and ABBREVIATION.match(word[0]))


def _divide(piece: str) -> Iterator[str]:
    """Yield a sentence, or its rows or clauses if it is too long."""
    if len(piece) <= LONGEST_CHARACTERS:
        yield piece
        return
    for row in _list_rows(piece):
        yield from _join_clauses(row)


def _list_rows(text: str) -> Iterator[str]:
    """Yield the rows of a table, and running text with its line ends."""
    longest = _measure_lines(text)
    row, last = "", ""
    for line in text.splitlines(keepends=True):
        if row and not _continues(last, line.strip(), longest):
            yield row.strip()
            row = ""
        row += line
        last = line.strip()
    yield row.strip()


def _measure_lines(text: str) -> int:
    """Return the length of the longest line, in characters."""
    return max(len(line.strip()) for line in text.splitlines())


def _continues(line: str, following: str, longest: int) -> bool:
    """Return whether a line of running text goes on in the following one."""
    if following[:1].islower() or line.endswith((",", "-", "(")):
        return True
    is_full = len(line) >= max(SHORTEST_FULL_LINE, FULLNESS * longest)
    has_few_digits = sum(map(str.isdigit, line)) <= DIGITS_OF_PROSE * len(line)
    return is_full and not {"\t", "|"} & set(line) and (has_few_digits or line[-1].islower())


def _join_clauses(text: str) -> Iterator[str]:
    """Yield parts that end with a semicolon, as long as possible. Text without semicolons is not divided."""
    start = end = 0
    for boundary in [*(match.end() for match in CLAUSE.finditer(text)), len(text)]:
        if boundary - start > LONGEST_CHARACTERS and end > start:
            yield text[start:end].strip()
            start = end
        end = boundary
    if rest := text[start:].strip():
        yield rest
