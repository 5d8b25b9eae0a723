"""What is not built is refused, and never ignored."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pipeline.errors import FieldError, InvalidInput


def refuse(field: str, problem: str) -> InvalidInput:
    """Return the error for something that cannot be done."""
    return InvalidInput(f"`{field}` {problem}. This service cannot do that.", errors=(FieldError(field, problem),))


def require_unset(data: msgspec.Struct, harmless: Mapping[str, Sequence[Any]]) -> None:
    """Raise InvalidInput if a field has another value than the harmless ones, or none."""
    for field, values in harmless.items():
        value = getattr(data, field)
        if value is not None and value not in values:
            raise refuse(field, "asks for something that is not built")
