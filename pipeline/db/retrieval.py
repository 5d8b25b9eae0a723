"""Finding passages: one statement, and so one round trip, that acts for the owner, searches and audits."""

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
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.db import candidates
from pipeline.db.audit import Event
from pipeline.db.candidates import OWNER, Scope
from pipeline.db.models import INDEXED_DIMENSIONS, AuditLog, Chunk, Document, Note
from pipeline.types import Passage, SearchMode, SubjectKind, new_id

CANDIDATES = 100
"""So many of each kind are compared with one another."""
LEAST_SPREAD = 0.3
"""Cosines of candidates that differ by less say little: they are not stretched to a full point."""

AnySelect = Select[*tuple[Any, ...]]

# A literal: PostgreSQL would think of a tenth of the rows, and so of plans that it does not keep, where it is not told.
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
    """Whose passages, that answer what, and how many."""

    owner_id: UUID
    mode: SearchMode
    text: str
    vector: np.ndarray | None
    """Unit vector; None only where words alone are searched."""
    model: str
    limit: int
    configuration: str = "english"
    """How PostgreSQL cuts and stems the question's words."""
    document_ids: Collection[UUID] | None = None
    """Of these documents only; None: of all documents and notes."""


async def find_passages(
    connection: AsyncConnection, query: PassageQuery, audited: dict[str, Any] | None = None
) -> list[Passage]:
    """The owner's passages that answer best, best first; by vectors `limit` of them if there are as many.

    None at all, and nothing audited, where another model answers by now: it takes over in one step for everybody.
    With `audited` an audit row with these details, and the number of passages, is written by the same statement.
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
        query.mode, dimension, of_documents=query.document_ids is not None, is_audited=audited is not None
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
def _build(mode: SearchMode, dimension: int | None, *, of_documents: bool, is_audited: bool) -> AnySelect:
    """Put the statement together: ids of candidates, their scores, the best of them, and these with their titles."""
    scope = Scope(candidates.act(), of_documents)
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
    """Sum of three scores from 0 to 1: cosine and words within the candidates, and share of the title.

    Words count by their square: to stand out is worth more than to be one of many. Positions alone, as in
    reciprocal rank fusion, would not say how sure each side is.
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
    similarity, words, cover = measured.c.similarity, measured.c.words, func.coalesce(named.c.cover, 0.0)
    least, most = func.min(similarity).over(), func.max(similarity).over()
    closeness = (similarity - least) / func.greatest(most - least, LEAST_SPREAD, type_=Double)
    wordiness = func.coalesce(words / func.nullif(func.max(words).over(), 0.0, type_=Double), 0.0)
    score = closeness + func.power(wordiness, 2.0) + cover
    return select(*(measured.c[column.name] for column in PASSAGE), score.label("score")).select_from(
        measured.outerjoin(named, named.c.source_id == source)
    )


def _read(scope: Scope, found: CTE, *scores: Label[float]) -> AnySelect:
    """The candidates' rows and scores. Row by row: nothing may be read before `acting`, and a limit sees to that."""
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
