"""HTML is read as browsers show it."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.extract.format import SourceFile
from pipeline.stages.extract.formats.html import read
from pipeline.stages.extract.layout import REPEAT_CHARACTERS
from tests.languages import LANGUAGES


def show(html: str) -> str:
    [page] = read(SourceFile(io.BytesIO(html.encode()))).pages
    return "".join(page.sections)


@pytest.mark.parametrize(
    "inside",
    [
        "<!-- a comment -->",
        "<ins>of</ins>",
        "<del>of</del>",
        "<ruby>of<rp>(</rp><rt>reading</rt><rp>)</rp></ruby>",
        "<my-element>of</my-element>",
        "<o:p>of</o:p>",
        "<math><mi>o</mi><mi>f</mi></math>",
        "<big>of</big>",
        "<acronym>of</acronym>",
        "<nobr>of</nobr>",
        "<span>of</span>",
        "<svg><path d='M0 0'/></svg>",
        "<button>of</button>",
        "<label>of</label>",
        "<slot>of</slot>",
        "<object data=x.swf>of</object>",
        "<img alt=of src=x>",
    ],
)
def test_inline_elements_do_not_part_a_sentence(inside: str) -> None:
    text = show(f"<p>The end {inside} the\n line.</p>")
    assert text.replace("of ", "") == "The end the line."


@pytest.mark.parametrize("tag", ["div", "section", "blockquote", "figcaption", "address", "summary", "hr", "center"])
def test_blocks_are_paragraphs(tag: str) -> None:
    assert show(f"one<{tag}>two</{tag}>three").split("\n\n") in (["one", "two", "three"], ["one", "twothree"])


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b<br/>c", "a\nb\nc"),
        ("a<br><br>b", "a\n\nb"),
        ("<span style='color:red; display:block'>a</span><span>b</span>", "a\n\nb"),
        ("<div style=display:flex><span>a</span><b>b</b></div>", "a\n\nb"),
        ("<div style='white-space: pre-wrap'>a\n  b</div>", "a\n  b"),
        ("<p>costs <del>5</del><ins>6</ins> euro", "costs 5 6 euro"),
        ("new<blockquote type=cite><p>old<br>text<blockquote type=cite>older", "new\n\n> old\n> text\n\n> > older"),
        ("<blockquote class='gmail_quote x'>old</blockquote>new", "> old\n\nnew"),
        ("a\n<br>\nb<p>c", "a\nb\n\nc"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>d", "a\nb\n\nc\n\nd"),
        ("<dl><dt>a<dd>b</dl>", "a\nb"),
        ("<pre>if x:\n    y = 1\n\n\nz</pre>end", "if x:\n    y = 1\n\n\nz\n\nend"),
        ("<textarea>a\n b</textarea>", "a\n b"),
        ("a&nbsp;b &amp; c&shy;d", "a\xa0b & c\xadd"),
        ("He<b>ll</b>o <i> big </i> world", "Hello big world"),
        ("<select><option>a<option>b</select>", "a\nb"),
        ("<ol><li>a<li><p>b</p><p>c</p><li></li><li>d</ol>e", "1. a\n\n2. b\n\nc\n\n4. d\n\ne"),
        ("<ol start=3 type=a><li>x<li>y<ol type=I><li>z</ol></ol>", "c. x\nd. y\n\nI. z"),
        ("<ol reversed><li>x<li value=9>y<li>z</ol>", "3. x\n9. y\n8. z"),
        ("<ol start=99999999999 type=q><li value=x>y</ol>", "1. y"),
        ("rent 450<sup>1</sup>, 10<sup> 2 </sup> m<sup>2</sup>, the 2<sup>nd</sup>", "rent 450¹, 10² m², the 2nd"),
        (
            "<label>Name <input value=Anna></label><input type=hidden value=x><input type=submit value=Send>",
            "Name Anna Send",
        ),
    ],
)
def test_lines_and_spaces(html: str, text: str) -> None:
    assert show(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<title>Valve 7</title>",
        "<img alt='Valve 7'>",
        "<figure><img src=x><figcaption>Valve 7</figcaption></figure>",
        "<svg><g><text>Valve 7</text></g></svg>",
        "<noscript><p>Valve 7</noscript><div id=app></div>",
        "<div><template shadowrootmode=open><p>Valve 7</template></div>",
        "<object data=x><p>Valve 7</p></object>",
        "<details><summary>More</summary>Valve 7</details>",
        "<dialog open>Valve 7</dialog>",
        "<iframe srcdoc='<p>Valve 7</p>'></iframe>",
        "<p style='opacity:0.5;font-size:0.8em;margin-left:-10px'>Valve 7</p>",
        "<table><caption>Valve 7</caption><tr><td>a</table>",
    ],
)
def test_what_a_reader_sees_counts(html: str) -> None:
    assert "Valve 7" in show(html)


@pytest.mark.parametrize(
    "html",
    [
        "<p hidden>x</p>",
        "<p style='color:red; DISPLAY : none'>x</p>",
        "<p style=visibility:hidden>x</p>",
        "<p style='margin:0;opacity:0'>x</p>",
        "<p style='font-size: 0px; line-height:0'>x</p>",
        "<p style='position:absolute; left:-9999px'>x</p>",
        "<p style='position:absolute;clip:rect(1px, 1px, 1px, 1px)'>x</p>",
        "<p style='mso-hide:all'>x</p>",
        "<progress value=3>x</progress><meter value=1>x</meter>",
        "<p aria-hidden=true>x</p>",
        "<template>x</template>",
        "<dialog>x</dialog>",
        "<script>x</script><style>x</style>",
        "<noscript>x</noscript>",
        "<video>x</video><canvas>x</canvas><iframe>x</iframe>",
        "<svg><defs><text>x</text></defs><desc>x</desc></svg>",
        "<table><tr hidden><td>x</td></tr><tr><td hidden>x</td></tr></table>",
        "<datalist><option>x</datalist>",
        "<!-- x --><![CDATA[x]]>",
    ],
)
def test_what_a_reader_does_not_see_does_not_count(html: str) -> None:
    assert show(f"<p>seen</p>{html}") == "seen"


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>", "(a+b)/2"),
        ("<msup><mi>r</mi><mn>2</mn></msup>", "r^2"),
        ("<msub><mi>x</mi><mi>i</mi></msub>", "x_i"),
        ("<msubsup><mi>x</mi><mi>i</mi><mrow><mi>n</mi><mo>-</mo><mn>1</mn></mrow></msubsup>", "x_i^(n-1)"),
        ("<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover><mi>i</mi>", "∑_i^n i"),
        ("<msqrt><mn>2</mn></msqrt>", "√2"),
        ("<semantics><mi>x</mi><annotation encoding='application/x-tex'>\\hat x</annotation></semantics>", "x"),
        ("<mi>a</mi><mo>&nbsp;&lt;&InvisibleTimes;</mo><mi>b", "a<\u2062b"),
    ],
)
def test_formulas_are_one_line(formula: str, text: str) -> None:
    assert show(f"<p>The area is <math>{formula}</math> here.") == f"The area is {text} here."


def test_empty_elements_of_xml_do_not_hide_text() -> None:
    assert show("<?xml version='1.0'?><html><head><title/></head><body><script/><p>seen</p></body></html>") == "seen"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("<tr><td>Lamp<td>45 EUR<tr><td>Rope<td>9 EUR", "Lamp 45 EUR\nRope 9 EUR"),
        ("<tr><td><p>Lamp</p><p>with shade</p></td><td><div>45</div></td></tr>", "Lamp with shade 45"),
        ("<tr><td>1<td><ul><li>Press start<li>Wait</ul></tr>", "1 Press start Wait"),
        ("<tr><td>Lamp<br>large<td>45", "Lamp large 45"),
        ("<tr><td rowspan=2>North<td>Desk<td>120<tr><td>Chair<td>80", "North Desk 120\nNorth Chair 80"),
        ("<tr><td colspan=2>Deposit<td>900", "Deposit 900"),
        ("<thead><tr><th>a<th>b</thead><tbody><tr><td>1<td>2</tbody>", "a b\n1 2"),
        ("<tr><td>a<td><table><tr><td>b<td>c</table>", "a\n\nb c"),
        ("<tr><td><h2>Menu</h2><p>one<p>two<td>text", "Menu\n\none\n\ntwo\n\ntext"),
        ("<tr><td colspan=x rowspan=-1>a<td rowspan=" + "9" * 5000 + ">b", "a b"),
    ],
)
def test_rows_of_tables_are_lines(table: str, text: str) -> None:
    assert " ".join(show(f"<table>{table}</table>").split(" ")) == text


def test_header_of_a_long_table_is_repeated() -> None:
    rows = "".join(f"<tr><td>Lamp {number}<td>{number} EUR</tr>" for number in range(200))
    text = show(f"<table><tr><th>Article<th>Price</tr>{rows}</table>")
    parts = text.split("\n\n")
    assert all(part.startswith("Article Price\n") for part in parts)
    assert max(map(len, parts)) < 1.2 * REPEAT_CHARACTERS
    assert text.replace("\n\nArticle Price", "").count("\n") == 200


def test_title_is_not_repeated() -> None:
    assert show("<title> The\n lock </title><h1>The lock</h1>open") == "The lock\n\nopen"


BLOCKS = {
    "p": "<p>{}</p>",
    "div": "<div>{}</div>",
    "li": "<ul><li>{}</ul>",
    "td": "<table><tr><td>{}</table>",
    "b": "<p><b>{}</b></p>",
}


@pytest.mark.parametrize(
    "name", ["English", "German", "Greek", "Russian", "Hebrew", "Arabic", "Thai", "Japanese", "Korean", "Hindi"]
)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_words_come_back_in_their_order(name: str, data: st.DataObject) -> None:
    words = LANGUAGES[name].text.split()
    pieces = data.draw(
        st.lists(st.tuples(st.sampled_from([*BLOCKS]), st.lists(st.sampled_from(words), min_size=1)), min_size=1)
    )
    html = "".join(BLOCKS[kind].format(" ".join(text)) for kind, text in pieces)
    assert show(html).split() == [word for _, text in pieces for word in text]


@pytest.mark.timeout(15)
@pytest.mark.parametrize(
    "unit",
    ["<td>", "<tr><td>", "<table><tr><td>", "<b>", "<ruby>", "<pre>", "<h1>", "<svg>", "<template shadowrootmode=x>"],
)
def test_deep_nesting_takes_linear_time(unit: str) -> None:
    assert show("<table>" + unit * 10_000 + "end").endswith("end")
