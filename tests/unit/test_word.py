"""Text of Word documents: what Word shows is read once, in order, and what it hides is not."""

import io
from itertools import pairwise

import docx
import pytest
from docx.enum.section import WD_SECTION
from docx.oxml import parse_xml
from docx.shared import Inches
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import IngestionError
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.formats.docx import MAIN_TYPES, read
from pipeline.types import WarningCode
from tests.archives import WORD, Parts, docx_parts, pack, relate, write_word
from tests.languages import SCRIPTS
from tests.word import (
    BEGIN,
    CHART,
    GO_ON,
    NOTE,
    build,
    cell,
    code,
    item,
    level,
    mark,
    numbering,
    paragraph,
    part,
    row,
    run,
    table,
)


def read_page(data: bytes) -> ExtractedPage:
    [page] = read(SourceFile(io.BytesIO(data))).pages
    return page


def read_text(data: bytes) -> str:
    return "".join(read_page(data).sections)


def read_body(body: str, parts: Parts | None = None, *targets: tuple[str, str]) -> str:
    return read_text(build(body, parts, *targets))


def save(document: object) -> bytes:
    file = io.BytesIO()
    document.save(file)  # type: ignore[attr-defined]  # python-docx has a function for a class
    return file.getvalue()


def form(control: str) -> str:
    return f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{control}</w:ffData></w:fldChar></w:r>{code("F")}{mark("end")}'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<w:fldSimple w:instr="MERGEFIELD name">{}</w:fldSimple>'.format(run("Alma Reyes")), "Dear Alma Reyes, hello."),
        (mark("begin") + code("DATE") + mark("separate") + run("3 May") + mark("end"), "Dear 3 May, hello."),
        (mark("begin") + code("DATE") + mark("end"), "Dear , hello."),
        (
            mark("begin") + code("IF ") + mark("begin") + code("PAGE") + mark("separate") + run("7") + mark("end")
            + code(" &gt; 1") + mark("separate") + run("yes") + mark("end"),
            "Dear yes, hello.",
        ),
        (
            mark("begin") + code("IF") + mark("separate") + run("a ") + mark("begin") + code("XE x") + mark("end")
            + run("z") + mark("end"),
            "Dear a z, hello.",
        ),
        (mark("begin") + code("MACROBUTTON None [your name]") + mark("end"), "Dear [your name], hello."),
        (mark("begin") + code("GOTOBUTTON p1 [page one]") + mark("end"), "Dear [page one], hello."),
        (mark("begin") + code(' SET rent "450" ') + mark("separate") + run("450") + mark("end"), "Dear , hello."),
        (mark("begin") + code("ask who") + mark("separate") + run("Bob") + mark("end") + run("z"), "Dear z, hello."),
        (mark("begin") + code("EQ \\f(1,2)") + mark("end"), "Dear 1/2, hello."),
        (mark("begin") + code("SYMBOL 252 \\f Wingdings") + mark("end"), "Dear ✓, hello."),
        (mark("begin") + run("kept"), "Dear kept, hello."),
        (run("kept") + mark("end") + mark("separate"), "Dear kept, hello."),
        (form('<w:checkBox><w:default w:val="1"/></w:checkBox>'), "Dear ☒, hello."),
        (form('<w:checkBox><w:default w:val="1"/><w:checked w:val="0"/></w:checkBox>'), "Dear ☐, hello."),
        (
            form('<w:ddList><w:result w:val="1"/><w:listEntry w:val="a"/><w:listEntry w:val="b"/></w:ddList>'),
            "Dear b, hello.",
        ),
        (form('<w:ddList><w:result w:val="9"/><w:listEntry w:val="a"/></w:ddList>'), "Dear , hello."),
    ],
)  # fmt: skip
def test_fields_show_their_result(content: str, text: str) -> None:
    assert read_body(paragraph(run("Dear ") + content + run(", hello."))) == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<w:r><w:ruby><w:rt>{}</w:rt><w:rubyBase>{}</w:rubyBase></w:ruby></w:r>".format(run("と"), run("東")), "a東z"),
        ('<w:dir w:val="rtl">{}</w:dir>'.format(run("b")), "abz"),
        ('<w:bdo w:val="rtl">{}</w:bdo>'.format(run("b")), "abz"),
        ("<w:smartTag>{}</w:smartTag>".format(run("b")), "abz"),
        ("<w:customXml>{}</w:customXml>".format(run("b")), "abz"),
        ("<w:ins>{}</w:ins>".format(run("b")), "abz"),
        ("<w:moveTo>{}</w:moveTo>".format(run("b")), "abz"),
        ('<w:hyperlink r:id="nothing">{}</w:hyperlink>'.format(run("b")), "abz"),
        ("<w:sdt><w:sdtPr><w:t>no</w:t></w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>".format(run("☒")), "a☒z"),
        ("<w:del><w:r><w:delText>b</w:delText></w:r>{}</w:del>".format(run("b")), "az"),
        ("<w:moveFrom>{}</w:moveFrom>".format(run("b")), "az"),
        (run("b", "<w:vanish/>"), "az"),
        (run("b", '<w:vanish w:val="false"/>'), "abz"),
        (run("b", '<w:rStyle w:val="Secret"/>'), "az"),
        (run("b", '<w:rStyle w:val="Secret"/><w:vanish w:val="0"/>'), "abz"),
        ("<w:r><w:noBreakHyphen/></w:r>", "a-z"),
        ("<w:r><w:softHyphen/></w:r>", "az"),
        ("<w:r><w:tab/></w:r>", "a z"),
        ("<w:r><w:br/></w:r>", "a\nz"),
        ('<w:r><w:sym w:font="Wingdings" w:char="F0FE"/></w:r>', "a☑z"),
        ('<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>', "aαz"),
        ('<w:r><w:sym w:font="Times" w:char="00E9"/></w:r>', "aéz"),
        ('<w:r><w:sym w:font="Times" w:char="D800"/><w:sym w:font="x" w:char="words"/></w:r>', "az"),
        (run("\uf062", '<w:rFonts w:ascii="Symbol"/>'), "aβz"),
        (run("\uf062", '<w:rFonts w:ascii="Icons"/>'), "a\uf062z"),
        (run("α ü", '<w:rFonts w:hAnsi="Wingdings"/>'), "aα ✓z"),
        (run("a", '<w:rFonts w:ascii="Symbol"/>'), "aαz"),
        ('<w:r><w:sym w:font="Webdings" w:char="F061"/><w:sym w:font="Wingdings 3" w:char="F070"/></w:r>', "a✔▲z"),
        (run("10") + run("6", '<w:vertAlign w:val="superscript"/>'), "a10^6z"),
        (run("10") + run("6", '<w:rStyle w:val="Raised"/>'), "a10^6z"),
        ("<w:r><w:t>b\nc</w:t></w:r>", "ab cz"),
        (run("m") + run("2", '<w:vertAlign w:val="superscript"/>'), "am2z"),
        (run("H") + run("2", '<w:vertAlign w:val="subscript"/>'), "aH2z"),
    ],
)  # fmt: skip
def test_runs(content: str, text: str) -> None:
    raised = '<w:style w:styleId="Raised"><w:basedOn w:val="Up"/></w:style><w:style w:styleId="Up"><w:rPr><w:vertAlign w:val="superscript"/></w:rPr></w:style>'
    styles = part("w:styles", f'<w:style w:styleId="Secret"><w:rPr><w:vanish/></w:rPr></w:style>{raised}')
    body = paragraph(run("a") + content + run("z"))
    assert read_body(body, {"word/styles.xml": styles}, ("styles", "styles.xml")) == text


def math(*names: str, **operands: str) -> str:
    """Return a structure, and its operands as single runs, such as `math("m:f", num="a", den="b")`."""
    inner = "".join(
        f"<m:{name}>{text if text.startswith('<') else f'<m:r><m:t>{text}</m:t></m:r>'}</m:{name}>"
        for name, text in operands.items()
    )
    return f"<{names[0]}>{''.join(names[1:])}{inner}</{names[0]}>"


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (math("m:sSup", e="a", sup="2"), "a^2"),
        (math("m:sSub", e="b", sub="i"), "b_i"),
        (math("m:sSup", e="e", sup="x+1"), "e^(x+1)"),
        (math("m:sSubSup", e="x", sub="i", sup="2"), "x_i^2"),
        (math("m:f", num="a", den="b"), "a/b"),
        (math("m:f", num="a+b", den="2c"), "(a+b)/(2c)"),
        (math("m:f", num=math("m:sSup", e="a", sup="2"), den="b"), "(a^2)/b"),
        (math("m:rad", deg="", e="x").replace("<m:r><m:t></m:t></m:r>", ""), "√x"),
        (math("m:rad", deg="3", e="x+y"), "3√(x+y)"),
        (math("m:nary", '<m:naryPr><m:chr m:val="∑"/></m:naryPr>', sub="i=1", sup="n", e="i"), "∑_(i=1)^n i"),
        (math("m:nary", sub="0", sup="1", e="f"), "∫_0^1 f"),
        (math("m:d", e="x"), "(x)"),
        (math("m:d", '<m:dPr><m:begChr m:val="["/><m:endChr m:val=""/></m:dPr>', e="x"), "[x"),
        (math("m:func", fName="sin", e="x"), "sin x"),
        (math("m:rad", '<m:radPr><m:degHide m:val="1"/></m:radPr>', deg="2", e="x"), "√x"),
        (math("m:nary", '<m:naryPr><m:subHide/><m:supHide m:val="0"/></m:naryPr>', sub="0", sup="1", e="f"), "∫^1 f"),
        (math("m:f", '<m:fPr><m:type m:val="noBar"/></m:fPr>', num="n", den="k"), "n k"),
        (math("m:phant", '<m:phantPr><m:show m:val="0"/></m:phantPr>', e="x"), ""),
        (math("m:phant", "<m:phantPr/>", e="x"), "x"),
        ("<m:r><w:rPr><w:vanish/></w:rPr><m:t>x</m:t></m:r><m:r><w:rPr/><m:t>y</m:t></m:r>", "y"),
        (math("m:limLow", e="lim", lim="x→0"), "lim_(x→0)"),
        ("<m:m><m:mr><m:e><m:r><m:t>1</m:t></m:r></m:e><m:e/></m:mr><m:mr><m:e/></m:mr></m:m>", "1, ;"),
    ],
)
def test_formulas_are_one_line(formula: str, text: str) -> None:
    body = paragraph(f"{run('So ')}<m:oMath>{formula}</m:oMath>{run(' holds.')}")
    assert read_body(body) == " ".join(f"So {text} holds.".split())


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (r"x = \f(a+b,2)", "x = (a+b)/2"),
        (r"\r(3,x)", "3√x"),
        (r"\r(x;)", "x√()"),
        (r"\r(x)", "√x"),
        (r'\* jc2 \* "Font:MS Mincho" \* hps10 \o\ad(\s\up 9(とうきょう),東京)', "東京"),
        (r"x\o(\s\up 5(2),\s\do 3(i))", "x^2_i"),
        (r"\i\su(i=1,n,i)", "∑_(i=1)^n i"),
        (r"\b\bc\[(\f(1,2))", "[1/2]"),
        (r"\b(a) + (b, c)", "(a) + (b, c)"),
        (r"\f(1,\f(2,3", "1/(2/3)"),
        (r")\x(", ")"),
    ],
)
def test_equations_of_fields_are_one_line(instruction: str, text: str) -> None:
    assert read_body(paragraph(mark("begin") + code(f"EQ {instruction}") + mark("end"))) == text


def test_formulas_below_each_other_are_lines() -> None:
    formulas = "".join(f"<m:oMath><m:r><m:t>{text}</m:t></m:r></m:oMath>" for text in ("a=b", "b=c"))
    assert read_body(paragraph(f"<m:oMathPara><m:oMathParaPr/>{formulas}</m:oMathPara>")) == "a=b\nb=c"


def box(text: str) -> str:
    return f"<w:txbxContent>{write_word(text)}</w:txbxContent>"


BOX = "<w:drawing><wp:anchor><a:graphic><wps:txbx>%s</wps:txbx></a:graphic></wp:anchor></w:drawing>"
OLD_BOX = "<w:pict><v:shape><v:textbox>%s</v:textbox></v:shape></w:pict>"


@pytest.mark.parametrize(
    "shape",
    [
        BOX % box("boxed"),
        OLD_BOX % box("boxed"),
        f"<mc:AlternateContent><mc:Choice>{BOX % box('boxed')}</mc:Choice></mc:AlternateContent>",
        f"<mc:AlternateContent><mc:Choice>{BOX % box('boxed')}</mc:Choice><mc:Fallback>{OLD_BOX % box('boxed')}</mc:Fallback></mc:AlternateContent>",
        f"<mc:AlternateContent><mc:Choice/><mc:Fallback>{OLD_BOX % box('boxed')}</mc:Fallback></mc:AlternateContent>",
        '<w:drawing><wp:inline><wp:docPr descr="boxed"/></wp:inline></w:drawing>',
        '<w:pict><v:shape><v:textpath string="boxed"/></v:shape></w:pict>',
        '<w:pict><v:shape alt="boxed"/></w:pict>',
        '<w:pict><v:group alt="boxed"><v:shape style="visibility: hidden" alt="x"/></v:group></w:pict>',
        '<w:pict><v:rect style="x"><o:signatureline o:suggestedsigner="boxed"/></v:rect></w:pict>',
        "<w:drawing><a:p><a:r><a:t>boxed</a:t></a:r></a:p></w:drawing>",
    ],
)
def test_boxes_follow_the_paragraph_that_they_are_anchored_in(shape: str) -> None:
    body = paragraph(run("one ") + f"<w:r>{shape}</w:r>" + run("sentence")) + write_word("next")
    assert read_body(body) == "one sentence\n\nboxed\n\nnext"


def test_hidden_drawings_and_names_of_picture_files_are_no_text() -> None:
    hidden = '<w:drawing><wp:anchor><wp:docPr hidden="1" descr="x"/>{}</wp:anchor></w:drawing>'.format(box("x"))
    named = '<w:drawing><wp:inline><wp:docPr descr="image1.png"/></wp:inline></w:drawing>'
    assert read_body(paragraph(f"<w:r>{hidden}{named}</w:r>") + write_word("seen")) == "seen"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([row(cell("Desk"), cell("120")), row(cell("Lamp"), cell("45"))], "Desk 120\nLamp 45"),
        ([row(cell(write_word("Lamp") + write_word("with shade")), cell("45"))], "Lamp with shade 45"),
        ([row(cell("Deposit", '<w:gridSpan w:val="2"/>'), cell("900"))], "Deposit 900"),
        ([row(cell("North", BEGIN), cell("1")), row(cell("", GO_ON), cell("2"))], "North 1\nNorth 2"),
        (
            [row(cell("a", '<w:gridSpan w:val="2"/>'), cell("N", BEGIN)), row(cell("b"), cell("c"), cell("", GO_ON))],
            "a N\nb c N",
        ),
        ([row(cell("a")), row(cell("b"), properties="<w:del/>"), row(cell("c"), properties="<w:hidden/>")], "a"),
        ([row(cell("a"), cell("b", '<w:hMerge w:val="continue"/>'), cell("c", "<w:cellDel/>"))], "a"),
        ([row(cell(""), cell("")), row(cell("x"))], "x"),
        ([row(cell("Out"), cell(table(row(cell("1"), cell("2")), row(cell("3"))) + "<w:p/>"))], "Out\n\n1 2\n3"),
        ([row(cell("Step"), cell(paragraph(run("x<w:br/>y".replace("<w:br/>", "</w:t><w:br/><w:t>")))))], "Step x y"),
        (["<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>".format(row(cell("in"), cell("it")))], "in it"),
    ],
)  # fmt: skip
def test_rows_are_lines(rows: list[str], text: str) -> None:
    assert read_body(table(*rows)) == text


def test_header_rows_are_repeated_in_long_tables_and_rows_are_never_cut() -> None:
    head = row(cell("Item"), cell("Price"), properties="<w:tblHeader/>")
    body = [row(cell(f"Item {n}. It is long" + " and long" * 20), cell(f"{n} EUR")) for n in range(30)]
    text = read_body(table(head, *body))
    parts = text.split("\n\n")
    assert 3 <= text.count("Item Price") <= 8
    assert all(line.endswith(("EUR", "Price")) for line in text.split("\n") if line)
    assert max(map(len, parts)) < 1500
    without_header = read_body(table(*body))
    assert "Item Price" not in without_header
    assert max(map(len, without_header.split("\n\n"))) < 800


def test_long_rows_and_headings_in_cells_are_a_layout() -> None:
    long = write_word("word " * 300) + write_word("more " * 300)
    assert read_body(table(row(cell("left"), cell(long)))).startswith("left\n\nword word")
    heading = write_word("Skills", "Heading1") + write_word("Lamps")
    assert read_page(build(table(row(cell("me"), cell(heading))))).sections == ["me\n\n", "Skills\n\nLamps"]
    named = row(cell(write_word("Item", "Heading1")), cell(write_word("Price", "Heading1")))
    assert read_body(table(named)) == "Item Price"


LEGAL = [level(0, "upperRoman", "%1."), level(1, "decimal", "%1.%2", "<w:isLgl/>"), level(2, "lowerLetter", "(%3)")]


@pytest.mark.parametrize(
    ("levels", "items", "text"),
    [
        ([level(0, "decimal", "%1.")], [(0, "a"), (0, "b")], "1. a\n2. b"),
        ([level(0, "lowerLetter", "%1)", '<w:start w:val="26"/>')], [(0, "y"), (0, "z")], "z) y\naa) z"),
        ([level(0, "upperRoman", "%1")], [(0, "x")] * 4, "I x\nII x\nIII x\nIV x"),
        ([level(0, "decimalZero", "§ %1")], [(0, "x")], "§ 01 x"),
        ([level(0, "chineseCounting", "第%1章")], [(0, "x"), (0, "y")], "第一章 x\n第二章 y"),
        ([level(0, "bullet", "\uf0b7")], [(0, "x"), (0, "y")], "• x\n• y"),
        ([level(0, "none", "")], [(0, "x")], "x"),
        ([level(0, "decimal", "%1.", "<w:rPr><w:vanish/></w:rPr>"), level(1, "decimal", "%1.%2")], [(0, "a"), (1, "b")], "a\n\n1.1 b"),
        (
            ['<w:lvl w:ilvl="0"><mc:AlternateContent><mc:Choice><w:numFmt w:val="custom" w:format="001, 002, 003, ..."/></mc:Choice>'
             '<mc:Fallback><w:numFmt w:val="decimal"/></mc:Fallback></mc:AlternateContent><w:lvlText w:val="%1"/></w:lvl>'],
            [(0, "x")],
            "001 x",
        ),
        (
            [level(0, "decimal", "%1"), level(1, "decimal", "%2"), level(2, "decimal", "(%3)", '<w:lvlRestart w:val="1"/>')],
            [(1, "a"), (2, "b"), (1, "c"), (2, "d"), (0, "e"), (2, "f")],
            "1 a\n(1) b\n2 c\n(2) d\n2 e\n(1) f",
        ),
        (LEGAL, [(0, "a"), (1, "b"), (1, "c"), (2, "d"), (0, "e"), (1, "f")], "I. a\n1.1 b\n1.2 c\n(a) d\nII. e\n2.1 f"),
        ([level(0, "decimal", "%1"), level(1, "decimal", "%1.%2")], [(1, "x")], "1.1 x"),
        (
            [level(0, "decimal", "%1"), level(1, "decimal", "%2", '<w:lvlRestart w:val="0"/>')],
            [(0, "a"), (1, "b"), (0, "c"), (1, "d")],
            "1 a\n1 b\n2 c\n2 d",
        ),
        ([level(0, "decimal", "%1", f'<w:start w:val="{"9" * 99}"/>')], [(0, "x"), (7, "y"), (99, "z")], "1 x\n\ny\n\nz"),
    ],
)  # fmt: skip
def test_list_numbers(levels: list[str], items: list[tuple[int, str]], text: str) -> None:
    body = "".join(item(words, number) for number, words in items)
    assert read_body(body, {"word/numbering.xml": numbering(*levels)}, ("numbering", "numbering.xml")) == text


def test_bullets_are_left_out_in_cells_and_before_headings() -> None:
    parts = {"word/numbering.xml": numbering(level(0, "bullet", "x"))}
    properties = '<w:outlineLvl w:val="0"/><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    body = item("a") + paragraph(run("Head"), properties) + table(row(cell("1"), cell(item("b") + item("c"))))
    assert read_body(body, parts, ("numbering", "numbering.xml")) == "• a\n\nHead\n\n1 b c"


def test_lists_of_one_definition_go_on_and_can_start_again() -> None:
    nums = "".join(
        f'<w:num w:numId="{n}"><w:abstractNumId w:val="0"/>{override}</w:num>'
        for n, override in (
            (1, ""),
            (2, ""),
            (3, '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'),
        )
    )
    body = item("a") + item("b", number=2) + item("c", number=3) + item("d", number=3) + item("e", number=0)
    parts = {"word/numbering.xml": numbering(level(0, "decimal", "%1."), nums=nums)}
    assert read_body(body, parts, ("numbering", "numbering.xml")) == "1. a\n2. b\n7. c\n8. d\n\ne"


def test_headings_are_numbered_by_their_styles() -> None:
    styles = part(
        "w:styles",
        '<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/><w:basedOn w:val="berschrift1"/></w:style>',
    )
    parts = {
        "word/styles.xml": styles,
        "word/numbering.xml": numbering(
            level(0, "decimal", "%1", '<w:pStyle w:val="berschrift1"/>'),
            level(1, "decimal", "%1.%2", '<w:pStyle w:val="berschrift2"/>'),
        ),
    }
    body = write_word("Scope", "berschrift1") + write_word("All", "berschrift2") + write_word("text")
    targets = (("styles", "styles.xml"), ("numbering", "numbering.xml"))
    assert read_body(body, parts, *targets) == "1 Scope\n\n1.1 All\n\ntext"


@pytest.mark.parametrize(
    ("styles", "properties", "is_heading"),
    [
        ("", '<w:pStyle w:val="Heading2"/>', True),
        ("", '<w:pStyle w:val="Title"/>', True),
        ("", '<w:outlineLvl w:val="1"/>', True),
        ("", '<w:pStyle w:val="Heading2"/><w:outlineLvl w:val="9"/>', False),
        ('<w:style w:styleId="x"><w:name w:val="heading 3"/></w:style>', '<w:pStyle w:val="x"/>', True),
        ('<w:style w:styleId="x"><w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>', '<w:pStyle w:val="x"/>', True),
        (
            '<w:style w:styleId="x"><w:basedOn w:val="y"/></w:style><w:style w:styleId="y"><w:name w:val="heading 1"/></w:style>',
            '<w:pStyle w:val="x"/>',
            True,
        ),
        ('<w:style w:styleId="Heading1"><w:name w:val="note"/></w:style>', '<w:pStyle w:val="Heading1"/>', False),
        (
            '<w:style w:styleId="x"><w:basedOn w:val="y"/></w:style><w:style w:styleId="y"><w:basedOn w:val="x"/></w:style>',
            '<w:pStyle w:val="x"/>',
            False,
        ),
    ],
)
def test_headings_begin_sections(styles: str, properties: str, is_heading: bool) -> None:
    body = write_word("before") + paragraph(run("here"), properties)
    page = read_page(build(body, {"word/styles.xml": part("w:styles", styles)}, ("styles", "styles.xml")))
    assert page.sections == (["before\n\n", "here"] if is_heading else ["before\n\nhere"])


def test_headers_and_footers_are_read_once() -> None:
    document = docx.Document()
    for number in range(3):
        section = document.add_section(WD_SECTION.NEW_PAGE) if number else document.sections[0]
        section.header.is_linked_to_previous = section.footer.is_linked_to_previous = False
        section.header.paragraphs[0].text = "Contract KV-2291"
        section.footer.paragraphs[0].text = "ACME Ltd"
        section.first_page_header.paragraphs[0].text = "Only on first pages"
        document.add_paragraph(f"Part {number}")
    text = "Contract KV-2291\n\nPart 0\n\nPart 1\n\nPart 2\n\nACME Ltd"
    assert read_text(save(document)) == text
    document.sections[0].different_first_page_header_footer = True
    assert read_text(save(document)).count("Only on first pages") == 1
    document.settings.odd_and_even_pages_header_footer = True
    document.sections[0].even_page_header.paragraphs[0].text = "Even"
    assert read_text(save(document)).count("Even") == 1


def test_headers_of_first_pages_go_on_in_later_sections() -> None:
    document = docx.Document()
    document.sections[0].first_page_header.paragraphs[0].text = "First"
    section = document.add_section(WD_SECTION.NEW_PAGE)
    assert "First" not in read_text(save(document))
    section.different_first_page_header_footer = True
    assert "First" in read_text(save(document))
    section.first_page_header.is_linked_to_previous = False
    section.first_page_header.paragraphs[0].text = "Own"
    text = read_text(save(document))
    assert "Own" in text
    assert "First" not in text


def test_header_stays_with_the_first_heading() -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "KV-2291"
    document.add_heading("Rent", 1)
    document.add_paragraph("450")
    assert read_page(save(document)).sections == ["KV-2291\n\nRent\n\n450"]


def test_notes_follow_their_paragraph_and_endnotes_end_the_document() -> None:
    foot = part("w:footnotes", "".join(NOTE % (n, write_word(f"foot {n}")) for n in (2, 3, 4)))
    end = part("w:endnotes", f'<w:endnote w:id="2">{write_word("end")}</w:endnote>')

    def refer(kind: str, number: int) -> str:
        return f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'

    body = (
        paragraph(run("one") + refer("endnote", 2) + refer("footnote", 3) + run(" goes on"))
        + table(row(cell(paragraph(run("cell") + refer("footnote", 2))), cell("x")), row(cell("y")))
        + paragraph(run("again") + refer("footnote", 3))
    )
    parts = {"word/footnotes.xml": foot, "word/endnotes.xml": end}
    text = read_body(body, parts, ("footnotes", "footnotes.xml"), ("endnotes", "endnotes.xml"))
    assert text == "one[i][1] goes on\n\n[1] foot 3\n\ncell[2] x\ny\n\n[2] foot 2\n\nagain[1]\n\n[i] end"


def test_notes_have_the_marks_that_the_document_says() -> None:
    foot = part(
        "w:footnotes", "".join(NOTE % (n, write_word(text)) for n, text in ((2, "* own"), (3, "foot"), (4, "last")))
    )
    own = '<w:r><w:footnoteReference w:customMarkFollows="1" w:id="2"/><w:t>*</w:t></w:r>'
    others = "".join(f'<w:r><w:footnoteReference w:id="{n}"/></w:r>' for n in (3, 4))
    form = '<w:sectPr><w:footnotePr><w:numFmt w:val="lowerLetter"/><w:numStart w:val="3"/></w:footnotePr></w:sectPr>'

    def read(body: str) -> str:
        return read_body(body, {"word/footnotes.xml": foot}, ("footnotes", "footnotes.xml"))

    assert read(paragraph(run("a") + own + others)) == "a*[1][2]\n\n* own\n\n[1] foot\n\n[2] last"
    assert read(paragraph(run("a") + others) + form) == "a[c][d]\n\n[c] foot\n\n[d] last"


def test_comments_are_marked_and_at_the_end() -> None:
    document = docx.Document()
    commented = document.add_paragraph("The rent is due.")
    document.add_comment(commented.runs, text="Says who?", author="Alma Reyes")
    document.add_comment(commented.runs, text="Me.", author="")
    document.add_paragraph("Last line.")
    text = "The rent is due.\n\nLast line.\n\nComment by Alma Reyes: Says who?\n\nComment: Me."
    assert read_text(save(document)) == text


def test_deleted_paragraph_ends_and_large_initials_join_paragraphs() -> None:
    deleted = paragraph(run("The rent is"), "<w:rPr><w:del/></w:rPr>")
    assert read_body(deleted + write_word(" due.")) == "The rent is due."
    assert read_body(paragraph(run("O"), '<w:framePr w:dropCap="drop"/>') + write_word("nce upon")) == "Once upon"
    assert read_body(paragraph(run("end"), "<w:rPr><w:moveFrom/></w:rPr>")) == "end"
    assert (
        read_body(paragraph(run("Rent. "), "<w:rPr><w:vanish/><w:specVanish/></w:rPr>") + write_word("It"))
        == "Rent. It"
    )
    assert read_body(paragraph(run("a"), '<w:rPr><w:vanish w:val="0"/></w:rPr>') + write_word("b")) == "a\n\nb"


def test_charts_and_diagrams_are_read() -> None:
    body = paragraph('<w:r><w:drawing><c:chart r:id="r1"/><dgm:relIds r:dm="r2"/></w:drawing></w:r>')
    diagram = "<a:p><a:r><a:t>Plan</a:t></a:r></a:p><a:p><a:r><a:t>Build</a:t></a:r></a:p>"
    parts = {"word/c.xml": part("c:chartSpace", CHART), "word/d.xml": part("dgm:dataModel", diagram)}
    assert read_body(body, parts, ("chart", "c.xml"), ("diagramData", "d.xml")) == (
        "Sales\n2026\nNorth | 12\n\nPlan\nBuild"
    )


def cache(name: str, *values: str) -> str:
    points = "".join(f'<c:pt idx="{place}"><c:v>{value}</c:v></c:pt>' for place, value in enumerate(values))
    return f"<c:{name}><c:numRef><c:numCache>{points}</c:numCache></c:numRef></c:{name}>"


def write_series(name: str, *parts: str) -> str:
    return f"<c:ser>{cache('tx', name)}{''.join(parts)}</c:ser>"


RICH = "<c:tx><c:rich><a:p><a:r><a:t>{}</a:t></a:r><a:fld><a:t>[VALUE]</a:t></a:fld></a:p></c:rich></c:tx>"


@pytest.mark.parametrize(
    ("series", "text"),
    [
        ([write_series("A", cache("xVal", "1"), cache("yVal", "10")), write_series("B", cache("xVal", "7"), cache("yVal", "70"))],
         "A\n1 | 10\nB\n7 | 70"),
        ([write_series("A", cache("xVal", "1"), cache("yVal", "10")), write_series("B", cache("xVal", "1"), cache("yVal", "70"))],
         "A | B\n1 | 10 | 70"),
        ([write_series("A", f"<c:dLbls><c:dLbl>{RICH.format('Record')}</c:dLbl></c:dLbls>", cache("val", "5"))], "A\n5\nRecord"),
        ([write_series("A", "<c:trendline><c:name>Fit</c:name></c:trendline>", cache("val", "5"))], "A\n5\nFit"),
        ([write_series("A", "<datalabelsRange><c:pt><c:v>Kiln</c:v></c:pt></datalabelsRange>", cache("val", "5"))], "A\n5\nKiln"),
        ([write_series("All_x000a_sales_xD800_", cache("val", "1.2E-2", "0.30000000000000004", "1234567.1"))],
         "All sales_xD800_\n0.012\n0.3\n1234567.1"),
    ],
)  # fmt: skip
def test_series_and_labels_of_charts(series: list[str], text: str) -> None:
    body = paragraph('<w:r><w:drawing><c:chart r:id="r1"/></w:drawing></w:r>')
    assert read_body(body, {"word/c.xml": part("c:chartSpace", "".join(series))}, ("chart", "c.xml")) == text


def test_points_of_diagrams_have_the_order_of_their_outline() -> None:
    texts = {"3": "Third", "1": "First", "2": "Below", "9": "Apart"}
    points = "".join(
        f'<dgm:pt modelId="{n}"><a:p><a:r><a:t>{text}</a:t></a:r></a:p></dgm:pt>' for n, text in texts.items()
    )
    places = (
        ("0", "3", 1, "parOf"),
        ("0", "1", 0, "parOf"),
        ("1", "2", 0, "parOf"),
        ("2", "1", 0, "parOf"),
        ("0", "9", 0, "presOf"),
    )
    lines = "".join(f'<dgm:cxn srcId="{a}" destId="{b}" srcOrd="{n}" type="{kind}"/>' for a, b, n, kind in places)
    data = part("dgm:dataModel", f'{points}<dgm:pt modelId="0" type="doc"/>{lines}')
    body = paragraph('<w:r><w:drawing><dgm:relIds r:dm="r1"/></w:drawing></w:r>')
    assert read_body(body, {"word/d.xml": data}, ("diagramData", "d.xml")) == "First\nBelow\nThird\nApart"


IMPORTS: dict[str, tuple[str, bytes]] = {
    "html": ("chunk.html", b"<html><body><p>Imported</p><script>no</script></body></html>"),
    "xhtml without a name": ("chunk.dat", b"<!DOCTYPE html><p>Imported</p>"),
    "text": ("chunk.txt", b"Imported"),
    "document": ("chunk.docx", build(write_word("Imported"))),
    "rtf": ("chunk.rtf", rb"{\rtf1\ansi Imported\par}"),
    "web page in one file": (
        "chunk.mht",
        b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Imported\r\n--b--\r\n",
    ),
    "document without a name": ("chunk.dat", build(write_word("Imported"))),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_included_files_are_read_once(name: str) -> None:
    part_name, data = IMPORTS[name]
    body = write_word("a") + '<w:altChunk r:id="r1"/>' + write_word("z") + '<w:altChunk r:id="r1"/>'
    page = read_page(build(body, {f"word/{part_name}": data}, ("aFChunk", part_name)))
    assert page.sections == ["a\n\nImported\n\nz"]
    assert page.warnings == []


def test_what_is_left_out_is_said() -> None:
    def find_codes(body: str, parts: Parts | None = None, *targets: tuple[str, str]) -> list[WarningCode]:
        page = read_page(build(write_word("kept") + body, parts, *targets))
        assert "kept" in page.sections[0]
        return [warning.code for warning in page.warnings]

    skipped, unread = [WarningCode.PARTS_SKIPPED], [WarningCode.TEXT_NOT_EXTRACTED]
    assert find_codes("") == []
    assert find_codes('<w:altChunk r:id="r9"/>') == skipped
    assert find_codes('<w:altChunk r:id="r1"/>', None, ("aFChunk", "gone.html")) == skipped
    assert find_codes('<w:altChunk r:id="r1"/>', {"word/c.bin": b"?"}, ("aFChunk", "c.bin")) == unread
    empty = b"MIME-Version: 1.0\r\nContent-Location: x\r\n\r\n"
    assert find_codes('<w:altChunk r:id="r1"/>', {"word/c.mht": empty}, ("aFChunk", "c.mht")) == skipped
    assert find_codes('<w:altChunk r:id="r1"/>', {"word/c.docx": b"PK\3\4word/"}, ("aFChunk", "c.docx")) == skipped
    twice = build(paragraph('<w:altChunk r:id="r1"/>'), {"word/c.docx": build("")}, ("aFChunk", "c.docx"))
    assert find_codes('<w:altChunk r:id="r1"/>', {"word/t.docx": twice}, ("aFChunk", "t.docx")) == unread
    assert find_codes(paragraph('<w:r><w:footnoteReference w:id="7"/></w:r>')) == skipped
    assert find_codes(paragraph('<w:r><w:drawing><c:chart r:id="r9"/></w:drawing></w:r>')) == skipped
    assert find_codes('<w:sectPr><w:headerReference w:type="default" r:id="r9"/></w:sectPr>') == skipped
    assert find_codes("", None, ("styles", "gone.xml")) == skipped
    assert find_codes("", {"word/_rels/document.xml.rels": b"<Relationships"}) == skipped
    assert find_codes("", {"word/c.xml": b"<w:comments"}, ("comments", "c.xml")) == skipped
    assert find_codes(paragraph("<w:r><w:object><o:OLEObject/></w:object></w:r>")) == unread
    picture = '<w:drawing><wp:inline><a:graphic><a:blip r:embed="r9"/></a:graphic></wp:inline></w:drawing>'
    assert find_codes(paragraph(f'<w:r>{picture}</w:r><w:hyperlink r:id="r9">{run("x")}</w:hyperlink>')) == []


@pytest.mark.parametrize("kind", MAIN_TYPES)
def test_templates_and_documents_with_macros_are_read_like_documents(kind: str) -> None:
    parts = docx_parts(write_word("text"))
    types = parts["[Content_Types].xml"].replace(MAIN_TYPES[0].encode(), kind.encode())
    assert read_text(pack({**parts, "[Content_Types].xml": types})) == "text"


def test_strict_documents_and_those_without_relationships_are_read() -> None:
    parts = docx_parts(paragraph(run("a") + "<w:r><w:noBreakHyphen/></w:r><w:del>x</w:del>" + run("b")))  # fmt: skip
    strict = parts["word/document.xml"].replace(WORD.encode(), b"http://purl.oclc.org/ooxml/wordprocessingml/main")
    assert read_text(pack({**parts, "word/document.xml": strict})) == "a-b"
    assert read_text(pack({name: data for name, data in parts.items() if "rels" not in name})) == "a-b"
    theme = {"word/theme.xml": b"<theme/>", "_rels/.rels": relate(("officeDocument", "word/theme.xml"))}
    assert read_text(pack({**parts, **theme})) == "a-b"
    with pytest.raises(IngestionError, match="format of its name"):
        read_text(pack({**parts, "[Content_Types].xml": b"<Types/>"}))


@pytest.mark.parametrize("target", ["my%20styles.xml", "MY Styles.xml", "/word/my styles.xml", "./x/../my styles.xml"])
def test_parts_are_found_by_other_spellings_of_their_names(target: str) -> None:
    styles = part("w:styles", '<w:style w:styleId="S"><w:rPr><w:vanish/></w:rPr></w:style>')
    body = write_word("seen") + write_word("hidden", "S")
    data = build(body, {"word/my styles.xml": styles, "word/MY STYLES.bak": b""}, ("styles", target))
    assert read_page(data) == ExtractedPage(["seen"], [])
    parts = docx_parts(write_word("seen"))
    assert read_text(pack({name.lower(): data for name, data in parts.items()})) == "seen"


def test_word_wraps_pictures_and_tables_of_python_docx() -> None:
    document = docx.Document()
    cells = document.add_table(2, 3)
    cells.cell(0, 0).merge(cells.cell(1, 0)).text = "North"
    cells.cell(0, 1).merge(cells.cell(0, 2)).text = "Total"
    cells.cell(1, 1).text, cells.cell(1, 2).text = "1", "2"
    document.add_paragraph("first", style="List Number")
    document.add_paragraph("second", style="List Number")
    document.add_paragraph("third", style="List Number 2")
    control = f'<w:sdt xmlns:w="{WORD}"><w:sdtContent>{write_word("Tenant: Alma")}</w:sdtContent></w:sdt>'
    document.element.body.insert(-1, parse_xml(control))
    document.sections[0].left_margin = Inches(1)
    assert read_text(save(document)) == "North Total\nNorth 1 2\n\n1. first\n2. second\n1. third\n\nTenant: Alma"


@st.composite
def contents(draw: st.DrawFn) -> list[tuple[str, list[list[str]]]]:
    """Draw paragraphs, headings and tables of words of one script."""
    words = st.sampled_from(draw(st.sampled_from(sorted(SCRIPTS.values()))))
    texts = st.lists(words, min_size=1, max_size=6).map(" ".join)
    kinds = st.sampled_from(["paragraph", "heading", "table"])
    rows = st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=3)
    return draw(st.lists(st.tuples(kinds, rows), min_size=1, max_size=5))


TEMPLATE = save(docx.Document())


@given(contents())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_words_come_back_in_their_order(content: list[tuple[str, list[list[str]]]]) -> None:
    document = docx.Document(io.BytesIO(TEMPLATE))
    for kind, rows in content:
        if kind == "table":
            written = document.add_table(len(rows), 2)
            for line, texts in zip(written.rows, rows, strict=True):
                line.cells[0].text, line.cells[1].text = texts
        else:
            add = document.add_heading if kind == "heading" else document.add_paragraph
            add(" ".join(text for texts in rows for text in texts))
    words = [word for _, rows in content for texts in rows for text in texts for word in text.split()]
    page = read_page(save(document))
    assert "".join(page.sections).split() == words
    assert page.warnings == []
    headings = sum(before[0] != "heading" and kind == "heading" for before, (kind, _) in pairwise(content))
    assert len(page.sections) == headings + 1
