"""Create notes, pauses after failed logins, row-level security and the service role.
Revision: 0002, after: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
OWNED = ("documents", "document_slices", "document_pages", "chunks", "notes")
CURRENT_USER = "nullif(current_setting('sluice.user_id', true), '')::uuid"
CURRENT_EMAIL = "nullif(current_setting('sluice.email', true), '')"


def upgrade() -> None:
    create_notes()
    create_login_failures()
    create_role()
    create_policies()
    create_status_function()


def create_notes() -> None:
    op.create_table(
        "notes",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("chunks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_notes_failed_has_reason")),
        sa.CheckConstraint("status IN ('pending', 'processing', 'ready', 'failed')", name=op.f("ck_notes_status")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_notes_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "id", name=op.f("pk_notes")),
    )
    op.add_column("jobs", sa.Column("request_id", sa.String(), nullable=True))
    op.alter_column("chunks", "document_id", nullable=True)
    op.add_column("chunks", sa.Column("note_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "fk_chunks_notes", "chunks", "notes", ["owner_id", "note_id"], ["owner_id", "id"], ondelete="CASCADE"
    )
    op.create_index(
        op.f("ix_chunks_owner_id_note_id_ordinal"), "chunks", ["owner_id", "note_id", "ordinal"], unique=True
    )
    op.create_check_constraint(op.f("ck_chunks_one_source"), "chunks", "num_nonnulls(document_id, note_id) = 1")


def create_login_failures() -> None:
    op.create_table(
        "login_failures",
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("email", "address", name=op.f("pk_login_failures")),
    )


def create_role() -> None:
    """Create the role of the API and the workers, unless another database of the server has created it."""
    op.execute(
        f"""DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
                CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$"""
    )
    op.execute(f"GRANT USAGE ON SCHEMA public TO {ROLE}")
    tables = ", ".join((*OWNED, "jobs", "login_failures"))
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {ROLE}")
    op.execute(f"GRANT SELECT, INSERT ON users, audit_logs TO {ROLE}")
    op.execute(f"GRANT SELECT ON alembic_version TO {ROLE}")


def create_policies() -> None:
    """Let the role see only the rows of the user it acts for, even if a query does not filter by owner."""
    for table in OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owner ON {table} TO {ROLE} USING (owner_id = {CURRENT_USER})")
    op.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY self ON users FOR SELECT TO {ROLE} USING (id = {CURRENT_USER} OR email = {CURRENT_EMAIL})"
    )
    op.execute(f"CREATE POLICY register ON users FOR INSERT TO {ROLE} WITH CHECK (id = {CURRENT_USER})")
    op.execute("ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY read_own ON audit_logs FOR SELECT TO {ROLE} USING (actor_user_id = {CURRENT_USER})")
    op.execute(
        f"""CREATE POLICY add_own ON audit_logs FOR INSERT TO {ROLE}
            WITH CHECK (actor_user_id IS NULL OR actor_user_id = {CURRENT_USER})"""
    )


def create_status_function() -> None:
    """Create the function that counts all users' rows for /metrics. The role itself cannot see them."""
    op.execute(
        """CREATE FUNCTION sluice_count_statuses()
            RETURNS TABLE (kind text, status text, subjects bigint, oldest_seconds double precision)
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
            SELECT 'document', status, count(*), extract(epoch FROM clock_timestamp() - min(updated_at))
            FROM documents GROUP BY status
            UNION ALL
            SELECT 'note', status, count(*), extract(epoch FROM clock_timestamp() - min(updated_at))
            FROM notes GROUP BY status
        $$"""
    )
    op.execute("REVOKE ALL ON FUNCTION sluice_count_statuses() FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION sluice_count_statuses() TO {ROLE}")


def downgrade() -> None:
    op.execute("DROP FUNCTION sluice_count_statuses()")
    for policy, table in (
        ("add_own", "audit_logs"),
        ("read_own", "audit_logs"),
        ("register", "users"),
        ("self", "users"),
        *(("owner", table) for table in OWNED),
    ):
        op.execute(f"DROP POLICY {policy} ON {table}")
    for table in (*OWNED, "users", "audit_logs"):
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    # Drop the role's rights in this database. Keep the role: other databases may use it.
    op.execute(f"DROP OWNED BY {ROLE}")
    op.drop_table("login_failures")
    op.execute("DELETE FROM jobs WHERE kind = 'note'")
    op.execute("DELETE FROM chunks WHERE note_id IS NOT NULL")
    op.drop_constraint(op.f("ck_chunks_one_source"), "chunks")
    op.drop_index(op.f("ix_chunks_owner_id_note_id_ordinal"), table_name="chunks")
    op.drop_constraint("fk_chunks_notes", "chunks")
    op.drop_column("chunks", "note_id")
    op.alter_column("chunks", "document_id", nullable=False)
    op.drop_column("jobs", "request_id")
    op.drop_table("notes")
