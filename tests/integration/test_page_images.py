"""Page images: the right words are marked, only the owner sees them, and no file can crash the API."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from fpdf import FPDF
from PIL import Image, ImageChops

from pipeline import samples
from pipeline.errors import IngestionError
from pipeline.runtime import PAGE_IMAGES_WAITING, PAGE_IMAGES_WAITING_PER_CALLER
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import ProcessLimits
from pipeline.stages.extract.format import Mark, keep_letters, make_mark
from tests.databases import fetch
from tests.integration.conftest import Api, Person
from tests.integration.test_sandbox import make_server

pytestmark = pytest.mark.anyio

Box = tuple[int, int, int, int]

HANDBOOK = (samples.FOLDER / "alder-lock-handbook.pdf").read_bytes()
REPORT = (samples.FOLDER / "greenhouse-report.pdf").read_bytes()
GAUGE = "When the gauge at the footbridge reads more than 3.2 metres, the lock is closed"
STORM = "stone quay, where the swell breaks ropes."
MEMORY_BYTES = 512 * 1024 * 1024


def find_words(content: bytes, page: int, words: str) -> Box:
    """Return where PDFium's own search finds a line of text on a page of 1,000 pixels width."""
    with pypdfium2.PdfDocument(content) as document:
        sheet = document[page - 1]
        bitmap = sheet.render(scale=1000 / sheet.get_width())
        text = sheet.get_textpage()
        first, count = text.search(words).get_next()
        assert text.count_rects(first, count) == 1
        left, bottom, right, top = text.get_rect(0)
        place = bitmap.get_posconv(sheet)
        xs, ys = zip(place.to_bitmap(left, bottom), place.to_bitmap(right, top), strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def find_marks(plain: bytes, marked: bytes) -> Box:
    """Return the box of the pixels that differ."""
    images = [Image.open(BytesIO(png)).convert("RGB") for png in (plain, marked)]
    box = ImageChops.difference(*images).getbbox()
    assert box, "nothing is marked"
    left, top, right, bottom = box
    assert images[1].getpixel((left, top)) == (255, 243, 153), "white pixels become yellow"
    return left, top, right - 1, bottom - 1


def assert_fits(box: Box, words: Box, pixels: int = 3) -> None:
    assert all(abs(a - b) <= pixels for a, b in zip(box, words, strict=True)), (box, words)


async def upload(api: Api, person: Person, content: bytes = HANDBOOK, name: str = "h.pdf") -> str:
    """Upload a file and ingest it."""
    location = (await api.upload(person, content, name)).headers["location"]
    await api.work()
    return location


async def test_right_words_are_marked(api: Api) -> None:
    person = await api.register()
    location = await upload(api, person)
    text = (await api.get(person, f"{location}/text")).json()["text"]
    plain = await api.get(person, f"{location}/pages/4/image")
    assert (plain.status_code, plain.headers["content-type"]) == (200, "image/png")
    assert plain.headers["cache-control"] == "private, no-cache"
    assert Image.open(BytesIO(plain.content)).size == (1000, 1419)
    for words in (GAUGE, STORM):
        start = text.index(words)
        marked = await api.get(person, f"{location}/pages/4/image?start={start}&end={start + len(words)}")
        assert_fits(find_marks(plain.content, marked.content), find_words(HANDBOOK, 4, words))
    from_storm = await api.get(person, f"{location}/pages/4/image?start={start}")
    assert from_storm.content == marked.content, "without `end`, to the end of the page"
    elsewhere = await api.get(person, f"{location}/pages/3/image?start={start}&end={start + 10}")
    assert elsewhere.content == (await api.get(person, f"{location}/pages/3/image")).content


async def test_unchanged_page_image_is_not_drawn_again(api: Api) -> None:
    person = await api.register()
    location = await upload(api, person)
    etag = (await api.get(person, f"{location}/pages/4/image?start=1")).headers["etag"]
    leave = asyncio.Event()

    async def occupy(caller: str) -> None:
        async with api.runtime.drawing_queue.turn(caller):
            await leave.wait()

    callers = [str(number) for number in range(1 + PAGE_IMAGES_WAITING)]
    others = [asyncio.create_task(occupy(caller)) for caller in callers]
    await asyncio.sleep(0)
    again = await api.get(person, f"{location}/pages/4/image?start=1", **{"If-None-Match": f'"x", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    for path in ("4/image", "4/image?start=2", "3/image?start=1"):
        busy = await api.get(person, f"{location}/pages/{path}", **{"If-None-Match": etag})
        assert (busy.status_code, busy.json()["code"]) == (503, "picture_unavailable"), path
        assert busy.headers["retry-after"] == "2"
    leave.set()
    await asyncio.gather(*others)
    assert (await api.get(person, f"{location}/pages/4/image")).status_code == 200


async def test_page_of_one_account_does_not_wait_behind_many_of_another(api: Api) -> None:
    person = await api.register()
    location = await upload(api, person)
    turns: list[int] = []

    async def occupy() -> None:
        async with api.runtime.drawing_queue.turn("another account"):
            await asyncio.sleep(0.05)
            turns.append(1)

    others = [asyncio.create_task(occupy()) for _ in range(PAGE_IMAGES_WAITING_PER_CALLER)]
    await asyncio.sleep(0)
    assert (await api.get(person, f"{location}/pages/4/image")).status_code == 200
    assert len(turns) < PAGE_IMAGES_WAITING_PER_CALLER
    await asyncio.gather(*others)


async def test_page_images_that_do_not_exist(api: Api) -> None:
    anna, bert = await api.register(), await api.register("bert")
    location = await upload(api, anna)
    for page in (0, 6, 10**20, -1):
        assert (await api.get(anna, f"{location}/pages/{page}/image")).status_code == 404, page
    foreign = await api.get(bert, f"{location}/pages/1/image")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    text = await api.upload(anna, b"The horse sleeps in the barn.", "a.txt")
    other = await api.get(anna, f"{text.headers['location']}/pages/1/image")
    assert (other.status_code, other.json()["code"]) == (404, "no_picture")


async def test_page_of_a_format_that_is_no_longer_read(api: Api, database_url: str) -> None:
    person = await api.register()
    location = await upload(api, person)
    await fetch(database_url, "UPDATE documents SET media_type = 'application/x-removed'")
    answer = await api.get(person, f"{location}/pages/1/image")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_picture")


async def test_only_the_searchable_version_is_shown(api: Api) -> None:
    person = await api.register()
    location = await upload(api, person)
    old = await api.get(person, f"{location}/pages/1/image")
    await api.replace(person, location, REPORT, "g.pdf")
    waiting = await api.get(person, f"{location}/pages/1/image", **{"If-None-Match": old.headers["etag"]})
    assert (waiting.status_code, waiting.json()["code"]) == (409, "no_picture")
    await api.work()
    new = await api.get(person, f"{location}/pages/1/image", **{"If-None-Match": old.headers["etag"]})
    assert new.status_code == 200
    assert new.content != old.content
    broken = await api.replace(person, location, HANDBOOK[:900], "h.pdf")
    assert broken.status_code == 202
    await api.work()
    assert (await api.get(person, location)).json()["status"] == "failed"
    failed = await api.get(person, f"{location}/pages/1/image")
    assert (failed.status_code, failed.json()["code"]) == (409, "no_picture")


async def test_misbehaving_child_is_an_error(api: Api) -> None:
    person = await api.register()
    location = await upload(api, person)
    run = """
        match order.page:
            case 1: os.kill(os.getpid(), signal.SIGSEGV)
            case 2: say(Done())
            case 3: say(Page(sections=['x'], pages=1))
            case 4: os.write(1, (2**31).to_bytes(4))
            case 5: os.kill(os.getppid(), signal.SIGKILL)
        """
    sandbox = Sandbox(make_server(run, layers="frozenset()"))  # a confined child cannot kill its server
    api.app.state.runtime = replace(api.runtime, sandbox=sandbox)
    answers = [await api.get(person, f"{location}/pages/{page}/image") for page in range(1, 6)]
    await sandbox.close()
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        *[(422, "picture_failed")] * 4,
        (503, "picture_unavailable"),
    ]
    assert (await api.client.get("/health/live")).status_code == 200


@pytest.fixture
def draw(sandbox: Sandbox) -> Callable[..., Awaitable[bytes]]:

    async def draw(content: bytes, mark: Mark | None = None, seconds: float = 10) -> bytes:
        limits = ProcessLimits(seconds, MEMORY_BYTES)
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            return await sandbox.draw(file, "application/pdf", limits, 1, mark)

    return draw


Draw = Callable[..., Awaitable[bytes]]
HOSTILE = [
    *("content_huge_string.pdf", "content_ops_3m.pdf", "deep_content_array.pdf", "flate_bomb_70mb_x40.pdf"),
    *("PDFBOX-3148-2-fuzzed.pdf", "poppler-937-0-fuzzed.pdf", "html_named_pdf.pdf", "pages_1m_shared.pdf"),
]
LINE = "The same line again."


def make_page(
    lines: list[str], *, size: tuple[float, float] = (210, 297), turned: int = 0, crop: bool = False
) -> bytes:
    pdf = FPDF(unit="mm", format=size)
    pdf.add_page()
    pdf.set_font("Helvetica", size=12)
    for line in lines:
        pdf.cell(0, 10, line, new_x="LMARGIN", new_y="NEXT")
    content = bytes(pdf.output())
    with pypdfium2.PdfDocument(content) as document, BytesIO() as output:
        page = document[0]
        page.set_rotation(turned)
        if crop:
            page.set_cropbox(20, 300, 500, 830)
        document.save(output)
        return output.getvalue()


async def test_turned_and_cropped_pages(draw: Draw) -> None:
    for turned, crop in [(0, True), (90, False), (180, True), (270, True)]:
        content = make_page(["First of all", "soft-hyphened words", "last of all"], turned=turned, crop=crop)
        with pypdfium2.PdfDocument(content) as document:
            text = document[0].get_textpage().get_text_range()
        mark = make_mark(text, text.index("soft"), text.index("words") + 5)
        box = find_marks(await draw(content), await draw(content, mark))
        assert_fits(box, find_words(content, 1, "soft-hyphened words"))


async def test_of_equal_lines_the_nearest_is_marked(draw: Draw) -> None:
    content = make_page([LINE] * 4)
    text = "\n".join([LINE] * 4)
    length = len(LINE)
    marks = [make_mark(text, start, start + length) for start in range(0, 4 * length, length + 1)]
    # From another reader, which has found a little more text before the line.
    marks.append(Mark(keep_letters(LINE), len(keep_letters(LINE)) + 5))
    plain = await draw(content)
    tops = [find_marks(plain, await draw(content, mark))[1] for mark in marks]
    assert [round((top - tops[0]) / (1000 * 10 / 210)) for top in tops] == [0, 1, 2, 3, 1]


async def test_text_that_is_not_on_the_page_is_not_marked(draw: Draw) -> None:
    content = make_page([LINE])
    assert await draw(content, make_mark("something else", 0, 14)) == await draw(content)
    assert await draw(content, make_mark("– – –", 0, 5)) == await draw(content)


async def test_pages_of_any_size(draw: Draw) -> None:
    for size in [(5000, 5000), (4, 5000), (5000, 1), (1, 1)]:
        width, height = Image.open(BytesIO(await draw(make_page([], size=size)))).size
        assert 1 <= width <= 1000, size
        assert 1 <= height <= 4000, size


async def test_hostile_files_are_drawn_or_refused(draw: Draw, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("hostile")
    drawn, codes = 0, set()
    for name in HOSTILE:
        try:
            drawn += (await draw((folder / name).read_bytes(), Mark("abc", 0))).startswith(b"\x89PNG")
        except IngestionError as error:
            codes.add(error.code)
    assert drawn >= 3
    assert codes == {"malformed"}
    with pytest.raises(IngestionError) as late:
        await draw((folder / HOSTILE[0]).read_bytes(), Mark("abc", 0), seconds=0.05)
    assert late.value.code == "timeout"
