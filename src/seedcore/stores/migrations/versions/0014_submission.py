"""A submission opens less: no partitions of other days for a new key, no checks of what both ways in have checked."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("""
      alter table seedcore.tasks add check (length(type) between 1 and 200), add check (priority between -100 and 100),
        add check (max_attempts between 1 and 100), add check (timeout_s > 0)""")
    op.execute("alter table seedcore.events add check ((task_id is null) <> (task_ids is null))")
    op.execute("drop function seedcore.task_is_gone(uuid)")
    op.execute("drop function seedcore.key_is_used(text, text)")
