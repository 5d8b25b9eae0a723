"""Keep what clients in the format of OpenAI say about files and vector stores, and sort the members of a collection.
Revision: 0033, after: 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

INDEX = "ix_collection_documents_added_at"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("documents", sa.Column("purpose", sa.String(), nullable=True))
    op.add_column("collections", sa.Column("given_name", sa.String(), nullable=True))
    op.create_index(INDEX, "collection_documents", ["owner_id", "collection_id", "added_at", "document_id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index(INDEX, "collection_documents")
    op.drop_column("collections", "given_name")
    op.drop_column("documents", "purpose")
