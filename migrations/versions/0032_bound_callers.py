"""Let row-level security restrict callers that are bound to collections to what is in these collections.
Revision: 0032, after: 0031

The setting `sluice.collections` holds the ids as an array. It is empty for callers that are not bound. For them, each
policy looks at the setting once per statement, and at nothing else.
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
BOUND = "nullif(current_setting('sluice.collections', true), '')"
IS_UNBOUND = f"(SELECT {BOUND} IS NULL)"
TABLES = {
    "collections": "id = ANY ((SELECT {bound}::uuid[])::uuid[])",
    "collection_documents": "collection_id = ANY ((SELECT {bound}::uuid[])::uuid[])",
    "collection_notes": "collection_id = ANY ((SELECT {bound}::uuid[])::uuid[])",
    "documents": "{document}",
    "notes": "{note}",
    "document_slices": "{document}",
    "document_pages": "{document}",
    "chunks": "{document} OR {note}",
    "vectors": "{document} OR {note}",
}
"""What a bound caller may see and write. The memberships have policies themselves."""
INSERTED_FIRST = ("documents", "notes")
"""A row of these is inserted before its memberships, which refer to it. Until then, its own caller cannot see it."""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table, rule in TABLES.items():
        allowed = rule.format(bound=BOUND, document=is_member(table, "document"), note=is_member(table, "note"))
        check = " WITH CHECK (true)" if table in INSERTED_FIRST else ""
        op.execute(f"CREATE POLICY bound ON {table} AS RESTRICTIVE TO {ROLE} USING ({IS_UNBOUND} OR {allowed}){check}")


def is_member(table: str, kind: str) -> str:
    """Return the condition that a row's document or note is in a collection that the caller sees."""
    key = "id" if table == f"{kind}s" else f"{kind}_id"
    return (
        f"EXISTS (SELECT FROM collection_{kind}s AS members"
        f" WHERE members.owner_id = {table}.owner_id AND members.{kind}_id = {table}.{key})"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in TABLES:
        op.execute(f"DROP POLICY bound ON {table}")
