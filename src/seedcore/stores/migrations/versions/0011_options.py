"""SQL takes what HTTP takes: bounds of options, the settings' limits, what skills declare, params that can be read."""

from pathlib import Path

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
phase = "before"


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    first = Path(__file__).with_name("0001_tasks.sql").read_text(encoding="utf-8")
    begin = first.index("create function seedcore.enqueue")
    before = first[begin : first.index("end $$;", begin) + len("end $$;")]
    op.get_bind().connection.cursor().execute(before.replace("create function", "create or replace function", 1))
    op.execute("drop function seedcore.option_text(jsonb, text, integer, integer)")
    op.execute("drop function seedcore.option_number(jsonb, text, numeric, numeric, boolean)")
    op.execute("drop function seedcore.option_time(jsonb, text)")
    op.execute("drop function seedcore.refuse_unknown(jsonb, text, text[])")
    op.execute("drop function seedcore.refuse(text)")
    op.execute("drop function seedcore.unfit(jsonb)")
    op.execute("drop function seedcore.compact_bytes(jsonb)")
    op.execute("drop table seedcore.skills")
    op.execute("drop table seedcore.settings")
