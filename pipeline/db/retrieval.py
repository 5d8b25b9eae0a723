"""Search for passages. One statement, and so one round trip, acts for the owner, searches and audits."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import (
    CTE,
    Double,
    Integer,
    Label,
    Select,
    String,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline.db import candidates
from pipeline.db.audit import Event
from pipeline.db.candidates import DEFAULT_BOUNDS, OWNER, Scope, SearchBounds
from pipeline.db.direct import DirectConnection
from pipeline.db.models import INDEXED_DIMENSIONS, AuditLog, Chunk, Document, Note
from pipeline.types import Passage, SearchMode, SubjectKind, new_id

CANDIDATES = 100
"""Maximum number of candidates of each kind: by vector, by words, and by titles."""
MINIMUM_SPREAD = 0.3
"""Smallest range of cosines that is stretched to a full point. Smaller differences mean little."""

AnySelect = Select[*tuple[Any, ...]]

# A literal: for a parameter, PostgreSQL would assume a tenth of the rows, reject its cached plan and plan every time.
LIMIT = bindparam("limit", type_=Integer, literal_execute=True)

PASSAGE = (
    Chunk.id,
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
    configuration: str = "english"
    """Text search configuration that stems the words of the text."""
    document_ids: Collection[UUID] | None = None
    """Documents to search. None searches all documents and notes."""
    bounds: SearchBounds = DEFAULT_BOUNDS


async def find_passages(
    connection: DirectConnection, query: PassageQuery, audited: dict[str, Any] | None = None
) -> list[Passage]:
    """Return the owner's best passages for a query, best first.

    A search by vectors returns `limit` passages, or all if there are fewer. If another model has become active since
    the query was embedded, the result is empty and nothing is audited. With `audited`, the same statement writes an
    audit row with these details and the number of passages.
    """
    values: dict[str, Any] = {"owner": query.owner_id, "model": query.model, "limit": query.limit}
    if query.mode != SearchMode.KEYWORD:
        values["vector"] = query.vector
    if query.mode != SearchMode.VECTOR:
        values |= {"question": query.text, "configuration": query.configuration}
    if query.document_ids is not None:
        values["document_ids"] = list(query.document_ids)
    if audited is not None:
        values |= {"audit_id": new_id(), "event": Event.QUERY, "details": audited}
    dimension = query.vector.size if query.vector is not None and query.vector.size in INDEXED_DIMENSIONS else None
    statement = _build(
        query.mode,
        dimension,
        query.bounds,
        of_documents=query.document_ids is not None,
        is_audited=audited is not None,
    )
    rows = await connection.execute(statement, values)
    return [
        Passage(
            source=SubjectKind.DOCUMENT if row.document_id else SubjectKind.NOTE,
            document_id=row.document_id,
            note_id=row.note_id,
            title=row.title,
            page=row.page,
            page_end=row.page_end,
            start=row.start,
            end=row.end,
            text=row.text,
            score=row.score,
        )
        for row in rows
    ]


@cache
def _build(
    mode: SearchMode, dimension: int | None, bounds: SearchBounds, *, of_documents: bool, is_audited: bool
) -> AnySelect:
    """Build the statement: ids of candidates, their scores, the best of them, and the titles of the best."""
    scope = Scope(candidates.act(bounds), of_documents, bounds)
    match mode:
        case SearchMode.VECTOR:
            scored = _score_by_vector(scope, dimension)
        case SearchMode.KEYWORD:
            scored = _score_by_words(scope)
        case SearchMode.HYBRID:
            scored = _score_by_all(scope, dimension)
    ranked = scored.subquery("scored")
    best = (
        select(ranked).order_by(ranked.c.score.desc(), ranked.c.id).limit(LIMIT).cte("best").prefix_with("MATERIALIZED")
    )
    filename = select(Document.filename).where(Document.owner_id == OWNER, Document.id == best.c.document_id)
    title = select(Note.title).where(Note.owner_id == OWNER, Note.id == best.c.note_id)
    named = func.coalesce(filename.scalar_subquery(), title.scalar_subquery()).label("title")
    statement = select(best, named).order_by(best.c.score.desc(), best.c.id)
    return statement.add_cte(_audit(scope.acting, best)) if is_audited else statement


def _score_by_vector(scope: Scope, dimension: int | None) -> AnySelect:
    found = candidates.find_by_vector(scope, LIMIT, dimension).cte("candidates")
    return _read(scope, found, (1.0 - candidates.measure_distance(None)).label("score"))


def _score_by_words(scope: Scope) -> AnySelect:
    asked = candidates.choose_words(scope)
    found = candidates.find_by_words(scope, asked, literal(CANDIDATES, Integer)).cte("candidates")
    return _read(scope, found, candidates.rank_by_words(asked).label("score"))


def _score_by_all(scope: Scope, dimension: int | None) -> AnySelect:
    """Score by the sum of three numbers from 0 to 1: cosine, words, and the share of the title that the query names.

    Cosine and words are scaled to the range of the candidates. The number for words is squared, so that a passage that
    stands out gains more than one of many. Reciprocal rank fusion uses ranks alone, and would lose the certainty of
    each kind of search.
    """
    number = literal(CANDIDATES, Integer)
    asked, named = candidates.choose_words(scope), candidates.name_titles(scope)
    found = union(
        candidates.find_by_vector(scope, number, dimension),
        candidates.find_by_words(scope, asked, number),
        candidates.find_by_title(scope, named, number),
    ).cte("candidates")
    measured = _read(
        scope,
        found,
        (1.0 - candidates.measure_distance(None)).label("similarity"),
        candidates.rank_by_words(asked).label("words"),
    ).subquery("measured")
    source = func.coalesce(measured.c.document_id, measured.c.note_id)
    similarity, words = measured.c.similarity, measured.c.words
    lowest, highest = func.min(similarity).over(), func.max(similarity).over()
    by_vector = (similarity - lowest) / func.greatest(highest - lowest, MINIMUM_SPREAD, type_=Double)
    by_words = func.coalesce(words / func.nullif(func.max(words).over(), 0.0, type_=Double), 0.0)
    by_title = func.coalesce(named.c.cover, 0.0)
    score = by_vector + func.power(by_words, 2.0) + by_title
    return select(*(measured.c[column.name] for column in PASSAGE), score.label("score")).select_from(
        measured.outerjoin(named, named.c.source_id == source)
    )


def _read(scope: Scope, found: CTE, *scores: Label[float]) -> AnySelect:
    """Select the candidates' rows and scores.

    The limit in the lateral join keeps PostgreSQL from reading a row before `acting` has run.
    """
    condition = and_(candidates.belongs_to_owner(scope.acting), Chunk.id == found.c.id)
    row = select(*PASSAGE, *scores).where(condition).limit(literal(1, Integer)).lateral("row")
    return select(row).select_from(scope.acting.join(found, true()).join(row, true()))


def _audit(acting: CTE, best: CTE) -> CTE:
    passages = select(func.count()).select_from(best).scalar_subquery()
    details = cast(bindparam("details", type_=JSONB), JSONB) + func.jsonb_build_object("passages", passages)
    return (
        insert(AuditLog)
        .from_select(
            ["id", "actor_user_id", "event_type", "details"],
            select(bindparam("audit_id", type_=Uuid), acting.c.user_id, bindparam("event", type_=String), details),
        )
        .cte("audit")
    )
