"""For the graph: changes that wait for it, how far it is, and vectors of its nodes."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = (
    "graph_vectors",
    "graph_state",
    "graph_changes",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"drop table if exists seedcore.{table}")
