"""Run the functions that read all users' rows as a role with few rights instead of as the owner of the tables.
Revision: 0011, after: 0010

A SECURITY DEFINER function acts as its owner. If its search path does not name pg_temp, PostgreSQL searches pg_temp
first. The service could then put a view of its own in place of a table, and run any code as the owner.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FUNCTION_OWNER = "sluice_functions"
FUNCTIONS = (
    "sluice_count_statuses()",
    "sluice_find_worded(tsquery, text, integer, integer)",
    "sluice_adopt_model(text)",
    "sluice_anonymise_audit(uuid)",
    "sluice_redeem_invitation(bytea)",
)
READ_COLUMNS = {
    "documents": ("status", "updated_at"),
    "notes": ("status", "updated_at"),
    "chunks": ("owner_id", "id", "model", "lexemes"),
    "users": ("id",),
    "audit_logs": ("actor_user_id",),
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    create_function_owner()
    grant_reading()
    op.execute(f"GRANT SELECT, INSERT, DELETE ON embedding_models TO {FUNCTION_OWNER}")
    op.execute(f"GRANT SELECT, DELETE ON invitations TO {FUNCTION_OWNER}")
    op.execute(f"GRANT UPDATE (details) ON audit_logs TO {FUNCTION_OWNER}")
    op.execute(f"CREATE POLICY anonymise ON audit_logs FOR UPDATE TO {FUNCTION_OWNER} USING (true)")
    op.execute(f"GRANT EXECUTE ON FUNCTION sluice_get_user() TO {FUNCTION_OWNER}")
    # Only a role that may create objects in the schema can become the owner of a function.
    op.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} SET search_path = pg_catalog, public, pg_temp")
        op.execute(f"ALTER FUNCTION {function} OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}, PUBLIC")
    execute_on_database("REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC")


def create_function_owner() -> None:
    """Create the role, unless another database of the server has created it."""
    op.execute(
        f"""DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{FUNCTION_OWNER}') THEN
                CREATE ROLE {FUNCTION_OWNER} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$"""
    )
    # An owner of the tables that is no superuser must be a member, to hand over functions and to replace them later.
    op.execute(
        f"""DO $$ BEGIN
            IF NOT (pg_has_role('{FUNCTION_OWNER}', 'SET') AND pg_has_role('{FUNCTION_OWNER}', 'USAGE')) THEN
                GRANT {FUNCTION_OWNER} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
            END IF;
        END $$"""
    )


def grant_reading() -> None:
    """Let the role read the columns that the functions need, of all users. It needs no BYPASSRLS."""
    for table, columns in READ_COLUMNS.items():
        op.execute(f"GRANT SELECT ({', '.join(columns)}) ON {table} TO {FUNCTION_OWNER}")
        op.execute(f"CREATE POLICY functions ON {table} FOR SELECT TO {FUNCTION_OWNER} USING (true)")


def execute_on_database(statement: str) -> None:
    """Execute a statement with the name of the current database in place of `%I`."""
    op.execute(f"DO $$ BEGIN EXECUTE format('{statement}', current_database()); END $$")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    execute_on_database("GRANT TEMPORARY ON DATABASE %I TO PUBLIC")
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} OWNER TO CURRENT_USER")
        op.execute(f"ALTER FUNCTION {function} SET search_path = public")
    op.execute("DROP POLICY anonymise ON audit_logs")
    for table in READ_COLUMNS:
        op.execute(f"DROP POLICY functions ON {table}")
    # Drop the role's rights in this database. Keep the role: other databases may use it.
    op.execute(f"DROP OWNED BY {FUNCTION_OWNER}")
