"""For escalation: what was tried for an incident, and whether it helped."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = ("move_outcomes", "stream_samples")
_FUNCTIONS = (
    "held_for_sample()",
    "release_waiting(text, uuid)",
    "move_ended(uuid, boolean)",
    "sample_ended(text, uuid, boolean)",
    "join_sample(text, integer, double precision, uuid)",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop trigger held_for_sample on seedcore.held")
    for function in _FUNCTIONS:
        op.execute(f"drop function if exists seedcore.{function}")
    for table in _TABLES:
        op.execute(f"drop table seedcore.{table}")
