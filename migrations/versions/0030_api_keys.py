"""Create API keys: secrets with which programs act for an account.
Revision: 0030, after: 0029
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

TABLES = ("api_keys", "api_key_collections")
ROLE = "sluice_service"
FUNCTION_OWNER = "sluice_functions"
CURRENT_USER = "nullif(current_setting('sluice.user_id', true), '')::uuid"
SHOWN = "owner_id, id, name, scopes, is_bound, expires_at, created_at, last_used_at"
"""What the service may read. It can read no hash of a secret."""
FOUND = "owner_id, id, secret_sha256, scopes, is_bound, expires_at, last_used_at"
"""What the function reads that finds a key by the hash of its secret."""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "api_keys",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", ARRAY(sa.Text()), nullable=False),
        sa.Column("is_bound", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(secret_sha256) = 32", name=op.f("ck_api_keys_secret_length")),
        sa.CheckConstraint("scopes <@ '{read,write}' AND scopes <> '{}'", name=op.f("ck_api_keys_scopes")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_api_keys_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "api_key_collections",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id", "api_key_id"],
            ["api_keys.owner_id", "api_keys.id"],
            name="fk_api_key_collections_api_keys",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id", "collection_id"],
            ["collections.owner_id", "collections.id"],
            name="fk_api_key_collections_collections",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", "api_key_id", "collection_id", name=op.f("pk_api_key_collections")),
    )
    op.create_index(
        op.f("ix_api_key_collections_owner_id_collection_id"), "api_key_collections", ["owner_id", "collection_id"]
    )
    op.create_index(op.f("ix_api_keys_secret_sha256"), "api_keys", ["secret_sha256"])
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owner ON {table} TO {ROLE} USING (owner_id = (SELECT {CURRENT_USER}))")
        op.execute(f"CREATE POLICY functions ON {table} FOR SELECT TO {FUNCTION_OWNER} USING (true)")
    op.execute(f"GRANT SELECT ({SHOWN}), INSERT, UPDATE (last_used_at), DELETE ON api_keys TO {ROLE}")
    op.execute(f"GRANT SELECT, INSERT ON api_key_collections TO {ROLE}")
    op.execute(f"GRANT SELECT ({FOUND}) ON api_keys TO {FUNCTION_OWNER}")
    op.execute(f"GRANT SELECT ON api_key_collections TO {FUNCTION_OWNER}")
    create_finding_function()


def create_finding_function() -> None:
    """Create the function that finds the key of a request before its account is known.

    A key that is bound to collections stays so after the last of them was deleted. It then has an empty array.
    """
    op.execute(
        """CREATE FUNCTION sluice_find_api_key(secret_hash bytea)
            RETURNS TABLE (owner_id uuid, id uuid, scopes text[], collection_ids uuid[], has_expired boolean,
                unused_seconds double precision)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
            AS $$
            SELECT found.owner_id, found.id, found.scopes,
                CASE WHEN found.is_bound THEN ARRAY(
                    SELECT bound.collection_id FROM api_key_collections AS bound
                    WHERE bound.owner_id = found.owner_id AND bound.api_key_id = found.id
                ) END,
                coalesce(found.expires_at <= clock_timestamp(), false),
                extract(epoch FROM clock_timestamp() - found.last_used_at)
            FROM api_keys AS found WHERE found.secret_sha256 = secret_hash
        $$"""
    )
    op.execute(f"GRANT CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    op.execute("REVOKE ALL ON FUNCTION sluice_find_api_key(bytea) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION sluice_find_api_key(bytea) TO {ROLE}")
    op.execute(f"ALTER FUNCTION sluice_find_api_key(bytea) OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("DROP FUNCTION sluice_find_api_key(bytea)")
    for table in reversed(TABLES):
        op.drop_table(table)
