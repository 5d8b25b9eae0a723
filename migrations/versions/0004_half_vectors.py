"""Store vectors in half precision, and move other large values out of their rows.
Revision: 0004, after: 0003
"""

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXED_DIMENSIONS = (384, 768, 1024)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    drop_indexes()
    # A scan of an owner's vectors should read little else: keep vectors in the row, and move texts out of it.
    op.execute("ALTER TABLE chunks SET (toast_tuple_target = 128)")
    op.alter_column(
        "chunks",
        "embedding",
        type_=pgvector.sqlalchemy.HALFVEC(),
        postgresql_using="embedding::halfvec",
    )
    op.execute("ALTER TABLE chunks ALTER COLUMN embedding SET STORAGE PLAIN")
    create_indexes("HALFVEC", "halfvec_cosine_ops")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    drop_indexes()
    op.execute("ALTER TABLE chunks RESET (toast_tuple_target)")
    op.alter_column(
        "chunks",
        "embedding",
        type_=pgvector.sqlalchemy.VECTOR(),
        postgresql_using="embedding::vector",
    )
    create_indexes("VECTOR", "vector_cosine_ops")


def drop_indexes() -> None:
    for dimension in INDEXED_DIMENSIONS:
        op.drop_index(f"ix_chunks_embedding_{dimension}", table_name="chunks")


def create_indexes(kind: str, operators: str) -> None:
    for dimension in INDEXED_DIMENSIONS:
        op.create_index(
            f"ix_chunks_embedding_{dimension}",
            "chunks",
            [sa.literal_column(f"CAST(embedding AS {kind}({dimension}))").label("vector")],
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 64},
            postgresql_ops={"vector": operators},
            postgresql_where=sa.text(f"vector_dims(embedding) = {dimension}"),
        )
