"""`python -m tests.benchmarks.charsets`: how often the character set of a text is found, by the length of the text."""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import chardet

from pipeline.errors import IngestionError
from pipeline.stages.extract.charset import decode, find_codec
from tests.languages import LANGUAGES

LENGTHS = (20, 60, 200, 1000, 5000, 20_000)
SAMPLES = 4


def write_samples(name: str, charset: str, length: int) -> Iterator[bytes]:
    """Yield texts of about `length` characters in a language and one of its legacy character sets."""
    marked = LANGUAGES[name].text.replace("。", "。\n").replace(". ", ".\n")
    sentences = list(filter(None, marked.split("\n")))
    for number in range(SAMPLES):
        dice, text = random.Random(f"{name} {charset} {length} {number}"), ""
        while len(text) < length:
            text += dice.choice(sentences) + " "
        data = text[:length].encode(find_codec(charset) or charset, "ignore")
        if not data.isascii():
            yield data


def decode_by_chardet(data: bytes) -> str | None:
    try:
        return data.decode(chardet.detect(data, max_bytes=len(data))["encoding"] or "ascii", "replace")
    except LookupError:
        return None


def decode_as_service(data: bytes) -> str | None:
    try:
        return decode(data).text
    except IngestionError:
        return None


DECODERS: dict[str, Callable[[bytes], str | None]] = {
    "chardet": decode_by_chardet,
    "the service": decode_as_service,
}


def main() -> None:
    print("characters", *DECODERS, sep="\t")
    for length in LENGTHS:
        right, total = Counter[str](), 0
        for name, language in LANGUAGES.items():
            for charset in language.charsets:
                codec = find_codec(charset) or charset
                for data in write_samples(name, charset, length):
                    total += 1
                    right.update(label for label, read in DECODERS.items() if read(data) == data.decode(codec))
        print(length, *(f"{right[label] / total:.0%}" for label in DECODERS), sep="\t")


if __name__ == "__main__":
    main()
