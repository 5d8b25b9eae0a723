"""Create collections of documents and notes, and let documents have metadata and an id of the client's.
Revision: 0027, after: 0026
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
MEMBERS = {"collection_documents": "document", "collection_notes": "note"}
TABLES = ("collections", *MEMBERS)
CURRENT_USER = "nullif(current_setting('sluice.user_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("documents", make_object("metadata"))
    op.add_column("documents", sa.Column("external_id", sa.String(), nullable=True))
    op.create_index(
        op.f("ix_documents_owner_id_external_id"),
        "documents",
        ["owner_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    create_collections()
    for table, member in MEMBERS.items():
        create_members(table, member)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO {ROLE}")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owner ON {table} TO {ROLE} USING (owner_id = (SELECT {CURRENT_USER}))")


def make_object(name: str) -> sa.Column[object]:
    """Return a column with a JSON object, which is empty in rows of the release before."""
    return sa.Column(name, JSONB(), server_default="{}", nullable=False)


def make_time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def create_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        make_object("metadata"),
        make_time("created_at"),
        make_time("updated_at"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_collections_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "id", name=op.f("pk_collections")),
    )
    op.create_index(op.f("ix_collections_owner_id_name"), "collections", ["owner_id", "name"], unique=True)


def create_members(table: str, member: str) -> None:
    op.create_table(
        table,
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column(f"{member}_id", sa.Uuid(), nullable=False),
        make_object("attributes"),
        make_time("added_at"),
        sa.ForeignKeyConstraint(
            ["owner_id", "collection_id"],
            ["collections.owner_id", "collections.id"],
            name=f"fk_{table}_collections",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id", f"{member}_id"],
            [f"{member}s.owner_id", f"{member}s.id"],
            name=f"fk_{table}_{member}s",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", "collection_id", f"{member}_id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_owner_id_{member}_id"), table, ["owner_id", f"{member}_id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_index(op.f("ix_documents_owner_id_external_id"), "documents")
    op.drop_column("documents", "external_id")
    op.drop_column("documents", "metadata")
