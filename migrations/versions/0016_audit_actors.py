"""Let the service add audit rows without an account for failed logins only.
Revision: 0016, after: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

IS_SELF = "actor_user_id = nullif(current_setting('sluice.user_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(
        f"""ALTER POLICY add_own ON audit_logs
            WITH CHECK ({IS_SELF} OR (actor_user_id IS NULL AND event_type = 'user.login_failed'))"""
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(f"ALTER POLICY add_own ON audit_logs WITH CHECK (actor_user_id IS NULL OR {IS_SELF})")
