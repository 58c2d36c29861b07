"""Agents: lifecycle, roles and a memory of their own; hosts say how they are."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.hosts")
    op.execute("drop table seedcore.agent_memory")
    for column in ("lifecycle", "standing", "roles", "role_counts", "memory"):
        op.execute(f"alter table seedcore.agents drop column {column}")
