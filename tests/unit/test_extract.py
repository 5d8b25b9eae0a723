import io

import pytest

from pipeline import samples
from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract import find_formats, get_format
from pipeline.stages.extract.format import SourceFile, clean
from pipeline.stages.extract.formats.text import looks_like_text


def read(media_type: str, data: bytes) -> list[str]:
    return ["".join(page.sections) for page in get_format(media_type).readers[0](SourceFile(io.BytesIO(data))).pages]


def test_formats_are_found() -> None:
    assert {known.media_type for known in find_formats()} == {
        "application/epub+zip",
        "application/json",
        "application/mbox",
        "application/pdf",
        "application/rtf",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.ms-excel",
        "application/vnd.ms-outlook",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/xml",
        "application/zip",
        "message/rfc822",
        "multipart/related",
        "text/csv",
        "text/html",
        "text/markdown",
        "text/plain",
    }


def test_no_extension_belongs_to_two_formats() -> None:
    extensions = [extension for known in find_formats() for extension in known.extensions]
    assert len(extensions) == len(set(extensions))


def test_unknown_format_is_unsupported() -> None:
    with pytest.raises(IngestionError, match="application/x-removed") as caught:
        get_format("application/x-removed")
    assert caught.value.failure == FailureCode.UNSUPPORTED_MEDIA_TYPE


def test_pdf_pages_hold_their_text() -> None:
    pages = read("application/pdf", (samples.FOLDER / "alder-lock-handbook.pdf").read_bytes())
    assert len(pages) == 5
    assert "3.2 metres" in pages[3]
    assert "four crowns" in pages[4]


def test_line_ends_are_normalized() -> None:
    assert read("text/plain", b"a\r\nb\rc\n") == ["a\nb\nc\n"]


def test_words_that_nul_separates_stay_separate() -> None:
    assert read("text/plain", b"one\0two\n") == ["one two\n"]


def test_html_shows_what_a_reader_sees() -> None:
    html = b"""<html><head><title>T</title><style>x{}</style></head><body><h1>He<b>ll</b>o</h1>after<p>one<br>two</p>
        <script>bad()</script><table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table></body></html>"""
    assert read("text/html", html) == ["T\n\nHello\n\nafter\n\none\ntwo\n\na b\nc"]


def test_html_by_its_declared_charset() -> None:
    assert read("text/html", '<meta charset="iso-8859-5"><p>Привет'.encode("iso-8859-5")) == ["Привет"]


def test_deeply_nested_html_is_read() -> None:
    assert read("text/html", b"<div>" * 15_000 + b"deep") == ["deep"]


def test_encrypted_pdf_is_distinguished_from_a_broken_one() -> None:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(PdfReader(samples.FOLDER / "greenhouse-report.pdf"))
    writer.encrypt("secret", algorithm="AES-256")
    stream = io.BytesIO()
    writer.write(stream)
    with pytest.raises(IngestionError) as caught:
        read("application/pdf", stream.getvalue())
    assert caught.value.failure == FailureCode.ENCRYPTED


def test_backspaces_alone_do_not_make_data_a_text() -> None:
    assert not looks_like_text(b"II*\x00\x08\x00\x05\x01\x02\x03" * 20)
    assert looks_like_text(b"N\bNA\bA _\ba_\bb")


def test_clean_text_can_be_stored() -> None:
    assert clean("wo\0rd \ud800 end") == "word ? end"
