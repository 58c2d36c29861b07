"""For facts: what is held to be true, from when to when, and the plans that relied on it."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = (
    "fact_uses",
    "facts",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"drop table seedcore.{table}")
    op.execute("drop function if exists seedcore.remember_fact()")
