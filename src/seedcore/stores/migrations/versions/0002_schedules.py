"""Schedules; sessions say which schema their release knows."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.schedules")
    op.execute("alter table seedcore.sessions drop column schema_version")
