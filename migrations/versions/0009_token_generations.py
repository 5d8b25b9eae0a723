"""Let users change their password and delete their account, and end the tokens of both.
Revision: 0009, after: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
IS_SELF = "id = nullif(current_setting('sluice.user_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("users", sa.Column("token_generation", sa.Integer(), server_default="0", nullable=False))
    op.execute(f"GRANT UPDATE (password_hash, token_generation), DELETE ON users TO {ROLE}")
    op.execute(f"CREATE POLICY change_self ON users FOR UPDATE TO {ROLE} USING ({IS_SELF}) WITH CHECK ({IS_SELF})")
    op.execute(f"CREATE POLICY delete_self ON users FOR DELETE TO {ROLE} USING ({IS_SELF})")
    create_anonymising_function()


def create_anonymising_function() -> None:
    """Create the function that empties the audit rows of a deleted account.

    The role itself cannot change audit rows. As the function refuses accounts that exist, the role can only empty rows
    of accounts that are gone.
    """
    op.execute(
        """CREATE FUNCTION sluice_anonymise_audit(account uuid) RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
        BEGIN
            IF EXISTS (SELECT FROM users WHERE id = account) THEN
                RAISE EXCEPTION 'the account exists' USING ERRCODE = 'insufficient_privilege';
            END IF;
            UPDATE audit_logs SET details = '{}' WHERE actor_user_id = account;
        END $$"""
    )
    op.execute("REVOKE ALL ON FUNCTION sluice_anonymise_audit(uuid) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION sluice_anonymise_audit(uuid) TO {ROLE}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("DROP FUNCTION sluice_anonymise_audit(uuid)")
    op.execute("DROP POLICY delete_self ON users")
    op.execute("DROP POLICY change_self ON users")
    # A right on a column stays if only the right on the table is revoked, and the column's goes with the column.
    op.execute(f"REVOKE UPDATE (password_hash), DELETE ON users FROM {ROLE}")
    op.drop_column("users", "token_generation")
