"""Messages of Outlook are read like other mail."""

import io
import struct
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.identify import identify
from pipeline.stages.extract.outlook import RTF_DICTIONARY, decompress_rtf
from pipeline.types import WarningCode
from tests.compound import Tree, write_compound, write_message
from tests.languages import LANGUAGES

MSG = "application/vnd.ms-outlook"
SENT = round((datetime(2026, 3, 2, 9, 30, tzinfo=UTC) - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10**7
TEXTS: dict[int, str | bytes] = {
    0x0037: "Lease",
    0x0C1A: "Ann",
    0x5D01: "ann@example.org",
    0x1000: "The rent is due.\r\n",
}
HEAD = "Subject: Lease\nFrom: Ann <ann@example.org>\n"


def read_page(tree: Tree) -> ExtractedPage:
    [page] = get_format(MSG).readers[0](SourceFile(io.BytesIO(write_compound(tree)))).pages
    return page


def read(
    texts: Mapping[int, str | bytes],
    numbers: Mapping[int, int] | None = None,
    storages: Mapping[str, Tree] | None = None,
) -> str:
    return "".join(read_page(write_message({**TEXTS, **texts}, numbers, storages=storages)).sections).rstrip()


def attach(
    texts: Mapping[int, str | bytes], storages: Mapping[str, Tree] | None = None, number: int = 0
) -> dict[str, Tree]:
    return {f"__attach_version1.0_#{number:08X}": write_message(texts, header=8, storages=storages)}


def recipient(name: str, address: str, kind: int, number: int) -> dict[str, Tree]:
    texts = {0x3001: name, 0x39FE: address}
    return {f"__recip_version1.0_#{number:08X}": write_message(texts, {0x0C15: kind}, header=8)}


def test_message_has_its_headers_and_its_text() -> None:
    people = recipient("Bob", "bob@example.org", 1, 0) | recipient("Eve", "", 2, 1) | recipient("Hidden", "", 3, 2)
    assert read({}, {0x0039: SENT}, people) == (
        f"{HEAD}To: Bob <bob@example.org>\nCc: Eve\nDate: Mon, 02 Mar 2026 09:30:00 +0000\n\nThe rent is due."
    )


def test_headers_of_the_internet_come_first() -> None:
    sent = "Received: from x\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: all@example.org\r\n"
    assert read({0x007D: sent, 0x0E04: "All"}).startswith(
        "Subject: Lease\nFrom: Jürgen <j@example.org>\nTo: all@example.org"
    )
    assert read({0x0E04: "All; Bob"}).startswith(f"{HEAD}To: All; Bob\n\n")


@pytest.mark.parametrize(
    ("texts", "numbers", "body"),
    [
        ({0x1000: "", 0x1013: b"<p>The <b>rent</b></p>"}, {}, "The rent"),
        ({0x1000: "", 0x1013: "<p>Größe".encode("cp1252")}, {0x3FDE: 1252}, "Größe"),
        ({0x1000: "", 0x1013: "<meta charset=utf-8><p>Größe".encode()}, {}, "Größe"),
        ({0x1000: "short", 0x1013: b"<p>" + b"much more " * 9}, {}, " ".join(["much more"] * 9)),
        ({0x1000: "", 0x1009: struct.pack("<II4sI", 0, 99, b"MELA", 0) + rb"{\rtf1 The\par rent}"}, {}, "The\n\nrent"),
        ({0x1000: ""}, {}, ""),
    ],
)  # fmt: skip
def test_bodies(texts: dict[int, str | bytes], numbers: dict[int, int], body: str) -> None:
    assert read(texts, numbers).removeprefix(HEAD.rstrip()).strip() == body


def test_compressed_rtf_refers_back() -> None:
    """The example of MS-OXRTFCP, 3.1.1."""
    data = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232 0af32068656c090020627705b06c647d0a800fa0"
    )
    assert decompress_rtf(data) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert len(RTF_DICTIONARY) == 207


@pytest.mark.parametrize(
    "name", ["English", "Russian", "Greek", "Hebrew", "Arabic", "Thai", "Chinese", "Japanese", "Hindi"]
)
def test_every_script_comes_back(name: str) -> None:
    text = LANGUAGES[name].text
    assert read({0x1000: text}).endswith(" ".join(text.split()) if "\n" not in text else text)


@pytest.mark.parametrize(
    ("code_page", "encoding", "text"), [(1251, "cp1251", "Аренда"), (932, "cp932", "家賃"), (0, "utf-8", "Größe")]
)
def test_texts_in_code_pages(code_page: int, encoding: str, text: str) -> None:
    tree = dict(write_message({0x1000: "x"}, {0x3FFD: code_page}))
    tree["__substg1.0_0037001E"] = text.encode(encoding)
    assert read_page(tree).sections[0].startswith(f"Subject: {text}\n")


def test_attachments_and_messages_in_messages() -> None:
    inner = write_message(TEXTS | {0x0037: "Inner", 0x1000: "inside"}, header=24)
    storages = (
        attach({0x3707: "fees.csv", 0x3701: b"boat,fee\nbarge,12\n", 0x370E: "text/csv"})
        | attach({}, {"__substg1.0_3701000D": inner}, 1)
        | attach({0x3704: "LOGO.PNG", 0x3701: b"\x89PNG", 0x370E: "image/png", 0x3712: "logo@1"}, number=2)
        | attach({0x3707: "song.mp3", 0x3701: b"\xff\xfb\x90\x00" * 99}, number=3)
        | attach({0x3707: "empty", 0x370E: "a b/c"}, {"__substg1.0_3701000D": {"x": b"y"}}, 4)
    )
    page = read_page(write_message(TEXTS, storages=storages))
    text = "".join(page.sections)
    assert "\n\nfees.csv\n\nboat: barge\nfee: 12\n\nSubject: Inner\nFrom: Ann <ann@example.org>\n\ninside" in text
    assert [(warning.code, "song.mp3, empty" in warning.message) for warning in page.warnings] == [
        (WarningCode.TEXT_NOT_EXTRACTED, True)
    ]


def test_messages_are_limited_in_depth() -> None:
    tree = write_message(TEXTS, header=24)
    for _ in range(30):
        tree = write_message(TEXTS, header=24, storages=attach({}, {"__substg1.0_3701000D": tree}))
    page = read_page(write_message(TEXTS, storages=attach({}, {"__substg1.0_3701000D": tree})))
    assert "".join(page.sections).count("The rent is due.") == 10
    assert page.warnings


@pytest.mark.parametrize(("name", "declared"), [("a.msg", ""), ("a.msg", "application/octet-stream"), ("mail", MSG)])
def test_messages_are_identified(name: str, declared: str) -> None:
    assert identify(name, declared, write_compound(write_message(TEXTS))[:4096]) == MSG


def test_plain_mail_may_have_the_name() -> None:
    data = b"From: a@b\nMessage-ID: <1>\nDate: x\n\nhello"
    assert identify("a.msg", "", data) == MSG
    [page] = get_format(MSG).readers[0](SourceFile(io.BytesIO(data))).pages
    assert "hello" in "".join(page.sections)
