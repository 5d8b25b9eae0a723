"""PDFs that are small to send and large to read."""

import zlib
from collections.abc import Iterable

MIB = 1024 * 1024
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
XREF_LOOP = b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Prev 9>>\nstartxref\n9\n%%EOF"


def build(objects: list[bytes], trailer: bytes = b"") -> bytes:
    """Return a PDF of these objects, numbered from 1. The first one is the catalog."""
    body = bytearray(b"%PDF-1.7\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
    body += b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF" % (size, trailer, end)
    return bytes(body)


def build_page(stream: bytes, filters: bytes = b"/FlateDecode") -> bytes:
    """Return a PDF with one page that has this stream as its content."""
    content = b"<</Length %d/Filter[%b]>>stream\n%b\nendstream" % (len(stream), filters, stream)
    return build([CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE, content, FONT])


def deflate(pieces: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj()
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def deflate_again_and_again(piece: bytes, times: int) -> bytes:
    """Compress a repeated piece. The piece is compressed only once."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    block = compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(times):
        checksum = zlib.adler32(piece, checksum)
    return b"\x78\x9c" + block * times + b"\x03\x00" + checksum.to_bytes(4)


def flate() -> bytes:
    """2 GiB of blanks in 2 MB."""
    return build_page(deflate_again_and_again(b" " * MIB, 2048))


def flate_in_flate() -> bytes:
    """2 GiB of blanks in 20 kB."""
    return build_page(deflate([deflate_again_and_again(b" " * MIB, 2048)]), b"/FlateDecode/FlateDecode")


def long_string() -> bytes:
    """One string of 60 MB that the page shows."""
    return build_page(deflate([b"BT /F 9 Tf (", b"x" * 60 * MIB, b") Tj ET"]))


def many_operators() -> bytes:
    """Three million drawing operators."""
    return build_page(deflate([b"0 0 m 9 9 l S\n" * 1_000_000]))


def many_pages() -> bytes:
    """A page tree with a million leaves, all of them the same page."""
    kids = b"3 0 R " * 1_000_000
    content = b"<</Length 0>>stream\n\nendstream"
    return build([CATALOG, b"<</Type/Pages/Kids[%b]/Count 1000000>>" % kids, PAGE, content, FONT])


def deep_arrays() -> bytes:
    """A catalog with arrays nested 200,000 deep."""
    nested = b"[" * 200_000 + b"]" * 200_000
    return build([b"<</Type/Catalog/Pages 2 0 R/Deep %b>>" % nested, b"<</Type/Pages/Kids[]/Count 0>>"])


def deep_page_tree() -> bytes:
    """A page tree of 50,000 levels with one page."""
    levels = 50_000
    nodes = [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (number + 3) for number in range(levels)]
    return build([CATALOG, *nodes, b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"])


def circular_page_tree() -> bytes:
    """A page tree that contains itself."""
    return build([CATALOG, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"])


def circular_xref() -> bytes:
    """A cross-reference table that names itself as the previous one."""
    objects = [CATALOG, b"<</Type/Pages/Kids[]/Count 0>>"]
    place = build(objects).rindex(b"xref\n0")
    return build(objects, b"/Prev %d" % place)
