"""What State reads and keeps: which transaction changed an agent last, and samples of the past."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("drop table seedcore.organ_samples")
    op.execute("drop table seedcore.samples")
    op.execute("drop trigger agents_changed on seedcore.agents")
    op.execute("drop function seedcore.agent_changed()")
    op.execute("alter table seedcore.agents drop column change")
