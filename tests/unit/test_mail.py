"""Mail, mailboxes and web pages in one file are read as their reader shows them."""

import io
import mailbox
import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import IngestionError
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.identify import identify
from tests.archives import docx_parts, pack
from tests.languages import LANGUAGES

MAIL = "message/rfc822"
PAGE = "multipart/related"
HEAD = "Subject: Lease\nFrom: Ann <ann@example.org>\nTo: bob@example.org\n"


def read_pages(data: bytes, media_type: str = MAIL) -> list[ExtractedPage]:
    extraction = get_format(media_type).readers[0](SourceFile(io.BytesIO(data)))
    pages = list(extraction.pages)
    assert len(pages) == extraction.count
    return pages


def read(data: bytes, media_type: str = MAIL) -> str:
    return "".join("".join(page.sections) for page in read_pages(data, media_type))


def write(body: str = "Good morning.", **headers: str) -> EmailMessage:
    mail = EmailMessage()
    for name, value in (
        {"Subject": "Lease", "From": "Ann <ann@example.org>", "To": "bob@example.org"} | headers
    ).items():
        mail[name] = value
    mail.set_content(body)
    return mail


def test_mail_is_its_headers_and_its_text() -> None:
    mail = write(
        "The lease ends in May.\n\n> When does it end?\n", Cc="eve@example.org", Date="Mon, 2 Nov 2026 10:00:00 +0100"
    )
    mail["X-Spam"] = "hidden"
    assert read(mail.as_bytes(policy=SMTP)) == (
        "Subject: Lease\nFrom: Ann <ann@example.org>\nTo: bob@example.org\nCc: eve@example.org\n"
        "Date: Mon, 02 Nov 2026 10:00:00 +0100\n\nThe lease ends in May.\n\n> When does it end?\n\n"
    )


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=", "Grüße aus Köln"),
        ("=?iso-8859-1?Q?Gr=FC=DFe?= again", "Grüße again"),
        ("=?UTF-8?B?44GC?=\n =?UTF-8?B?44GE?=", "あい"),
        ("=?utf-8?b?44E=?= =?utf-8?b?gg==?=", "あ"),
        ("=?iso-2022-jp?B?GyRCTS01axsoQg==?=", "有給"),
        ("=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?unknown?q?plain?= =?utf-8?b?!!!?=", "plain"),
        ("Grüße", "Grüße"),
        ("one\n two", "one two"),
    ],
)
def test_headers_are_decoded(header: str, text: str) -> None:
    assert read(f"Subject: {header}\n\nBody".encode()).startswith(f"Subject: {text}")


def test_raw_latin_header() -> None:
    assert "Subject: Grüße aus der Straße" in read("Subject: Grüße aus der Straße\n\nBody".encode("latin-1"))


def test_alternatives_are_read_once() -> None:
    mail = write("Plain words.")
    mail.add_alternative("<p>Web words.</p>", subtype="html")
    assert "Plain words." in read(mail.as_bytes())
    assert "Web words." not in read(mail.as_bytes())


def test_web_text_counts_if_the_plain_text_says_little() -> None:
    mail = write("See the page.")
    mail.add_alternative("<p>The lease of the flat ends in May of the next year.</p><p>Call us.</p>", subtype="html")
    assert "The lease of the flat ends in May of the next year.\n\nCall us." in read(mail.as_bytes())


def test_web_text_alone_and_other_character_sets() -> None:
    mail = EmailMessage()
    mail.set_content("<p>Größe</p><p>Ende</p>", subtype="html", charset="iso-8859-1", cte="quoted-printable")
    assert "Größe\n\nEnde" in read(mail.as_bytes())
    koi = b"Subject: x\nContent-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n"
    assert "Привет" in read(koi + "Привет".encode("koi8-r"))


def test_flowed_lines_are_joined() -> None:
    data = b"Subject: x\nContent-Type: text/plain; format=flowed\n\nThe lease \nends.\n> quoted \n> text\n\n-- \nAnn\n"
    assert "The lease ends.\n> quoted \n> text\n\n-- \nAnn" in read(data)


def test_readable_attachments_have_sections_under_their_names() -> None:
    mail = write()
    mail.add_attachment("city,price\nOslo,12\nRome,9\n", subtype="csv", filename="prices.csv")
    mail.add_attachment(
        pack(docx_parts("<w:p><w:r><w:t>Office words</w:t></w:r></w:p>")),
        "application",
        "octet-stream",
        filename="Größe.docx",
    )
    mail.add_attachment(b"\x7fELF\0", "application", "octet-stream", filename="run.bin")
    mail.add_attachment(b"\x89PNG\r\n", "image", "png", filename="logo.png")
    [page] = read_pages(mail.as_bytes())
    assert [section.partition("\n")[0] for section in page.sections[1:]] == ["prices.csv", "Größe.docx"]
    assert "city: Oslo" in page.sections[1]
    assert "Office words" in page.sections[2]
    assert [warning.message for warning in page.warnings] == [
        "These files in the file were not read: run.bin, logo.png."
    ]


def test_forwarded_mail_is_read_and_files_of_attached_mails_are_not() -> None:
    inner = write("Inner words.", Subject="Inner")
    inner.add_attachment("secret", filename="a.txt")
    outer = write("Outer words.")
    outer.add_attachment(inner)
    text = read(outer.as_bytes())
    assert text.index("Outer words.") < text.index("Subject: Inner") < text.index("Inner words.") < text.index("secret")
    wrapped = write("Outer words.")
    wrapped.add_attachment(inner.as_bytes(), "application", "octet-stream", filename="inner.eml")
    [page] = read_pages(wrapped.as_bytes())
    assert "Inner words." in "".join(page.sections)
    assert "secret" not in "".join(page.sections)
    assert "a.txt" in page.warnings[0].message


def test_names_of_attachments_in_every_form() -> None:
    for disposition in (
        "filename*=utf-8''Gr%C3%BC.txt",
        'filename="=?utf-8?q?Gr=C3=BC.txt?="',
        'filename="/tmp/Grü.txt"',
    ):
        data = f"{HEAD}Content-Type: text/plain\nContent-Disposition: attachment; {disposition}\n\nbody"
        assert "Grü.txt\n\nbody" in read(data.encode())


def test_body_without_its_boundary_is_read() -> None:
    data = f'{HEAD}Content-Type: multipart/mixed; boundary="b"\n\nThe rent is due.'
    assert read(data.encode()).endswith("\n\nThe rent is due.\n\n")


def test_mailbox_has_a_page_for_each_message(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for number in range(3):
        box.add(write(f"Message {number}.\n\nFrom here it goes on.\n"))
    box.close()
    pages = read_pages((tmp_path / "box").read_bytes(), "application/mbox")
    assert [f"Message {number}." in "".join(page.sections) for number, page in enumerate(pages)] == [True] * 3
    assert all("\nFrom here it goes on." in "".join(page.sections) for page in pages)


def test_line_that_begins_with_from_is_no_new_message() -> None:
    data = (
        b"From a@b Mon Nov  2 10:00:00 2026\nSubject: x\n\nfirst\nFrom here: it\nTo: there\n\nFrom then on\nnothing.\n"
    )
    assert len(read_pages(data, "application/mbox")) == 1


@pytest.mark.parametrize(
    "language",
    ["English", "German", "Polish", "Russian", "Greek", "Turkish", "Hebrew", "Arabic", "Japanese", "Chinese"],
)
@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
def test_mail_in_every_script(language: str, encoding: str) -> None:
    text = LANGUAGES[language].text
    mail = EmailMessage()
    mail["Subject"] = text[:20]
    mail["From"] = Address(text[:8].strip(), "ann", "example.org")
    mail.set_content(text, cte=encoding)
    shown = " ".join(read(mail.as_bytes()).split())
    assert " ".join(text.split()) in shown
    assert f"Subject: {' '.join(text[:20].split())}" in shown


@given(st.lists(st.text(st.characters(categories=("L", "N")), min_size=1), min_size=1))
@settings(max_examples=30)
def test_words_of_a_mail_come_back_in_order(words: list[str]) -> None:
    mail = EmailMessage()
    mail.set_content(" ".join(words))
    assert read(mail.as_bytes()).split() == " ".join(words).split()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (write(Date="Mon, 2 Nov 2026 10:00:00 +0100").as_bytes(), MAIL),
        (b"Received: from a\n by b\nFrom: x\nMessage-ID: <1>\n\nhello", MAIL),
        (b"From ann@example.org Mon Nov  2 10:00:00 2026\nFrom: x\nSubject: y\n\nhello", "application/mbox"),
        (b"From: <Saved by Blink>\r\nSnapshot-Content-Location: https://x\r\nMIME-Version: 1.0\r\n\r\n", PAGE),
        (b'MIME-Version: 1.0\nContent-Type: multipart/related; boundary="x"\n\n--x\n', PAGE),
        (b"{\\rtf1\\ansi Hello}", "application/rtf"),
        (b"From: the beginning\nTo: the end\n\nhello", "text/plain"),
        (b"<html><p>hello", "text/plain"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a", "a.bak"])
def test_mail_pages_and_rtf_are_found_under_other_names(data: bytes, media_type: str, name: str) -> None:
    if not (name != "a.txt" and data.startswith(b"<html")):
        assert identify(name, "text/plain", data) == media_type


def test_page_in_one_file_is_read_as_a_page() -> None:
    page = b"<html><head><title>Leases</title></head><body><h1>Gardens</h1><p>Gr=C3=BCn</p></body></html>"
    data = (
        b"From: <Saved by Blink>\r\nSubject: Leases\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/related; type="text/html"; boundary="--b"\r\n\r\n----b\r\n'
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + page
        + b"\r\n----b\r\nContent-Type: text/css\r\n\r\np { color: red }\r\n----b--\r\n"
    )
    assert read(data, PAGE).split() == ["Leases", "Gardens", "Grün"]
    with pytest.raises(IngestionError, match="no web page"):
        read(b"MIME-Version: 1.0\n\nnothing", PAGE)


def nest(depth: int) -> bytes:
    parts = [b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(depth)]
    return HEAD.encode() + b"".join(parts) + b"\ninnermost"


@pytest.mark.parametrize(
    "data",
    [
        nest(1000),
        (HEAD.encode() + b"Content-Type: message/rfc822\n\n") * 1000 + b"innermost",
        HEAD.encode() + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000,
        b"Subject: " + b"=?" * 100_000 + b"\n\nbody",
        b"Subject: " + b"=?x?q?" * 40_000 + b"\n\nbody",
        b"To: a@b\n" * 50_000 + b"\nbody",
        HEAD.encode() + b"Content-Type: text/plain; format=flowed\n\n" + b" \n" * 200_000,
        b"From a\nA: b\n\n" * 3000,
    ],
    ids=["levels", "loop", "parts", "marks", "words", "headers", "spaces", "mailbox"],
)
def test_hostile_mail_takes_linear_time(data: bytes) -> None:
    began = time.process_time()
    pages = read_pages(data, "application/mbox" if data.startswith(b"From ") else MAIL)
    assert time.process_time() - began < 5
    if b"innermost" in data or b"--b\n\nx" in data:
        assert pages[0].warnings[0].code == "text_not_extracted"
