"""Find the same passages by words, whatever plan PostgreSQL chooses.
Revision: 0018, after: 0017

New entries of the word index no longer wait in a list that every search reads from end to end. With a long list, the
planner would avoid the index.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INDEX = "ix_chunks_owner_id_lexemes"
FUNCTION = "sluice_find_worded(tsquery, text, integer, integer)"
SETTINGS = {
    # Without these, the plan decides which rows come before the limit. Bitmap scans read in the order of the table.
    "enable_indexscan": "off",
    "max_parallel_workers_per_gather": "0",
    # The planner does not know that the words of a chunk are stored outside its row. It would read those of all chunks.
    "cpu_operator_cost": "0.1",
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    # First without the lock that the change takes: a long list takes a second.
    op.execute(f"SELECT gin_clean_pending_list('{INDEX}')")
    op.execute(f"ALTER INDEX {INDEX} SET (fastupdate = off)")
    op.execute(f"SELECT gin_clean_pending_list('{INDEX}')")
    for name, value in SETTINGS.items():
        op.execute(f"ALTER FUNCTION {FUNCTION} SET {name} = {value}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for name in SETTINGS:
        op.execute(f"ALTER FUNCTION {FUNCTION} RESET {name}")
    op.execute(f"ALTER INDEX {INDEX} RESET (fastupdate)")
