"""When a dispatcher was last heard of: what it had leased long before that, and had not begun, uses no attempt."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    # A release that does not write it looks as if it had been heard of once: its leases count as attempts, as before.
    op.execute("alter table seedcore.sessions add column beat_at timestamptz not null default now()")


def downgrade() -> None:
    op.execute("alter table seedcore.sessions drop column beat_at")
