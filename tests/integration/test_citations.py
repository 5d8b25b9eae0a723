"""The text at the position of a passage is its text, for every format, to the last character."""

import base64
import csv
import io
import json
from collections.abc import Callable
from email.message import EmailMessage
from random import Random

import pypdfium2
import pytest
import xlsxwriter
from fpdf import FPDF

from pipeline.sandbox.child import PAGE_SEPARATOR
from tests.archives import (
    docx_parts,
    epub_parts,
    pack,
    pptx_parts,
    write_chapter,
    write_shape,
    write_slide,
    write_word,
)
from tests.compound import write_compound, write_message
from tests.integration.conftest import Api
from tests.samples import write_open_document

pytestmark = pytest.mark.anyio

WORDS = [
    "lock",
    "water",
    "lantern",
    "keeper",
    "gate",
    "rope",
    "barge",
    "winter",
    "ledger",
    "copper",
    "meadow",
    "signal",
]
ODD_WORDS = [
    *(
        "\U0001f469\u200d\U0001f680",
        "e\u0301te\u0301",
        "\u05e9\u05dc\u05d5\u05dd",
        "日本語。",
        "a\u00a0\u00a0b",
        "\ufb01nd",
    ),
    *("co\u00adoperate", "inter-\nnational", "\u200b", "x\u2028y", "\x0b"),
]
SECTIONS = 6


def write_section(random: Random, words: list[str]) -> str:
    """Return 200 to 4,000 characters of sentences, in paragraphs."""
    sentences = (
        " ".join(random.choices(words, k=random.randint(3, 25))).capitalize() + random.choice([". ", "?\n", ".\n\n"])
        for _ in range(random.randint(3, 30))
    )
    return "".join(sentences)


def write_pdf(sections: list[str]) -> bytes:
    pdf = FPDF(format=(400, 400))
    pdf.set_font("Helvetica", size=10)
    for section in sections:
        pdf.add_page()
        pdf.multi_cell(0, 5, section)
    return bytes(pdf.output())


def write_html(sections: list[str]) -> bytes:
    paragraphs = [section.replace("\n\n", "<p>") for section in sections]
    body = "".join(f"<h2>Part {number}</h2><p>{text}" for number, text in enumerate(paragraphs))
    return f"<!doctype html><meta charset=utf-8>{body}".encode()


def write_markdown(sections: list[str]) -> bytes:
    return "".join(f"## Part {number}\r\n\r\n{text}\n" for number, text in enumerate(sections)).encode()


def write_docx(sections: list[str]) -> bytes:
    parts = [
        write_word(f"Part {number}", "Heading2") + "".join(map(write_word, _keep_printable(text).split("\n\n")))
        for number, text in enumerate(sections)
    ]
    return pack(docx_parts("".join(parts)))


def write_pptx(sections: list[str]) -> bytes:
    return pack(pptx_parts(*(write_slide(write_shape(*_keep_printable(text).split("\n\n"))) for text in sections)))


def write_epub(sections: list[str]) -> bytes:
    chapters = {
        f"{number}.xhtml": write_chapter(f"<h2>Part {number}</h2><p>{text.replace(chr(10) * 2, '</p><p>')}</p>")
        for number, text in enumerate(sections)
    }
    return pack(epub_parts(chapters))


def _keep_printable(text: str) -> str:
    """Remove control characters, which XML does not allow."""
    return text.replace("\x0b", "")


def write_tsv(sections: list[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter="\t").writerows([["part", "text"], *enumerate(sections)])
    return file.getvalue().encode()


def write_json(sections: list[str]) -> bytes:
    return "".join(f"{json.dumps({'part': number, 'text': text})}\n" for number, text in enumerate(sections)).encode()


def write_xlsx(sections: list[str]) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        for number, text in enumerate(sections):
            book.add_worksheet(f"Part {number}").write_column(0, 0, _keep_printable(text).split("\n\n"))
    return file.getvalue()


def write_ods(sections: list[str]) -> bytes:
    rows = "".join(
        f"<table:table-row><table:table-cell><text:p>{_keep_printable(text)}</text:p></table:table-cell></table:table-row>"
        for text in sections
    )
    return write_open_document("spreadsheet", f'<table:table table:name="Part 0">{rows}</table:table>')


def write_odt(sections: list[str]) -> bytes:
    paragraphs = "</text:p><text:p>".join(_keep_printable("\n\n".join(sections)).split("\n\n"))
    return write_open_document("text", f"<text:p>{paragraphs}</text:p>")


def write_rtf(sections: list[str]) -> bytes:
    def escape(letter: str) -> str:
        units = letter.encode("utf-16-le")
        codes = [int.from_bytes(units[n : n + 2], "little", signed=True) for n in range(0, len(units), 2)]
        return letter if letter.isascii() else "".join(f"\\u{code} ?" for code in codes)

    text = "".join(map(escape, "\n\n".join(sections))).replace("\n\n", "\\par ").replace("\n", "\\line ")
    return f"{{\\rtf1 {text}}}".encode()


def write_mail(sections: list[str]) -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "Part 0"
    mail.set_content(sections[0])
    for number, text in enumerate(sections[1:], start=1):
        mail.add_attachment(text, filename=f"part{number}.txt")
    return mail.as_bytes()


def write_msg(sections: list[str]) -> bytes:
    return write_compound(write_message({0x0037: "Part 0", 0x1000: "".join(sections)}))


def write_mailbox(sections: list[str]) -> bytes:
    return b"".join(b"From keeper@example.org\n" + write_mail([text]) + b"\n" for text in sections)


def write_mhtml(sections: list[str]) -> bytes:
    page = base64.encodebytes(write_html(sections)).decode()
    return f"MIME-Version: 1.0\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n{page}".encode()


def write_zip(sections: list[str]) -> bytes:
    return pack({f"part{number}.txt": text.encode() for number, text in enumerate(sections)})


def write_xml(sections: list[str]) -> bytes:
    return "".join(["<parts>", *(f"<p>{_keep_printable(text)}</p>" for text in sections), "</parts>"]).encode()


def write_code(sections: list[str]) -> bytes:
    return "".join(f"def part_{number}():\n    {text!r}\n\n\n" for number, text in enumerate(sections)).encode()


WRITERS: dict[str, Callable[[list[str]], bytes]] = {
    "a.pdf": write_pdf,
    "a.txt": lambda sections: "".join(sections).encode(),
    "a.md": write_markdown,
    "a.html": write_html,
    "a.docx": write_docx,
    "a.pptx": write_pptx,
    "a.epub": write_epub,
    "a.tsv": write_tsv,
    "a.jsonl": write_json,
    "a.xlsx": write_xlsx,
    "a.ods": write_ods,
    "a.odt": write_odt,
    "a.rtf": write_rtf,
    "a.eml": write_mail,
    "a.msg": write_msg,
    "a.mbox": write_mailbox,
    "a.mht": write_mhtml,
    "a.zip": write_zip,
    "a.xml": write_xml,
    "a.py": write_code,
}
PAGED = {"a.pdf", "a.pptx", "a.epub", "a.xlsx", "a.mbox"}


@pytest.mark.parametrize("name", WRITERS)
async def test_passages_are_the_text_at_their_position(api: Api, name: str) -> None:
    random = Random(name)
    words = WORDS if name == "a.pdf" else WORDS + ODD_WORDS
    sections = [write_section(random, words) for _ in range(SECTIONS)]
    data = WRITERS[name](sections)
    person = await api.register()
    document = f"/v1/documents/{(await api.upload(person, data, name)).json()['id']}"
    await api.work()
    query = {"query": "the keeper's lantern", "top_k": 50}
    passages = (await api.client.post("/v1/search", headers=person.headers, json=query)).json()["passages"]
    shown = (await api.get(person, document)).json()
    assert len(passages) == shown["chunks"] >= SECTIONS
    assert (shown["pages"] >= SECTIONS) == (name in PAGED)
    text = (await api.get(person, f"{document}/text")).json()["text"]
    passages.sort(key=lambda passage: passage["start"])
    covered = 0
    for passage in passages:
        start, end = passage["start"], passage["end"]
        part = (await api.get(person, f"{document}/text?start={start}&end={end}")).json()
        assert part["text"] == text[start:end] == passage["text"]
        assert (part["start"], part["end"], part["length"]) == (start, end, len(text))
        assert end - start <= 1500
        assert not text[covered:start].strip()
        assert passage["page"] == passage["page_end"] == 1 + text.count(PAGE_SEPARATOR, 0, start)
        covered = end
    assert not text[covered:].strip()
    if name == "a.pdf":
        pages = [page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(io.BytesIO(data))]
        assert [page.split() for page in text.split(PAGE_SEPARATOR)] == [page.split() for page in pages]
    else:
        assert [word for word in "".join(sections).split() if word in WORDS and word not in text.split()] == []
    if name in {"a.md", "a.html", "a.docx", "a.epub"}:
        assert [p["text"].startswith(("## Part", "Part")) for p in passages].count(True) == SECTIONS
        assert all(p["text"].count("Part ") <= 1 for p in passages)


async def test_hyphenated_words_are_found_as_whole_words(api: Api) -> None:
    """Files that differ only in typesetting have the same distance to every query. Each is cited as it is."""
    person = await api.register()
    texts = ["The inter-\nnational  ar\u00adchive holds a long-\nterm lease.", "The international archive holds a long-term lease."]  # fmt: skip
    for text in texts:
        await api.upload(person, text.encode())
    await api.work()
    query = {"query": "international archive", "mode": "vector", "details": True}
    found = (await api.client.post("/v1/search", headers=person.headers, json=query)).json()["passages"]
    assert {passage["text"] for passage in found} == set(texts)
    assert found[0]["details"]["cosine"] == pytest.approx(found[1]["details"]["cosine"], abs=1e-3)
