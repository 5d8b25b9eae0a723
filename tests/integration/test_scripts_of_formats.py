"""Words in ten scripts, written by the usual library of each format and uploaded, come back in their order."""

import csv
import html
import io
from collections.abc import Callable
from email.message import EmailMessage

import docx
import openpyxl
import pptx
import pytest

from tests.integration.conftest import Api
from tests.languages import LANGUAGES
from tests.pdfs import write_unicode
from tests.samples import write_open_document

pytestmark = pytest.mark.anyio

NAMES = ["Polish", "Greek", "Russian", "Hebrew", "Arabic", "Hindi", "Thai", "Chinese", "Japanese", "Korean"]
RIGHT_TO_LEFT = {"Hebrew", "Arabic"}
LINES = {name: " ".join(LANGUAGES[name].text.split())[:60] for name in NAMES}


def write_docx() -> bytes:
    document = docx.Document()
    for line in LINES.values():
        document.add_paragraph(line)
    return save(document.save)


def write_pptx() -> bytes:
    deck = pptx.Presentation()
    for line in LINES.values():
        deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = line
    return save(deck.save)


def write_xlsx() -> bytes:
    book = openpyxl.Workbook()
    for line in LINES.values():
        book.active.append([line])
    return save(book.save)


def save(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def write_csv() -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([line] for line in LINES.values())
    return file.getvalue().encode()


def write_html() -> bytes:
    return f"<meta charset=utf-8>{''.join(f'<p>{html.escape(line)}' for line in LINES.values())}".encode()


def write_eml() -> bytes:
    mail = EmailMessage()
    mail.set_content("\n\n".join(LINES.values()))
    return mail.as_bytes()


def write_odt() -> bytes:
    return write_open_document("text", "".join(f"<text:p>{html.escape(line)}</text:p>" for line in LINES.values()))


def write_pdf() -> bytes:
    return write_unicode([line[::-1] if name in RIGHT_TO_LEFT else line for name, line in LINES.items()])


WRITERS = {
    "a.docx": write_docx,
    "a.pptx": write_pptx,
    "a.xlsx": write_xlsx,
    "a.csv": write_csv,
    "a.html": write_html,
    "a.eml": write_eml,
    "a.odt": write_odt,
    "a.pdf": write_pdf,
}


async def test_words_in_ten_scripts_come_back_in_their_order(api: Api) -> None:
    person = await api.register()
    locations = {name: (await api.upload(person, write(), name)).headers["location"] for name, write in WRITERS.items()}
    await api.work()
    words = " ".join(LINES.values()).split()
    for name, location in locations.items():
        text = (await api.get(person, f"{location}/text")).json()["text"]
        found = [word for word in text.split() if word in words]
        assert (name, found) == (name, words)
    for line in LINES.values():
        query = {"query": line, "mode": "keyword", "top_k": 50}
        response = await api.client.post("/v1/search", headers=person.headers, json=query)
        found_in = {passage["title"] for passage in response.json()["passages"] if line[:20] in passage["text"]}
        assert found_in == set(WRITERS), line
