"""Search for passages. One statement, and so one round trip, acts for the owner, searches and audits."""

from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import numpy as np
from sqlalchemy import (
    CTE,
    Double,
    Integer,
    Select,
    String,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline.db import candidates, relevance
from pipeline.db.audit import Event
from pipeline.db.candidates import DEFAULT_BOUNDS, OWNER, Scope, SearchBounds
from pipeline.db.direct import DirectConnection
from pipeline.db.filters import Shape, describe, list_values
from pipeline.db.models import INDEXED_DIMENSIONS, AuditLog, Chunk, Document, Note
from pipeline.db.session import write_collections
from pipeline.errors import DimensionChanged
from pipeline.stages.cosine_scale import PACKAGED_SCALE, CosineScale
from pipeline.stages.words.question import Question, parse
from pipeline.types import EVERYTHING, Passage, PassageDetails, SearchMode, Selection, SubjectKind, new_id

CANDIDATES = 100
"""Maximum number of candidates of each kind: by vector, by words, and by titles."""
MINIMUM_SPREAD = 0.3
"""Smallest range of cosines that is stretched to a full point. Smaller differences mean little."""
WORDS = 2.0
"""Most that words add to a score."""
HEADINGS = 1.25
"""Most that the headings of a page add to the scores of its passages."""
PAGE_LOSS = 0.5
"""What a passage loses if another one of its page has a higher score."""

OTHER_DIMENSION = (
    "The embedding model makes vectors of another dimension than the stored ones. Ask your operator. "
    "Searches with the mode `keyword` work meanwhile."
)

AnySelect = Select[*tuple[Any, ...]]
Scored = Select[UUID, float, float | None, float | None, float | None]
"""Rows of a chunk's id, a number that orders the chunks, its cosine, and the shares of the question's words and of the
title that are covered. A search that does not use a number has NULL for it."""

UNUSED = cast(null(), Double)
"""In place of a number that a mode of search does not use."""
# A literal: for a parameter, PostgreSQL would assume a tenth of the rows, reject its cached plan and plan every time.
LIMIT = bindparam("limit", type_=Integer, literal_execute=True)
AT_LEAST_TWO = func.greatest(LIMIT, literal(2, Integer, literal_execute=True), type_=Integer)
"""The score of the first passage depends on its lead over the second, whether this one is returned or not."""

PASSAGE = (
    Chunk.document_id,
    Chunk.note_id,
    Chunk.page,
    Chunk.page_end,
    Chunk.start,
    Chunk.end,
    Chunk.text,
)


@dataclass(frozen=True)
class PassageQuery:
    """A query: the owner, the text to search for, and the number of passages to return."""

    owner_id: UUID
    mode: SearchMode
    text: str
    vector: np.ndarray | None
    """Unit vector of the text. None if the mode is KEYWORD."""
    model: str
    limit: int
    depth: int = 0
    """Number of passages to read if it is larger than `limit`, so that a reranker can choose from them."""
    language: str = "english"
    """Language in which words are always asked for, in addition to the languages of the owner's documents."""
    selection: Selection = EVERYTHING
    """What to search."""
    bound_to: frozenset[UUID] | None = None
    """Collections to which the caller is bound, for row-level security. None if it is not bound."""
    bounds: SearchBounds = DEFAULT_BOUNDS
    min_score: float = 0.0
    """Lowest score of a passage to return."""
    has_details: bool = False
    """Whether passages say what their scores are made of."""
    scale: CosineScale = PACKAGED_SCALE
    """Scale of the cosines of the model."""


async def find_passages(
    connection: DirectConnection, query: PassageQuery, audited: dict[str, Any] | None = None
) -> list[Passage]:
    """Return the owner's best passages for a query, best first.

    A search by vectors returns `limit` passages, or `depth` if that is more, or all if there are fewer. If another
    model has become active since the query was embedded, the result is empty and nothing is audited. With `audited`,
    the same statement writes an audit row with these details and the number of passages, at most `limit`. Raises
    DimensionChanged if a stored vector has another dimension than that of the query.
    """
    question = Question()
    values: dict[str, Any] = {
        "owner": query.owner_id,
        "bound_to": write_collections(query.bound_to),
        "model": query.model,
        "limit": max(query.limit, query.depth),
    }
    values |= {"min_score": query.min_score, "cosine_factor": query.scale.factor, "cosine_offset": query.scale.offset}
    if query.mode != SearchMode.KEYWORD:
        values["vector"] = query.vector
    if query.mode != SearchMode.VECTOR:
        question = parse(query.text)
        values |= {"question": question.text, "language": query.language, **_list_forms(question)}
    values |= list_values(query.selection)
    if audited is not None:
        values |= {"audit_id": new_id(), "event": Event.QUERY, "details": audited, "returned": query.limit}
    dimension = query.vector.size if query.vector is not None and query.vector.size in INDEXED_DIMENSIONS else None
    statement = _build(
        query.mode,
        dimension,
        query.bounds,
        shape=describe(query.selection),
        has_conditions=bool(question.conditions),
        is_audited=audited is not None,
    )
    try:
        rows = await connection.execute(statement, values)
    except asyncpg.DataError as error:
        if "dimensions" not in str(error):
            raise
        raise DimensionChanged(OTHER_DIMENSION) from error
    return [
        Passage(
            id=row.id,
            source=SubjectKind.DOCUMENT if row.document_id else SubjectKind.NOTE,
            document_id=row.document_id,
            note_id=row.note_id,
            title=row.name,
            page=row.page,
            page_end=row.page_end,
            start=row.start,
            end=row.end,
            text=row.text,
            score=row.score,
            details=PassageDetails(row.cosine, row.words, row.title) if query.has_details else msgspec.UNSET,
        )
        for row in rows
    ]


def _list_forms(question: Question) -> dict[str, list[Any]]:
    """Return the words and conditions as arrays, one for each column that `candidates.choose_words` reads."""
    words = question.words
    values: dict[str, list[Any]] = {
        "asked_words_number": [form.number for form in words],
        "asked_words_lexeme": [form.lexeme for form in words],
        "asked_words_query": [form.query for form in words],
        "asked_words_languages": [form.languages for form in words],
    }
    forms = [(form, condition.is_excluded) for condition in question.conditions for form in condition.forms]
    return values | {
        "asked_conditions_number": [form.number for form, _ in forms],
        "asked_conditions_is_excluded": [is_excluded for _, is_excluded in forms],
        "asked_conditions_query": [form.query for form, _ in forms],
        "asked_conditions_languages": [form.languages for form, _ in forms],
    }


@cache
def _build(
    mode: SearchMode,
    dimension: int | None,
    bounds: SearchBounds,
    *,
    shape: Shape | None,
    has_conditions: bool,
    is_audited: bool,
) -> AnySelect:
    """Build the statement: candidates with their scores, the best of them, and only then their texts and titles."""
    acting = candidates.act(bounds)
    chosen = candidates.choose(acting, shape) if shape else None
    scope = Scope(acting, candidates.count_chunks(acting, chosen), chosen, bounds, has_conditions)
    match mode:
        case SearchMode.VECTOR:
            scored = _score_by_vector(scope, dimension)
        case SearchMode.KEYWORD:
            scored = _score_by_words(scope)
        case SearchMode.HYBRID:
            scored = _score_by_all(scope, dimension)
    ranked = scored.subquery("ranked")
    best_first = (ranked.c.rank.desc(), ranked.c.id)
    place = func.row_number().over(order_by=best_first).label("place")
    following = func.lead(ranked.c.rank).over(order_by=best_first).label("next")
    passages = relevance.rate(mode, select(ranked, place, following).order_by(place).limit(LIMIT).subquery("best"))
    statement = _read(scope, passages)
    return statement.add_cte(_audit(acting, passages)) if is_audited else statement


def _score_by_vector(scope: Scope, dimension: int | None) -> Scored:
    found = candidates.find_by_vector(scope, AT_LEAST_TWO, AT_LEAST_TWO, dimension).subquery("found")
    cosine = 1.0 - found.c.distance
    return select(
        found.c.id, cosine.label("rank"), cosine.label("cosine"), UNUSED.label("words"), UNUSED.label("title")
    )


def _score_by_words(scope: Scope) -> Scored:
    words = candidates.find_words(scope)
    matches = candidates.match_words(scope, candidates.choose_words(scope, words), AT_LEAST_TWO)
    best = candidates.read_best(scope, matches, AT_LEAST_TWO)
    covered = candidates.cover_words(scope, words, best)
    columns = UNUSED.label("cosine"), covered.c.covered.label("words"), UNUSED.label("title")
    rank = best.c.rank / func.nullif(func.max(best.c.rank).over(), 0.0, type_=Double)
    return select(best.c.id, rank.label("rank"), *columns).select_from(
        best.outerjoin(covered, covered.c.id == best.c.id)
    )


def _score_by_all(scope: Scope, dimension: int | None) -> Scored:
    """Score by the sum of four numbers: cosine, words, and the shares of the title and of headings that are named.

    Cosine and words are scaled to the range of the candidates. The number for words is multiplied by the share of the
    question's words that the passage has, so that words count less if no passage covers the question. Reciprocal rank
    fusion uses ranks alone, and would lose the certainty of each kind of search.
    """
    number = literal(CANDIDATES, Integer, literal_execute=True)
    asked_words = candidates.find_words(scope)
    asked, named = candidates.choose_words(scope, asked_words), candidates.name_titles(scope)
    matches = candidates.match_words(scope, asked, LIMIT)
    pool = union_all(
        candidates.find_by_vector(scope, number, LIMIT, dimension),
        candidates.find_by_title(scope, named, number),
    ).subquery("pool")
    near = candidates.take_best_windows(pool).cte("near").prefix_with("MATERIALIZED")
    worded = candidates.find_by_words(matches, number).subquery("worded")
    far = select(worded.c.id).where(worded.c.id.not_in(select(near.c.id))).cte("far").prefix_with("MATERIALIZED")
    found = union_all(select(near), candidates.measure(scope, far)).subquery("found")
    measured = candidates.read_words(scope, asked_words, asked, matches, found)
    covered = candidates.cover_words(scope, asked_words, measured)
    similarity, words = measured.c.similarity, measured.c.words
    lowest, highest = func.min(similarity).over(), func.max(similarity).over()
    by_vector = (similarity - lowest) / func.greatest(highest - lowest, MINIMUM_SPREAD, type_=Double)
    by_words = words / func.nullif(func.max(words).over(), 0.0, type_=Double) * covered.c.share
    by_title = func.coalesce(named.c.cover, 0.0)
    # A heading counts less in a document whose title is named worse than that of another candidate.
    by_heading = measured.c.heading * func.coalesce(by_title / func.nullif(func.max(named.c.cover).over(), 0.0), 1.0)
    rank = by_vector + WORDS * func.coalesce(by_words, 0.0) + by_title + HEADINGS * by_heading
    return _put_pages_first(
        select(
            measured.c.id,
            measured.c.source_id,
            measured.c.page,
            rank.label("rank"),
            similarity.label("cosine"),
            func.coalesce(covered.c.covered, 0.0).label("words"),
            by_title.label("title"),
        ).select_from(
            measured.outerjoin(covered, covered.c.id == measured.c.id).outerjoin(
                named, named.c.source_id == measured.c.source_id
            )
        )
    )


def _put_pages_first(scored: Select[UUID, UUID, int, float, float, float, float]) -> Scored:
    """Lower the rank of each passage that is not the best of its page, in documents of several pages.

    Neighbours on a page are alike, and one of them is usually enough to find it.
    """
    whole = scored.subquery("whole")
    best_first = (whole.c.rank.desc(), whole.c.id)
    place = func.row_number().over(partition_by=(whole.c.source_id, whole.c.page), order_by=best_first)
    last_page = func.max(whole.c.page).over(partition_by=whole.c.source_id)
    loss = case((and_(place > 1, last_page > 1), PAGE_LOSS), else_=0.0)
    return select(whole.c.id, (whole.c.rank - loss).label("rank"), whole.c.cosine, whole.c.words, whole.c.title)


def _read(scope: Scope, passages: CTE) -> AnySelect:
    """Select the passages with their texts and titles.

    The limit in the lateral join keeps PostgreSQL from reading a row before `acting` has run.
    """
    condition = and_(candidates.belongs_to_owner(scope.acting), Chunk.id == passages.c.id)
    row = select(*PASSAGE).where(condition).limit(literal(1, Integer, literal_execute=True)).lateral("row")
    filename = select(Document.filename).where(Document.owner_id == OWNER, Document.id == row.c.document_id)
    title = select(Note.title).where(Note.owner_id == OWNER, Note.id == row.c.note_id)
    named = func.coalesce(filename.scalar_subquery(), title.scalar_subquery()).label("name")
    return (
        select(passages, row, named)
        .select_from(scope.acting.join(passages, true()).join(row, true()))
        .order_by(passages.c.place)
    )


def _audit(acting: CTE, passages: CTE) -> CTE:
    found = select(func.count()).select_from(passages).scalar_subquery()
    returned = func.least(found, bindparam("returned", type_=Integer))
    details = cast(bindparam("details", type_=JSONB), JSONB) + func.jsonb_build_object("passages", returned)
    return (
        insert(AuditLog)
        .from_select(
            ["id", "actor_user_id", "event_type", "details"],
            select(bindparam("audit_id", type_=Uuid), acting.c.user_id, bindparam("event", type_=String), details),
        )
        .cte("audit")
    )
