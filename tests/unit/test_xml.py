"""XML is read as its text, and hostile XML in linear time."""

import io
import time

import pytest

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile


def read(data: bytes | str, charset: str | None = None) -> str:
    file = SourceFile(io.BytesIO(data if isinstance(data, bytes) else data.encode()), charset)
    [page] = get_format("application/xml").readers[0](file).pages
    [section] = page.sections
    return section


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<book><title>Gardens</title><author>Ann</author></book>", "title: Gardens\nauthor: Ann"),
        ("<r><row><name>A</name></row><row><name>B</name></row></r>", "name: A\n\nname: B"),
        ("<p>One <b>bold <i>word</i></b> only.</p>", "One bold word only."),
        ("<d><para><em>First</em>, it <b>comes</b>.</para></d>", "First, it comes."),
        ("<d><para> <em>Both</em> <b>come</b> first.</para></d>", "Both come first."),
        ("<ns:a xmlns:ns='urn:x'><ns:city>Oslo</ns:city></ns:a>", "city: Oslo"),
        ("<a><b label='Great gardens' id='x1'>1</b></a>", "Great gardens\n1"),
        ("<a>x &lt; y &amp; z<![CDATA[ <kept>]]></a>", "x < y & z <kept>"),
        ("<a><!-- not shown --><?do not?>shown</a>", "shown"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><name>Ann</name>", "name: Ann"),
    ],
)
def test_xml_is_its_text(xml: str, text: str) -> None:
    assert read(xml) == text


def test_xml_in_other_character_sets() -> None:
    assert read('<?xml version="1.0" encoding="iso-8859-1"?><name>Grün</name>'.encode("latin-1")) == "name: Grün"
    assert read('<?xml version="1.0" encoding="utf-16"?><name>Grün</name>'.encode("utf-16")) == "name: Grün"
    assert read("<name>Привет</name>".encode("koi8-r"), "koi8-r") == "name: Привет"


@pytest.mark.parametrize("xml", ["<a>not closed", "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "<a>&undeclared;</a>"])
def test_other_xml_is_read_as_its_source(xml: str) -> None:
    assert read(xml) == xml


@pytest.mark.parametrize(
    "xml",
    ["<a>" * 50_000 + "x" + "</a>" * 50_000, "<a>x" * 50_000 + "</a>" * 50_000, "<a>" * 50_000 + "t</a>" * 50_000],
)
def test_deep_xml_takes_linear_time(xml: str) -> None:
    began = time.process_time()
    assert read(xml)
    assert time.process_time() - began < 3
