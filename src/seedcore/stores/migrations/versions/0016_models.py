"""For models: aliases, promotions, recorded predictions and outcomes, monitors, trials, arrivals, history."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
phase = "before"

_TABLES = (
    "arrivals",
    "arrivals_counted",
    "tuning_trials",
    "model_uses",
    "model_generation",
    "retrainings",
    "model_monitors",
    "outcomes",
    "predictions",
    "promotions",
    "model_aliases",
)


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop view seedcore.history")
    op.execute("drop trigger models_changed on seedcore.model_aliases")
    op.execute("drop function seedcore.note_models()")
    for table in _TABLES:
        op.execute(f"drop table seedcore.{table}")
