"""The filter language: reads a filter from JSON, strictly. `pipeline.db.filters` translates it for PostgreSQL.

A filter is a condition `{"key", "op", "value"}`, or `{"and": [...]}` or `{"or": [...]}` with filters inside. Its key is
one of FIELDS, `attributes.X` or `metadata.X`. Any other key X means the attribute X or, if the document has no such
attribute in the collection, the metadata key X.

A document is judged once for each of its memberships in the collections that are searched, each time with the
attributes of that membership. It matches if one of these satisfies the whole filter. Without a membership, it is judged
once, by its metadata alone. Values of different JSON types are never equal, and neither is less than the other.
If the key is missing, only `ne`, `nin` and `exists: false` are satisfied.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec

from pipeline.errors import FieldError, InvalidInput
from pipeline.types import AllOf, AnyOf, Condition, Filter, FilterKey, KeyKind, Operator, Scalar

MAX_DEPTH = 5
"""Most filters inside each other, the condition included."""
MAX_CONDITIONS = 64
MAX_LIST = 100
"""Most values of one `in` or `nin`."""
MAX_VALUES = 256
"""Most values of a filter. Each is compared for each document and note of the account."""
MAX_PATTERNS = 16
"""Most conditions with `contains`. PostgreSQL remembers 32 patterns; more would have to be compiled for each row."""
MAX_KEY_CHARACTERS = 256
MAX_VALUE_CHARACTERS = 512

PAGE = "page"
FIELDS = ("filename", "media_type", "created_at", PAGE)
"""Keys that every document has. A note has its title as `filename`, and no `media_type`. `page` belongs to passages."""

_NO_NUL = r"^[^\x00]*$"
_LISTS = (Operator.IN, Operator.NIN)
_EQUALITY = (Operator.EQ, Operator.NE, *_LISTS)
_ORDER = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_VALUE_CHARACTERS, pattern=_NO_NUL)]
_Value = Annotated[str, msgspec.Meta(max_length=MAX_VALUE_CHARACTERS, pattern=_NO_NUL)] | int | float | bool
_Ordered = Annotated[str, msgspec.Meta(max_length=MAX_VALUE_CHARACTERS, pattern=_NO_NUL)] | int | float
_Page = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _WrittenCondition(msgspec.Struct, forbid_unknown_fields=True):
    """A condition as it is written."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY_CHARACTERS, pattern=_NO_NUL)]
    op: Operator
    value: Any = msgspec.UNSET


def decode(written: Any, place: str = "filter", *, has_pages: bool = True) -> Filter:
    """Return the filter that is written as JSON values. Without `has_pages`, it selects documents and not passages.

    Raises InvalidInput, with the place of the error in it, such as `filter.and[2].op`. `place` is the name of the
    whole filter in the request.
    """
    decoded = _decode(written, place, 1, has_pages=has_pages)
    conditions = list(list_conditions(decoded))
    if len(conditions) > MAX_CONDITIONS:
        raise _refuse(place, f"has more than {MAX_CONDITIONS} conditions")
    if sum(len(one.value) if isinstance(one.value, tuple) else 1 for one in conditions) > MAX_VALUES:
        raise _refuse(place, f"has more than {MAX_VALUES} values")
    if sum(one.op == Operator.CONTAINS for one in conditions) > MAX_PATTERNS:
        raise _refuse(place, f"has more than {MAX_PATTERNS} conditions with `contains`")
    return decoded


def list_conditions(filter_: Filter) -> Iterator[Condition]:
    """Yield the conditions of a filter, in their order."""
    if isinstance(filter_, Condition):
        yield filter_
    else:
        for part in filter_.parts:
            yield from list_conditions(part)


def is_of_pages(condition: Condition) -> bool:
    """Tell whether a condition is about the page of a passage."""
    return condition.key == FilterKey(KeyKind.FIELD, PAGE)


def _decode(written: Any, place: str, depth: int, *, has_pages: bool) -> Filter:
    if not isinstance(written, dict):
        raise _refuse(place, "needs to be an object")
    if depth > MAX_DEPTH:
        raise _refuse(place, f"is nested more than {MAX_DEPTH} deep")
    for name, kind in (("and", AllOf), ("or", AnyOf)):
        if name in written:
            return kind(_decode_parts(written, name, place, depth, has_pages=has_pages))
    condition = _decode_condition(written, place)
    if is_of_pages(condition) and not has_pages:
        raise _refuse(f"{place}.key", f"`{PAGE}` belongs to passages, so only searches can use it")
    return condition


def _decode_parts(written: dict[str, Any], name: str, place: str, depth: int, *, has_pages: bool) -> tuple[Filter, ...]:
    for other in written:
        if other != name:
            raise _refuse(f"{place}.{other}", f"is not a field of a filter with `{name}`")
    parts = written[name]
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_CONDITIONS:
        raise _refuse(f"{place}.{name}", f"needs to be a list of 1 to {MAX_CONDITIONS} filters")
    return tuple(
        _decode(part, f"{place}.{name}[{number}]", depth + 1, has_pages=has_pages) for number, part in enumerate(parts)
    )


def _decode_condition(written: dict[str, Any], place: str) -> Condition:
    for name in written:
        if name not in _WrittenCondition.__struct_fields__:
            raise _refuse(
                f"{place}.{name}", "is not a field of a filter, which has `key`, `op` and `value`, or `and` or `or`"
            )
    for name in ("key", "op"):
        if name not in written:
            raise _refuse(f"{place}.{name}", "is missing")
    if written["op"] not in list(Operator):
        raise _refuse(f"{place}.op", f"needs to be one of {', '.join(Operator)}")
    condition = _convert(written, _WrittenCondition, place)
    key = _read_key(condition.key, place)
    return Condition(key, condition.op, _read_value(key, condition.op, condition.value, place))


def _read_key(written: str, place: str) -> FilterKey:
    if written in FIELDS:
        return FilterKey(KeyKind.FIELD, written)
    for kind in (KeyKind.ATTRIBUTES, KeyKind.METADATA):
        if written.startswith(f"{kind}."):
            name = written.removeprefix(f"{kind}.")
            if not name:
                raise _refuse(f"{place}.key", f"needs a name after `{kind}.`")
            return FilterKey(kind, name)
    return FilterKey(KeyKind.EITHER, written)


def _read_value(
    key: FilterKey, op: Operator, written: Any, place: str
) -> Scalar | datetime | tuple[Scalar | datetime, ...]:
    where = f"{place}.value"
    if op == Operator.EXISTS:
        return True if written is msgspec.UNSET else bool(_convert(written, bool, where))
    if written is msgspec.UNSET:
        raise _refuse(where, "is missing")
    kind = _choose_type(key, op, place)
    if op not in _LISTS:
        single: Scalar | datetime = _convert_value(written, kind, where)
        return single
    if not isinstance(written, list) or not 1 <= len(written) <= MAX_LIST:
        raise _refuse(where, f"needs to be a list of 1 to {MAX_LIST} values")
    return tuple(_convert_value(value, kind, f"{where}[{number}]") for number, value in enumerate(written))


def _choose_type(key: FilterKey, op: Operator, place: str) -> Any:
    """Return the type of the values that this operator compares with this key."""
    if key.kind == KeyKind.FIELD and key.name in (PAGE, "created_at"):
        if op not in (*_EQUALITY, *_ORDER):
            raise _refuse(f"{place}.op", f"`{op}` cannot be used with `{key.name}`")
        return _Page if key.name == PAGE else _Time
    if key.kind == KeyKind.FIELD:
        return _Text
    if op == Operator.CONTAINS:
        return _Text | int | float | bool
    return _Ordered if op in _ORDER else _Value


def _convert_value(written: Any, kind: Any, place: str) -> Any:
    """Convert a value. JSON does not distinguish 3.0 from 3."""
    if kind is _Page and isinstance(written, float) and written.is_integer():
        written = int(written)
    return _convert(written, kind, place)


def _convert(written: Any, kind: Any, place: str) -> Any:
    try:
        return msgspec.convert(written, kind)
    except msgspec.ValidationError as error:
        # For example "Expected `str`, got `int` - at `$.key`".
        reason, _, path = str(error).partition(" - at ")
        raise _refuse(place + path.strip("`").removeprefix("$"), reason) from None


def _refuse(place: str, reason: str) -> InvalidInput:
    message = "The filter is invalid. Correct the fields listed in `errors`."
    return InvalidInput(message, errors=(FieldError(place, reason),))
