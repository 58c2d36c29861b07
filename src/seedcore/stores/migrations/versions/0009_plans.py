"""What plans do when a step fails, what they may spend, recipes; approvals that expire."""

from pathlib import Path

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    first = Path(__file__).with_name("0001_tasks.sql").read_text(encoding="utf-8")
    begin = first.index("create function seedcore.advance_plans")
    before = first[begin : first.index("end $$;", begin) + len("end $$;")]
    op.get_bind().connection.cursor().execute(before.replace("create function", "create or replace function", 1))
    op.execute("drop function seedcore.plan_again(uuid, jsonb, smallint, text, text)")
    op.execute("drop function seedcore.plan_ended(uuid, jsonb, boolean)")
    op.execute("drop function seedcore.shrunken(bigint, bigint)")
    op.execute("drop function seedcore.spent(uuid, timestamptz)")
    op.execute("alter table seedcore.held drop column expires_at, drop column on_expiry")
    for table in ("recipes", "plan_ends", "usage", "plans"):
        op.execute(f"drop table seedcore.{table}")
