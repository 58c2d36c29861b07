"""For long-term memory: texts, their vectors, and what waits to be remembered."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
phase = "before"

_TRIGGERS = {
    "remember_plan": "held",
    "remember_failures": "dead",
    "remember_triage": "triages",
}
_TABLES = (
    "memory_jobs",
    "memory_intake",
    "memory_vectors",
    "memories",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    for name, table in _TRIGGERS.items():
        op.execute(f"drop trigger if exists {name} on seedcore.{table}")
        op.execute(f"drop function if exists seedcore.{name}()")
    op.execute("drop function if exists seedcore.remember_later(text, text, jsonb)")
    for table in _TABLES:
        op.execute(f"drop table if exists seedcore.{table}")
    op.execute("drop function if exists seedcore.words_of(text)")
