"""Candidate passages for a query, found by vector, by words and by titles, each with a limit.

The SQL functions that are called here are defined in migrations/versions/:

- `sluice_match_words` (0022): the chunks that match a text search query, with their ranks
- `sluice_match_chosen_words` (0029): the same, of some documents, notes or chunks
- `sluice_find_titles` (0021): the documents and notes whose titles a question names
"""

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Select,
    String,
    Subquery,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    not_,
    or_,
    select,
    table,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY, distinct_on

from pipeline.db import filters
from pipeline.db.embedding_models import is_active
from pipeline.db.filters import Judged, Shape
from pipeline.db.models import COLLECTIONS_SETTING, USER_SETTING, Chunk, SpokenLanguage, Vector, WordSample, WordShare
from pipeline.db.vector_type import HalfVector

BOUND_TO = bindparam("bound_to", type_=String)
OWNER = bindparam("owner", type_=Uuid)
MODEL = bindparam("model", type_=String)
QUESTION = bindparam("question", type_=String)
LANGUAGE = bindparam("language", type_=Text)

SOURCE = func.coalesce(Vector.document_id, Vector.note_id).label("source_id")
"""Document or note of a vector's chunk."""

_RELATIONS = table("pg_class", column("oid"), column("reltuples", Double))

Measured = Select[UUID, UUID, float]
"""Rows of a chunk's id, its document or note, and its distance to the question."""
Ranked = Select[UUID, float]
"""Rows of a chunk's id and its rank by words."""
Rows = TypeVar("Rows", Measured, Ranked)

UNKNOWN_SHARE = 0.5 / 2000
"""Assumed share of the chunks that contain a word that is not in the sample of 2,000."""
ASSUMED_CHUNKS = 50
"""Added to the number of the owner's chunks when words are weighed. In a few chunks, no word is known to be common."""


@dataclass(frozen=True)
class SearchBounds:
    """Limits on the work of one search. Tests and benchmarks change them; the service runs with these defaults."""

    exact_search_rows: int = 20_000
    """Number of an owner's chunks up to which every vector is compared. This is exact, and as fast as the index."""
    scan_rows: int = 5_000
    """Number of vectors that are compared in the time of an index scan, if all vectors are selected. If a tenth of them
    is selected, a scan takes ten times as long."""
    ef_search: int = 400
    """`hnsw.ef_search`: number of candidates that an index scan keeps at a time, if an owner has few of all vectors."""
    least_ef_search: int = 120
    """The same if an owner has many of all vectors. See `_widen`."""
    max_scan_tuples: int = 200_000
    """`hnsw.max_scan_tuples`: number of vectors after which an index scan stops looking for more."""
    vectors_read: int = 100
    """Most vectors that an index scan reads for fewer chunks. A scan that keeps `least_ef_search` candidates finds this
    number without going on."""
    max_matches: int = 200
    """Expected number of chunks that match by words. If all words matched more, the most frequent ones are left out."""
    max_ranked: int = 2_000
    """Number of matches that are ranked. If there are more than expected, the others are left out."""
    exact_words_rows: int = 2_000
    """Number of selected chunks up to which each is compared with the words, instead of searching the index of words.
    """
    named_titles: int = 3
    """Number of documents and notes, best first, whose passages are candidates because the question names the title."""


DEFAULT_BOUNDS = SearchBounds()


def act(bounds: SearchBounds) -> CTE:
    """Return the CTE `acting`, which acts for the owner if the model is the active one.

    It sets the user and the collections for row-level security, and bounds of index scans. A query that joins it runs
    after it. If the model is not active, `acting` is empty, and the statement finds nothing.
    """
    settings = {
        # In strict order, a scan drops whatever it finds too late, and goes on for long until it has enough.
        "hnsw.iterative_scan": literal("relaxed_order"),
        "hnsw.max_scan_tuples": literal(str(bounds.max_scan_tuples)),
    }
    return (
        select(
            cast(func.set_config(USER_SETTING, cast(OWNER, String), true()), Uuid).label("user_id"),
            func.set_config(COLLECTIONS_SETTING, BOUND_TO, true()).label("bound_to"),
            *(func.set_config(name, value, true()).label(name.split(".")[1]) for name, value in settings.items()),
        )
        .where(is_active(MODEL))
        .cte("acting")
        .prefix_with("MATERIALIZED")
    )


def count_chunks(acting: CTE, chosen: "Chosen | None") -> CTE:
    """Return the number of chunks to search: of those chosen, or of the owner's when their words were sampled last."""
    if chosen:
        counted = chosen.count()
    else:
        sampled = select(WordSample.chunks).where(WordSample.owner_id == acting.c.user_id)
        counted = select(func.coalesce(sampled.scalar_subquery(), 0).label("chunks")).select_from(acting)
    return counted.cte("size").prefix_with("MATERIALIZED")


def measure_distance(dimension: int | None) -> ColumnElement[float]:
    """Return the cosine distance to the question. With a dimension, an index for that dimension can be used."""
    of = HalfVector(dimension)
    embedding = Vector.embedding if dimension is None else cast(Vector.embedding, of)
    distance: ColumnElement[float] = embedding.cosine_distance(cast(bindparam("vector", type_=of), of))
    return distance.label("distance")


def belongs_to_owner(acting: CTE, table: type[Chunk] | type[Vector] = Chunk) -> ColumnElement[bool]:
    """Return the condition that a row of chunks or vectors belongs to the user for whom the statement acts."""
    return table.owner_id == acting.c.user_id


@dataclass(frozen=True)
class Chosen:
    """Documents and notes that are searched instead of all, or only some of their passages.

    It has few rows or many. So there are two conditions: `drives` to find rows by an index, `admits` to test rows.
    """

    sources: CTE
    """Ids of the documents and notes, perhaps several times, and their numbers of chunks."""
    passages: CTE | None
    """Ids of the chunks, if not all chunks of `sources` are searched."""

    @property
    def ids(self) -> ColumnElement[Any]:
        """The array of the ids of `sources` or `passages`."""
        return func.array(select(self._rows.c.id).scalar_subquery(), type_=ARRAY(Uuid))

    @property
    def _rows(self) -> CTE:
        return self.sources if self.passages is None else self.passages

    def count(self) -> Select[int]:
        """Select the number of chunks."""
        if self.passages is None:
            return select(func.coalesce(func.sum(self.sources.c.chunks), 0).label("chunks"))
        return select(func.count().label("chunks")).select_from(self.passages)

    def drives(self, table: type[Chunk] | type[Vector]) -> ColumnElement[bool]:
        """Return the condition that a row of chunks or vectors is chosen, by an index of the table."""
        ids = func.any(self.ids)
        if self.passages is None:
            return or_(table.document_id == ids, table.note_id == ids)
        return _get_chunk_id(table) == ids

    def admits(self, table: type[Chunk] | type[Vector]) -> ColumnElement[bool]:
        """Return the condition that a row is chosen, by a hash table. `coalesce` keeps PostgreSQL from joining."""
        key = func.coalesce(table.document_id, table.note_id) if self.passages is None else _get_chunk_id(table)
        return func.coalesce(key.in_(select(self._rows.c.id)), False)


def _get_chunk_id(table: type[Chunk] | type[Vector]) -> ColumnElement[UUID]:
    return Vector.chunk_id.expression if table is Vector else Chunk.id.expression


def choose(acting: CTE, shape: Shape) -> Chosen:
    """Return what a selection of this shape chooses.

    The offsets keep PostgreSQL from reading a row before `acting` has run.
    """
    begin = literal(0, Integer, literal_execute=True)
    rows = [one.offset(begin).lateral() for one in filters.list_statements(acting.c.user_id, shape)]
    found = [select(row).select_from(acting.join(row, true())) for row in rows]
    sources = (union_all(*found) if len(found) > 1 else found[0]).cte("sources").prefix_with("MATERIALIZED")
    if shape.judged != Judged.PASSAGES:
        return Chosen(sources, None)
    columns = (Chunk.document_id, Chunk.note_id)[: len(found)]
    passages = [
        select(Chunk.id)
        .where(
            belongs_to_owner(acting),
            of_source == sources.c.id,
            filters.judge_pages(sources, Chunk.page.expression, Chunk.page_end.expression),
        )
        .offset(begin)
        .lateral()
        for of_source in columns
    ]
    judged = [select(row.c.id).select_from(acting.join(sources, true()).join(row, true())) for row in passages]
    both = (union_all(*judged) if len(judged) > 1 else judged[0]).subquery("judged")
    return Chosen(sources, select(both.c.id).distinct().cte("passages").prefix_with("MATERIALIZED"))


@dataclass(frozen=True)
class Scope:
    """The chunks to search: those of the user for whom `acting` acts, or some of them."""

    acting: CTE
    size: CTE
    chosen: Chosen | None
    bounds: SearchBounds
    has_conditions: bool = False
    """True if the question has phrases that must match, or excluded words."""

    @property
    def chunks(self) -> ColumnElement[int]:
        """Number of the chunks: about, from `count_chunks`, or exactly, if only some are searched."""
        return select(self.size.c.chunks).scalar_subquery()

    def includes(self, table: type[Chunk] | type[Vector]) -> ColumnElement[bool]:
        """Return the condition that a row of chunks or vectors is in this scope, by an index of the table."""
        owned = belongs_to_owner(self.acting, table)
        return and_(owned, self.chosen.drives(table)) if self.chosen else owned

    def admits(self, table: type[Chunk] | type[Vector]) -> ColumnElement[bool]:
        """Return the condition that a row of the owner's is in this scope, for rows that are found in another way."""
        return self.chosen.admits(table) if self.chosen else true()


def find_by_vector(
    scope: Scope, number: ColumnElement[int], enough: ColumnElement[int], dimension: int | None
) -> Measured:
    """Select the nearest chunks: `enough` to `number`, or all if there are fewer than `enough`.

    They are found by index if the dimension has one and the owner has many chunks. An HNSW index filters after it has
    searched. If an owner has a small share of the table, it returns too few rows. So its result is used only if it has
    enough chunks. Otherwise every vector is compared. PostgreSQL runs only the branch it needs.
    """
    exact = _find_nearest(scope, number, enough)
    if dimension is None:
        return exact
    # A literal instead of a parameter: otherwise PostgreSQL does not recognize that the partial index applies.
    has_dimension = func.vector_dims(Vector.embedding) == literal(dimension, literal_execute=True)
    most = literal(scope.bounds.vectors_read, Integer, literal_execute=True)
    # A scan of a selection stops before it has seen the nearest vectors, if few are wanted.
    wanted = most if scope.chosen else func.least(_double(number), most, type_=Integer)
    rows = func.greatest(number, wanted, type_=Integer)
    widened = _widen(scope)
    can_be_read = and_(belongs_to_owner(widened, Vector), scope.admits(Vector), has_dimension)
    read = _read_nearest(widened, rows, dimension, can_be_read).subquery("read")
    indexed = _take_best(select(read).where(_is_large(scope)).subquery("indexed"), number)
    by_index = indexed.cte("by_index").prefix_with("MATERIALIZED")
    return _either(_count(by_index) >= enough, select(by_index), exact)


def _is_large(scope: Scope) -> ColumnElement[bool]:
    """Return the condition that a scan of the index is faster than comparing every vector.

    The scan takes the longer, the smaller the selection's share of all vectors is.
    """
    is_large = scope.chunks > literal(scope.bounds.exact_search_rows, Integer)
    if scope.chosen is None:
        return is_large
    scan_rows = (
        literal(scope.bounds.scan_rows, Integer) * _count_vectors() / func.greatest(scope.chunks, 1, type_=Double)
    )
    return and_(is_large, scope.chunks > scan_rows)


def _count_vectors() -> ColumnElement[float]:
    """Return about how many vectors the table has. Until it is analyzed for the first time, the number is negative."""
    return (
        select(_RELATIONS.c.reltuples)
        .where(_RELATIONS.c.oid == func.to_regclass(Vector.__tablename__))
        .scalar_subquery()
    )


def _widen(scope: Scope) -> CTE:
    """Return `acting` again, after the number of candidates of index scans is set.

    A scan of the index finds vectors of all owners. If the owner has a sixth of them or less, it keeps `ef_search`
    candidates, and the fewer the larger the owner's share is.
    """
    times_as_many = _count_vectors() / func.greatest(scope.chunks, 1, type_=Double)
    most, least = (literal(number, Integer) for number in (scope.bounds.ef_search, scope.bounds.least_ef_search))
    wanted = case((times_as_many > 0, func.least(most, func.greatest(least, most * times_as_many / 6))), else_=most)
    ef_search = func.set_config("hnsw.ef_search", cast(cast(wanted, Integer), String), true())
    return select(scope.acting.c.user_id, ef_search.label("ef_search")).cte("widened").prefix_with("MATERIALIZED")


def _find_nearest(scope: Scope, number: ColumnElement[int], enough: ColumnElement[int]) -> Measured:
    """Select the nearest chunks, `enough` to `number` or all, by comparing every vector.

    The nearest vectors are read first. All are read only if these belong to too few chunks.
    """
    rows = _double(number)
    nearest = _read_nearest(scope.acting, rows, None, scope.includes(Vector))
    read = select(nearest.subquery("read")).cte().prefix_with("MATERIALIZED")
    best = _take_best(read, number).cte().prefix_with("MATERIALIZED")
    is_complete = or_(_count(best) >= enough, _count(read) < rows)
    return _either(is_complete, select(best), _read_all(scope, number))


def _double(number: ColumnElement[int]) -> ColumnElement[int]:
    """Return the number of vectors to read for a number of chunks, because some chunks have several."""
    return number * literal(2, Integer, literal_execute=True)


def _read_nearest(
    acting: CTE, rows: ColumnElement[int], dimension: int | None, condition: ColumnElement[bool]
) -> Measured:
    """Select the chunks of the nearest vectors that meet a condition, one row a vector."""
    distance = measure_distance(dimension)
    nearest = (
        select(Vector.chunk_id.label("id"), SOURCE, distance)
        .where(condition, Vector.model == MODEL)
        .order_by(distance)
        .limit(rows)
        .lateral("nearest")
    )
    return select(nearest).select_from(acting.join(nearest, true()))


def _read_all(scope: Scope, number: ColumnElement[int]) -> Measured:
    """Select the `number` nearest chunks from all vectors.

    It sorts, because PostgreSQL makes the hash table of a group even if it does not run this branch.
    """
    distance = measure_distance(None)
    best = (
        select(Vector.chunk_id.label("id"), SOURCE, distance)
        .where(scope.includes(Vector), Vector.model == MODEL)
        .ext(distinct_on(Vector.chunk_id))
        .order_by(Vector.chunk_id, distance)
        .lateral("best")
    )
    return select(best).select_from(scope.acting.join(best, true())).order_by(best.c.distance).limit(number)


def take_best_windows(vectors: FromClause) -> Measured:
    """Select the chunks of these vectors, each once. The distance of a chunk is that of its best window."""
    source = func.any_value(vectors.c.source_id, type_=Uuid).label("source_id")
    distance = func.min(vectors.c.distance).label("distance")
    return select(vectors.c.id, source, distance).group_by(vectors.c.id)


def _take_best(vectors: FromClause, number: ColumnElement[int]) -> Measured:
    """Select the `number` nearest chunks of these vectors."""
    best = take_best_windows(vectors)
    return best.order_by(best.selected_columns.distance).limit(number)


def _count(rows: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(rows).scalar_subquery()


def _either(condition: ColumnElement[bool], chosen: Rows, otherwise: Rows) -> Rows:
    """Select the rows of one of two statements. PostgreSQL runs only this one."""
    first, second = chosen.subquery("first"), otherwise.subquery("second")
    both = union_all(select(first).where(condition), select(second).where(not_(condition)))
    return select(both.subquery("either"))


def measure(scope: Scope, found: CTE) -> Measured:
    """Select the chunks of `found` with the distances of their best windows, one by one.

    The limit in the lateral join keeps PostgreSQL from reading a row before `acting` has run.
    """
    distance = measure_distance(None)
    row = (
        select(Vector.chunk_id.label("id"), SOURCE, distance)
        .where(belongs_to_owner(scope.acting, Vector), Vector.chunk_id == found.c.id, Vector.model == MODEL)
        .order_by(distance)
        .limit(literal(1, Integer, literal_execute=True))
        .lateral("row")
    )
    return select(row).select_from(scope.acting.join(found, true()).join(row, true()))


def choose_words(scope: Scope, words: CTE) -> CTE:
    """Return text search queries: `every` matches any word of the question, `rare` leaves out frequent words.

    If the question has conditions, `rare` and `condition` match only passages that meet them.
    """
    chosen = _choose_by_shares(scope, words)
    asked = _add_conditions(scope, chosen.subquery("chosen")) if scope.has_conditions else chosen
    return asked.cte("asked").prefix_with("MATERIALIZED")


def _find_forms(scope: Scope, name: str, *columns: str) -> FromClause:
    """Return the forms of words or conditions in the languages of the owner's documents, from arrays of parameters."""
    types = {"number": Integer, "is_excluded": Boolean}
    arrays: list[ColumnElement[Any]] = [
        bindparam(f"{name}_{column}", type_=ARRAY(types.get(column, String))) for column in columns
    ]
    rows = func.unnest(*arrays).table_valued(*(column(one, types.get(one, String)) for one in columns))
    forms = rows.render_derived(name=name)
    spoken = select(cast(SpokenLanguage.language, Text)).where(SpokenLanguage.owner_id == scope.acting.c.user_id)
    languages = func.array_append(func.array(spoken.scalar_subquery()), LANGUAGE, type_=ARRAY(Text))
    is_spoken = func.string_to_array(forms.c.languages, " ", type_=ARRAY(Text)).overlap(languages)
    return select(forms).select_from(scope.acting.join(forms, is_spoken)).subquery(f"{name}_forms")


def find_words(scope: Scope) -> CTE:
    """Return each word of the question as a query for any of its forms, and the share of the chunks that have it."""
    forms = _find_forms(scope, "asked_words", "number", "lexeme", "query", "languages")
    of_word = and_(WordShare.owner_id == scope.acting.c.user_id, WordShare.word == forms.c.lexeme)
    share = func.coalesce(select(WordShare.share).where(of_word).scalar_subquery(), UNKNOWN_SHARE, type_=Double)
    form = select(forms, share.label("share")).select_from(scope.acting.join(forms, true())).subquery("form")
    return (
        select(
            _match_any(form.c.query).label("word"),
            func.max(form.c.share).label("share"),
            func.array_agg(cast(form.c.lexeme, Text)).label("lexemes"),
        )
        .group_by(form.c.number)
        .cte("words")
        .prefix_with("MATERIALIZED")
    )


def _match_any(queries: ColumnElement[str]) -> ColumnElement[str]:
    """Return the text search query, in parentheses, that matches what any of a group of queries matches."""
    return literal("(") + func.string_agg(queries, " | ") + literal(")")


def _choose_by_shares(scope: Scope, words: CTE) -> Select[str, str]:
    """Choose the rarest words, until `max_matches` chunks are expected to match. Without a sample, choose all.

    All are chosen, too, if there are fewer chunks, or if some are selected that can all be ranked.
    """
    few = scope.bounds.max_ranked if scope.chosen else scope.bounds.max_matches
    max_matches = literal(scope.bounds.max_matches, Integer)
    by_rarity = (words.c.share, words.c.word)
    expected = select(
        words.c.word,
        func.row_number().over(order_by=by_rarity).label("place"),
        (func.sum(words.c.share).over(order_by=by_rarity) * scope.chunks).label("matches"),
    ).subquery("expected")
    is_rare = or_(
        expected.c.place == 1,
        expected.c.matches <= max_matches,
        scope.chunks <= literal(few, Integer),
    )
    any_of = func.string_agg(expected.c.word, " | ")
    return select(cast(any_of, TSQUERY).label("every"), cast(any_of.filter(is_rare), TSQUERY).label("rare"))


def _add_conditions(scope: Scope, chosen: FromClause) -> Select[str, str, str, bool]:
    """Add the conditions to the query that must match. If a phrase must match, no other word has to."""
    forms = _find_forms(scope, "asked_conditions", "number", "is_excluded", "query", "languages")
    sign = case((forms.c.is_excluded, "!"), else_="")
    of_one = (
        select(forms.c.is_excluded, (sign + _match_any(forms.c.query)).label("query"))
        .group_by(forms.c.number, forms.c.is_excluded)
        .subquery("of_one")
    )
    all_of = select(
        cast(func.string_agg(of_one.c.query, " & "), TSQUERY).label("condition"),
        func.bool_and(of_one.c.is_excluded).label("only_excludes"),
    ).subquery("all_of")
    both = func.tsquery_and(chosen.c.rare, all_of.c.condition)
    rare = case((all_of.c.condition.is_(None), chosen.c.rare), (all_of.c.only_excludes, both), else_=all_of.c.condition)
    columns = (chosen.c.every, rare.label("rare"), all_of.c.condition, all_of.c.only_excludes)
    return select(*columns).select_from(chosen.join(all_of, true()))


def match_words(scope: Scope, asked: CTE, enough: ColumnElement[int]) -> CTE:
    """Return the ids of the chunks that match the rare words of the question, and their ranks by all words.

    The rare words may be missing in a selection that has the others. So, if fewer than `enough` chunks of it match,
    those that match any of the words are returned instead.
    """
    if scope.chosen is None:
        return _match(asked, asked.c.rare, scope).cte("matches").prefix_with("MATERIALIZED")
    found = _match_chosen(scope, scope.chosen, asked, asked.c.rare).cte("rare_matches").prefix_with("MATERIALIZED")
    rare: Ranked = select(found)
    any_word: ColumnElement[Any] = asked.c.every
    if scope.has_conditions:
        both = func.tsquery_and(asked.c.every, asked.c.condition)
        any_word = case((asked.c.condition.is_(None), asked.c.every), (asked.c.only_excludes, both), else_=asked.c.rare)
    every = _match_chosen(scope, scope.chosen, asked, any_word)
    return _either(_count(found) >= enough, rare, every).cte("matches").prefix_with("MATERIALIZED")


def _match(asked: CTE, query: ColumnElement[str], scope: Scope) -> Ranked:
    """Select the chunks of the owner that match a text search query, and their ranks, by the index of words."""
    limit = literal(scope.bounds.max_ranked, Integer)
    if scope.chosen:
        of_passages = literal(scope.chosen.passages is not None, Boolean)
        call = func.sluice_match_chosen_words(query, asked.c.every, limit, scope.chosen.ids, of_passages)
    else:
        call = func.sluice_match_words(query, asked.c.every, limit)
    found = call.table_valued(column("id", Uuid), column("rank", Double)).lateral("found")
    return select(found.c.id, found.c.rank).select_from(asked.join(found, true()))


def _match_chosen(scope: Scope, chosen: Chosen, asked: CTE, query: ColumnElement[str]) -> Ranked:
    """Select the chunks of a selection that match: by reading all of them if they are few, otherwise by index."""
    row = (
        select(Chunk.id, _rank(asked).label("rank"))
        .where(belongs_to_owner(scope.acting), chosen.drives(Chunk), Chunk.lexemes.bool_op("@@")(query))
        # Without an offset, PostgreSQL could read rows before `acting` has run.
        .offset(literal(0, Integer, literal_execute=True))
        .lateral("row")
    )
    read = select(row.c.id, row.c.rank).select_from(scope.acting.join(asked, true()).join(row, true()))
    is_small = scope.chunks <= literal(scope.bounds.exact_words_rows, Integer)
    return _either(is_small, read, _match(asked, query, scope))


def _rank(asked: CTE) -> ColumnElement[float]:
    """Return the rank of a chunk by all words of the question, relative to its length."""
    for_its_length = literal(1, Integer)
    return func.ts_rank(Chunk.lexemes, asked.c.every, for_its_length, type_=Double)


def find_by_words(matches: CTE, number: ColumnElement[int]) -> Select[UUID]:
    """Select the ids of the `number` matches with the highest ranks."""
    return select(matches.c.id).order_by(matches.c.rank.desc(), matches.c.id).limit(number)


def read_best(scope: Scope, matches: CTE, number: ColumnElement[int]) -> CTE:
    """Return the `number` matches with the highest ranks, with their lexemes."""
    best = find_by_words(matches, number).add_columns(matches.c.rank).subquery("best")
    row = (
        select(func.strip(Chunk.lexemes).label("lexemes"))
        .where(belongs_to_owner(scope.acting), Chunk.id == best.c.id)
        .limit(literal(1, Integer, literal_execute=True))
        .lateral("row")
    )
    return (
        select(best.c.id, best.c.rank, row.c.lexemes)
        .select_from(scope.acting.join(best, true()).join(row, true()))
        .cte("measured")
        .prefix_with("MATERIALIZED")
    )


def read_words(scope: Scope, words: CTE, asked: CTE, matches: CTE, found: Subquery) -> CTE:
    """Return the candidates of `found`: page, lexemes, rank by all words of the question, and named share of headings.

    Candidates that do not meet the conditions of the question are left out.
    The limit in the lateral join keeps PostgreSQL from reading a row before `acting` has run.
    """
    rank = func.coalesce(matches.c.rank, _rank(asked), 0.0, type_=Double)
    is_met = func.coalesce(Chunk.lexemes.bool_op("@@")(asked.c.condition), True) if scope.has_conditions else true()
    row = (
        select(
            Chunk.page,
            func.strip(Chunk.lexemes).label("lexemes"),
            rank.label("words"),
            _cover_headings(words).label("heading"),
        )
        .where(belongs_to_owner(scope.acting), Chunk.id == found.c.id, is_met)
        .limit(literal(1, Integer, literal_execute=True))
        .lateral("row")
    )
    similarity = (1.0 - found.c.distance).label("similarity")
    return (
        select(found.c.id, found.c.source_id, similarity, row.c.page, row.c.lexemes, row.c.words, row.c.heading)
        .select_from(
            scope.acting.join(found, true())
            .join(asked, true())
            .outerjoin(matches, matches.c.id == found.c.id)
            .join(row, true())
        )
        .cte("measured")
        .prefix_with("MATERIALIZED")
    )


def _cover_headings(words: CTE) -> ColumnElement[float]:
    """Return the weighted share of the words in a page's headings that the question names."""
    names = func.array(select(func.unnest(words.c.lexemes)).scalar_subquery(), type_=ARRAY(Text))
    columns = (column("word", Text), column("weight", Double))
    heading = func.unnest(Chunk.heading_words, Chunk.heading_weights).table_valued(*columns).render_derived("heading")
    named = func.sum(heading.c.weight).filter(heading.c.word == func.any(names))
    share = select(named / func.sum(heading.c.weight)).select_from(heading).correlate(Chunk).scalar_subquery()
    return case((Chunk.heading_words.overlap(names), share), else_=0.0)


def cover_words(scope: Scope, words: CTE, measured: CTE) -> Subquery:
    """Select the chunks of `measured` that have words of the question, with the shares of the question that they cover.

    Rare words count more, as in inverse document frequency (Sparck Jones, 1972): for `share`, words that fewer of these
    chunks have; for `covered`, words that fewer of the owner's chunks have. So `covered` does not depend on the other
    candidates.
    """
    sought = (
        select(
            words.c.word.label("name"),
            cast(words.c.word, TSQUERY).label("word"),
            func.ln(1 + (scope.chunks + ASSUMED_CHUNKS) / (1 + words.c.share * scope.chunks), type_=Double).label(
                "rarity"
            ),
        )
        .cte("sought")
        .prefix_with("MATERIALIZED")
    )
    had = (
        select(measured.c.id, sought.c.name)
        .select_from(measured.join(sought, measured.c.lexemes.bool_op("@@")(sought.c.word)))
        .cte("had")
        .prefix_with("MATERIALIZED")
    )
    counted = select(had.c.name, func.count(type_=Double).label("chunks")).group_by(had.c.name).subquery("counted")
    all_chunks = select(func.count()).select_from(measured).scalar_subquery()
    weighed = (
        select(
            sought.c.name,
            sought.c.rarity,
            func.ln(1 + all_chunks / func.coalesce(counted.c.chunks, 1.0, type_=Double), type_=Double).label("weight"),
        )
        .select_from(sought.outerjoin(counted, counted.c.name == sought.c.name))
        .cte("weighed")
        .prefix_with("MATERIALIZED")
    )
    whole, rarity = (select(func.sum(column)).scalar_subquery() for column in (weighed.c.weight, weighed.c.rarity))
    share, covered = func.sum(weighed.c.weight) / whole, func.sum(weighed.c.rarity) / rarity
    return (
        select(had.c.id, share.label("share"), covered.label("covered"))
        .join(weighed, weighed.c.name == had.c.name)
        .group_by(had.c.id)
        .subquery("covered")
    )


def name_titles(scope: Scope) -> CTE:
    """Return the documents and notes whose titles the question names, and the named share of each title."""
    columns = (column("source_id", Uuid), column("cover", Double))
    named = func.sluice_find_titles(QUESTION).table_valued(*columns).lateral("found")
    found = select(named.c.source_id, named.c.cover).select_from(scope.acting.join(named, true()))
    if scope.chosen:
        found = found.where(named.c.source_id.in_(select(scope.chosen.sources.c.id)))
    return found.cte("named").prefix_with("MATERIALIZED")


def find_by_title(scope: Scope, named: CTE, number: ColumnElement[int]) -> Measured:
    """Select the chunks of the `number` nearest vectors of documents and notes whose titles the question names best.

    A chunk has one row for each of these vectors.
    """
    best = (
        select(named.c.source_id)
        .order_by(named.c.cover.desc(), named.c.source_id)
        .limit(literal(scope.bounds.named_titles, Integer, literal_execute=True))
        .cte("best_named")
        .prefix_with("MATERIALIZED")
    )
    sources = func.array(select(best.c.source_id).scalar_subquery(), type_=ARRAY(Uuid))
    is_named = or_(Vector.document_id == func.any(sources), Vector.note_id == func.any(sources))
    can_be_read = and_(belongs_to_owner(scope.acting, Vector), is_named, scope.admits(Vector))
    return _read_nearest(scope.acting, number, None, can_be_read)
