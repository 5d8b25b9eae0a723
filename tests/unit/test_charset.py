"""Texts in every character set: with a mark, with a label, and with neither."""

import zlib

import pytest

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.charset import begins_in_utf16, decode, find_codec
from pipeline.stages.extract.formats.html import decode_html
from pipeline.stages.extract.identify import identify
from pipeline.types import WarningCode
from tests.languages import LANGUAGES

LEGACY = [(name, charset) for name, language in LANGUAGES.items() for charset in language.charsets]
LETTERS = "Größe, façade, Łódź, Ελλάδα, Привет, 日本語, \U0001f469"
SIGNS = "The tenant’s café costs £5 – “no smoking” at 25 °C."


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_needs_no_guess(name: str, encoding: str) -> None:
    decoded = decode(LANGUAGES[name].text.encode(encoding))
    assert (decoded.text, decoded.warnings) == (LANGUAGES[name].text, [])


@pytest.mark.parametrize(("name", "charset"), LEGACY)
def test_legacy_text_with_a_label_is_read_as_browsers_read_it(name: str, charset: str) -> None:
    if codec := find_codec(charset):
        data = LANGUAGES[name].text.encode(codec, "ignore")
        decoded = decode(data, f" {charset.upper()}\n")
        assert (decoded.text, decoded.warnings) == (data.decode(codec), [])


@pytest.mark.parametrize(("name", "charset"), LEGACY)
def test_legacy_text_without_a_label_is_detected(name: str, charset: str) -> None:
    codec = find_codec(charset) or charset
    data = LANGUAGES[name].text.encode(codec, "ignore")
    decoded = decode(data)
    assert decoded.text == data.decode(codec)
    assert [warning.code for warning in decoded.warnings] == (
        [] if charset == "iso-2022-jp" else [WarningCode.CHARSET_GUESSED]
    )


@pytest.mark.parametrize(
    "text",
    ["Item £ five", "25 °C", "© 2026 Acme Ltd", "naïve", "it’s “fine”", "1 ½ cups", "Zürich", "open – closed", SIGNS],
)
def test_english_with_few_signs_is_windows_1252(text: str) -> None:
    assert decode(text.encode("cp1252")).text == text
    assert decode(b"Plain words only.\n" * 20_000 + text.encode("cp1252")).text.endswith(text)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_needs_no_mark(encoding: str) -> None:
    assert decode(SIGNS.encode(encoding)).text == SIGNS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", LANGUAGES)
def test_utf_16_needs_no_latin_letters(name: str, encoding: str) -> None:
    text = LANGUAGES[name].text + "\n"
    assert decode(text.encode(encoding)).text == text
    assert identify("a.txt", "text/plain", text.encode(encoding)[:4095]) == "text/plain"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["Thai", "Russian", "Chinese"])
def test_first_bytes_of_utf_16_may_end_within_a_letter(name: str, encoding: str) -> None:
    text = " " + LANGUAGES[name].text + "\U0001f600"
    assert begins_in_utf16(text.encode(encoding)[:-2])


def test_nul_among_letters_is_no_utf_16() -> None:
    assert decode(b"with a \0 in it").text == "with a \0 in it"


@pytest.mark.parametrize("position", [0, 7, 300_000, -1])
def test_one_wrong_byte_costs_this_byte(position: int) -> None:
    data = bytearray((LETTERS + "\n").encode() * 8000)
    data[position:position] = b"\x96"
    text = decode(bytes(data), "shift_jis").text
    assert text.count(LETTERS) >= 7999
    assert text.replace("–", "") == (LETTERS + "\n") * 8000


@pytest.mark.parametrize(
    "label", ["utf-7", "unicode_escape", "idna", "punycode", "undefined", "hz-gb-2312", "x", "", "rot13"]
)
def test_labels_that_browsers_do_not_know_are_ignored(label: str) -> None:
    assert find_codec(label) is None
    assert decode("Größe".encode("cp1252"), label).text == "Größe"
    assert decode(b"1+1-2 C:\\new\\table", label).text == "1+1-2 C:\\new\\table"


@pytest.mark.parametrize("label", ["iso-8859-1", "latin1", "us-ascii", "windows-1252", "cp1252"])
def test_latin_1_means_windows_1252(label: str) -> None:
    assert decode(b"\x80 5 \x93fine\x94", label).text == "€ 5 “fine”"


@pytest.mark.parametrize("label", ["utf-8", "euc-jp", "big5"])
def test_wrong_labels_are_no_obstacle(label: str) -> None:
    assert decode("Die Größe der Straße: naß".encode("cp1252"), label).text == "Die Größe der Straße: naß"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b"<meta charset=iso-8859-2><p>\xb3", "ł"),
        (b"<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset=koi8-r'><p>\xd7", "в"),
        (b"<?xml version='1.0' encoding='windows-1253'?><p>\xe1", "α"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=windows-1253><p>\xe1", "α"),
        (b"<meta charset=utf-16><p>Stra\xdfe und Gr\xf6\xdfe", "Straße und Größe"),
        ("<meta charset=koi8-r><p>Größe".encode(), "Größe"),
    ],
)
def test_pages_declare_their_character_set(page: bytes, expected: str) -> None:
    assert decode_html(page).text.endswith(expected)


def test_the_declaration_of_the_upload_goes_first() -> None:
    assert decode_html(b"<meta charset=koi8-r><p>\xb3", "iso-8859-2").text.endswith("ł")


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(IngestionError) as raised:
        decode(zlib.compress(LANGUAGES["German"].text.encode() + bytes(range(256))))
    assert raised.value.failure == FailureCode.MALFORMED
