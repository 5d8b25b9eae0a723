"""Move vectors into a narrow table of their own. A chunk then is one row, whatever models it has vectors of.
Revision: 0022, after: 0021

Vectors are copied in batches, each in a transaction of its own. If the migration is interrupted, it goes on with those
that are not copied yet.

Processes of the release before this one read and write the vectors in `chunks`, and call `sluice_match_words` with the
name of a model. So these stay until a later migration. Triggers copy the vectors that such a process writes.
"""

import time
from uuid import UUID

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
FUNCTION_OWNER = "sluice_functions"
MATCHING = "sluice_match_words(tsquery, tsquery, integer)"
KEEPING = ("sluice_keep_one_chunk()", "sluice_keep_vector()")
SOURCES = ("document_id", "note_id")
DIMENSIONS = (384, 768, 1024)
ROWS_AT_ONCE = 2_000
PAUSE_SECONDS = 0.2
"""Pause before the next look for vectors that are not copied yet, because another transaction held their rows."""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    refuse_unfinished_change()
    if not has_run_before():
        create_table()
        create_match_function()
        create_triggers()
        for column in ("model", "embedding"):
            op.alter_column("chunks", column, nullable=True)
    with op.get_context().autocommit_block():
        delete_other_models()
        copy_vectors()
        create_indexes()


def refuse_unfinished_change() -> None:
    """Raise an exception if a change of the model has begun."""
    connection = op.get_bind()
    change = connection.execute(sa.text("SELECT name FROM embedding_models WHERE state = 'next'")).scalar()
    if change:
        active = connection.execute(sa.text("SELECT name FROM embedding_models WHERE state = 'active'")).scalar()
        # After an interrupted run, the release before cannot count the vectors that the triggers keep.
        finish = "" if has_run_before() else f"finish it with reembed --model {change}, or "
        raise RuntimeError(
            f"the change to the model {change} is not finished; with the release before this one, {finish}"
            f"abandon it with reembed --model {active}"
        )


def has_run_before() -> bool:
    """Return True if an earlier run has created the table."""
    return sa.inspect(op.get_bind()).has_table("vectors")


def create_table() -> None:
    op.create_table(
        "vectors",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("window", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("note_id", sa.Uuid(), nullable=True),
        sa.Column("embedding", pgvector.sqlalchemy.HALFVEC(), nullable=False),
        sa.CheckConstraint("num_nonnulls(document_id, note_id) = 1", name=op.f("ck_vectors_one_source")),
        sa.ForeignKeyConstraint(
            ["owner_id", "chunk_id"], ["chunks.owner_id", "chunks.id"], name="fk_vectors_chunks", ondelete="CASCADE"
        ),
        # The chunk precedes the model, so that a deleted chunk finds its vectors.
        sa.PrimaryKeyConstraint("owner_id", "chunk_id", "model", "window", name=op.f("pk_vectors")),
    )
    op.execute("ALTER TABLE vectors ALTER COLUMN embedding SET STORAGE PLAIN")
    for source in SOURCES:
        columns = ["owner_id", source, "model", "window"]
        op.create_index(op.f(f"ix_vectors_owner_id_{source}_model_window"), "vectors", columns)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON vectors TO {ROLE}")
    op.execute("ALTER TABLE vectors ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"""CREATE POLICY owner ON vectors TO {ROLE}
            USING (owner_id = (SELECT nullif(current_setting('sluice.user_id', true), '')::uuid))"""
    )


def create_match_function() -> None:
    """Create the function that finds chunks by words. As before, but without the model: see the migration 0019."""
    op.execute(
        """CREATE FUNCTION sluice_match_words(matched tsquery, ranked tsquery, most_matches integer)
            RETURNS TABLE (id uuid, rank double precision)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 500
            SET search_path = pg_catalog, public, pg_temp
            SET enable_indexscan = off SET max_parallel_workers_per_gather = 0 SET cpu_operator_cost = 0.1
            AS $$
            SELECT id, ts_rank(lexemes, ranked, 1) FROM chunks
            WHERE owner_id = (SELECT sluice_get_user()) AND lexemes @@ matched
            LIMIT most_matches
        $$"""
    )
    op.execute(f"REVOKE ALL ON FUNCTION {MATCHING} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {MATCHING} TO {ROLE}")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    op.execute(f"ALTER FUNCTION {MATCHING} OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}")


def create_triggers() -> None:
    """Create the triggers that copy vectors which a process of the release before writes into `chunks`.

    A row for another model of a chunk that exists becomes a vector of that chunk.
    """
    op.execute(
        """CREATE FUNCTION sluice_keep_one_chunk() RETURNS trigger
            LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE existing uuid;
        BEGIN
            SELECT id INTO existing FROM chunks WHERE owner_id = NEW.owner_id AND ordinal = NEW.ordinal
                AND (document_id = NEW.document_id OR note_id = NEW.note_id);
            IF existing IS NULL THEN RETURN NEW; END IF;
            INSERT INTO vectors (owner_id, chunk_id, model, document_id, note_id, embedding)
                VALUES (NEW.owner_id, existing, NEW.model, NEW.document_id, NEW.note_id, NEW.embedding)
                ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$"""
    )
    op.execute(
        """CREATE FUNCTION sluice_keep_vector() RETURNS trigger
            LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            INSERT INTO vectors (owner_id, chunk_id, model, document_id, note_id, embedding)
                VALUES (NEW.owner_id, NEW.id, NEW.model, NEW.document_id, NEW.note_id, NEW.embedding);
            RETURN NULL;
        END $$"""
    )
    for function in KEEPING:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    for moment, function in zip(("BEFORE", "AFTER"), KEEPING, strict=True):
        op.execute(
            f"""CREATE TRIGGER {function.removesuffix("()")} {moment} INSERT ON chunks
                FOR EACH ROW WHEN (NEW.embedding IS NOT NULL) EXECUTE FUNCTION {function}"""
        )


def delete_other_models() -> None:
    """Delete the chunks of models that are no longer used. They are copies of the chunks of the active model."""
    deleted = sa.text(
        """WITH unused AS (
            SELECT owner_id, id FROM chunks
            WHERE model <> (SELECT name FROM embedding_models WHERE state = 'active') AND EXISTS (
                SELECT FROM chunks AS kept WHERE kept.owner_id = chunks.owner_id AND kept.ordinal = chunks.ordinal
                AND (kept.document_id = chunks.document_id OR kept.note_id = chunks.note_id)
                AND kept.model IS DISTINCT FROM chunks.model
            )
            LIMIT :rows
        )
        DELETE FROM chunks USING unused WHERE chunks.owner_id = unused.owner_id AND chunks.id = unused.id"""
    )
    while op.get_bind().execute(deleted, {"rows": ROWS_AT_ONCE}).rowcount:
        pass


def copy_vectors() -> None:
    """Copy the vectors of all chunks whose vector is not in the new table.

    Rows that another transaction deletes at this moment are skipped, so that the two never wait for each other. They
    are looked at again.
    """
    connection = op.get_bind()
    copied = sa.text(
        """WITH lacking AS MATERIALIZED (
            SELECT owner_id, id, model, document_id, note_id, embedding FROM chunks
            WHERE (owner_id, id) > (:owner, :id) AND embedding IS NOT NULL AND NOT EXISTS (
                SELECT FROM vectors WHERE vectors.owner_id = chunks.owner_id AND vectors.chunk_id = chunks.id
                AND vectors.model = chunks.model
            )
            ORDER BY owner_id, id LIMIT :rows FOR KEY SHARE SKIP LOCKED
        ),
        copied AS (
            INSERT INTO vectors (owner_id, chunk_id, model, document_id, note_id, embedding)
            SELECT * FROM lacking ON CONFLICT DO NOTHING
        )
        SELECT owner_id, id FROM lacking ORDER BY owner_id DESC, id DESC LIMIT 1"""
    ).bindparams(sa.bindparam("owner", type_=sa.Uuid()), sa.bindparam("id", type_=sa.Uuid()))
    is_lacking = sa.text(
        """SELECT EXISTS (SELECT 1 FROM chunks WHERE embedding IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM vectors WHERE vectors.owner_id = chunks.owner_id AND vectors.chunk_id = chunks.id
            AND vectors.model = chunks.model))"""
    )
    while connection.scalar(is_lacking):
        last = (UUID(int=0), UUID(int=0))
        while found := connection.execute(copied, {"owner": last[0], "id": last[1], "rows": ROWS_AT_ONCE}).first():
            last = (found.owner_id, found.id)
        time.sleep(PAUSE_SECONDS)
    connection.execute(sa.text("ANALYZE vectors"))


def create_indexes() -> None:
    """Create the indexes of vectors, and those that allow one row for each chunk, while others read and write."""
    for dimension in DIMENSIONS:
        create_index(
            f"ix_vectors_embedding_{dimension}",
            f"""INDEX CONCURRENTLY ix_vectors_embedding_{dimension} ON vectors
                USING hnsw (CAST(embedding AS halfvec({dimension})) halfvec_cosine_ops)
                WITH (m = 16, ef_construction = 64) WHERE vector_dims(embedding) = {dimension}""",
        )
    for source in SOURCES:
        name = f"ix_chunks_owner_id_{source}_ordinal"
        create_index(name, f"UNIQUE INDEX CONCURRENTLY {name} ON chunks (owner_id, {source}, ordinal)")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}_model")


def create_index(name: str, definition: str) -> None:
    """Create an index, unless an earlier run has completed it."""
    is_valid = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    if not op.get_bind().scalar(is_valid, {"name": name}):
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {definition}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for function in KEEPING:
        op.execute(f"DROP FUNCTION {function} CASCADE")
    op.execute("DELETE FROM jobs WHERE kind LIKE '%\\_vectors'")
    op.execute(
        """UPDATE chunks SET model = vectors.model, embedding = vectors.embedding
            FROM vectors JOIN embedding_models ON name = vectors.model AND state = 'active'
            WHERE vectors.owner_id = chunks.owner_id AND chunk_id = chunks.id AND "window" = 0
                AND chunks.model IS DISTINCT FROM vectors.model"""
    )
    for column in ("model", "embedding"):
        op.alter_column("chunks", column, nullable=False)
    for source in SOURCES:
        name = f"ix_chunks_owner_id_{source}_ordinal"
        op.create_index(f"{name}_model", "chunks", ["owner_id", source, "ordinal", "model"], unique=True)
        op.drop_index(name, "chunks")
    op.execute(f"DROP FUNCTION {MATCHING}")
    op.drop_table("vectors")
