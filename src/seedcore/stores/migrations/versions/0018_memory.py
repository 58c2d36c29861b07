"""For long-term memory: texts, their vectors, and what waits to be remembered."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = (
    "memory_intake",
    "memory_vectors",
    "memories",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"drop table if exists seedcore.{table}")
