import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInput, UnsupportedMedia
from pipeline.stages.extract.identify import HEAD_BYTES, identify
from pipeline.use_cases.uploads import MAX_NAME_BYTES, clean_filename
from tests.archives import DOCX, EPUB, PPTX, docx_parts, epub_parts, pack, pptx_parts

PDF = b"%PDF-1.7\n"
ZIP = b"PK\x03\x04"
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
WORD = pack(docx_parts(""))[:HEAD_BYTES]
SLIDES = pack(pptx_parts())[:HEAD_BYTES]
BOOK = pack(epub_parts({}))[:HEAD_BYTES]
JSON = "application/json"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("a\0b\r\nc.pdf", "abc.pdf"),
        ("invoice\u202efdp.exe.pdf", "invoicefdp.exe.pdf"),
        ("Cafe\u0301.txt", "Caf\u00e9.txt"),
        ("  spaced.md ", "spaced.md"),
        ("日本語.pdf", "日本語.pdf"),
    ],
)
def test_filename_is_a_display_name(raw: str, shown: str) -> None:
    assert clean_filename(raw) == shown


@pytest.mark.parametrize("raw", ["", "/", "..", "a/..", "\0", "\u202e", " "])
def test_unusable_filename_is_refused(raw: str) -> None:
    with pytest.raises(InvalidInput):
        clean_filename(raw)


def test_long_filename_keeps_its_extension() -> None:
    name = clean_filename("ü" * 300 + ".pdf")
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert name.endswith("ü.pdf")


@given(st.text(min_size=1))
def test_no_filename_is_a_path_or_holds_controls(raw: str) -> None:
    try:
        name = clean_filename(raw)
    except InvalidInput:
        return
    assert not set(name) & {"/", "\\", "\0"}
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert name not in {".", "..", ""}
    assert all(unicodedata.category(char) != "Cc" for char in name)


@pytest.mark.parametrize(
    ("filename", "declared", "head", "media_type"),
    [
        ("a.pdf", "application/pdf", PDF, "application/pdf"),
        ("a.PDF", "", b"junk before\n" + PDF, "application/pdf"),
        ("a.pdf", "application/octet-stream", PDF, "application/pdf"),
        ("a", "application/pdf", PDF, "application/pdf"),
        ("a", "", PDF, "application/pdf"),
        ("a.txt", "text/plain; charset=utf-8", b"hello", "text/plain"),
        ("a.txt", "", "hällo".encode("utf-16"), "text/plain"),
        ("a.txt", "", b"with a \0 in it", "text/plain"),
        ("a.md", "text/plain", b"# hello", "text/markdown"),
        ("a.md", "text/markdown", b"# hello", "text/markdown"),
        ("notes", "text/plain", b"hello", "text/plain"),
        ("a.html", "text/html", b"<!doctype html>", "text/html"),
        ("a.html", "", b"<p>a fragment", "text/html"),
        ("a.docx", DOCX, WORD, DOCX),
        ("a.DOCX", "application/zip", WORD, DOCX),
        ("a.docx", "application/x-zip-compressed", ZIP, DOCX),
        ("a.docx", "", OLD_OFFICE, DOCX),  # a DOCX with a password begins like this
        ("a.docm", "application/vnd.ms-word.document.macroEnabled.12", WORD, DOCX),
        ("a.dotx", "application/vnd.openxmlformats-officedocument.wordprocessingml.template", WORD, DOCX),
        ("a.dotm", "application/vnd.ms-word.template.macroEnabled.12", WORD, DOCX),
        ("a.docm", DOCX, WORD, DOCX),
        ("a", "", WORD, DOCX),
        ("a", "application/zip", WORD, DOCX),
        ("a", DOCX, ZIP, DOCX),
        ("a.pptx", PPTX, SLIDES, PPTX),
        ("a", "application/octet-stream", SLIDES, PPTX),
        ("a.ppsx", "application/vnd.openxmlformats-officedocument.presentationml.slideshow", SLIDES, PPTX),
        ("a.pptm", "application/vnd.ms-powerpoint.presentation.macroEnabled.12", SLIDES, PPTX),
        ("a.potx", "", SLIDES, PPTX),
        ("a.epub", EPUB, BOOK, EPUB),
        ("a", "application/zip", BOOK, EPUB),
        ("a", "application/zip", ZIP, "application/zip"),
        ("a.zip", "application/x-zip-compressed", WORD, "application/zip"),
        ("a.csv", "application/vnd.ms-excel", b"a;b", "text/csv"),
        ("a.csv", "text/plain", b"a;b", "text/csv"),
        ("a.tsv", "text/tab-separated-values", b"a\tb", "text/csv"),
        ("a.json", JSON, b"{}", JSON),
        ("a.jsonl", "application/x-ndjson", b"{}", JSON),
        ("a", "application/jsonl", b"{}", JSON),
        ("a.ndjson", "", b"{}", JSON),
        ("a.log", "text/x-log", b"hello", "text/plain"),
        ("a.csv", "text/comma-separated-values", b"a,b", "text/csv"),
        ("a.pdf", "application/force-download", PDF, "application/pdf"),
        ("a.md", "text/vnd.unknown", b"# hello", "text/markdown"),
        ("a", "application/vnd.unknown", PDF, "application/pdf"),
        ("a", "", b"hello", "text/plain"),
        ("README", "application/octet-stream", b"Hello", "text/plain"),
        ("Makefile", "", b"all:\n\tmake test\n", "text/plain"),
        ("x.log.1", "application/x-trash", b"started", "text/plain"),
        ("a.yaml", "application/yaml", "größe: 1".encode(), "text/plain"),
        ("a.py", "text/x-python", b"def f(): ...", "text/plain"),
        ("a.srt", "application/x-subrip", "\ufeff1\n00:00".encode(), "text/plain"),
        ("a.vtt", "", "WEBVTT\n\nПривет".encode("cp1251"), "text/plain"),
        ("a.ini", "", "[größe]".encode("cp1252"), "text/plain"),
        ("a.reg", "", "Windows Registry".encode("utf-16"), "text/plain"),
        ("a.tex", "image/png", b"\\section{One}", "text/plain"),
        ("a.po", "", ("a" * 4095 + "ü").encode()[:HEAD_BYTES], "text/plain"),
        ("index.php", "", b"<!doctype html><p>hello", "text/html"),
        ("a.geojson", JSON, b"{}", JSON),
        ("a.xml", "text/xml", b"<a/>", "application/xml"),
        ("a.xsd", "", b"<?xml version='1.0'?><a/>", "application/xml"),
        ("a.xml", "text/plain", b"<a/>", "application/xml"),
        ("a.txt", "", b"<!doctype html><p>hello", "text/plain"),
        ("a.txt", "", b'{"a": 1}', "text/plain"),
    ],
)
def test_format_is_identified(filename: str, declared: str, head: bytes, media_type: str) -> None:
    assert identify(filename, declared, head) == media_type


@pytest.mark.parametrize(
    ("filename", "declared", "head"),
    [
        ("a.pdf", "application/pdf", b"<!doctype html><html>"),
        ("a.pdf", "text/html", PDF),
        ("a.txt", "text/plain", PDF),
        ("a.txt", "application/pdf", b"hello"),
        ("a.txt", "text/plain", b"\x89PNG\r\n\x1a\n"),
        ("a.txt", "", b"PK\x03\x04"),
        ("a.exe", "application/pdf", PDF),
        ("a.docx", "", b"hello"),
        ("a.docx", "", PDF),
        ("a.docx", PPTX, SLIDES),
        ("a.txt", "text/plain", WORD),
        ("a.csv", "", WORD),
        ("a.json", JSON, OLD_OFFICE),
        ("a.epub", "", OLD_OFFICE),
        ("a", "", ZIP),
        ("a.zip", "", b"hello"),
        ("a.odt", "", b"hello"),
        ("a.doc", "application/msword", OLD_OFFICE),
        ("a.ppt", "", OLD_OFFICE),
        ("a.odg", "", ZIP),
        ("a.docb", "", WORD),
        ("a", "application/msword", OLD_OFFICE),
        ("a", "image/png", b"\x89PNG"),
        ("a", "", b"\x7fELF" + b"letters" * 9),
        ("a.bin", "", b"letters" * 9 + b"\0"),
        ("a.xyz", "", b"\x01\x02 letters"),
        ("a.key", "", bytes(range(250, 127, -1))),
        ("README", "application/pdf", b"hello"),
        ("a.rs", "text/html", b"%PDF-1.7"),
        ("a.doc", "", b"\xd0\xcf\x11\xe0"),
        ("a.txt", "", bytes(range(1, 9)) * 50),
    ],
)
def test_other_formats_and_contradictions_are_refused(filename: str, declared: str, head: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match=r"Supported formats: .*\.pdf"):
        identify(filename, declared, head)


@pytest.mark.parametrize(
    ("filename", "head", "media_type"),
    [
        ("a.doc", b"<html xmlns:o='urn'><p>hello", "text/html"),
        ("a.xls", b"\xef\xbb\xbf<table><tr><td>1", "text/html"),
        ("a.doc", b"{\\rtf1 hello}", "application/rtf"),
        ("a.doc", b"MIME-Version: 1.0\nContent-Type: multipart/related; boundary=x\n\n", "multipart/related"),
        ("a.xls", b"a\tb\n1\t2\n", "text/plain"),
        ("a.doc", WORD, DOCX),
    ],
)
@pytest.mark.parametrize("declared", ["", "application/msword", "application/vnd.ms-excel"])
def test_other_files_under_names_of_old_office_are_what_they_are(
    filename: str, head: bytes, media_type: str, declared: str
) -> None:
    assert identify(filename, declared if filename != "a.doc" else "application/msword", head) == media_type


@pytest.mark.parametrize(("filename", "advice"), [("a.doc", ".docx"), ("a.PPT", ".pptx")])
def test_old_office_files_are_refused_with_advice(filename: str, advice: str) -> None:
    with pytest.raises(UnsupportedMedia, match=rf"Save it as \{advice} and upload it\."):
        identify(filename, "", OLD_OFFICE)
