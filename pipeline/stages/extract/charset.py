"""Decode text in any character set: as web browsers do if it is declared, otherwise by detection (chardet).

The order is: byte order mark, ISO-2022-JP, UTF-16, UTF-8 of the whole text, the declared character set, detection.
"""

import codecs
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from itertools import islice

import chardet
import webencodings
from webencodings import labels

from pipeline.errors import FailureCode, IngestionError
from pipeline.types import PageWarning, WarningCode

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
JAPANESE_ESCAPE = b"\x1b$"
"""Beginning of an escape sequence of ISO-2022-JP, which otherwise looks like ASCII."""
NUL_SHARE = 0.4
"""Lowest share of NUL in the high bytes of a text in UTF-16 that has Latin letters."""
ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")
"""Bytes that are not UTF-8, as Python's `surrogateescape` shows them."""

CANDIDATES = (
    *(f"cp{number}" for number in (1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258, 437, 850, 852, 866, 874)),
    *(
        "iso8859-2",
        "iso8859-5",
        "iso8859-6",
        "iso8859-7",
        "iso8859-15",
        "koi8-r",
        "koi8-u",
        "mac-cyrillic",
        "mac-roman",
    ),
    *("cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949", "utf-16-le", "utf-16-be"),
)
"""Character sets that files still have, by the names that Python and chardet share."""
MAX_CANDIDATES = 10
"""Maximum number of chardet's candidates that are examined."""
WESTERN = "cp1252"
"""windows-1252, the most frequent of the legacy character sets. Always a candidate."""
WESTERN_BONUS = 0.06
"""Lead of windows-1252 over other candidates, in shares of the best candidate's confidence.

Chosen, like the rules of oddness, with short generated texts in 22 languages and English texts with a single sign."""
LOW_CONFIDENCE = 0.1
"""Confidence of chardet below which differences matter less. It has then seen a few letters only."""
CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f\x1b\0")
CONTROL_SHARE = 0.02
"""Largest share of control characters in a text whose character set is unknown."""

SAMPLE_BYTES = 4096
"""Number of bytes that decide about UTF-16 without Latin letters."""

EVIDENCE = re.compile(rb"[\x00-\x7f]?(?:[\x80-\xff]{1,100}[\x00-\x7f]{0,2}){1,50}")
"""A run of letters beyond ASCII, with its neighbours."""
MAX_EVIDENCE = 500
"""Maximum number of runs that are judged."""
SAMPLE_CHARACTERS = 20_000
"""Number of ASCII characters whose letters are counted."""
LATIN_SHARE = 0.7
"""Share of ASCII letters above which letters of other scripts are unlikely."""
ORDINALS = "ªº"
SIGNS = frozenset("’‘“”„«»–—…•€£§©®™°±½¼¾µ×·¿¡ºª²³¹¢¥÷¶†‰‹›")
"""Signs that texts have beside letters."""
WITHIN_WORDS = frozenset("’–—·…")
OPENING = frozenset("‚„‹«“")
MAX_ODDNESS = 0.6
"""Oddness above which longer data is not text."""
FEWEST_JUDGED = 50
"""Number of characters beyond ASCII from which a text is refused for its oddness."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded text, and what the owner should know about it."""

    text: str
    warnings: list[PageWarning] = field(default_factory=list)


def decode(data: bytes, label: str | None = None) -> Decoded:
    """Decode a text. `label` is the character set that somebody has declared for it, in any spelling.

    A label is looked up in the table of the WHATWG Encoding Standard, so it means what it means to browsers. Labels
    that browsers do not know are ignored.
    Raises IngestionError if the data is not text in any character set.
    """
    text = _decode_unicode(data)
    if text is None and (declared := find_codec(label)):
        text = _try(data, declared)
    return _decode_by_detection(data) if text is None else Decoded(text)


def find_codec(label: str | None) -> str | None:
    """Return Python's name of the character set that a label means on the web, or None if it means none."""
    name: str | None = labels.LABELS.get((label or "").strip(" \t\n\f\r").lower())
    if name in (None, "replacement", "x-user-defined"):
        return None
    found: str = webencodings.PYTHON_NAMES.get(name, name)
    return found


def _decode_unicode(data: bytes) -> str | None:
    """Return the text if it is in Unicode or ISO-2022-JP, or in UTF-8 with few errors."""
    marked = next((encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if encoding := marked or _find_utf16(data):
        return data.decode(encoding, "replace")
    if JAPANESE_ESCAPE in data and (text := _try(data, "iso2022-jp")):
        return text
    return _try(data, "utf-8") if data.isascii() else _decode_utf8(data)


def _find_utf16(data: bytes) -> str | None:
    """Return the byte order of a text in UTF-16 that has no byte order mark."""
    if b"\0" not in data or len(data) % 2:
        return None
    first, second = data[0::2].count(0), data[1::2].count(0)
    encoding = "utf-16-le" if second > first else "utf-16-be"
    if max(first, second) >= NUL_SHARE * len(data) / 2 and min(first, second) <= max(first, second) / 10:
        return encoding
    sample = data[:SAMPLE_BYTES]
    if _is_written(_try(sample.replace(b"\0", b" "), "utf-8")):
        return None
    # In Chinese or Japanese, NUL is rare. The high bytes of the letters repeat themselves more often than the low ones.
    encoding = "utf-16-le" if len(set(sample[1::2])) < len(set(sample[0::2])) else "utf-16-be"
    return encoding if _is_written(_try(sample, encoding)) else None


def begins_in_utf16(head: bytes) -> bool:
    """Return True if a text in UTF-16 without a byte order mark begins with these bytes. A last letter may be cut."""
    head = head[: len(head) // 2 * 2]
    return _is_utf16(head) or _is_utf16(head[:-2])


def _is_utf16(data: bytes) -> bool:
    encoding = _find_utf16(data)
    return encoding is not None and _is_written(_try(data, encoding))


def _is_written(text: str | None) -> bool:
    """Return True if a text has letters, digits, punctuation and white space only."""
    return bool(text) and all(unicodedata.category(char)[0] in "LMNPSZ" or char.isspace() for char in text or "")


def _decode_utf8(data: bytes) -> str | None:
    """Return a text in UTF-8. Each wrong byte counts as windows-1252, if there are fewer of them than letters."""
    text = data.decode("utf-8", "surrogateescape")
    errors = sum(map(len, ESCAPED_BYTES.findall(text)))
    letters = len(text) - len(text.encode("ascii", "ignore")) - errors
    if letters < errors:
        return None
    return ESCAPED_BYTES.sub(_read_escaped, text)


def _read_escaped(escaped: re.Match[str]) -> str:
    return escaped[0].encode("ascii", "surrogateescape").decode("cp1252", "replace")


def _try(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _decode_by_detection(data: bytes) -> Decoded:
    evidence = _collect_evidence(data)
    name, oddness = _choose(data, evidence)
    controls = len(data) - len(data.translate(None, CONTROLS))
    if controls > CONTROL_SHARE * len(data) or (oddness > MAX_ODDNESS and len(evidence) > FEWEST_JUDGED):
        refusal = "The text encoding of the file is unknown. Save the file as UTF-8 and upload it again."
        raise IngestionError(FailureCode.MALFORMED, refusal)
    message = (
        f"The file does not say how its letters are encoded, so it was read as {name.replace('cp125', 'windows-125')}. "
        "If letters are wrong, save the file as UTF-8 and upload it again."
    )
    return Decoded(data.decode(name, "replace"), [PageWarning(WarningCode.CHARSET_GUESSED, message)])


def _choose(data: bytes, evidence: bytes) -> tuple[str, float]:
    """Return the likeliest character set, and how odd the text is in it."""
    confidences = _find_candidates(data)
    best = max(confidences.values())
    is_latin = _has_latin_letters(data)
    choices = [
        ((confidence - best) / max(best, LOW_CONFIDENCE) + WESTERN_BONUS * (name == WESTERN) - oddness, name, oddness)
        for name, confidence in confidences.items()
        for oddness in [measure_oddness(evidence.decode(name, "replace"), is_latin=is_latin)]
    ]
    _, name, oddness = max(choices)
    return name, oddness


def _find_candidates(data: bytes) -> dict[str, float]:
    """Return the likeliest character sets with chardet's confidences, windows-1252 always."""
    found = chardet.detect_all(
        data,
        ignore_threshold=True,
        max_bytes=len(data),
        prefer_superset=False,
        compat_names=False,
        include_encodings=CANDIDATES,
        no_match_encoding=WESTERN,
    )
    confidences = {each["encoding"]: each["confidence"] for each in found if each["encoding"] in CANDIDATES}
    likeliest = dict(islice(confidences.items(), MAX_CANDIDATES))
    return {**likeliest, WESTERN: confidences.get(WESTERN, 0.0)}


def _collect_evidence(data: bytes) -> bytes:
    return b" ".join(found[0] for found in islice(EVIDENCE.finditer(data), MAX_EVIDENCE))


def _has_latin_letters(data: bytes) -> bool:
    """Return True if most letters are ASCII. Each byte beyond ASCII counts as a letter."""
    plain = data.decode("ascii", "ignore")
    letters = sum(map(str.isalpha, plain[:SAMPLE_CHARACTERS])) * max(1.0, len(plain) / SAMPLE_CHARACTERS)
    return letters > LATIN_SHARE * (letters + len(data) - len(plain))


def measure_oddness(text: str, *, is_latin: bool) -> float:
    """Return how unlike written language the characters beyond ASCII are, from 0.0, on average.

    `is_latin` says that most letters are ASCII, so that letters of other scripts are odd. The rules are our own.
    """
    around = zip(f" {text}", text, f"{text[1:]} ", strict=False)
    judged = [_judge(before, char, after, is_latin=is_latin) for before, char, after in around if not char.isascii()]
    return sum(judged) / max(1, len(judged))


def _judge(before: str, char: str, after: str, *, is_latin: bool) -> float:
    category = unicodedata.category(char)
    if category[0] == "C" or char == "\ufffd":
        return 3.0
    if category[0] == "L":
        return _judge_letter(before, char, after, is_latin=is_latin)
    if category[0] in "MZ":
        return 0.0
    return _judge_sign(before, char, after)


def _judge_letter(before: str, char: str, after: str, *, is_latin: bool) -> float:
    if not _is_latin(char):
        touches_latin = any(each.isascii() and each.isalpha() for each in (before, after))
        return float(is_latin) + touches_latin
    if char in ORDINALS:
        return 0.0
    if not (before.isalpha() or after.isalpha()):
        return 0.7
    return float(before.islower() if char.isupper() else before.isupper() and after.isupper())


def _judge_sign(before: str, char: str, after: str) -> float:
    odd = 0.7 if char in OPENING and before.isalpha() else 0.0
    if char not in SIGNS:
        return odd + 0.8
    is_within = before.isalpha() and after.isalpha() and char not in WITHIN_WORDS
    return odd + (1.0 if is_within or (char in "‚„" and not after.isalpha()) else 0.0)


@cache
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN") or letter in "ªºµ"
