"""Workers: the snapshot that they decide with, skills that end their processes, and how many workers are wanted."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("alter table seedcore.organism drop column workers")
    op.execute("drop table seedcore.quarantined_skills")
    op.execute("drop table seedcore.skill_deaths")
    op.execute("drop table seedcore.snapshots")
    op.execute("drop sequence seedcore.snapshot_generation")
