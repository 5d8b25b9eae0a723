"""RTF is read as Word shows it."""

import io
import time

import pytest

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from tests.languages import LANGUAGES

FONTS = rb"{\fonttbl{\f0\fnil\fcharset0 Arial;}{\f1\fnil\fcharset128 Mincho;}{\f2\fcharset238 Arial CE;}}"
STYLES = rb"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 Chapter;}{\s2\sbasedon0 heading 2;}}"
HEAD = rb"{\rtf1\ansi\ansicpg1251\deff0" + FONTS + STYLES + rb"\pard\plain "


def read(body: bytes, head: bytes = HEAD) -> list[str]:
    file = SourceFile(io.BytesIO(head + body + b"}"))
    [page] = get_format("application/rtf").readers[0](file).pages
    return [section.strip() for section in page.sections]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"\'cf\'f0\'e8\'e2\'e5\'f2\par", "Привет"),
        (rb"{\f1 \'93\'fa\'96\'7b\'8c\'ea \'93\'fa\'96\{\'8c\'ea}", "日本語 日本語"),
        (rb"{\f2 \'b3\'f3d\'9f} {\f0 \'e4}", "łódź д"),
        (rb"\u1055?\u1088?{\uc2\u228ae}{\uc0\u228}x\u-10179?\u-8704?", "Прääx😀"),
        (rb"a\~b\_c\emdash d \{e\} \\f\line g", "a\xa0b\u2011c—d {e} \\f\ng"),
        (rb"One\par Two\sect Three", "One\n\nTwo\n\nThree"),
        (rb"shown{\v secret}{\deleted gone}\v no\v0 , too", "shown, too"),
        (rb"See {\field{\*\fldinst HYPERLINK http://x}{\fldrslt {\ul the link}}}.", "See the link."),
        (rb"{\listtext 1.\tab}First\par{\pntext\f0 2)\tab}Second", "1.\tFirst\n\n2)\tSecond"),
        (
            rb"a{\pict\pngblip 89504e}{\*\shppict{\pict\bin4 }a}}}}{\nonshppict{\pict 00}}b{\*\what ever}{\xe index}c",
            "abc",
        ),
        (rb"a{\pict\bin3 }x}}b", "ab"),
        (rb"{\upr{older}{\*\ud{\u1055?}}}", "П"),
        (
            rb"\trowd\intbl A\cell B\par second\cell\row\trowd\intbl C\cell\cell D\cell\row\pard After",
            "A B second\nC D\n\nAfter",
        ),
        (
            rb"Text{\super\chftn}{\footnote\chftn  The note.} goes on.\par Next.",
            "Text[1] goes on.\n\n[1] The note.\n\nNext.",
        ),
        (
            rb"Before {\shp{\*\shpinst{\sp{\sn x}{\sv 1}}{\shptxt Boxed\par}}{\shprslt{\*\do Boxed}}}after.\par",
            "Before after.\n\nBoxed",
        ),
        (rb"{\*\atnauthor Ann}{\*\annotation{\*\atndate 1}Check this}Text", "Text\n\nComment by Ann: Check this"),
        (rb"{\object{\*\objclass Excel}{\*\objdata 0105}{\result{Table}}}", "Table"),
        (rb"{\mmath{\*\moMath{\msSup{\msSupPr{\mctrlPr x}}{\me{\mr a}}{\msup{\mr 2}}}}}", "a^2"),
        (rb"\htmlrtf web\htmlrtf0 {\*\htmltag <p>}shown", "shown"),
        (rb"450{\super 12} EUR", "450^12 EUR"),
        (rb"450{\super 1}{\super 2} EUR", "450^12 EUR"),
        (rb"10\super 6\nosupersub 0 and {\super 1}2", "10^60 and 12"),
        (rb"word{\super 1}", "word1"),
    ],
)
def test_rtf_is_what_word_shows(body: bytes, text: str) -> None:
    assert "".join(read(body)) == text


def test_headings_begin_sections_and_margins_are_read_once() -> None:
    body = rb"{\header Head\par}{\headerf Head\par}{\footer Foot}\s1 One\par\pard text\par\pard\s2 Two\par\pard more\par\pard\outlinelevel3 Three\par\pard end"
    assert read(body) == ["Head\n\nOne\n\ntext", "Two\n\nmore", "Three\n\nend\n\nFoot"]


@pytest.mark.parametrize("language", ["Polish", "Russian", "Greek", "Turkish", "Hebrew", "Arabic", "German"])
def test_code_pages(language: str) -> None:
    charset = next(each for each in LANGUAGES[language].charsets if each.startswith("windows-"))
    text = LANGUAGES[language].text
    escaped = b"".join(b"\\'%02x" % byte for byte in text.encode(charset))
    assert read(escaped, rb"{\rtf1\ansi\ansicpg%s " % charset.removeprefix("windows-").encode()) == [text]


@pytest.mark.parametrize("text", [LANGUAGES[language].text for language in ("Japanese", "Chinese", "Korean", "Thai")])
def test_unicode(text: str) -> None:
    escaped = "".join(f"\\u{ord(char) if ord(char) < 0x8000 else ord(char) - 0x10000}?" for char in text)
    assert read(escaped.encode()) == [text]


@pytest.mark.parametrize(
    "body",
    [
        b"{" * 100_000,
        rb"{\shptxt x" * 15_000,
        rb"\chftn{\footnote a " * 15_000,
        b"}" * 100_000,
        b"\\" * 100_000,
        rb"\bin-5 \bin999999999 " * 1000,
        rb"\u99999999999 \f-1\uc-9 \s99999999 " * 1000,
        rb"\cell" * 25_000,
    ],
    ids=["groups", "boxes", "notes", "ends", "marks", "binary", "numbers", "cells"],
)
def test_hostile_rtf_takes_linear_time(body: bytes) -> None:
    began = time.process_time()
    read(body)
    assert time.process_time() - began < 1
