"""For language models: what was spent and reserved, by plan, key, tenant and day."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = ("llm_budgets",)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("alter table seedcore.energy_ledger drop column tokens, drop column money")
    for function in ("plan_of", "llm_settle", "llm_reserve"):
        op.execute(f"drop function if exists seedcore.{function}")
    for table in _TABLES:
        op.execute(f"drop table seedcore.{table}")
