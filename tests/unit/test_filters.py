from typing import Any

import pytest

from pipeline.errors import InvalidInput
from pipeline.filters import MAX_CONDITIONS, MAX_LIST, MAX_PATTERNS, decode

IS_ONE = {"key": "a", "op": "eq", "value": 1}


def nest(depth: int) -> dict[str, Any]:
    return IS_ONE if depth == 1 else {"and": [nest(depth - 1)]}


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ([], "filter"),
        ({}, "filter.key"),
        ({"key": "a", "value": 1}, "filter.op"),
        ({"and": [IS_ONE, IS_ONE, {**IS_ONE, "op": "like"}]}, "filter.and[2].op"),
        ({"or": [{"and": [{**IS_ONE, "type": "eq"}]}]}, "filter.or[0].and[0].type"),
        ({"and": [IS_ONE], "or": [IS_ONE]}, "filter.or"),
        ({"and": [IS_ONE], "not": 1}, "filter.not"),
        ({"and": []}, "filter.and"),
        ({"and": IS_ONE}, "filter.and"),
        ({"and": [1]}, "filter.and[0]"),
        ({**IS_ONE, "key": 1}, "filter.key"),
        ({**IS_ONE, "key": ""}, "filter.key"),
        ({**IS_ONE, "key": "a\0"}, "filter.key"),
        ({**IS_ONE, "key": "attributes."}, "filter.key"),
        ({**IS_ONE, "key": "a" * 257}, "filter.key"),
        ({**IS_ONE, "op": ["eq"]}, "filter.op"),
        ({"key": "a", "op": "eq"}, "filter.value"),
        ({**IS_ONE, "value": None}, "filter.value"),
        ({**IS_ONE, "value": [1]}, "filter.value"),
        ({**IS_ONE, "value": "a\0"}, "filter.value"),
        ({**IS_ONE, "value": "a" * 513}, "filter.value"),
        ({"key": "a", "op": "gt", "value": True}, "filter.value"),
        ({"key": "a", "op": "contains", "value": ""}, "filter.value"),
        ({"key": "a", "op": "exists", "value": 1}, "filter.value"),
        ({"key": "a", "op": "in", "value": 1}, "filter.value"),
        ({"key": "a", "op": "nin", "value": []}, "filter.value"),
        ({"key": "a", "op": "in", "value": [1] * (MAX_LIST + 1)}, "filter.value"),
        ({"key": "a", "op": "in", "value": [1, None]}, "filter.value[1]"),
        ({"key": "page", "op": "eq", "value": "3"}, "filter.value"),
        ({"key": "page", "op": "contains", "value": 3}, "filter.op"),
        ({"key": "created_at", "op": "gt", "value": "2026-01-01"}, "filter.value"),
        ({"key": "created_at", "op": "gt", "value": "2026-01-01T00:00:00"}, "filter.value"),
        ({"key": "filename", "op": "eq", "value": 3}, "filter.value"),
        (nest(6), "filter.and[0].and[0].and[0].and[0].and[0]"),
        ({"or": [{"and": [IS_ONE] * 33}] * 2}, "filter"),
        ({"or": [{"key": "a", "op": "in", "value": [1] * MAX_LIST}] * 3}, "filter"),
        ({"or": [{"key": "a", "op": "contains", "value": "b"}] * (MAX_PATTERNS + 1)}, "filter"),
    ],
)
def test_errors_name_the_place(written: Any, place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(written)
    assert [error.field for error in refused.value.errors] == [place]


def test_largest_filters() -> None:
    for written in (
        nest(5),
        {"and": [IS_ONE] * MAX_CONDITIONS},
        {"or": [{"key": "a", "op": "in", "value": [1] * MAX_LIST}] * 2},
        {"key": "page", "op": "eq", "value": 3.0},
        {"key": "created_at", "op": "lt", "value": "2026-01-01T00:00:00+14:00"},
    ):
        decode(written)


def test_a_list_of_documents_has_no_pages() -> None:
    written = {"or": [IS_ONE, {"key": "page", "op": "eq", "value": 3}]}
    decode(written)
    with pytest.raises(InvalidInput) as refused:
        decode(written, "filters", has_pages=False)
    assert [error.field for error in refused.value.errors] == ["filters.or[1].key"]
