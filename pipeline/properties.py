"""What clients attach to documents and collections: limits, and checks that the types of requests do not express."""

from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.errors import FieldError, InvalidInput

MAX_METADATA_BYTES = 16 * 1024
"""Longest metadata, as compact JSON."""
LARGEST, SMALLEST = 1e20, 1e-20
"""Bounds of the absolute values of numbers with a fraction or an exponent in metadata."""
MAX_EXTERNAL_ID_CHARACTERS = 512
MAX_COLLECTION_IDS = 100
"""Most collections that one upload or note can be put into."""


def check_metadata(metadata: dict[str, Any], field: str = "metadata") -> None:
    """Raise InvalidInput if metadata is too long, or if PostgreSQL cannot store it."""
    length = len(msgspec.json.encode(metadata))
    if length > MAX_METADATA_BYTES:
        raise _refuse(field, f"has {length} bytes as JSON; the limit is {MAX_METADATA_BYTES}")
    for value in _walk(metadata):
        if isinstance(value, str) and "\0" in value:
            raise _refuse(field, "has a NUL character")
        # PostgreSQL writes numbers without an exponent, so 16 KiB of them could become a megabyte.
        if isinstance(value, float) and value and not SMALLEST <= abs(value) <= LARGEST:
            raise _refuse(field, f"has the number {value}; the largest is {LARGEST}, the smallest {SMALLEST}")


def _walk(value: Any) -> Iterator[Any]:
    """Yield all keys and values inside a JSON value."""
    match value:
        case dict():
            yield from value
            for part in value.values():
                yield from _walk(part)
        case list():
            for part in value:
                yield from _walk(part)
        case _:
            yield value


def _refuse(field: str, reason: str) -> InvalidInput:
    return InvalidInput(f"The field `{field}` {reason}.", errors=(FieldError(field, reason),))
