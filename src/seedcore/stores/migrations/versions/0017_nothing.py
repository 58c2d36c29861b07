"""Nothing: what this number did is in 0023, after what this release adds."""

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    """Changes nothing."""


def downgrade() -> None:
    """Changes nothing."""
