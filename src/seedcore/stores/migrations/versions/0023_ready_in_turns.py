"""Claims follow index ready_turns: the order without tenants was the release before's."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
phase = "after"


def upgrade() -> None:
    op.execute("drop index if exists seedcore.ready_order")


def downgrade() -> None:
    op.execute("create unique index if not exists ready_order on seedcore.ready (queue, slow, rank, seq)")
