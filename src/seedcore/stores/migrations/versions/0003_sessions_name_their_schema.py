"""Every session says which schema its release knows: release 0001, which does not, can open none any more."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
phase = "after"


def upgrade() -> None:
    op.execute("alter table seedcore.sessions alter column schema_version drop default")


def downgrade() -> None:
    op.execute("alter table seedcore.sessions alter column schema_version set default '0001'")
