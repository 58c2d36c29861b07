"""First schema: tasks, leases, events, plans, organs, agents, flashbulbs."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop schema seedcore cascade")
