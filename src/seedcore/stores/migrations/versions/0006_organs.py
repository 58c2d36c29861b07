"""Organs by version, hosts as planned, who leads the organism, and what evolved."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.evolutions")
    op.execute("drop table seedcore.host_plans")
    op.execute("drop table seedcore.organism")
    for column in ("version", "roster", "file_hash", "removed"):
        op.execute(f"alter table seedcore.organs drop column {column}")
