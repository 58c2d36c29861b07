"""What decisions were expected to change and what they changed, and every change of the weights."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.energy_weights")
    op.execute("drop table seedcore.energy_ledger")
