"""Filters against a plain evaluator in Python, on random metadata, attributes and filters."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Integer, Select, Uuid, bindparam, create_engine, select, union_all

from pipeline.db.direct import DirectConnection, make_compiler
from pipeline.db.filters import (
    Judged,
    Shape,
    choose_documents,
    describe,
    judge_pages,
    list_statements,
    list_values,
    restrict,
)
from pipeline.db.models import Document
from pipeline.filters import decode
from pipeline.types import EVERYTHING, Caller, Selection, new_id

OWNER, OTHER = new_id(), new_id()
COLLECTIONS = [new_id() for _ in range(2)]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = [
    *(0, 1, 2, 2.5, -1, 10**20, True, False, "", "a", "A", "ab", "b", "1", "true", "Ä", "Straße", "x%_\\'\""),
    *("ß.*", "2026-01-02T00:00:00Z", "日本", "😀", '") || (1 == 1'),
]
STORED = [*VALUES, None, [], ["a", 1], [["a"]], [True, "Ä"], {"a": 1}]
NAMES = ["a", "b", "c.d", 'q"', "filename", "attributes"]
FILENAMES = ["a.pdf", "A.PDF", "Straße.txt", "%"]
MEDIA_TYPES = ["application/pdf", "text/plain"]
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda one, other: one > other,
    "gte": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "lte": lambda one, other: one <= other,
}


@dataclass
class Source:
    """A document or note, and the attributes of its memberships."""

    id: UUID
    filename: str
    media_type: str | None
    created_at: datetime
    metadata: dict[str, Any]
    memberships: dict[UUID, dict[str, Any]]


def make_sources(count: int) -> list[Source]:
    chance = random.Random(7)

    def pick(values: list[Any], share: float) -> dict[str, Any]:
        return {name: chance.choice(values) for name in NAMES if chance.random() < share}

    return [
        Source(
            new_id(),
            chance.choice(FILENAMES),
            None if number % 6 == 0 else chance.choice(MEDIA_TYPES),
            BEGIN + timedelta(days=chance.randrange(3), microseconds=chance.randrange(2)),
            {} if number % 6 == 0 else pick(STORED, 0.6),
            {one: pick(VALUES, 0.3) for one in COLLECTIONS if chance.random() < 0.5},
        )
        for number in range(count)
    ]


SOURCES = make_sources(90)


def is_same_kind(one: Any, other: Any) -> bool:
    def name(value: Any) -> str:
        return "number" if type(value) in (int, float) else type(value).__name__

    return name(one) == name(other)


def compares(op: str, value: Any, wanted: Any) -> bool:
    """The positive operators, for a key that exists."""
    match op:
        case "eq":
            return is_same_kind(value, wanted) and value == wanted
        case "in":
            return any(compares("eq", value, one) for one in wanted)
        case "contains" if isinstance(value, str) and isinstance(wanted, str):
            return wanted.lower() in value.lower()
        case "contains":
            return isinstance(value, list) and any(compares("eq", one, wanted) for one in value)
        case _:
            return is_same_kind(value, wanted) and ORDER[op](value, wanted)


def look_up(source: Source, attributes: dict[str, Any], pages: range, key: str) -> list[Any]:
    """The values of a key: none, one, or the pages of a passage."""
    kind, _, name = key.partition(".")
    match key:
        case "page":
            return list(pages)
        case "created_at":
            return [source.created_at]
        case "filename":
            return [source.filename]
        case "media_type":
            return [source.media_type] if source.media_type else []
    match kind:
        case "attributes" if name:
            places = [(attributes, name)]
        case "metadata" if name:
            places = [(source.metadata, name)]
        case _:
            places = [(attributes, key), (source.metadata, key)]
    return [place[name] for place, name in places if name in place][:1]


def satisfies(written: dict[str, Any], source: Source, attributes: dict[str, Any], pages: range) -> bool:
    for name, join in (("and", all), ("or", any)):
        if name in written:
            return bool(join(satisfies(part, source, attributes, pages) for part in written[name]))
    op, wanted = written["op"], written.get("value", True)
    values = look_up(source, attributes, pages, written["key"])
    if written["key"] == "created_at" and op != "exists":
        parse = datetime.fromisoformat
        wanted = [parse(one) for one in wanted] if isinstance(wanted, list) else parse(wanted)
        return compares_times(op, values[0], wanted)
    match op:
        case "exists":
            return bool(values) is wanted
        case "ne":
            return not any(compares("eq", value, wanted) for value in values)
        case "nin":
            return not any(compares("in", value, wanted) for value in values)
        case _:
            return any(compares(op, value, wanted) for value in values)


def compares_times(op: str, value: datetime, wanted: Any) -> bool:
    match op:
        case "eq" | "ne":
            return (value == wanted) is (op == "eq")
        case "in" | "nin":
            return (value in wanted) is (op == "in")
        case _:
            return ORDER[op](value, wanted)


def expect(written: dict[str, Any] | None, collections: list[UUID] | None, pages: range = range(1, 2)) -> set[UUID]:
    """The sources that match, as the documentation says."""
    found = set()
    for source in SOURCES:
        judged = [
            attributes
            for collection, attributes in source.memberships.items()
            if collections is None or collection in collections
        ]
        if not source.memberships and collections is None:
            judged = [{}]
        if any(written is None or satisfies(written, source, attributes, pages) for attributes in judged):
            found.add(source.id)
    return found


def write_conditions() -> st.SearchStrategy[dict[str, Any]]:
    def write(key: str, values: st.SearchStrategy[Any], ordered: st.SearchStrategy[Any], *more: Any) -> Any:
        lists = st.lists(values, min_size=1, max_size=3)
        return st.one_of(
            st.builds(lambda op, value: {"key": key, "op": op, "value": value}, st.sampled_from(["eq", "ne"]), values),
            st.builds(lambda op, value: {"key": key, "op": op, "value": value}, st.sampled_from(["in", "nin"]), lists),
            st.builds(lambda op, value: {"key": key, "op": op, "value": value}, st.sampled_from([*ORDER]), ordered),
            st.builds(lambda value: {"key": key, "op": "exists", "value": value}, st.booleans()),
            st.just({"key": key, "op": "exists"}),
            *more,
        )

    def contains(key: str, values: list[Any]) -> Any:
        return st.builds(lambda value: {"key": key, "op": "contains", "value": value}, st.sampled_from(values))

    texts = [value for value in VALUES if value != ""]
    ordered = st.sampled_from([value for value in VALUES if not isinstance(value, bool)])
    times = st.builds(lambda days: (BEGIN + timedelta(days=days)).isoformat(), st.integers(0, 2))
    names = st.sampled_from([f"{kind}{name}" for kind in ("", "attributes.", "metadata.") for name in NAMES])
    return st.one_of(
        names.filter(lambda name: name != "filename").flatmap(
            lambda key: write(key, st.sampled_from(VALUES), ordered, contains(key, texts))
        ),
        write("filename", st.sampled_from(FILENAMES), st.sampled_from(FILENAMES), contains("filename", ["PDF", "."])),
        write("media_type", st.sampled_from(MEDIA_TYPES), st.just("b"), contains("media_type", ["Pdf", "/"])),
        write("created_at", times, times),
        write("page", st.integers(1, 5), st.integers(1, 5)),
    )


FILTERS = st.recursive(
    write_conditions(),
    lambda parts: st.builds(
        lambda name, inner: {name: inner}, st.sampled_from(["and", "or"]), st.lists(parts, min_size=1, max_size=3)
    ),
    max_leaves=5,
).filter(lambda written: "and" not in str(written) or measure_depth(written) <= 5)


def measure_depth(written: dict[str, Any]) -> int:
    parts = written.get("and") or written.get("or") or []
    return 1 + max(map(measure_depth, parts), default=0)


@cache
def build(shape: Shape) -> Select[*tuple[Any, ...]]:
    rows = union_all(*list_statements(bindparam("owner", type_=Uuid), shape)).subquery()
    if shape.judged != Judged.PASSAGES:
        return select(rows)
    judged = judge_pages(rows, bindparam("first", type_=Integer), bindparam("last", type_=Integer))
    return select(rows.c.id).where(judged).distinct()


class Store:
    """The sources in a database, and another owner's copies of them."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._driver = self._runner.run(asyncpg.connect(url))
        self._connection = DirectConnection(self._driver, make_compiler(create_engine("postgresql+asyncpg://").dialect))
        self._runner.run(self._fill())

    async def _fill(self) -> None:
        async with self._driver.transaction():
            await self._insert()

    async def _insert(self) -> None:
        for owner in (OWNER, OTHER):
            await self._driver.execute(
                "INSERT INTO users (id, email, password_hash) VALUES ($1, $2, '')", owner, str(owner)
            )
            for number, one in enumerate(COLLECTIONS):
                await self._driver.execute("INSERT INTO collections VALUES ($1, $2, $3)", owner, one, str(number))
            for source in SOURCES:
                kind = "document" if source.media_type else "note"
                if source.media_type:
                    await self._driver.execute(
                        "INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, created_at,"
                        " metadata) VALUES ($1, $2, $3, $4, 1, $5, $6, $7)",
                        *(owner, source.id, source.filename, source.media_type, source.id.bytes, source.created_at),
                        json.dumps(source.metadata),
                    )
                else:
                    await self._driver.execute(
                        "INSERT INTO notes (owner_id, id, title, body, created_at) VALUES ($1, $2, $3, '', $4)",
                        *(owner, source.id, source.filename, source.created_at),
                    )
                for collection, attributes in source.memberships.items():
                    await self._driver.execute(
                        f"INSERT INTO collection_{kind}s VALUES ($1, $2, $3, $4)",
                        *(owner, collection, source.id, json.dumps(attributes)),
                    )

    def find(self, selection: Selection, pages: range = range(1, 2)) -> list[UUID]:
        """Return the ids of the selected sources, or of those with a passage of these pages that is selected."""
        shape = describe(selection)
        assert shape
        values = {"owner": OWNER, "first": pages[0], "last": pages[-1], **list_values(selection)}
        return [row.id for row in self._runner.run(self._connection.execute(build(shape), values))]

    def list_documents(self, caller: Caller, selection: Selection) -> set[UUID]:
        query = select(Document.id).where(Document.owner_id == OWNER, choose_documents(caller, selection))
        values = list_values(restrict(caller, selection))
        return {row.id for row in self._runner.run(self._connection.execute(query, values))}

    def close(self) -> None:
        self._runner.run(self._driver.close())
        self._runner.close()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


def test_filters_agree_with_a_plain_evaluator(store: Store) -> None:
    counts = []

    @given(FILTERS, st.sampled_from([None, COLLECTIONS[:1], COLLECTIONS]), st.sampled_from([range(1, 2), range(2, 5)]))
    @settings(
        max_examples=120, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    def check(written: dict[str, Any], collections: list[UUID] | None, pages: range) -> None:
        found = store.find(Selection(collections, filter=decode(written)), pages)
        assert len(found) == len(set(found))
        assert set(found) == expect(written, collections, pages), written
        counts.append(len(found))

    check()
    assert sum(0 < count < len(SOURCES) for count in counts) > 40, "too few filters that choose"


def test_no_text_leaves_its_quotes(store: Store) -> None:
    for value in (one for one in VALUES if isinstance(one, str) and one):
        for key, op in (("a", "eq"), ("metadata.b", "ne"), ("b", "contains"), (value, "exists")):
            written = {"key": key, "op": op, "value": op == "exists" or value}
            assert set(store.find(Selection(filter=decode(written)))) == expect(written, None), written
    for key in NAMES:
        written = {"key": f"metadata.{key}", "op": "exists"}
        assert set(store.find(Selection(filter=decode(written)))) == expect(written, None), written


def test_collections_and_documents_without_a_filter(store: Store) -> None:
    ids = [source.id for source in SOURCES[:10]]
    documents = {source.id for source in SOURCES[:10] if source.media_type}
    assert set(store.find(Selection(COLLECTIONS))) == expect(None, COLLECTIONS)
    assert set(store.find(Selection(document_ids=ids))) == documents
    assert set(store.find(Selection(COLLECTIONS[:1], ids))) == documents & expect(None, COLLECTIONS[:1])
    assert store.find(Selection(collection_ids=[])) == []
    assert store.find(Selection(document_ids=[])) == []


def test_lists_of_documents_are_filtered_alike(store: Store) -> None:
    written = {"key": "a", "op": "exists"}
    documents = {source.id for source in SOURCES if source.media_type}
    for collections in (None, COLLECTIONS[:1]):
        selection = Selection(collections, filter=decode(written, has_pages=False))
        assert store.list_documents(Caller(OWNER), selection) == documents & expect(written, collections)
    bound = Caller(OWNER, collection_ids=frozenset(COLLECTIONS[:1]))
    assert store.list_documents(bound, EVERYTHING) == documents & expect(None, COLLECTIONS[:1])
    assert store.list_documents(Caller(OWNER), EVERYTHING) == documents
