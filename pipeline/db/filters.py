"""The documents and notes that a search or a list selects, by ids, by collections and by a filter.

A filter becomes a jsonpath, which is a parameter. So all filters share the text and the plan of one statement, and no
text of a user is part of SQL. Inside the path, keys and values are quoted as JSON strings.

The path is judged in strict mode, where a missing key or a value of another type makes a condition neither true nor
false, but unknown. Negations turn that into true.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    extract,
    func,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH
from sqlalchemy.orm import InstrumentedAttribute

from pipeline.db.models import CollectionDocument, CollectionNote, Document, Note
from pipeline.filters import PAGE, is_of_pages, list_conditions
from pipeline.types import AllOf, Caller, Condition, Filter, FilterKey, KeyKind, Operator, Scalar, Selection

COMPARISONS = {
    Operator.EQ: "==",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}
NEGATIONS = {Operator.NE: Operator.EQ, Operator.NIN: Operator.IN}
ALWAYS = "(1 == 1)"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write_path(filter_: Filter, *, for_pages: bool = False) -> str:
    """Return a jsonpath that finds something in what it judges if the filter matches.

    It judges the metadata of a document. The attributes and, if the filter has conditions on them, the fields are
    variables. Conditions on pages are assumed to be true. With `for_pages`, it judges the first and the last page of a
    passage, and the metadata is a variable too.
    """
    return f"strict $ ? ({_write(filter_, for_pages)})"


def _write(filter_: Filter, for_pages: bool) -> str:
    if isinstance(filter_, Condition):
        return _write_condition(filter_, for_pages)
    sign = " && " if isinstance(filter_, AllOf) else " || "
    return f"({sign.join(_write(part, for_pages) for part in filter_.parts)})"


def _write_condition(condition: Condition, for_pages: bool) -> str:
    if is_of_pages(condition) and not for_pages:
        return ALWAYS
    if condition.op in NEGATIONS:
        return _negate(_write_condition(Condition(condition.key, NEGATIONS[condition.op], condition.value), for_pages))
    if condition.op == Operator.EXISTS:
        exists = _write_existence(condition.key, for_pages)
        return exists if condition.value else _negate(exists)
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    op = Operator.EQ if condition.op == Operator.IN else condition.op
    return f"({' || '.join(_compare(condition.key, op, value, for_pages) for value in values)})"


def _negate(predicate: str) -> str:
    return f"(!{predicate} || {predicate} is unknown)"


def _write_existence(key: FilterKey, for_pages: bool) -> str:
    if key == FilterKey(KeyKind.FIELD, "media_type"):
        return '($"media_type" != null)'  # of a note
    if key.kind == KeyKind.FIELD:
        return ALWAYS
    return f"({' || '.join(f'exists({place})' for place in _list_places(key, for_pages))})"


def _list_places(key: FilterKey, for_pages: bool) -> list[str]:
    """Return the places of a key's value, the first one that exists counts."""
    name = _quote(key.name)
    attribute, metadata = f'$"attributes".{name}', f'$"metadata".{name}' if for_pages else f"$.{name}"
    match key.kind:
        case KeyKind.FIELD:
            return [f"${name}"]
        case KeyKind.ATTRIBUTES:
            return [attribute]
        case KeyKind.METADATA:
            return [metadata]
        case KeyKind.EITHER:
            return [attribute, metadata]


def _compare(key: FilterKey, op: Operator, value: Scalar | datetime, for_pages: bool) -> str:
    if key == FilterKey(KeyKind.FIELD, PAGE):
        return _compare_pages(op, _quote(value))
    write = _write_contained if op == Operator.CONTAINS else _write_comparison
    first, *others = _list_places(key, for_pages)
    compared = write(first, op, value)
    for other in others:
        compared = f"({compared} || (exists({first})) is unknown && {write(other, op, value)})"
    return compared


def _compare_pages(op: Operator, number: str) -> str:
    """Compare the pages of a passage, from the first to the last one. It is enough if one of them is as wanted."""
    match op:
        case Operator.GT | Operator.GTE:
            return f"($[1] {COMPARISONS[op]} {number})"
        case Operator.LT | Operator.LTE:
            return f"($[0] {COMPARISONS[op]} {number})"
        case _:
            return f"($[0] <= {number} && $[1] >= {number})"


def _write_comparison(place: str, op: Operator, value: Scalar | datetime) -> str:
    return f"({place} {COMPARISONS[op]} {_quote(value)})"


def _write_contained(place: str, _op: Operator, value: Scalar | datetime) -> str:
    """Look into a string or an array. A filter in the path looks at each element, whatever the others are."""
    has_element = f"exists({place}[*] ? (@ == {_quote(value)}))"
    if not isinstance(value, str):
        return f"({has_element})"
    return f"({place} like_regex {_quote(_make_pattern(value))} || {has_element})"


def _make_pattern(text: str) -> str:
    """Return a regular expression for this text in upper or lower case, which does not depend on the locale."""
    return "".join(map(_match_character, text))


def _match_character(character: str) -> str:
    forms = {form for form in (character, character.lower(), character.upper()) if len(form) == 1}
    if len(forms) > 1:
        return f"[{''.join(sorted(forms))}]"
    return character if character.isalnum() or not character.isascii() else f"\\{character}"


def _quote(value: Scalar | datetime) -> str:
    """Write a value as jsonpath does, with nothing but ASCII. A time is the number of microseconds since 1970."""
    if isinstance(value, datetime):
        value = (value - EPOCH) // timedelta(microseconds=1)
    return json.dumps(value)


COLLECTIONS = bindparam("collection_ids", type_=ARRAY(Uuid))
DOCUMENTS = bindparam("document_ids", type_=ARRAY(Uuid))
PATH = bindparam("path", type_=JSONPATH)
PAGE_PATH = bindparam("page_path", type_=JSONPATH)
EARLIEST_LAST_PAGE = bindparam("earliest_last_page", type_=Integer)
LATEST_FIRST_PAGE = bindparam("latest_first_page", type_=Integer)
ANY_PAGE = (0, 2**31 - 1)


class Judged(StrEnum):
    """What a filter judges."""

    NOTHING = "nothing"
    """There is no filter."""
    SOURCES = "sources"
    PASSAGES = "passages"
    """Passages one by one, because the filter has conditions on pages."""


@dataclass(frozen=True)
class Shape:
    """Which parts a selection has. Statements with the same shape have the same text."""

    has_collections: bool
    has_documents: bool
    judged: Judged
    has_fields: bool = False
    """True if the filter has conditions on fields other than pages. Their variables take most of the time of a filter.
    """


def describe(selection: Selection) -> Shape | None:
    """Return the shape of a selection, or None if it selects all."""
    if selection == Selection():
        return None
    judged, conditions = Judged.NOTHING, []
    if selection.filter is not None:
        conditions = list(list_conditions(selection.filter))
        judged = Judged.PASSAGES if any(map(is_of_pages, conditions)) else Judged.SOURCES
    has_fields = any(one.key.kind == KeyKind.FIELD and not is_of_pages(one) for one in conditions)
    return Shape(selection.collection_ids is not None, selection.document_ids is not None, judged, has_fields)


def list_values(selection: Selection) -> dict[str, Any]:
    """Return the parameters of statements for this selection."""
    values: dict[str, Any] = {}
    if selection.collection_ids is not None:
        values["collection_ids"] = list(selection.collection_ids)
    if selection.document_ids is not None:
        values["document_ids"] = list(selection.document_ids)
    if selection.filter is not None:
        values["path"] = write_path(selection.filter)
        values["page_path"] = write_path(selection.filter, for_pages=True)
        values["earliest_last_page"], values["latest_first_page"] = bound_pages(selection.filter)
    return values


def bound_pages(filter_: Filter) -> tuple[int, int]:
    """Return two pages. A passage that satisfies the filter ends at or after the first, and begins by the second."""
    if isinstance(filter_, Condition):
        return _bound_pages_of(filter_) if is_of_pages(filter_) else ANY_PAGE
    bounds = [bound_pages(part) for part in filter_.parts]
    ends, begins = zip(*bounds, strict=True)
    return (max(ends), min(begins)) if isinstance(filter_, AllOf) else (min(ends), max(begins))


def _bound_pages_of(condition: Condition) -> tuple[int, int]:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    numbers = [min(max(value, ANY_PAGE[0]), ANY_PAGE[1]) for value in values if isinstance(value, int)]
    match condition.op:
        case Operator.EQ | Operator.IN:
            return min(numbers), max(numbers)
        case Operator.GT | Operator.GTE:
            return numbers[0], ANY_PAGE[1]
        case Operator.LT | Operator.LTE:
            return ANY_PAGE[0], numbers[0]
        case _:
            return ANY_PAGE


def restrict(caller: Caller, selection: Selection) -> Selection:
    """Return what is selected of that which the caller may see."""
    bound_to = caller.collection_ids
    if bound_to is None:
        return selection
    named = selection.collection_ids
    return replace(selection, collection_ids=bound_to if named is None else bound_to.intersection(named))


def choose_documents(caller: Caller, selection: Selection) -> ColumnElement[bool]:
    """Return the condition that a document of the owner is selected. The filter has no condition on pages."""
    selection = restrict(caller, selection)
    shape = describe(selection)
    if shape is None:
        return true()
    chosen = _select(_DOCUMENTS, literal(caller.owner_id, Uuid), shape)
    return Document.id.in_(select(chosen.subquery().c.id).params(list_values(selection)))


def list_statements(owner: ColumnElement[UUID], shape: Shape) -> list[Select[UUID, int]]:
    """Return statements that select the ids of the chosen documents and notes, and their numbers of passages.

    If passages are judged one by one, there is a row for each membership, with what the filter judges.
    """
    kinds = [_DOCUMENTS] if shape.has_documents else [_DOCUMENTS, _NOTES]
    return [_select(kind, owner, shape) for kind in kinds]


def judge_pages(sources: FromClause, page: ColumnElement[int], page_end: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the condition that a passage of these pages satisfies the filter, for rows of `list_statements`.

    Comparing integers first saves most of the time if the filter keeps few pages.
    """
    can_match = and_(page <= LATEST_FIRST_PAGE, page_end >= EARLIEST_LAST_PAGE)
    return and_(can_match, _satisfies(func.jsonb_build_array(page, page_end), PAGE_PATH, sources.c.facts))


@dataclass(frozen=True)
class _Kind:
    """Where documents or notes are, their memberships, and what a filter judges."""

    model: type[Document | Note]
    members: type[CollectionDocument | CollectionNote]
    member_id: InstrumentedAttribute[UUID]
    metadata: InstrumentedAttribute[dict[str, Any]] | ColumnElement[Any]
    filename: InstrumentedAttribute[str]
    media_type: InstrumentedAttribute[str] | ColumnElement[str]


_DOCUMENTS = _Kind(
    Document,
    CollectionDocument,
    CollectionDocument.document_id,
    Document.metadata_,
    Document.filename,
    Document.media_type,
)
_NOTES = _Kind(Note, CollectionNote, CollectionNote.note_id, cast(literal("{}"), JSONB), Note.title, cast(null(), Text))


def _select(kind: _Kind, owner: ColumnElement[UUID], shape: Shape) -> Select[UUID, int]:
    model, members = kind.model, kind.members
    chosen = select(model.id, model.chunks).where(model.owner_id == owner)
    if shape.has_documents:
        chosen = chosen.where(model.id == func.any(DOCUMENTS))
    if shape.has_collections:
        of_collections = and_(members.owner_id == owner, members.collection_id == func.any(COLLECTIONS))
        chosen = chosen.join(members, and_(of_collections, kind.member_id == model.id))
    elif shape.judged != Judged.NOTHING:
        chosen = chosen.outerjoin(members, and_(members.owner_id == owner, kind.member_id == model.id))
    if shape.judged != Judged.NOTHING:
        chosen = chosen.where(_satisfies(kind.metadata, PATH, _build_facts(_describe(kind, shape))))
    if shape.judged == Judged.PASSAGES:
        facts = _build_facts({**_describe(kind, shape), "metadata": kind.metadata})
        return chosen.add_columns(facts.label("facts"))
    return chosen.distinct()


Column = InstrumentedAttribute[Any] | ColumnElement[Any]


def _describe(kind: _Kind, shape: Shape) -> dict[str, Column]:
    """Return what the variables of a path stand for."""
    facts: dict[str, Column] = {"attributes": func.coalesce(kind.members.attributes, cast(literal("{}"), JSONB))}
    if shape.has_fields:
        microseconds = cast(extract("epoch", kind.model.created_at) * 1_000_000, BigInteger)
        facts |= {"filename": kind.filename, "media_type": kind.media_type, "created_at": microseconds}
    return facts


def _build_facts(facts: Mapping[str, Column]) -> ColumnElement[Any]:
    return func.jsonb_build_object(*(part for pair in facts.items() for part in pair), type_=JSONB)


def _satisfies(judged: Column, path: ColumnElement[Any], facts: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.jsonb_path_exists(judged, path, facts, true())
