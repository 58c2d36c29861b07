"""The Coordinator's valves: what each stream learned and saw."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.valves")
