"""Held streams, and the records of triages."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.triages")
    op.execute("drop table seedcore.holds")
