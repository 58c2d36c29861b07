"""For the graph: changes that wait for it, how far it is, sums of ended tasks, and vectors of its nodes."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = ("graph_vectors", "graph_state", "graph_sums", "graph_changes")
_FUNCTIONS = (
    "graph_row_changed()",
    "graph_plan_held()",
    "graph_dead()",
    "graph_not_dead()",
    "graph_plan_ended(uuid, boolean)",
    "graph_ended(jsonb)",
    "graph_fold(integer)",
    "graph_tidy(integer, integer)",
    "graph_refill()",
    "graph_key(jsonb, text)",
    "graph_kept(jsonb, text)",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    # With the triggers that call them.
    for function in _FUNCTIONS:
        op.execute(f"drop function if exists seedcore.{function} cascade")
    for table in _TABLES:
        op.execute(f"drop table if exists seedcore.{table}")
    op.execute("alter table seedcore.skills drop column queue, drop column organ")
