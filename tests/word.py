"""Pieces of Word documents, as XML."""

from tests.archives import DRAWING, OFFICE, WORD, Parts, docx_parts, pack, relate, write_word

NAMESPACES = {
    "w": WORD,
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
    "r": OFFICE,
    "a": DRAWING,
    "wp": "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing",
    "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
    "c": "http://schemas.openxmlformats.org/drawingml/2006/chart",
    "dgm": "http://schemas.openxmlformats.org/drawingml/2006/diagram",
    "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
}


DECLARED = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMESPACES.items())


def part(root: str, content: str) -> bytes:
    return f"<{root} {DECLARED}>{content}</{root}>".encode()


def build(body: str, parts: Parts | None = None, *targets: tuple[str, str]) -> bytes:
    """Return a DOCX with this body, these further parts, and relationships of the body from `r1`."""
    related = {"word/_rels/document.xml.rels": relate(*targets)} if targets else {}
    return pack(
        {
            **docx_parts(""),
            "word/document.xml": part("w:document", f"<w:body>{body}</w:body>"),
            **related,
            **(parts or {}),
        }
    )


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(content: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{content}</w:p>"


def mark(kind: str) -> str:
    return f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>'


def code(text: str) -> str:
    return f"<w:r><w:instrText>{text}</w:instrText></w:r>"


def cell(content: str, properties: str = "") -> str:
    content = content if content.startswith("<") else write_word(content)
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{content}</w:tc>"


def row(*cells: str, properties: str = "") -> str:
    return f"<w:tr><w:trPr>{properties}</w:trPr>{''.join(cells)}</w:tr>"


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/>{''.join(rows)}</w:tbl>"


BEGIN, GO_ON = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"


def level(number: int, form: str, text: str, more: str = "") -> str:
    return f'<w:lvl w:ilvl="{number}"><w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/>{more}</w:lvl>'


def numbering(*levels: str, nums: str = '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>') -> bytes:
    return part("w:numbering", f'<w:abstractNum w:abstractNumId="0">{"".join(levels)}</w:abstractNum>{nums}')


def item(text: str, level: int = 0, number: int = 1) -> str:
    return paragraph(run(text), f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


NOTE = '<w:footnote w:id="%s">%s</w:footnote>'


CHART = """<c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Sales</a:t></a:r></a:p></c:rich></c:tx></c:title><c:ser><c:tx>
<c:strRef><c:strCache><c:pt idx="0"><c:v>2026</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat><c:strRef><c:strCache>
<c:pt idx="0"><c:v>North</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache><c:pt idx="0">
<c:v>12.0</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser></c:chart>""".replace("\n", "")
